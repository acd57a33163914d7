//! `mailctl watch`: what arrives while it runs, until stopped. Marks nothing as shown.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::invitations::Live;
use super::{Context, Flush, refresh, tell_going_back};
use crate::cli::args::{OnError, Watch};
use crate::cli::error::{CliError, os_text};
use crate::cli::i18n::tr;
use crate::cli::once::{self, Once};
use crate::cli::show::{self, Answer};
use crate::cli::ui::Ui;
use crate::cli::untrusted::visible;
use crate::client::mailbox::Mail;
use crate::client::muted::Muted;
use crate::client::session::{Event, Options, Session};
use crate::client::shown::Shown;
use crate::protocol::codes::exit;

/// Pauses before a command that failed is run again.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

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
    context
        .ui
        .report(tr!("watching as {}; Ctrl-C ends it", account.user()));
    let mut teller = Teller {
        exec: args.exec.as_deref(),
        on_error: args.on_error,
        stop: Arc::clone(&stop),
        shown: account.shown(),
        once: Once::default(),
        muted: account.muted(),
        invitations: Live::of(&session, Answer::Verb),
    };
    let mut watched = Ok(());
    let mut flush = Flush::default();
    while watched.is_ok() && !stop.load(Ordering::Relaxed) {
        let event = session.next_event(LOOK_EVERY);
        let is_back = event
            .as_ref()
            .is_ok_and(|event| *event == Event::Reconnected);
        watched = match event {
            Ok(event) => {
                if event == Event::Reconnected {
                    tell_going_back(context.ui, &session)?;
                }
                teller.tell(context.ui, &mut session, event)
            }
            Err(error) => Err(error.into()),
        };
        // A failure shows in the next event, if it lasts.
        for told in flush.look(&mut session, is_back).unwrap_or_default() {
            context.ui.report(told);
        }
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
            .map_err(|e| CliError::io(tr!("listen for signals"), &e))?;
    }
    Ok(stop)
}

/// Shows what happens.
struct Teller<'a> {
    exec: Option<&'a str>,
    on_error: OnError,
    stop: Arc<AtomicBool>,
    shown: Shown,
    once: Once,
    muted: Muted,
    invitations: Live,
}

impl Teller<'_> {
    fn tell(&mut self, ui: &mut Ui, session: &mut Session, event: Event) -> Result<(), CliError> {
        match event {
            // The next refresh files it.
            Event::Mail(mail) if self.shown.covers(&mail.envelope) => {}
            // The next refresh shows it.
            Event::Mail(mail) if self.muted.covers(&mail.envelope.address) => {}
            Event::Mail(mail) => {
                if ui.is_json() || !self.once.is_again(&mail.envelope) {
                    let reads = session.logs().map(|log| log.address.as_str());
                    let by = once::addresses(&mail.envelope, reads);
                    show::mail_by(ui, &mail.envelope, &by, &mail.body)?;
                }
                if let Some(command) = self.exec {
                    self.execute(ui, session, command, &mail)?;
                }
            }
            Event::Trimmed(notice) => refresh::trimmed(ui, &notice)?,
            Event::Chat(row) => drop(self.invitations.hear(ui, &row)?),
            Event::Disconnected => ui.report(tr!("the server does not answer; trying again")),
            Event::Reconnected => ui.report(tr!("connected again")),
            _ => {}
        }
        Ok(())
    }
}

impl Teller<'_> {
    /// Runs the user's command for a mail; what a failure means was said with `--on-error`.
    fn execute(
        &self,
        ui: &mut Ui,
        session: &mut Session,
        command: &str,
        mail: &Mail,
    ) -> Result<(), CliError> {
        let mut pauses = match self.on_error {
            OnError::Retry => PAUSES.iter(),
            OnError::Continue | OnError::Stop => [].iter(),
        };
        loop {
            let Err(failure) = run_command(command, mail) else {
                return Ok(());
            };
            let told = tr!("mail {}: the command {}", mail.envelope.id, failure.text);
            match pauses.next() {
                Some(pause) if !self.stop.load(Ordering::Relaxed) => {
                    ui.warn(tr!("{}; again in {} s", told, pause.as_secs()));
                    self.rest(session, *pause)?;
                }
                _ => {
                    ui.warn(told);
                    return match self.on_error {
                        OnError::Stop => Err(CliError::silent(failure.exit)),
                        OnError::Continue | OnError::Retry => Ok(()),
                    };
                }
            }
        }
    }

    /// Keeps the session for a while, unless the process is asked to stop.
    fn rest(&self, session: &mut Session, pause: Duration) -> Result<(), CliError> {
        let mut left = pause;
        while !left.is_zero() && !self.stop.load(Ordering::Relaxed) {
            let now = left.min(LOOK_EVERY);
            session.keep(now)?;
            left -= now;
        }
        Ok(())
    }
}

/// How a command failed.
struct Failure {
    text: String,
    /// The exit code of a `watch` that ends on it: the command's, or 128 and the signal's number, as in shells.
    exit: u8,
}

fn run_command(command: &str, mail: &Mail) -> Result<(), Failure> {
    let status = status_of(command, mail).map_err(|error| Failure {
        text: tr!("failed: {}", os_text(&error)),
        exit: exit::IO,
    })?;
    if status.success() {
        return Ok(());
    }
    let signal = status.signal().map(|signal| signal + 128);
    let code = status
        .code()
        .or(signal)
        .and_then(|code| u8::try_from(code).ok());
    Err(Failure {
        text: tr!("ended with {}", status),
        exit: code.unwrap_or(exit::SOFTWARE),
    })
}

fn status_of(command: &str, mail: &Mail) -> std::io::Result<std::process::ExitStatus> {
    let envelope = &mail.envelope;
    // What others wrote reaches a shell only as values, and without characters that act.
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("MAIL_ID", envelope.id.to_string())
        .env("MAIL_MESSAGE", envelope.message().to_string())
        .env("MAIL_THREAD", envelope.thread().to_string())
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
