//! Answering a mail, or passing it on: to whom, under which subject, in which thread. Pure.

use super::outbox::Draft;
use crate::limits::SUBJECT_BYTES_MAX;
use crate::protocol::Answers;
use crate::protocol::reply::Envelope;

/// What stands before the subject of an answer, once.
const RE: &str = "Re: ";

/// What stands before the subject of a mail that is passed on, once.
const FWD: &str = "Fwd: ";

/// What others put there.
const PASSED: [&str; 3] = ["fwd:", "fw:", "enc:"];

/// What stands before each line of a text that is quoted.
const QUOTE: &str = "> ";

/// Returns what an answer says of the mail that it answers.
pub fn to(mail: &Envelope) -> Answers {
    Answers {
        in_reply_to: mail.message(),
        thread: mail.thread(),
    }
}

/// Returns an answer of `me` without a body: to the sender or, for `all`, also to the address that the mail
/// came by and to its other recipients. Who answers himself writes to those that he wrote to.
pub fn draft(mail: &Envelope, me: &str, all: bool) -> Draft {
    let mut recipients: Vec<String> = Vec::new();
    let mut add = |name: &String| {
        if name != me && !recipients.contains(name) {
            recipients.push(name.clone());
        }
    };
    add(&mail.from);
    if all || mail.from == me {
        std::iter::once(&mail.address).chain(&mail.to).for_each(add);
    }
    if recipients.is_empty() {
        recipients.push(me.to_owned());
    }
    Draft {
        to: recipients,
        subject: subject(&mail.subject),
        answers: Some(to(mail)),
        ..Draft::default()
    }
}

/// Returns the subject of an answer: `Re: ` stands before it once, however often it was answered.
pub fn subject(answered: &str) -> String {
    let mut rest = answered.trim();
    while let Some((head, tail)) = rest.split_at_checked(3)
        && head.eq_ignore_ascii_case("re:")
    {
        rest = tail.trim_start();
    }
    headed(RE, rest)
}

/// Returns the subject of a mail that is passed on: `Fwd: ` stands before it once, however often it was passed on.
pub fn forwarded(subject: &str) -> String {
    let mut rest = subject.trim();
    let begins = |text: &str, mark: &&str| {
        let head = text.get(..mark.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(mark))
    };
    while let Some(mark) = PASSED.iter().find(|mark| begins(rest, mark)) {
        rest = rest[mark.len()..].trim_start();
    }
    headed(FWD, rest)
}

fn headed(mark: &str, rest: &str) -> String {
    if rest.is_empty() {
        return mark.trim_end().to_owned();
    }
    let mut subject = format!("{mark}{rest}");
    while subject.len() > SUBJECT_BYTES_MAX {
        subject.pop();
    }
    subject
}

/// Returns a text as it is quoted below `heading`.
pub fn quoted(heading: &str, text: &str) -> String {
    let mut quoted = format!("{heading}\n");
    for line in text.lines() {
        // A line that was quoted before needs no further space.
        let mark = if line.is_empty() || line.starts_with('>') {
            QUOTE.trim_end()
        } else {
            QUOTE
        };
        quoted.extend([mark, line, "\n"]);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(address: &str, to: &[&str]) -> Envelope {
        Envelope {
            id: 42,
            message: 41,
            address: address.to_owned(),
            from: "ana".to_owned(),
            to: to.iter().map(ToString::to_string).collect(),
            subject: "lunch".to_owned(),
            ..Envelope::default()
        }
    }

    #[test]
    fn an_answer_goes_to_the_sender_or_to_all_and_never_to_oneself_beside_others() {
        let of = |mail: &Envelope, me, all| draft(mail, me, all).to;
        let own = mail("bob", &["bob", "carol"]);
        assert_eq!(of(&own, "bob", false), ["ana"]);
        assert_eq!(of(&own, "bob", true), ["ana", "carol"]);
        let topic = mail("news", &["news"]);
        assert_eq!(of(&topic, "bob", false), ["ana"]);
        assert_eq!(of(&topic, "bob", true), ["ana", "news"]);
        assert_eq!(
            of(&topic, "ana", false),
            ["news"],
            "who answers himself goes on"
        );
        assert_eq!(of(&mail("ana", &["ana"]), "ana", true), ["ana"]);
    }

    #[test]
    fn a_thread_is_named_by_what_began_it() {
        let first = to(&mail("bob", &["bob"]));
        assert_eq!((first.in_reply_to, first.thread), (41, 41));
        let deep = Envelope {
            in_reply_to: Some(30),
            thread: Some(12),
            ..mail("bob", &["bob"])
        };
        let answer = to(&deep);
        assert_eq!((answer.in_reply_to, answer.thread), (41, 12));
    }

    #[test]
    fn re_stands_once() {
        assert_eq!(subject("lunch"), "Re: lunch");
        assert_eq!(subject("Re: lunch"), "Re: lunch");
        assert_eq!(subject("RE: re:re: lunch"), "Re: lunch");
        assert_eq!(subject("remarks"), "Re: remarks");
        assert_eq!(subject(""), "Re:");
        assert_eq!(subject("é"), "Re: é");
        let long = subject(&"é".repeat(SUBJECT_BYTES_MAX / 2));
        assert!(long.len() <= SUBJECT_BYTES_MAX && long.ends_with('é'));
    }

    #[test]
    fn fwd_stands_once() {
        assert_eq!(forwarded("lunch"), "Fwd: lunch");
        assert_eq!(forwarded("FW: fwd:Fwd: lunch"), "Fwd: lunch");
        assert_eq!(forwarded("Re: lunch"), "Fwd: Re: lunch");
        assert_eq!(forwarded("forward"), "Fwd: forward");
        assert_eq!(forwarded(""), "Fwd:");
        assert_eq!(forwarded("é"), "Fwd: é");
        let long = forwarded(&"é".repeat(SUBJECT_BYTES_MAX / 2));
        assert!(long.len() <= SUBJECT_BYTES_MAX && long.ends_with('é'));
    }

    #[test]
    fn a_quoted_text_is_marked_line_by_line() {
        let text = quoted("ana wrote:", "one\n\n> two\n");
        assert_eq!(text, "ana wrote:\n> one\n>\n>> two\n");
    }
}
