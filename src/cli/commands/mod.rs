//! The verbs, one file each: each turns arguments into deeds of [`crate::client`] and shows what
//! came of them through [`super::ui`]. Start with [`run`].

use std::sync::Arc;

use crate::auth::seal::Passphrase;
use crate::cli::args::{self, Globals, Verb, bare};
use crate::cli::complete;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::passphrase;
use crate::cli::times;
use crate::cli::ui::Ui;
use crate::client::ClientError;
use crate::client::home::{self, Account, Home, HomeError, Place};
use crate::client::mailbox::Back;
use crate::client::session::{Options, Session, Which};
use crate::protocol::codes::exit;
use crate::protocol::names::UserName;

mod account;
mod admin;
mod away;
mod block;
pub(super) mod chat;
mod contexts;
mod device;
mod doctor;
mod draft;
mod errors;
mod export;
pub(super) mod forward;
pub(super) mod history;
mod input;
pub(super) mod invitations;
mod invite;
mod join;
mod json_schema;
mod key;
pub(super) mod later;
mod login;
mod logout;
mod man;
mod mute;
pub(super) mod outbox;
pub(super) mod read;
mod receipts;
pub(super) mod refresh;
pub(super) mod reply;
pub(super) mod rm;
pub(super) mod save;
pub(super) mod search;
pub(super) mod send;
mod sendmail;
mod showing;
mod status;
pub(super) mod topic;
pub(super) mod undo;
mod use_account;
mod watch;
pub(super) mod who;
mod whoami;

/// What every verb works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The options that hold for all.
    pub globals: &'a Globals,
    /// The passphrase of the key, where a program gave it.
    pub passphrase: Option<Arc<Passphrase>>,
    /// Where results and words go.
    pub ui: &'a mut Ui,
}

/// Runs one verb.
pub fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    match verb {
        Verb::Login(args) => login::run(context, args),
        Verb::Logout(args) => logout::run(context, args),
        Verb::Use(args) => use_account::run(context, args),
        Verb::Whoami => whoami::run(context),
        Verb::Who(args) => who::run(context, args),
        Verb::Device { verb } => device::run(context, verb.as_ref().unwrap_or(&args::Device::Ls)),
        Verb::Key(verb) => key::run(context, verb),
        Verb::Account(args::AccountDeed::Rm(args)) => account::rm(context, args),
        Verb::Invite(args) => invite::run(context, args),
        Verb::Join(args) => join::run(context, args),
        Verb::Send(args) => send::run(context, args),
        Verb::Outbox { verb } => outbox::run(context, verb.unwrap_or(args::Outbox::Ls)),
        Verb::Draft { verb } => draft::run(context, verb.clone().unwrap_or(args::Draft::Ls)),
        Verb::Refresh(args) => refresh::run(context, *args),
        Verb::Status(args) => status::run(context, *args),
        Verb::Watch(args) => watch::run(context, args),
        Verb::History(args) => history::run(context, args),
        Verb::Read(args) => read::run(context, args),
        Verb::Receipts(args) => receipts::run(context, *args),
        Verb::Reply(args) => reply::run(context, args),
        Verb::Forward(args) => forward::run(context, args),
        Verb::Save(args) => save::run(context, args),
        Verb::Rm(args) => rm::run(context, args),
        Verb::Undo => undo::run(context),
        Verb::Search(args) => search::run(context, args),
        Verb::Export(args) => export::export(context, args),
        Verb::Import(args) => export::import(context, args),
        Verb::Sendmail(args) => sendmail::run(context, args),
        Verb::Topic { verb } => topic::run(context, verb.as_ref().unwrap_or(&args::Topic::Ls)),
        Verb::Chat(args) => chat::run(context, args),
        Verb::Block(args) => block::block(context, args),
        Verb::Unblock(args) => block::unblock(context, args),
        Verb::Admin(verb) => admin::run(context, verb),
        Verb::Mute(args) => mute::run(context, args, true),
        Verb::Unmute(args) => mute::run(context, args, false),
        Verb::Context { verb } => {
            contexts::run(context, verb.as_ref().unwrap_or(&args::Context::Ls))
        }
        Verb::Doctor(args) => doctor::run(context, *args),
        Verb::Errors(args) => errors::run(context, args),
        Verb::Completions(args) => complete::script(context, *args),
        Verb::Complete(args) => complete::run(context, args),
        Verb::JsonSchema(args) => json_schema::run(context, args),
        Verb::Man(args) => man::run(context, args),
    }
}

