//! What a standing shell hears meanwhile, in one line each, printed above what is being typed.

use crate::cli::i18n::tr;
use std::collections::{BTreeMap, BTreeSet};

use super::names::{Kind, Names};
use super::table::Known;
use crate::cli::commands::invitations::Live;
use crate::cli::once::{self, Once};
use crate::cli::show::{Answer, counted};
use crate::cli::ui::{Ui, terminal_width};
use crate::cli::untrusted::{Paint, clipped, columns, painted, visible};
use crate::client::home::Account;
use crate::client::mailbox::Mail;
use crate::client::muted::Muted;
use crate::client::receipt;
use crate::client::session::{Event, Session};
use crate::client::shown::Shown;
use crate::protocol::MailId;
use crate::protocol::reply::{ChatRow, ChatState, Envelope};
use crate::protocol::request::ChatId;

/// Mails announced one by one when they come at once; more are counted.
const SINGLE_MAILS: usize = 3;

/// What the shell has heard so far.
#[derive(Debug)]
pub(crate) struct News {
    invitations: Live,
    /// Lines of chats that were shown need no word when they come again as mail.
    lines: Shown,
    muted: Muted,
    heard: Heard,
}

#[derive(Debug, Default)]
struct Heard {
    once: Once,
    /// The addresses that this user reads.
    reads: Vec<String>,
    names: Names,
    asking: BTreeMap<ChatId, String>,
    /// Whose shell it is.
    user: String,
    down: bool,
}

impl News {
    /// Begins with nothing heard, and no session yet.
    pub(crate) fn new(account: &Account, answer: Answer) -> Self {
        Self {
            invitations: Live::new(account, answer),
            lines: account.shown(),
            heard: Heard {
                names: Names::of(account.folder()),
                user: account.user().as_str().to_owned(),
                ..Heard::default()
            },
            muted: account.muted(),
        }
    }

    /// Begins with nothing heard in a session.
    pub(crate) fn of(session: &Session, answer: Answer) -> Self {
        let mut news = Self::new(session.account(), answer);
        news.logged_in(session);
        news
    }

    /// Takes in who this device is at the server, and what it reads there.
    pub(crate) fn logged_in(&mut self, session: &Session) {
        self.invitations.logged_in(session);
        self.heard.reads = session.logs().map(|log| log.address.clone()).collect();
    }

    /// Says that the server is not there, unless that was said.
    pub(crate) fn misses_server(&mut self, ui: &mut Ui) {
        if let Some(text) = self.heard.lost_server() {
            ui.note(text);
        }
    }

    /// Says what came at once. Mails that `is_seen` need no word.
    pub(crate) fn announce(
        &mut self,
        ui: &mut Ui,
        events: Vec<Event>,
        is_seen: impl Fn(MailId) -> bool,
    ) {
        for event in &events {
            if let Event::Chat(row) = event
                && self.invitations.hear(ui, row).unwrap_or_default()
            {
                self.heard.invitation(row);
            }
        }
        let (lines, muted) = (&self.lines, &self.muted);
        let known =
            |mail: &Envelope| is_seen(mail.id) || lines.covers(mail) || muted.covers(&mail.address);
        for text in self.heard.hear(events, known, terminal_width()) {
            ui.note(text);
        }
    }

    /// Changes how to answer an invitation is told.
    pub(crate) fn set_answer(&mut self, answer: Answer) {
        self.invitations.set_answer(answer);
    }

    /// Says again which invitations stand.
    pub(crate) fn remind(&self, ui: &mut Ui) {
        // A terminal that cannot be written to is noticed by the next line read.
        self.invitations.remind(ui).ok();
    }

    /// Returns the invitations that were said from beginning to end.
    pub(crate) fn take_ended(&mut self) -> Vec<ChatId> {
        self.invitations.take_ended()
    }

    /// Notes that the shell itself answers an invitation: how that ends is no news.
    pub(crate) fn answered(&mut self, chat: &ChatId) {
        self.invitations.answered(chat);
        self.heard.asking.remove(chat);
    }

    /// Remembers a name for completion.
    pub(crate) fn meet(&mut self, kind: Kind, name: &str) {
        self.heard.names.hear(kind, name);
    }

    /// Keeps the names for later sessions.
    pub(crate) fn keep_names(&mut self) {
        self.heard.names.keep();
    }

    /// Returns the names to complete: those heard of, those that this user reads, and `others` of topics.
    pub(crate) fn known(&mut self, addresses: Vec<String>, others: &[String]) -> Known {
        self.heard.reads.clone_from(&addresses);
        let mut topics = self.heard.names.recent(Some(Kind::Topic));
        topics.extend_from_slice(others);
        let is_topic = |name: &&String| **name != self.heard.user;
        Known {
            recent: self.heard.names.recent(None),
            people: self.heard.names.recent(Some(Kind::User)),
            joined: addresses.iter().filter(is_topic).cloned().collect(),
            addresses,
            topics,
            asking: self.heard.asking.values().cloned().collect(),
        }
    }
}

impl Heard {
    /// Takes in what came at once; returns what there is to say.
    fn hear(
        &mut self,
        events: Vec<Event>,
        is_known: impl Fn(&Envelope) -> bool,
        width: usize,
    ) -> Vec<String> {
        let mut said = Vec::new();
        let mut mails = Vec::new();
        for event in events {
            match event {
                Event::Mail(mail) if is_known(&mail.envelope) => {}
                Event::Mail(mail) if self.once.is_again(&mail.envelope) => {}
                Event::Mail(mail) => mails.push(self.from(mail)),
                Event::Trimmed(gone) => said.push(tr!(
                    "{} to {} went unread: expired or trimmed",
                    counted(gone.count, "mail"),
                    visible(&gone.address)
                )),
                Event::Disconnected => said.extend(self.lost_server()),
                Event::Reconnected => said.extend(self.found_server()),
                _ => {}
            }
        }
        said.extend(announce(&mails, &self.reads, width));
        said
    }

