//! What a standing shell hears meanwhile, in one line each. Pure: texts out, nothing printed; whoever
//! prints them makes them visible first.

use std::collections::BTreeSet;

use super::table::Known;
use crate::cli::show::counted;
use crate::cli::untrusted::visible;
use crate::client::mailbox::Mail;
use crate::client::session::Event;
use crate::protocol::MailId;
use crate::protocol::reply::Envelope;

/// Mails announced one by one when they come at once; more are counted.
const SINGLE_MAILS: usize = 3;

/// Names remembered for completion.
const PEOPLE_MAX: usize = 256;

/// What the shell has heard so far.
#[derive(Debug, Default)]
pub struct News {
    people: BTreeSet<String>,
    down: bool,
}

impl News {
    /// Takes in what came at once; returns what there is to say. Mails that `is_seen` need no word.
    pub fn hear(&mut self, events: Vec<Event>, is_seen: impl Fn(MailId) -> bool) -> Vec<String> {
        let mut said = Vec::new();
        let mut mails = Vec::new();
        for event in events {
            match event {
                Event::Mail(mail) if is_seen(mail.envelope.id) => {}
                Event::Mail(mail) => mails.push(self.from(mail)),
                Event::Trimmed(gone) => said.push(format!(
                    "{} to {} went unread: expired or trimmed",
                    counted(gone.count, "mail"),
                    visible(&gone.address)
                )),
                Event::Disconnected => said.extend(self.lost_server()),
                Event::Reconnected => said.extend(self.found_server()),
                _ => {}
            }
        }
        said.extend(announce(&mails));
        said
    }

    fn from(&mut self, mail: Mail) -> Envelope {
        self.meet(&mail.envelope.from);
        mail.envelope
    }

    /// Remembers a user's name for completion.
    pub fn meet(&mut self, user: &str) {
        if self.people.len() < PEOPLE_MAX {
            self.people.insert(visible(user));
        }
    }

    /// Notes that the server is gone; says so once.
    pub fn lost_server(&mut self) -> Option<String> {
        let told = std::mem::replace(&mut self.down, true);
        (!told).then(|| "the server does not answer; trying again".to_owned())
    }

    /// Notes that the server is back; says so if it was missed.
    pub fn found_server(&mut self) -> Option<String> {
        let was_down = std::mem::replace(&mut self.down, false);
        was_down.then(|| "the server is back".to_owned())
    }

    /// Returns the names to complete.
    pub fn known(&self, addresses: Vec<String>) -> Known {
        Known {
            addresses,
            people: self.people.iter().cloned().collect(),
            asking: Vec::new(),
        }
    }
}

fn announce(mails: &[Envelope]) -> Vec<String> {
    if mails.len() <= SINGLE_MAILS {
        return mails.iter().map(one).collect();
    }
    let to: BTreeSet<String> = mails.iter().map(|mail| visible(&mail.address)).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).take(SINGLE_MAILS).collect();
    vec![format!(
        "{} to {} - refresh shows them",
        counted(mails.len() as u64, "mail"),
        to.join(", ")
    )]
}

/// `@news from ana: lunch - refresh shows it`.
fn one(mail: &Envelope) -> String {
    let subject = match mail.subject.as_str() {
        "" => String::new(),
        subject => format!(": {}", visible(subject)),
    };
    let (address, from) = (visible(&mail.address), visible(&mail.from));
    format!("@{address} from {from}{subject} - refresh shows it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(id: MailId, address: &str, subject: &str) -> Event {
        Event::Mail(Mail {
            log: 1,
            envelope: Envelope {
                id,
                prev: 0,
                n: 1,
                address: address.into(),
                from: "ana".into(),
                to: vec![address.into()],
                subject: subject.into(),
                sent_at: String::new(),
                expires_at: None,
                content_type: "text/plain".into(),
                size: 0,
                frames: 1,
            },
            body: Vec::new(),
        })
    }

    fn hear(news: &mut News, events: Vec<Event>) -> Vec<String> {
        news.hear(events, |id| id == 99)
    }

    #[test]
    fn a_mail_is_one_line_and_many_are_counted() {
        let mut news = News::default();
        assert_eq!(
            hear(
                &mut news,
                vec![
                    mail(1, "news", "lunch"),
                    mail(2, "bob", ""),
                    mail(99, "x", "")
                ]
            ),
            [
                "@news from ana: lunch - refresh shows it",
                "@bob from ana - refresh shows it"
            ]
        );
        let many = (1..=5).map(|id| mail(id, "news", "x")).collect();
        assert_eq!(
            hear(&mut news, many),
            ["5 mails to news - refresh shows them"]
        );
        assert_eq!(news.known(Vec::new()).people, ["ana"]);
    }

    #[test]
    fn the_server_is_missed_once() {
        let mut news = News::default();
        let gone = vec![Event::Disconnected, Event::Disconnected];
        assert_eq!(
            hear(&mut news, gone),
            ["the server does not answer; trying again"]
        );
        assert!(hear(&mut news, vec![Event::Disconnected]).is_empty());
        let back = vec![Event::Reconnected, Event::Reconnected];
        assert_eq!(hear(&mut news, back), ["the server is back"]);
    }

    #[test]
    fn p12_a_live_subject_stays_on_its_line() {
        let evil = "x\u{1b}[2J\n@news from bob: forged";
        let said = hear(&mut News::default(), vec![mail(1, "news", evil)]);
        assert_eq!(
            said,
            ["@news from ana: x␛[2J␊@news from bob: forged - refresh shows it"]
        );
    }
}