impl Context<'_> {
    /// Opens the home.
    pub fn home(&self) -> Result<Home, CliError> {
        let root = self
            .globals
            .home
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty());
        Home::open(root).map_err(|error| {
            let error = CliError::from(error);
            if error.exit == exit::IO {
                error.exits(exit::CANT_CREATE)
            } else {
                error
            }
        })
    }

    /// Returns the server that was named, if one was.
    pub fn named_place(&self) -> Result<Option<Place>, CliError> {
        let named = said(self.globals.server.as_deref());
        Ok(named.map(Place::parse).transpose()?)
    }

    /// Returns the user that was named, if one was.
    pub fn named_user(&self) -> Result<Option<UserName>, CliError> {
        said(self.globals.user.as_deref())
            .map(user_name)
            .transpose()
    }

    /// Returns the account to act as, ready for use: where its key is under a passphrase, that is asked for.
    pub fn account(&mut self) -> Result<Account, CliError> {
        let account = self.account_with_settings()?;
        self.unlock(account)
    }

    /// Returns the account as it lies, for what goes by its settings. Those that cannot be read are moved aside and
    /// told, once.
    pub fn account_with_settings(&mut self) -> Result<Account, CliError> {
        let account = self.account_as_it_lies()?;
        for aside in account.set_garbage_aside()? {
            self.ui.warn(tr!(
                "a file of settings could not be read and counts as empty; it is kept as {}",
                aside.display()
            ));
        }
        Ok(account)
    }

    /// Opens an account's key with its passphrase, where it has one.
    pub fn unlock(&mut self, account: Account) -> Result<Account, CliError> {
        passphrase::unlock(self.ui, self.passphrase.as_ref(), account)
    }

    /// Returns the account to act as, for what needs no key: at the server and of the user that were named, else the
    /// home's default.
    pub fn account_as_it_lies(&self) -> Result<Account, CliError> {
        let user = self.named_user()?;
        let home = self.home()?;
        let named = said(self.globals.server.as_deref());
        if let Some(context) = self.named_context(&home)? {
            return self.in_context(&home, context, user.as_ref());
        }
        let place = match named.map(Place::parse).transpose() {
            // A server that was stopped took its file away; what the home remembers will do.
            Err(HomeError::NoUrl { path, source }) => {
                let remembered = home.remembered(&path)?;
                Some(remembered.ok_or(HomeError::NoUrl { path, source })?)
            }
            read => read?,
        };
        let key = place.as_ref().map(|place| &place.url.key);
        let account = home
            .account(key, user.as_ref())
            .map_err(|error| self.named(error))?;
        Ok(match place {
            // The same server, perhaps at another address by now.
            Some(place) => account.at(place),
            None => account,
        })
    }

    /// Returns the context that was named, if one was.
    pub fn named_context(&self, home: &Home) -> Result<Option<home::Context>, HomeError> {
        let named = self.globals.context.as_deref();
        named.map(|name| home.context(name)).transpose()
    }

    /// Returns the account of a context, or that of another user at the same server.
    fn in_context(
        &self,
        home: &Home,
        context: home::Context,
        user: Option<&UserName>,
    ) -> Result<Account, CliError> {
        let key = *context.account.server_key();
        let account = match user {
            Some(user) => home.account(Some(&key), Some(user))?,
            None => context.account,
        };
        match self.named_place()? {
            None => Ok(account),
            Some(place) if place.url.key == key => Ok(account.at(place)),
            Some(_) => {
                let name = context.name;
                let text = tr!(
                    "{} is at another server than the one that --server names",
                    name
                );
                Err(CliError::usage(text).hint(tr!("leave one of the two out")))
            }
        }
    }

    /// Puts the server as it was named into an error about it.
    fn named(&self, error: HomeError) -> HomeError {
        match (error, said(self.globals.server.as_deref())) {
            (HomeError::OtherServer { .. }, Some(named)) => HomeError::OtherServer {
                place: named.to_owned(),
            },
            (error, _) => error,
        }
    }

    /// Returns the options of a session that a one-shot verb opens.
    pub fn one_shot(&self) -> Options {
        Options {
            timeout: self.globals.timeout,
            ..Options::default()
        }
    }

    /// Opens a session of the account in use and settles what earlier runs left open.
    pub fn session(&mut self) -> Result<Session, CliError> {
        let account = self.account()?;
        let options = self.one_shot();
        Ok(self.open(&account, options)?)
    }

    /// Opens a session of `account`. What earlier runs left in doubt is retried on the way, under its
    /// own numbers, and reported on stderr only.
    pub fn open(&mut self, account: &Account, options: Options) -> Result<Session, ClientError> {
        let settles = options.want_stream;
        let mut session = self.connect(account, options)?;
        if settles {
            settle(self.ui, &mut session)?;
        }
        Ok(session)
    }

    /// Opens a session of `account` and leaves the outbox alone.
    pub fn connect(&mut self, account: &Account, options: Options) -> Result<Session, ClientError> {
        let session = Session::open(account, options)?;
        if let Some(warning) = times::skew_warning(&session.hello().now) {
            self.ui.warn(warning);
        }
        tell_going_back(self.ui, &session)?;
        Ok(session)
    }
}

