//! The interactive shell: the seed's words at a prompt, and word of what arrives meanwhile.
//!
//! [`table`] lists the words, [`parse`] reads a line, [`mod@compose`] asks for a mail, [`editor`] is the
//! terminal, [`news`] says what is heard, [`chat`] holds direct chats. One thread owns the session and
//! does what the words say; while a line is being typed it listens, and prints above that line.
//! Whatever goes wrong is told, and the prompt stays. What the words do is shared with the verbs of the
//! same meaning in [`super::commands`].

pub mod chat;
pub mod compose;
pub(super) mod desk;
pub mod editor;
pub(super) mod letter;
pub(crate) mod names;
pub mod news;
pub mod parse;
pub mod table;
mod talk;
mod verbs;
pub mod words;
mod write;

use crate::cli::i18n::{tr, tr_n};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::compose::Typed;
use self::editor::{Completion, Keys, Terminal};
use self::names::Kind;
use self::news::News;
use self::parse::{Command, Mistake};
use super::commands::{self, Context, Flush, refresh, send, tell_going_back, topic};
use super::error::CliError;
use super::pager;
use super::show::{Answer, counted};
use super::ui::{Ui, terminal_width};
use super::untrusted::{is_active, visible};
use crate::cli::args::{Verb, parse_undo};
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::interrupt::Interrupt;
use crate::client::session::{Event, Options, Session};
use crate::limits::INVITATIONS_TO_USER_MAX;
use crate::protocol::MailId;
use crate::protocol::request::From as Start;

/// How long a stop may go unnoticed, and a typed line where there is no session to be woken from.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks without a session between two tries to open one.
const REOPEN_EVERY: u32 = 8;

/// Columns that must be left for what is wrong to point at the spot.
const POINTED_COLUMNS: usize = 40;

/// Topics named in the greeting.
const TOPICS_NAMED: usize = 8;

/// How long a word waits for a server that is gone, which may be on its way back, and the shell's end for any.
const WHILE_GONE: Duration = Duration::from_secs(2);

/// Events taken in before their announcement.
const EVENTS_MAX: usize = 1_024;

/// Says how long the shell holds a send back.
const UNDO: &str = "MAILCTL_UNDO";

/// Runs the shell until it is left.
pub fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let (stop, interrupt) = (stop_flag()?, Interrupt::default());
    let undo = undo()?;
    let account = context.account()?;
    let session = match context.open(&account, standing(context, &interrupt)) {
        Ok(session) => Some(session),
        Err(error) if is_away(&error) => None,
        Err(error) => return Err(error.into()),
    };
    // From here on Ctrl-C ends what is under way, and not the program.
    let interrupted = Arc::new(AtomicBool::new(false));
    for flag in [interrupt.flag(), Arc::clone(&interrupted)] {
        signal_hook::flag::register(SIGINT, flag)
            .map_err(|e| CliError::io(tr!("listen for signals"), &e))?;
    }
    context.ui.stop_with(interrupt.clone());
    let history = context.home()?.file("history");
    let is_new = !history.exists();
    let terminal = Terminal::open(Some(&history), context.ui.look(), Some(interrupt.clone()))?;
    greet(context.ui, &account, session.as_ref())?;
    if is_new {
        context.ui.note(tr!(
            "@name writes, !topic joins, #user chats, refresh reads, help, Ctrl-D leaves"
        ));
    }
    let news = News::new(&account, Answer::Prompt);
    let mut shell = Shell {
        context,
        account,
        session: None,
        terminal,
        news,
        stop,
        interrupt,
        interrupted,
        reopens: false,
        tries: 0,
        outbox: Flush::default(),
        topics: Vec::new(),
        undo,
    };
    if let Some(session) = session {
        shell.take_session(session);
    } else {
        shell.reopens = true;
        shell.news.misses_server(shell.context.ui);
    }
    let left = shell.converse();
    shell.close();
    left
}

/// Returns how long this user wants sends to be held back: not at all, unless he says so.
fn undo() -> Result<Duration, CliError> {
    let said = std::env::var(UNDO).unwrap_or_default();
    if said.is_empty() {
        return Ok(Duration::ZERO);
    }
    parse_undo(&said).map_err(|why| {
        CliError::usage(tr!("{} is {}: {}", UNDO, format!("{:?}", said), why))
            .hint(tr!("{}=10s mailctl", UNDO))
    })
}

fn standing(context: &Context<'_>, interrupt: &Interrupt) -> Options {
    Options {
        timeout: context.globals.timeout,
        patience: WHILE_GONE,
        interrupt: interrupt.clone(),
        ..Options::standing()
    }
}

