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
pub mod news;
pub mod parse;
pub mod table;
mod talk;
pub mod words;

use crate::cli::i18n::tr;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::compose::{Composed, Typed, Written, compose};
use self::editor::{Completion, Terminal};
use self::news::News;
use self::parse::{Command, Mistake};
use super::commands::{self, Context, Flush, later, refresh, send, tell_going_back, topic, undo};
use super::error::CliError;
use super::show::{Answer, counted};
use super::ui::Ui;
use crate::cli::args::{bare, parse_undo};
use crate::client::home::Account;
use crate::client::outbox::Draft;
use crate::client::session::{Event, Options, Session};
use crate::limits::INVITATIONS_TO_USER_MAX;
use crate::protocol::MailId;
use crate::protocol::request::From as Start;

/// How long a stop may go unnoticed, and a typed line where there is no session to be woken from.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks without a session between two tries to open one.
const REOPEN_EVERY: u32 = 8;

/// Events taken in before their announcement.
const EVENTS_MAX: usize = 1_024;

/// Says how long the shell holds a send back.
const UNDO: &str = "MAILCTL_UNDO";

/// Runs the shell until it is left.
pub fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let (stop, interruptible) = flags()?;
    let undo = undo()?;
    let account = context.account()?;
    let session = context.open(&account, standing(context))?;
    let terminal = Terminal::open(Some(&context.home()?.file("history")))?;
    greet(context.ui, &session);
    let mut shell = Shell {
        context,
        account,
        session: None,
        terminal,
        news: News::new(&session, Answer::Prompt),
        stop,
        interruptible,
        reopens: false,
        tries: 0,
        outbox: Flush::default(),
        undo,
    };
    shell.take_session(session);
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
        CliError::usage(format!("{UNDO} is {said:?}: {why}")).hint(format!("{UNDO}=10s mailctl"))
    })
}

fn standing(context: &Context<'_>) -> Options {
    Options {
        timeout: context.globals.timeout,
        ..Options::standing()
    }
}

fn greet(ui: &mut Ui, session: &Session) {
    let unseen = session
        .mailbox()
        .unseen()
        .map_or(0, |unseen| unseen.len() as u64);
    let waiting = unseen + session.logs().map(|log| log.waiting).sum::<u64>();
    let url = &session.account().place().url;
    ui.note(format_args!(
        "{} at {}, {} waiting\n@name writes, !topic joins, #user chats, refresh reads, help, Ctrl-D leaves",
        session.account().user(),
        url.endpoint(url.port),
        counted(waiting, "mail")
    ));
}

/// Returns what becomes true when the process is asked to go, and what must be true for Ctrl-C to do its
/// work: in a line that is a key, a deed that takes long is cut short by it, and an editor has its own.
fn flags() -> Result<(Arc<AtomicBool>, Arc<AtomicBool>), CliError> {
    let (stop, interruptible) = (AtomicBool::new(false), AtomicBool::new(true));
    let (stop, interruptible) = (Arc::new(stop), Arc::new(interruptible));
    let register = || {
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let conditional = Arc::clone(&interruptible);
        signal_hook::flag::register_conditional_default(SIGINT, conditional)
    };
    register().map_err(|e| CliError::io("listen for signals", &e))?;
    Ok((stop, interruptible))
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
    /// Ctrl-C between two lines ends the program.
    interruptible: Arc<AtomicBool>,
    /// The server did not answer: it is tried again without being asked.
    reopens: bool,
    tries: u32,
    outbox: Flush,
    /// How long a send is held back, so that `undo` can take it back.
    undo: Duration,
}

impl Shell<'_, '_> {
    fn converse(&mut self) -> Result<(), CliError> {
        let prompt = format!("{}> ", self.account.user());
        loop {
            let known = self.news.known(self.addresses());
            let line = match self.read_line(&prompt, Completion::Shell(known)) {
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
                Err(mistake) => point(self.context.ui, &prompt, &mistake),
            }
        }
    }

    /// Does what a line says; whatever goes wrong is told.
    fn obey(&mut self, command: Command) {
        let asks = !matches!(command, Command::Nothing | Command::Help(_));
        let done = self.act(command);
        match (done, &mut self.session) {
            // The server is there: what an earlier line left in doubt settles now.
            (Ok(()), Some(session)) if asks => drop(commands::settle(self.context.ui, session)),
            (Ok(()), _) => {}
            (Err(error), _) => self.context.ui.error(&error),
        }
    }

