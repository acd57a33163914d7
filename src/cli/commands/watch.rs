//! `mailctl watch`: what arrives while it runs, until stopped. Marks nothing as shown.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::invitations::Live;
use super::{Context, refresh, tell_going_back};
use crate::cli::args::Watch;
use crate::cli::error::CliError;
use crate::cli::show::{self, Answer};
use crate::cli::ui::Ui;
use crate::cli::untrusted::visible;
use crate::client::mailbox::Mail;
use crate::client::session::{Event, Options};
use crate::client::shown::Shown;

/// How long a stop may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Watch) -> Result<(), CliError> {
    let stop = stop_flag()?;
    let account = context.account()?;
    let options = Options {
        no_ack: args.no_ack,
        timeout: context.globals.timeout,
        ..Options::standing()
    };
    let mut session = context.open(&account, options)?;
    context.ui.report(format_args!(
        "watching as {}; Ctrl-C ends it",
        account.user()
    ));
    let mut teller = Teller {
        exec: args.exec.as_deref(),
        shown: account.shown(),
        invitations: Live::new(&session, Answer::Verb),
    };
    let mut watched = Ok(());
    while watched.is_ok() && !stop.load(Ordering::Relaxed) {
        watched = match session.next_event(LOOK_EVERY) {
            Ok(event) => {
                if event == Event::Reconnected {
                    tell_going_back(context.ui, &session)?;
                }
                teller.tell(context.ui, event)
            }
            Err(error) => Err(error.into()),
        };
    }
    // Gives the port back. That the server may not be there to hear it harms nothing.
    drop(session.stop_watch());
    watched
}

/// Returns what becomes true when the process is asked to stop.
fn stop_flag() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|e| CliError::io("listen for signals", &e))?;
    }
    Ok(stop)
}

/// Shows what happens.
struct Teller<'a> {
    exec: Option<&'a str>,
    shown: Shown,
    invitations: Live,
}

impl Teller<'_> {
    fn tell(&mut self, ui: &mut Ui, event: Event) -> Result<(), CliError> {
        match event {
            // The next refresh files it.
            Event::Mail(mail) if self.shown.covers(&mail.envelope) => {}
            Event::Mail(mail) => {
                show::mail(ui, &mail.envelope, &mail.body)?;
                if let Some(command) = self.exec {
                    execute(ui, command, &mail);
                }
            }
            Event::Trimmed(notice) => refresh::trimmed(ui, &notice)?,
            Event::Chat(row) => drop(self.invitations.hear(ui, &row)?),
            Event::Disconnected => ui.report("the server does not answer; trying again"),
            Event::Reconnected => ui.report("connected again"),
            _ => {}
        }
        Ok(())
    }
}

/// Runs the user's command for a mail. A command that fails is told about and ends nothing.
fn execute(ui: &mut Ui, command: &str, mail: &Mail) {
    match run_command(command, mail) {
        Ok(status) if status.success() => {}
        Ok(status) => ui.warn(format_args!(
            "mail {}: the command ended with {status}",
            mail.envelope.id
        )),
        Err(error) => ui.warn(format_args!(
            "mail {}: the command failed: {error}",
            mail.envelope.id
        )),
    }
}

fn run_command(command: &str, mail: &Mail) -> std::io::Result<std::process::ExitStatus> {
    let envelope = &mail.envelope;
    // What others wrote reaches a shell only as values, and without characters that act.
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("MAIL_ID", envelope.id.to_string())
        .env("MAIL_ADDRESS", visible(&envelope.address))
        .env("MAIL_FROM", visible(&envelope.from))
        .env("MAIL_TO", visible(&envelope.to.join(",")))
        .env("MAIL_SUBJECT", visible(&envelope.subject))
        .env("MAIL_SENT_AT", visible(&envelope.sent_at))
        .env("MAIL_CONTENT_TYPE", visible(&envelope.content_type))
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input is free not to.
        drop(stdin.write_all(&mail.body));
    }
    child.wait()
}