/// Says whether the server is not there just now: it may come back, and much can be done without it.
fn is_away(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Unreachable { .. } | ClientError::NoAnswer { .. }
    )
}

/// Says in one line who this is, what waits and which topics; without a session, what waits here.
fn greet(ui: &mut Ui, account: &Account, session: Option<&Session>) -> Result<(), CliError> {
    let here = account.mailbox()?.unseen()?.len() as u64;
    let url = &account.place().url;
    let (user, endpoint) = (account.user(), url.endpoint(url.port));
    let Some(session) = session else {
        let waiting = counted(here, "mail");
        ui.note(tr!("{} at {}; {} waiting here", user, endpoint, waiting));
        return Ok(());
    };
    let waiting = here + session.logs().map(|log| log.waiting).sum::<u64>();
    let (waiting, topics) = (counted(waiting, "mail"), topics(session));
    ui.note(tr!(
        "{} at {}; {} waiting; topics: {}",
        user,
        endpoint,
        waiting,
        topics
    ));
    Ok(())
}

/// Names the first topics that are read.
fn topics(session: &Session) -> String {
    let topics = session.logs().filter(|log| log.kind == "topic");
    let mut named: Vec<String> = topics.map(|log| visible(&log.address)).collect();
    named.sort_unstable();
    let others = named.len().saturating_sub(TOPICS_NAMED) as u64;
    named.truncate(TOPICS_NAMED);
    if others > 0 {
        named.push(tr_n!(others, "and {n} other", "and {n} others"));
    }
    if named.is_empty() {
        tr!("none").to_owned()
    } else {
        named.join(", ")
    }
}

/// Returns what becomes true when the process is asked to go.
fn stop_flag() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|e| CliError::io(tr!("listen for signals"), &e))?;
    }
    Ok(stop)
}

/// A shell that stands.
struct Shell<'a, 'c> {
    context: &'a mut Context<'c>,
    account: Account,
    /// None after the server ended it for good, and until it is opened again.
    session: Option<Session>,
    terminal: Terminal,
    news: News,
    stop: Arc<AtomicBool>,
    /// Ctrl-C between two lines: ends the word that is being carried out.
    interrupt: Interrupt,
    /// Ctrl-C was pressed in a word, and the terminal has echoed it.
    interrupted: Arc<AtomicBool>,
    /// The server did not answer: it is tried again without being asked.
    reopens: bool,
    tries: u32,
    outbox: Flush,
    /// Topics that the server has, for completion.
    topics: Vec<String>,
    /// How long a send is held back, so that `undo` can take it back.
    undo: Duration,
}

impl Shell<'_, '_> {
    fn converse(&mut self) -> Result<(), CliError> {
        let prompt = format!("{}> ", self.account.user());
        loop {
            let completion = self.completion()?;
            let line = match self.read_line(&prompt, completion) {
                Typed::Line(line) => line,
                Typed::Interrupt => continue,
                Typed::End => return Ok(()),
                Typed::Failed(cause) => {
                    let cause = std::io::Error::other(cause);
                    return Err(CliError::io(tr!("read the terminal"), &cause));
                }
            };
            match parse::parse(&line) {
                Ok(Command::Quit) => return Ok(()),
                Ok(command) => {
                    self.terminal.remember(&line);
                    self.obey(command);
                }
                Err(mistake) => {
                    // To be mended, not typed anew.
                    self.terminal.remember(&line);
                    point(self.context.ui, &prompt, &mistake);
                }
            }
        }
    }

    /// Does what a line says; whatever goes wrong is told.
    fn obey(&mut self, command: Command) {
        let asks = !matches!(command, Command::Nothing | Command::Help(_));
        self.interrupted.store(false, Ordering::Relaxed);
        let keys = if asks_itself(&command) {
            Keys::Shown
        } else {
            Keys::ForNextLine
        };
        self.terminal.between_lines(keys);
        let written = match &command {
            Command::Write { targets, .. } => targets.clone(),
            _ => Vec::new(),
        };
        let done = self.act(command);
        if done.is_ok() {
            self.meet(&written);
        }
        self.news.keep_names();
        if self.interrupted.swap(false, Ordering::Relaxed) && self.terminal.shows_ctrl_c() {
            self.context.ui.begin_line();
        }
        match (done, &mut self.session) {
            // The server is there: what an earlier line left in doubt settles now.
            (Ok(()), Some(session)) if asks && session.is_connected() => {
                drop(commands::settle(self.context.ui, session));
            }
            (Ok(()), _) => {}
            (Err(mut error), _) => {
                error.text = table::at_the_prompt(&error.text);
                for hint in &mut error.hints {
                    *hint = table::at_the_prompt(hint);
                }
                self.context.ui.error(&error);
            }
        }
    }