/// An option given as nothing (an empty variable in a script) counts as not given.
pub(crate) fn said(option: Option<&str>) -> Option<&str> {
    option.filter(|text| !text.is_empty())
}

/// Reads a user's name from the command line.
pub fn user_name(text: &str) -> Result<UserName, CliError> {
    UserName::parse(bare(text)).map_err(|e| CliError::from(e).about(text))
}

/// Retries what is in doubt or queued, and reports what became of it on stderr.
pub fn settle(ui: &mut Ui, session: &mut Session) -> Result<(), ClientError> {
    for retried in session.retry_outbox(Which::Pending)? {
        ui.report(send::report(&retried));
    }
    Ok(())
}

/// What a standing program does for the outbox: it sends what waits for a time that has come, and when the server is
/// back what is queued or in doubt.
#[derive(Debug, Default)]
pub struct Flush {
    looked: Option<std::time::Instant>,
}

impl Flush {
    /// How often a time that has come may go unnoticed.
    const EVERY: std::time::Duration = std::time::Duration::from_millis(500);

    /// Does what is to be done by now; `is_back` says that the server is there again. Returns what became of it, for
    /// people.
    pub fn look(
        &mut self,
        session: &mut Session,
        is_back: bool,
    ) -> Result<Vec<String>, ClientError> {
        let now = times::deadline(std::time::Duration::ZERO);
        let is_early = self.looked.is_some_and(|looked| now < looked + Self::EVERY);
        if !session.is_connected() || (is_early && !is_back) {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        let retried = if is_back {
            session.retry_outbox(Which::Pending)?
        } else if session.has_due()? {
            session.retry_outbox(Which::Due)?
        } else {
            Vec::new()
        };
        Ok(retried.iter().map(send::report).collect())
    }
}

/// Says, once, that the server went back in time.
pub fn tell_going_back(ui: &mut Ui, session: &Session) -> Result<(), ClientError> {
    let Some(back) = session.mailbox().going_back()? else {
        return Ok(());
    };
    ui.warn(match back {
        Back::Restored => {
            tr!(
                "the server was put back from a backup or went on after a loss, so mail that it took before that may be \
                 gone there; what was received here stays"
            )
        }
        Back::Older => {
            tr!(
                "the server went back to an older copy of its data, so mail that it took since then is gone there; what \
                 was received here stays, and what comes is shown as new. Its administrator should know: only \
                 mailserver restore keeps ids from being given out twice"
            )
        }
    });
    Ok(session.mailbox().told_going_back()?)
}

/// Does something in a session of its own.
pub fn within<T>(
    context: &mut Context<'_>,
    deed: impl FnOnce(&mut Session) -> Result<T, ClientError>,
) -> Result<T, CliError> {
    let mut session = context.session()?;
    let done = deed(&mut session);
    close(session);
    Ok(done?)
}

/// Ends a session. That it could not be told to the server harms nothing: it ends there by itself.
pub fn close(session: Session) {
    drop(session.close());
}