    fn invitation(&mut self, row: &ChatRow) {
        if row.state == ChatState::Open {
            self.names.hear(Kind::User, &row.from);
            self.asking.insert(row.chat.clone(), visible(&row.from));
        } else {
            self.asking.remove(&row.chat);
        }
    }

    fn from(&mut self, mail: Mail) -> Envelope {
        let envelope = &mail.envelope;
        // Of a user's own log the sender is who matters.
        if envelope.address != self.user {
            self.names.hear(Kind::Topic, &envelope.address);
        }
        self.names.hear(Kind::User, &envelope.from);
        mail.envelope
    }

    /// Notes that the server is gone; says so once.
    fn lost_server(&mut self) -> Option<String> {
        let told = std::mem::replace(&mut self.down, true);
        (!told).then(|| tr!("the server does not answer; trying again").to_owned())
    }

    /// Notes that the server is back; says so if it was missed.
    fn found_server(&mut self) -> Option<String> {
        let was_down = std::mem::replace(&mut self.down, false);
        was_down.then(|| tr!("the server is back").to_owned())
    }
}

fn announce(mails: &[Envelope], reads: &[String], width: usize) -> Vec<String> {
    if mails.len() <= SINGLE_MAILS {
        return mails.iter().map(|mail| one(mail, reads, width)).collect();
    }
    let to: BTreeSet<String> = mails.iter().map(|mail| visible(&mail.address)).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).take(SINGLE_MAILS).collect();
    vec![tr!(
        "{} to {} - refresh shows them",
        counted(mails.len() as u64, "mail"),
        to.join(", ")
    )]
}

/// `@news from ana: lunch - refresh shows it`. A subject is cut where the terminal would wrap it: at the
/// left edge stand only words of ours.
fn one(mail: &Envelope, reads: &[String], width: usize) -> String {
    if receipt::is_receipt(mail) {
        let of = mail
            .in_reply_to
            .map(|id| format!(" {id}"))
            .unwrap_or_default();
        return tr!("{} has read your mail{}", visible(&mail.from), of);
    }
    let by = once::addresses(mail, reads.iter().map(String::as_str));
    let by: Vec<String> = by
        .iter()
        .map(|name| format!("@{}", visible(name)))
        .collect();
    let from = painted(Paint::Fresh, &visible(&mail.from));
    let head = tr!("{} from {}", by.join(" "), from);
    let tail = tr!(" - refresh shows it");
    let subject = match mail.subject.as_str() {
        "" => String::new(),
        subject => {
            let room = width.saturating_sub(columns(&head) + tail.len() + 3);
            format!(": {}", clipped(subject, room.max(1)))
        }
    };
    format!("{head}{subject}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::untrusted::Print;

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
                ..Envelope::default()
            },
            body: Vec::new(),
        })
    }

    /// As it stands where there are no colours.
    fn printed(text: &str) -> String {
        let coloured = false;
        Print { text, coloured }.to_string()
    }

    fn hear(heard: &mut Heard, events: Vec<Event>) -> Vec<String> {
        let said = heard.hear(events, |mail| mail.id == 99, 80);
        said.iter().map(|text| printed(text)).collect()
    }

    #[test]
    fn a_mail_is_one_line_and_many_are_counted() {
        let mut heard = Heard::default();
        assert_eq!(
            hear(
                &mut heard,
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
            hear(&mut heard, many),
            ["5 mails to news - refresh shows them"]
        );
        assert_eq!(heard.names.recent(None), ["ana", "news", "bob"]);
    }

    #[test]
    fn a_mail_by_two_addresses_is_one_line_that_names_both() {
        let copy = |id, address: &str| {
            let Event::Mail(mut mail) = mail(id, address, "lunch") else {
                panic!("no mail");
            };
            mail.envelope.message = 1;
            mail.envelope.to = vec!["bob".into(), "news".into(), "carol".into()];
            Event::Mail(mail)
        };
        let mut heard = Heard {
            reads: vec!["bob".into(), "news".into()],
            ..Heard::default()
        };
        let said = hear(&mut heard, vec![copy(1, "bob")]);
        assert_eq!(said, ["@bob @news from ana: lunch - refresh shows it"]);
        assert!(hear(&mut heard, vec![copy(2, "news")]).is_empty());
    }

    #[test]
    fn the_server_is_missed_once() {
        let mut heard = Heard::default();
        let gone = vec![Event::Disconnected, Event::Disconnected];
        assert_eq!(
            hear(&mut heard, gone),
            ["the server does not answer; trying again"]
        );
        assert!(hear(&mut heard, vec![Event::Disconnected]).is_empty());
        let back = vec![Event::Reconnected, Event::Reconnected];
        assert_eq!(hear(&mut heard, back), ["the server is back"]);
    }

    #[test]
    fn p12_a_live_subject_stays_on_its_line() {
        let long = "x ".repeat(100) + "? eve asks for a direct chat -> y or n";
        let said = hear(&mut Heard::default(), vec![mail(1, "news", &long)]);
        assert_eq!(columns(&said[0]), 79);
        let evil = "x\u{1b}[2J\n@news from bob: forged";
        let said = hear(&mut Heard::default(), vec![mail(1, "news", evil)]);
        assert_eq!(
            [printed(&said[0])],
            ["@news from ana: x␛[2J␊@news from bob: forged - refresh shows it"]
        );
    }
}