    fn act(&mut self, command: Command) -> Result<(), CliError> {
        match command {
            Command::Nothing | Command::Quit => Ok(()),
            Command::Write { targets, text } => self.write(&targets, text),
            Command::Join(name) => {
                let topic = topic::pattern(&name)?;
                let (ui, session) = self.parts()?;
                topic::join(ui, session, &topic, Start::Now)?;
                self.news.meet(Kind::Topic, topic.as_str());
                Ok(())
            }
            Command::Leave(name) => {
                let topic = topic::pattern(&name)?;
                let (ui, session) = self.parts()?;
                topic::leave(ui, session, &topic)
            }
            Command::Reply { id, all, text } => self.reply(id, all, text),
            Command::Topics => self.list_topics(),
            Command::Refresh => self.refresh(),
            Command::Verb(verb) => self.verb(*verb),
            Command::Help(word) => self.context.ui.line(table::help(word.as_deref())),
            Command::Chat(user) => self.ask(&user),
            Command::Accept(user) => self.accept(user.as_deref()),
            Command::Decline(user) => self.decline(user.as_deref()),
        }
    }

    fn refresh(&mut self) -> Result<(), CliError> {
        let refreshed = match self.parts() {
            Ok((ui, session)) => refresh::in_session(ui, session),
            // What is here already is shown even if the server is not there.
            Err(error) => {
                refresh::show_unseen(self.context.ui, &self.account, None, &mut pager::rest)
                    .and(Err(error.into()))
            }
        };
        self.pass_shown()?;
        refreshed
    }

    /// Forgets the announcements of what was just shown.
    fn pass_shown(&mut self) -> Result<(), CliError> {
        let unseen = self.account.mailbox()?.unseen()?;
        let unseen: BTreeSet<MailId> = unseen.into_iter().map(|(id, _)| id).collect();
        let events = self.events(Duration::ZERO);
        self.announce(events, |id| !unseen.contains(&id));
        Ok(())
    }

    /// Reads a line; what is heard meanwhile is said above it.
    fn read_line(&mut self, prompt: &str, completion: Completion) -> Typed {
        let offers_names = matches!(completion, Completion::Shell(..));
        self.terminal.ask(prompt, completion);
        loop {
            if let Some(typed) = self.terminal.take() {
                return typed;
            }
            if self.stop.load(Ordering::Relaxed) {
                return Typed::End;
            }
            let events = self.events(LOOK_EVERY);
            let is_back = events.contains(&Event::Reconnected);
            let is_news = !events.is_empty();
            self.announce(events, |_| false);
            self.flush(is_back);
            // Who was just heard of comes first.
            if is_news
                && offers_names
                && let Ok(completion) = self.completion()
            {
                self.terminal.offer(completion);
            }
        }
    }

    /// Sends what waited in the outbox for its time, or for the server.
    fn flush(&mut self, is_back: bool) {
        let Some(session) = &mut self.session else {
            return;
        };
        // A failure shows in the next event, if it lasts.
        for told in self.outbox.look(session, is_back).unwrap_or_default() {
            self.terminal.above().note(told);
        }
    }

    /// Waits for something to happen, `patience` long at most or until a line was typed, and returns
    /// all that has happened.
    fn events(&mut self, patience: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let mut patience = patience;
        while events.len() < EVENTS_MAX {
            let Some(session) = &mut self.session else {
                self.terminal.rest(patience);
                if self.reopen() {
                    events.push(Event::Reconnected);
                }
                break;
            };
            match session.next_event(patience) {
                Ok(Event::Quiet) | Err(ClientError::Interrupted) => break,
                Ok(event) => events.push(event),
                Err(error) => {
                    self.lose_session(&error.into());
                    break;
                }
            }
            patience = Duration::ZERO;
        }
        events
    }

    fn announce(&mut self, events: Vec<Event>, is_seen: impl Fn(MailId) -> bool) {
        if let Some(session) = &self.session
            && events.contains(&Event::Reconnected)
        {
            // Where it cannot be noted that it was said, it is said again.
            tell_going_back(self.terminal.above(), session).ok();
        }
        self.news.announce(self.terminal.above(), events, is_seen);
        self.note_ended();
    }

    /// Tells the server which invitations were said from beginning to end: nobody missed them.
    fn note_ended(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        for chats in self.news.take_ended().chunks(INVITATIONS_TO_USER_MAX) {
            // Without it a refresh tells them once more, which harms nothing.
            session.chat_seen(chats).ok();
        }
    }

