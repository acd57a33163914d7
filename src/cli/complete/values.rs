//! The values that this machine knows, and topics that the server is asked for: a moment long at most.
//!
//! Nothing here is an error: what cannot be read is not offered.

use std::collections::BTreeSet;
use std::time::Duration;

use super::walk::Kind;
use crate::cli::args::Globals;
use crate::cli::codes;
use crate::cli::commands::Context;
use crate::cli::i18n::{text, tr};
use crate::cli::ui::Ui;
use crate::cli::untrusted::clipped;
use crate::client::home::{self, Account};
use crate::client::session::{Options, Session};
use crate::protocol::names::{Pattern, UserName};
use crate::protocol::reply::Envelope;

/// How long the server is waited for, between a key and what it brings.
const MOMENT: Duration = Duration::from_millis(300);

/// How many of the newest mails say who was heard of recently, or are offered themselves.
const RECENT: usize = 200;

/// Columns of a description.
const WIDTH: usize = 60;

/// Returns values of a kind, what is wanted most first, each with a line about it.
pub(super) fn of(kind: Kind, globals: &Globals) -> Vec<(String, String)> {
    let known = Known::new(globals);
    match kind {
        Kind::Account => known.accounts(),
        Kind::Context => known.contexts(),
        Kind::Error => errors(),
        Kind::User => plain(known.users()),
        Kind::Topic => plain(known.topics()),
        Kind::Address => plain([known.users(), known.topics()].concat()),
        Kind::Mail => known.mails(),
        Kind::Entry => known.entries(),
        Kind::File | Kind::Folder => Vec::new(),
    }
}

fn errors() -> Vec<(String, String)> {
    let all = codes::all().into_iter();
    all.map(|row| (row.word.to_owned(), clipped(text(row.meaning), WIDTH)))
        .collect()
}

fn plain(names: Vec<String>) -> Vec<(String, String)> {
    names
        .into_iter()
        .map(|name| (name, String::new()))
        .collect()
}

/// What is known to whom the command line speaks for.
struct Known<'a> {
    globals: &'a Globals,
    account: Option<Account>,
    recent: Vec<Envelope>,
}

impl<'a> Known<'a> {
    fn new(globals: &'a Globals) -> Self {
        let account = silently(globals, |context| context.account_as_it_lies().ok());
        let recent = account.as_ref().and_then(|account| {
            let mailbox = account.mailbox().ok()?;
            mailbox.newest(RECENT).ok()
        });
        Self {
            globals,
            account,
            recent: recent.unwrap_or_default(),
        }
    }

    fn accounts(&self) -> Vec<(String, String)> {
        let all = silently(self.globals, |context| context.home().ok()?.accounts().ok());
        let all = all.unwrap_or_default().into_iter();
        let row = |account: Account| {
            let url = &account.place().url;
            (account.user().to_string(), url.endpoint(url.port))
        };
        all.map(row).collect()
    }

    fn contexts(&self) -> Vec<(String, String)> {
        let all = silently(self.globals, |context| context.home().ok()?.contexts().ok());
        let row = |context: home::Context| {
            let url = &context.account.place().url;
            let about = tr!("{} at {}", context.account.user(), url.endpoint(url.port));
            (context.name, about)
        };
        all.unwrap_or_default().into_iter().map(row).collect()
    }

    /// Who wrote, latest first.
    fn users(&self) -> Vec<String> {
        let own = self.account.as_ref().map(|account| account.user().as_str());
        let users = self.recent.iter().map(|mail| mail.from.as_str());
        let users = users.filter(|user| UserName::parse(user).is_ok());
        once_each(users.filter(|user| Some(*user) != own))
    }

    /// Topics that mail came from, latest first, then what else this device reads, then the rest.
    fn topics(&self) -> Vec<String> {
        let Some(account) = &self.account else {
            return Vec::new();
        };
        let heard = self.recent.iter().map(|mail| mail.address.clone());
        let read = account.mailbox().and_then(|mailbox| mailbox.addresses());
        let read = read.unwrap_or_default().into_values();
        let mut topics: Vec<String> = heard.chain(read).collect();
        topics.extend(self.server_topics(account).unwrap_or_default());
        topics.retain(|topic| topic != account.user().as_str() && Pattern::parse(topic).is_ok());
        once_each(topics.iter().map(String::as_str))
    }

    fn server_topics(&self, account: &Account) -> Option<Vec<String>> {
        let options = Options {
            no_ack: true,
            want_stream: false,
            timeout: MOMENT.min(self.globals.timeout),
            patience: MOMENT,
            ..Options::default()
        };
        let mut session = Session::open(account, options).ok()?;
        let page = session.topics(None);
        drop(session.close_within(MOMENT));
        let page = page.ok()?;
        let single = page.topics.into_iter().map(|row| row.topic);
        Some(single.chain(page.prefixes).collect())
    }

    fn mails(&self) -> Vec<(String, String)> {
        let row = |mail: &Envelope| {
            let about = format!("{}: {}", mail.from, mail.subject);
            (mail.id.to_string(), clipped(&about, WIDTH))
        };
        self.recent.iter().map(row).collect()
    }

    fn entries(&self) -> Vec<(String, String)> {
        let outbox = self.account.as_ref().and_then(|it| it.outbox().ok());
        let entries = outbox.and_then(|outbox| outbox.list().ok());
        let row = |entry: crate::client::outbox::Listed| {
            let about = tr!("to {}: {}", entry.to.join(", "), entry.subject);
            (entry.entry.to_string(), clipped(&about, WIDTH))
        };
        entries.unwrap_or_default().into_iter().map(row).collect()
    }
}

fn once_each<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let fresh = names.filter(|name| seen.insert(*name));
    fresh.map(str::to_owned).collect()
}

/// Asks as a verb would, and says nothing.
fn silently<T>(globals: &Globals, ask: impl FnOnce(&Context<'_>) -> Option<T>) -> Option<T> {
    let nowhere = || Box::new(std::io::sink());
    let mut ui = Ui::to(nowhere(), nowhere(), false);
    ask(&Context {
        globals,
        passphrase: None,
        ui: &mut ui,
    })
}
