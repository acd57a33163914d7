//! `mailctl chat`: asks for direct chats, answers invitations, and is one side of a chat.
//!
//! [`talk`] drives a chat from its beginning to its end, whoever types and whoever shows it; [`pipe`] is
//! the line protocol for programs; [`undelivered`] sends as mail what never arrived. The chat itself is
//! [`crate::chat`].

pub(crate) mod files;
pub(crate) mod pipe;
pub(crate) mod talk;
pub(crate) mod undelivered;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use self::files::Plan;
use self::pipe::{Faults, Pipe};
use self::talk::{Over, Party, Talk};
use self::undelivered::Left;
use super::invitations::Waiting;
use super::{Context, close, said, user_name};
use crate::chat::file::Policy;
use crate::chat::{Chat, ChatError, Options};
use crate::cli::args::{self, ChatDecline, ChatDeed, Undelivered};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::{self, object};
use crate::cli::shell::chat::alone::{self, Alone};
use crate::cli::shell::news::News;
use crate::cli::show::Answer;
use crate::cli::times;
use crate::cli::ui::{Table, Ui};
use crate::cli::untrusted::visible;
use crate::client::home::Account;
use crate::client::session::{self, Session};
use crate::limits;
use crate::protocol::codes::exit;
use crate::protocol::names::UserName;
use crate::protocol::reply::ChatRow;

/// How soon after the first a signal says the same once more: `timeout` sends two at once.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &args::Chat) -> Result<(), CliError> {
    match (&args.user, &args.deed) {
        (Some(user), None) => ask(context, &user_name(user)?, &args.talk),
        (None, Some(ChatDeed::Requests)) => requests(context),
        (None, Some(ChatDeed::Accept(deed))) => {
            let talk = deed.talk.clone().or(&args.talk);
            let from = named(deed.user.as_deref())?;
            accept(context, from.as_ref(), &talk)
        }
        (None, Some(ChatDeed::Decline(args))) => decline(context, args),
        _ => Err(CliError::usage(tr!("chat with whom?")).hint(tr!(
            "mailctl chat USER, or mailctl chat requests|accept|decline [USER]"
        ))),
    }
}

fn named(user: Option<&str>) -> Result<Option<UserName>, CliError> {
    user.map(user_name).transpose()
}

fn requests(context: &mut Context<'_>) -> Result<(), CliError> {
    let mut session = context.session()?;
    let waiting = Waiting::of(&mut session);
    close(session);
    let open = waiting?.open;
    if context.ui.is_json() {
        return open
            .iter()
            .try_for_each(|row| context.ui.object(&json::invitation(row)));
    }
    if open.is_empty() {
        context.ui.note(tr!("nobody asks for a chat"));
        return Ok(());
    }
    let mut table = Table::new(&[tr!("From"), tr!("Asked"), tr!("Until")]);
    for row in &open {
        let (asked, until) = (times::human(&row.asked_at), times::hour(&row.expires_at));
        table.row(&[&row.from, &asked, &until]);
    }
    table.print(context.ui)
}

fn decline(context: &mut Context<'_>, args: &ChatDecline) -> Result<(), CliError> {
    let from = named(args.user.as_deref())?;
    let mut session = context.session()?;
    let declined = invitation(&mut session, from.as_ref()).and_then(|row| {
        session.chat_decline(&row.chat, args.busy)?;
        Ok(row)
    });
    close(session);
    let row = declined?;
    let word = if args.busy { "busy" } else { "declined" };
    context.ui.result(
        &object(json!({"chat": row.chat, "from": row.from, "answer": word})),
        if args.busy {
            tr!("answered {}: busy", visible(&row.from))
        } else {
            tr!("answered {}: declined", visible(&row.from))
        },
    )
}

/// Returns the newest open invitation of a user, whose older ones may be of programs that are no more;
/// without a name the oldest of anybody.
pub(crate) fn invitation(
    session: &mut Session,
    from: Option<&UserName>,
) -> Result<ChatRow, CliError> {
    let mut open = Waiting::of(session)?.open.into_iter();
    let found = match from {
        Some(user) => open.rfind(|row| row.from == user.as_str()),
        None => open.next(),
    };
    found.ok_or_else(|| no_invitation(from))
}

fn no_invitation(from: Option<&UserName>) -> CliError {
    let text = match from {
        Some(user) => tr!("no invitation of {} stands", user),
        None => tr!("no invitation stands").to_owned(),
    };
    let told = CliError::new("no_invitation", exit::NO_USER, text);
    told.hint(tr!(
        "who asks: mailctl chat requests; to ask: mailctl chat USER"
    ))
}

fn ask(context: &mut Context<'_>, user: &UserName, args: &args::Talk) -> Result<(), CliError> {
    let how = How::new(context, args)?;
    let account = context.account()?;
    let session = standing(context, &account)?;
    let news = News::of(&session, Answer::Verb);
    let chat = Chat::ask(session, user, &options(args)).map_err(failed)?;
    converse(context.ui, &account, chat, news, how)
}

