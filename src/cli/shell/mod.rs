//! The interactive shell: the seed's words at a prompt.
//!
//! [`table`] lists the words, [`parse`] reads a line, [`mod@compose`] asks for a mail, [`editor`] is the
//! terminal. Whatever goes wrong is told, and the prompt stays. What the words do is shared with the
//! verbs of the same meaning in [`super::commands`].

pub mod compose;
pub mod editor;
pub mod parse;
pub mod table;

use self::compose::{Composed, Lines, Typed, compose};
use self::editor::Terminal;
use self::parse::{Command, Mistake};
use super::commands::{self, Context, refresh, send, topic};
use super::error::CliError;
use super::show::counted;
use super::ui::Ui;
use crate::cli::args::bare;
use crate::client::outbox::Draft;
use crate::client::session::Session;
use crate::protocol::request::From as Start;

/// Runs the shell until it is left.
pub fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let mut session = context.session()?;
    let mut terminal = Terminal::open(&context.home()?.file("history"))?;
    greet(context.ui, &session);
    let left = converse(context.ui, &mut session, &mut terminal);
    commands::close(session);
    left
}

fn greet(ui: &mut Ui, session: &Session) {
    let unseen = session
        .mailbox()
        .unseen()
        .map_or(0, |unseen| unseen.len() as u64);
    let waiting = unseen + session.logs().map(|log| log.waiting).sum::<u64>();
    let url = &session.account().place().url;
    ui.note(format_args!(
        "{} at {}, {} waiting\n@name writes, !topic joins, refresh reads, help explains, Ctrl-D leaves",
        session.account().user(),
        url.endpoint(url.port),
        counted(waiting, "mail")
    ));
}

fn converse(ui: &mut Ui, session: &mut Session, terminal: &mut Terminal) -> Result<(), CliError> {
    let prompt = format!("{}> ", session.account().user());
    terminal.learn(names(session));
    loop {
        let line = match terminal.read(&prompt) {
            Typed::Line(line) => line,
            Typed::Interrupt => continue,
            Typed::End => return Ok(()),
            Typed::Failed(cause) => {
                return Err(CliError::io(
                    "read the terminal",
                    &std::io::Error::other(cause),
                ));
            }
        };
        match parse::parse(&line) {
            Ok(Command::Quit) => return Ok(()),
            Ok(command) => {
                terminal.remember(&line);
                let asks = !matches!(command, Command::Nothing | Command::Help(_));
                match act(ui, session, terminal, command) {
                    // The server is there: what an earlier line left in doubt settles now.
                    Ok(()) if asks => drop(commands::settle(ui, session)),
                    Ok(()) => {}
                    Err(error) => ui.error(&error),
                }
                terminal.learn(names(session));
            }
            Err(mistake) => point(ui, &prompt, &mistake),
        }
    }
}

/// What may follow a mark: the addresses this user reads.
fn names(session: &Session) -> Vec<String> {
    session.logs().map(|log| log.address.clone()).collect()
}

/// Points at the spot of a mistake, below the line as it was typed.
fn point(ui: &mut Ui, prompt: &str, mistake: &Mistake) {
    let gap = " ".repeat(super::untrusted::columns(prompt) + mistake.at);
    ui.note(format_args!("{gap}^ {}", mistake.text));
}

fn act(
    ui: &mut Ui,
    session: &mut Session,
    lines: &mut dyn Lines,
    command: Command,
) -> Result<(), CliError> {
    match command {
        Command::Nothing | Command::Quit => Ok(()),
        Command::Write { targets, text } => write(ui, session, lines, &targets, text),
        Command::Join(name) => {
            let topic = topic::pattern(&name)?;
            topic::join(ui, session, &topic, Start::Now)
        }
        Command::Leave(name) => {
            let topic = topic::pattern(&name)?;
            topic::leave(ui, session, &topic)
        }
        Command::Topics => topic::list(ui, session),
        Command::Refresh => refresh::in_session(ui, session),
        Command::Help(word) => ui.line(table::help(word.as_deref())),
    }
}

fn write(
    ui: &mut Ui,
    session: &mut Session,
    lines: &mut dyn Lines,
    targets: &[String],
    text: Option<String>,
) -> Result<(), CliError> {
    let typed = text.map(|text| Composed {
        subject: String::new(),
        text,
    });
    let Some(mail) = typed.or_else(|| compose(lines)) else {
        ui.note("nothing was sent");
        return Ok(());
    };
    let draft = Draft {
        to: targets.iter().map(|name| bare(name).to_owned()).collect(),
        subject: mail.subject,
        content_type: send::content_type_of(mail.text.as_bytes()),
        ttl_s: None,
        body: mail.text.into_bytes(),
    };
    send::deliver(ui, session, draft)
}