    /// Tries now and then whether the server is back, when it took the session with it or was not there at first.
    /// Says whether it is.
    fn reopen(&mut self) -> bool {
        self.tries += 1;
        if !self.reopens || !self.tries.is_multiple_of(REOPEN_EVERY) {
            return false;
        }
        let options = Options {
            patience: LOOK_EVERY,
            ..standing(self.context, &self.interrupt)
        };
        match Session::open(&self.account, options) {
            Ok(session) => self.take_session(session),
            Err(error) if is_away(&error) => return false,
            Err(error) => {
                self.lose_session(&error.into());
                return false;
            }
        }
        true
    }

    /// The session is of no use any more. The next word that needs one opens another.
    fn lose_session(&mut self, error: &CliError) {
        self.session = None;
        self.reopens = false;
        self.terminal.above().error(error);
    }

    fn take_session(&mut self, mut session: Session) {
        self.learn_topics(&mut session);
        let waker = session.waker();
        self.terminal.wakes(Box::new(move || waker.wake()));
        self.news.logged_in(&session);
        self.session = Some(session);
        self.reopens = false;
    }

    /// Asks for topics that Tab may offer. Without an answer it offers what was heard of.
    fn learn_topics(&mut self, session: &mut Session) {
        let before = session.set_timeout(LOOK_EVERY);
        if let Ok(page) = session.topics(None) {
            self.topics = page.topics.into_iter().map(|row| row.topic).collect();
            self.topics.retain(|name| !name.contains(is_active));
        }
        session.set_timeout(before);
    }

    /// What a deed works with; opens a session if there is none.
    fn parts(&mut self) -> Result<(&mut Ui, &mut Session), ClientError> {
        if self.session.is_none() {
            let options = standing(self.context, &self.interrupt);
            let session = self.context.open(&self.account, options)?;
            self.take_session(session);
            self.announce(vec![Event::Reconnected], |_| false);
        }
        let session = self.session.as_mut().expect("opened above");
        let timeout = self.context.globals.timeout;
        session.set_timeout(if session.is_connected() {
            timeout
        } else {
            timeout.min(WHILE_GONE)
        });
        Ok((self.context.ui, session))
    }

    /// Remembers whom was written to.
    fn meet(&mut self, targets: &[String]) {
        let addresses = self.addresses();
        let own = self.account.user().as_str().to_owned();
        for name in targets {
            let is_topic = *name != own && (addresses.contains(name) || self.topics.contains(name));
            let kind = if is_topic { Kind::Topic } else { Kind::User };
            self.news.meet(kind, name);
        }
    }

    /// What Tab offers at the prompt just now.
    fn completion(&mut self) -> Result<Completion, CliError> {
        let addresses = self.addresses();
        let known = self.news.known(addresses, &self.topics);
        Ok(Completion::Shell(Box::new(known), self.account.mailbox()?))
    }

    /// What may follow a mark: the addresses this user reads.
    fn addresses(&self) -> Vec<String> {
        let logs = self.session.iter().flat_map(Session::logs);
        logs.map(|log| log.address.clone()).collect()
    }

    fn close(mut self) {
        self.news.keep_names();
        self.terminal.leave(self.context.ui);
        // Gives the port back. That the server may not be there to hear it harms nothing.
        if let Some(mut session) = self.session {
            session.set_timeout(self.context.globals.timeout.min(WHILE_GONE));
            // Who leaves takes nothing back any more.
            for retried in session.send_all_held().unwrap_or_default() {
                self.context.ui.report(send::report(&retried));
            }
            if session.is_connected() {
                drop(session.stop_watch());
            }
        }
    }
}

/// Says whether a command asks for a line by itself, not through the editor.
fn asks_itself(command: &Command) -> bool {
    matches!(command, Command::Verb(verb) if match &**verb {
        Verb::Rm(rm) => rm.purge,
        Verb::Device { .. } | Verb::Draft { .. } | Verb::Forward(_) => true,
        _ => false,
    })
}

/// Points at the spot of a mistake, below the line as it was typed.
fn point(ui: &mut Ui, prompt: &str, mistake: &Mistake) {
    let before = super::untrusted::columns(prompt) + mistake.at;
    // Where the line was wrapped, or the screen is narrow, nothing can be pointed at.
    let gap = if before + POINTED_COLUMNS < terminal_width() {
        " ".repeat(before)
    } else {
        String::new()
    };
    ui.note(format_args!("{gap}^ {}", mistake.text));
}