fn accept(
    context: &mut Context<'_>,
    from: Option<&UserName>,
    args: &args::Talk,
) -> Result<(), CliError> {
    let how = How::new(context, args)?;
    let account = context.account()?;
    let mut session = standing(context, &account)?;
    let row = match invitation(&mut session, from) {
        Ok(row) => row,
        Err(error) => {
            close(session);
            return Err(error);
        }
    };
    let news = News::of(&session, Answer::Verb);
    let chat = Chat::accept(session, &row, &options(args)).map_err(failed)?;
    converse(context.ui, &account, chat, news, how)
}

/// Opens the session that holds the chat's port.
fn standing(context: &mut Context<'_>, account: &Account) -> Result<Session, CliError> {
    let options = session::Options {
        timeout: context.globals.timeout,
        ..session::Options::standing()
    };
    Ok(context.open(account, options)?)
}

fn options(args: &args::Talk) -> Options {
    Options {
        host: said(args.advertise.as_deref()).map(str::to_owned),
        wait: args.wait,
        held_max: Some(limits::CHAT_HELD_BYTES_MAX),
    }
}

/// Ends the session of a chat that did not come about.
fn failed((error, session): (ChatError, Option<Session>)) -> CliError {
    if let Some(session) = session {
        close(session);
    }
    error.into()
}

/// Returns what becomes true when the process is asked to stop. Asked again, it ends at once: what it
/// prints to may stand still.
fn stop_flag() -> Result<Arc<AtomicBool>, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let deaf = |e| CliError::io(tr!("listen for signals"), &e);
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(deaf)?;
    let told = Arc::clone(&stop);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || stop_by(signals, &told))
        .map_err(deaf)?;
    Ok(stop)
}

fn stop_by(mut signals: Signals, stop: &AtomicBool) {
    let mut patient_until = None;
    for _ in signals.forever() {
        stop.store(true, Ordering::Relaxed);
        let until = *patient_until.get_or_insert_with(|| times::deadline(SAME_WISH));
        if times::deadline(Duration::ZERO) > until {
            low_level::exit(exit::TEMPORARY.into());
        }
    }
}

/// How a chat goes.
struct How<'a> {
    args: &'a args::Talk,
    plan: Plan,
    reads_stdin: bool,
    stop: Arc<AtomicBool>,
}

impl<'a> How<'a> {
    /// Finds out before anybody is asked what cannot be.
    fn new(context: &Context<'_>, args: &'a args::Talk) -> Result<Self, CliError> {
        let has_files = !args.send.is_empty() || args.receive.is_some();
        let sends_only = !args.send.is_empty() && io::stdin().is_terminal();
        Ok(Self {
            args,
            plan: Plan::new(args)?,
            reads_stdin: !(sends_only || has_files && context.globals.no_input),
            stop: stop_flag()?,
        })
    }
}

/// Chats until it is over: at a terminal, or on a pipe.
fn converse(
    ui: &mut Ui,
    account: &Account,
    chat: Chat,
    news: News,
    how: How<'_>,
) -> Result<(), CliError> {
    if how.reads_stdin && alone::is_possible(ui) {
        return at_terminal(ui, account, chat, news, how);
    }
    let talk = Talk::begin(chat, account)?.with_files(how.plan);
    let party = talk.party().clone();
    let mouth = talk.mouth();
    let faults = if how.reads_stdin {
        pipe::read_stdin(mouth, ui.is_json())
    } else {
        mouth.end();
        Faults::default()
    };
    let over = talk.run(&mut Pipe::new(ui, party.clone()), &how.stop);
    let fate = how.args.undelivered.unwrap_or(Undelivered::Mail);
    settle(ui, account, &party, over, fate).and_then(|()| faults.told())
}

fn at_terminal(
    ui: &mut Ui,
    account: &Account,
    chat: Chat,
    news: News,
    how: How<'_>,
) -> Result<(), CliError> {
    let policy = match how.plan.policy {
        Policy::Refuse => Policy::Ask,
        policy => policy,
    };
    let fate = how.args.undelivered;
    let alone = Alone {
        ui,
        account,
        news,
        stop: &how.stop,
        mails: fate.map(|fate| fate == Undelivered::Mail),
    };
    let (party, over, mails) = alone.hold(chat, policy)?;
    let fate = if mails {
        Undelivered::Mail
    } else {
        Undelivered::Drop
    };
    settle(ui, account, &party, over, fate)
}

/// Does what is left to do after a chat, and says how it ended.
fn settle(
    ui: &mut Ui,
    account: &Account,
    party: &Party,
    over: Over,
    fate: Undelivered,
) -> Result<(), CliError> {
    let lines = &over.undelivered;
    let mut left = Left {
        account,
        party,
        session: over.session,
        server_down: over.server_down,
    };
    let settled = match fate {
        Undelivered::Mail => left.mail(ui, lines),
        Undelivered::Drop => {
            left.drop(ui, lines);
            Ok(())
        }
    };
    left.close();
    let unsent = over.unsent.map_or(Ok(()), Err);
    over.ended.and(unsent).and(settled)
}
