//! `mailctl login`: be a user on this machine. Doing it again in the same home is harmless.

use serde_json::json;

use super::{Context, close, topic, user_name};
use crate::cli::args::Login;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::show::mails;
use crate::client::ClientError;
use crate::client::home::{Account, Home, HomeError, Place};
use crate::client::session::{self, Options, Session};
use crate::protocol::codes::Code;
use crate::protocol::names::{Pattern, UserName};

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Login) -> Result<(), CliError> {
    let user = user_name(&args.user)?;
    let topics: Result<Vec<Pattern>, _> = args.topics.iter().map(|t| topic::pattern(t)).collect();
    let topics = topics?;
    let place = place(context)?;
    // An address may carry an invitation.
    let code = place.url.code.clone();
    let newcomer = Newcomer {
        code,
        device_name: args.device_name.clone(),
    };
    enter(context, &place, &user, topics, newcomer)
}

/// Returns the server to log in at: the one that was named, the default account's as it is now, or
/// the one in `./data`.
pub(crate) fn place(context: &Context<'_>) -> Result<Place, CliError> {
    if let Some(named) = context.named_place()? {
        return Ok(named);
    }
    let home = context.home()?;
    let account = match new_context(context, &home)? {
        Some(_) => home.default_account()?,
        None => match context.named_context(&home)? {
            Some(context) => Some(context.account),
            None => home.default_account()?,
        },
    };
    let Some(account) = account else {
        return Ok(Place::read("data/server.url".as_ref())?);
    };
    let saved = account.place();
    // The file may name another server by now: then that is the one to log in at.
    let now = saved
        .source
        .as_deref()
        .and_then(|file| Place::read(file).ok());
    Ok(now.unwrap_or_else(|| saved.clone()))
}

/// What a key that the server does not know is registered with.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) code: Option<String>,
    pub(crate) device_name: Option<String>,
}

/// Returns the name of a context that was named and is none yet: this login makes it.
fn new_context(context: &Context<'_>, home: &Home) -> Result<Option<UserName>, CliError> {
    match context.named_context(home) {
        Err(HomeError::NoSuchContext { name }) => Ok(Some(user_name(&name)?)),
        known => Ok(known.map(|_| None)?),
    }
}

/// Logs `user` in at `place`, registering this home's key if the server does not know it, and tells
/// about it.
pub(crate) fn enter(
    context: &mut Context<'_>,
    place: &Place,
    user: &UserName,
    topics: Vec<Pattern>,
    newcomer: Newcomer,
) -> Result<(), CliError> {
    let home = context.home()?;
    let name = new_context(context, &home)?;
    let account = home.create_account(place, user)?;
    let account = context.unlock(account)?;
    let options = Options {
        topics,
        ..context.one_shot()
    };
    let (session, is_new) = open_or_register(context, &account, options, newcomer)?;
    let is_default = home.confirm(&account)? || replaces_default(&home, &account)?;
    if let Some(name) = &name {
        home.name_context(name, &account)?;
    }
    let told = tell(context, &session, is_new, is_default);
    if !is_default {
        tell_how_to_be(context, &home, user)?;
    }
    let refused = refusals(context, &session);
    close(session);
    told.and(refused)
}

fn open_or_register(
    context: &mut Context<'_>,
    account: &Account,
    options: Options,
    newcomer: Newcomer,
) -> Result<(Session, bool), CliError> {
    match context.open(account, options.clone()) {
        Err(ClientError::Refused(told)) if told.code == Code::NotRegistered => {
            let name = newcomer.device_name.unwrap_or_else(device_name);
            session::register(account, &name, newcomer.code, options.timeout)?;
            Ok((context.open(account, options)?, true))
        }
        opened => Ok((opened?, false)),
    }
}

/// What this machine is called, as a name for the device.
fn device_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    name.chars().take(32).collect()
}

/// A default whose server is gone, with this one in its place, gives way.
fn replaces_default(home: &Home, account: &Account) -> Result<bool, CliError> {
    let Some(default) = home.default_account()? else {
        return Ok(false);
    };
    let (old, new) = (default.place(), account.place());
    let same_spot = (old.source.is_some() && old.source == new.source)
        || (&old.url.host, old.url.port) == (&new.url.host, new.url.port);
    let replaced = same_spot && old.url.key != new.url.key;
    if replaced {
        home.set_default(account)?;
    }
    Ok(replaced)
}

fn tell(
    context: &mut Context<'_>,
    session: &Session,
    is_new: bool,
    is_default: bool,
) -> Result<(), CliError> {
    let account = session.account();
    let (user, url) = (account.user(), &account.place().url);
    let waiting: u64 = session.logs().map(|log| log.waiting).sum();
    let topics: Vec<&str> = session
        .logs()
        .filter(|log| log.kind == "topic")
        .map(|log| log.address.as_str())
        .collect();
    let endpoint = url.endpoint(url.port);
    let human = if waiting > 0 {
        let mails = mails(waiting);
        tr!(
            "logged in as {} at {}; {} waiting: mailctl refresh",
            user,
            endpoint,
            mails
        )
    } else {
        tr!("logged in as {} at {}", user, endpoint)
    };
    context.ui.result(
        &object(json!({
            "user": user.as_str(),
            "device": session.login().device,
            "server": url.to_string(),
            "new_device": is_new,
            "default": is_default,
            "topics": topics,
            "waiting": waiting,
        })),
        human,
    )?;
    if is_new {
        let key = account.folder().join("key");
        context.ui.note(tr!("this device's key: {} (mode 0600, not encrypted; a passphrase for it: mailctl key protect)", key.display()));
    }
    Ok(())
}

fn tell_how_to_be(context: &mut Context<'_>, home: &Home, user: &UserName) -> Result<(), CliError> {
    if context.named_user()?.as_ref() == Some(user) {
        return Ok(());
    }
    if let Some(default) = home.default_account()? {
        context.ui.note(tr!(
            "without more you are still {default} here; to be {user}: --as {user}, MAILCTL_USER={user}, or for good: \
             mailctl use {user}",
            default = default.user(),
            user = user
        ));
    }
    Ok(())
}

/// Tells which topics of the login could not be joined; the first gives the exit code.
fn refusals(context: &mut Context<'_>, session: &Session) -> Result<(), CliError> {
    let mut first = Ok(());
    for refused in session.refused_topics() {
        let error = CliError::from(refused.error.clone()).about(&refused.topic);
        if first.is_ok() {
            first = Err(CliError::silent(error.exit));
        }
        context.ui.error(&error);
    }
    first
}