    fn act(&mut self, command: Command) -> Result<(), CliError> {
        match command {
            Command::Nothing | Command::Quit => Ok(()),
            Command::Write { targets, text } => self.write(&targets, text),
            Command::Join(name) => {
                let topic = topic::pattern(&name)?;
                let (ui, session) = self.parts()?;
                topic::join(ui, session, &topic, Start::Now)
            }
            Command::Leave(name) => {
                let topic = topic::pattern(&name)?;
                let (ui, session) = self.parts()?;
                topic::leave(ui, session, &topic)
            }
            Command::Topics => {
                let (ui, session) = self.parts()?;
                topic::list(ui, session)
            }
            Command::Refresh => self.refresh(),
            Command::Undo => undo::take_back(self.context.ui, &self.account),
            Command::Help(word) => self.context.ui.line(table::help(word.as_deref())),
            Command::Chat(user) => self.ask(&user),
            Command::Accept(user) => self.accept(user.as_deref()),
            Command::Decline(user) => self.decline(user.as_deref()),
        }
    }

    fn write(&mut self, targets: &[String], text: Option<String>) -> Result<(), CliError> {
        let written = match text {
            Some(text) => Written::Send(Composed {
                text,
                ..Composed::default()
            }),
            None => compose(self),
        };
        let draft = |mail| draft(targets, mail);
        match written {
            Written::Send(mail) => {
                let draft = draft(mail)?;
                if !self.undo.is_zero() {
                    return later::hold_in_shell(self.context.ui, &self.account, &draft, self.undo);
                }
                let (ui, session) = self.parts()?;
                send::deliver(ui, session, draft)
            }
            Written::Keep(mail) => {
                let entry = self.account.outbox()?.keep(&draft(mail)?, false)?;
                let how = format!("kept as draft {entry}; mailctl outbox retry {entry} sends it");
                self.context.ui.note(how);
                Ok(())
            }
            Written::Dropped => {
                self.context.ui.note(tr!("nothing was sent"));
                Ok(())
            }
        }
    }

    fn refresh(&mut self) -> Result<(), CliError> {
        let refreshed = match self.parts() {
            Ok((ui, session)) => refresh::in_session(ui, session),
            // What is here already is shown even if the server is not there.
            Err(error) => {
                refresh::show_unseen(self.context.ui, &self.account, None).and(Err(error))
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
            self.announce(events, |_| false);
            self.flush(is_back);
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
                self.reopen();
                break;
            };
            match session.next_event(patience) {
                Ok(Event::Quiet) => break,
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

    /// Tries now and then whether the server is back, when it took the session with it.
    fn reopen(&mut self) {
        self.tries += 1;
        if !self.reopens || !self.tries.is_multiple_of(REOPEN_EVERY) {
            return;
        }
        let options = Options {
            patience: LOOK_EVERY,
            ..standing(self.context)
        };
        if let Ok(session) = Session::open(&self.account, options) {
            self.take_session(session);
            self.announce(vec![Event::Reconnected], |_| false);
        }
    }

    /// The session is of no use any more. The next word that needs one opens another.
    fn lose_session(&mut self, error: &CliError) {
        self.session = None;
        self.reopens = false;
        self.terminal.above().error(error);
    }

    fn take_session(&mut self, session: Session) {
        let waker = session.waker();
        self.terminal.wakes(Box::new(move || waker.wake()));
        self.session = Some(session);
    }

    /// What a deed works with; opens a session if there is none.
    fn parts(&mut self) -> Result<(&mut Ui, &mut Session), CliError> {
        if self.session.is_none() {
            let options = standing(self.context);
            let session = self.context.open(&self.account, options)?;
            self.take_session(session);
        }
        let session = self.session.as_mut().expect("opened above");
        Ok((self.context.ui, session))
    }

    /// What may follow a mark: the addresses this user reads.
    fn addresses(&self) -> Vec<String> {
        let logs = self.session.iter().flat_map(Session::logs);
        logs.map(|log| log.address.clone()).collect()
    }

    fn close(self) {
        self.terminal.leave(self.context.ui);
        // Gives the port back. That the server may not be there to hear it harms nothing.
        if let Some(mut session) = self.session {
            // Who leaves takes nothing back any more.
            for retried in session.send_all_held().unwrap_or_default() {
                self.context.ui.report(send::report(&retried));
            }
            drop(session.stop_watch());
        }
    }
}

/// Makes of a mail as typed one to send; its files are read now.
fn draft(targets: &[String], mail: Composed) -> Result<Draft, CliError> {
    let text = mail.text.into_bytes();
    let (content_type, body) = if mail.attached.is_empty() {
        (send::content_type_of(&text), text)
    } else {
        send::with_attachments(text, &mail.attached)?
    };
    Ok(Draft {
        to: targets.iter().map(|name| bare(name).to_owned()).collect(),
        subject: mail.subject,
        content_type,
        body,
        ..Draft::default()
    })
}

/// Points at the spot of a mistake, below the line as it was typed.
fn point(ui: &mut Ui, prompt: &str, mistake: &Mistake) {
    let gap = " ".repeat(super::untrusted::columns(prompt) + mistake.at);
    ui.note(format_args!("{gap}^ {}", mistake.text));
}
