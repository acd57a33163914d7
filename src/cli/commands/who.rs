//! `mailctl who`: who is here, as far as they show it; and whether one shows it oneself.

use serde_json::{Value, json};

use super::{Context, close, user_name};
use crate::cli::args::Who;
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_later};
use crate::cli::json::object;
use crate::cli::show::{self, Column, counted};
use crate::cli::ui::Ui;
use crate::client::session::Session;
use crate::protocol::names::UserName;
use crate::protocol::reply::Presence;

const USERS: &[Column] = &[
    (tr_later!("User"), "user"),
    (tr_later!("Online"), "online"),
    (tr_later!("Since"), "since"),
    (tr_later!("Last seen"), "last_seen"),
];

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Who) -> Result<(), CliError> {
    let mut session = context.session()?;
    let told = in_session(context.ui, &mut session, args);
    close(session);
    told
}

/// Does what the verb says in a session that stands.
pub(crate) fn in_session(ui: &mut Ui, session: &mut Session, args: &Who) -> Result<(), CliError> {
    if args.hide || args.show {
        return hide(ui, session, args.hide);
    }
    let users: Result<Vec<UserName>, CliError> =
        args.users.iter().map(|name| user_name(name)).collect();
    tell(ui, session, &users?)
}

fn hide(ui: &mut Ui, session: &mut Session, hidden: bool) -> Result<(), CliError> {
    session.hide(hidden)?;
    let human = if hidden {
        tr!("you are hidden: nobody sees that or when you are here; undo: mailctl who --show")
    } else {
        tr!("others see again that and when you are here")
    };
    ui.result(&object(json!({"hidden": hidden})), human)
}

/// Tells about these users, or about all.
fn tell(ui: &mut Ui, session: &mut Session, users: &[UserName]) -> Result<(), CliError> {
    if users.is_empty() {
        everybody(ui, session)
    } else {
        these(ui, session, users)
    }
}

/// One unknown name does not sink the others; the first one's code is the exit code.
fn these(ui: &mut Ui, session: &mut Session, users: &[UserName]) -> Result<(), CliError> {
    if let [user] = users {
        let told = session.who(Some(user), None)?;
        return show::rows(ui, USERS, &told.users.iter().map(row).collect::<Vec<_>>());
    }
    let mut rows = Vec::new();
    let mut first = Ok(());
    for user in users {
        match session.who(Some(user), None) {
            Ok(told) => rows.extend(told.users.iter().map(row)),
            Err(error) => {
                let error = CliError::from(error);
                if first.is_ok() {
                    first = Err(CliError::silent(error.exit));
                }
                ui.error(&error);
            }
        }
    }
    if !rows.is_empty() {
        show::rows(ui, USERS, &rows)?;
    }
    first
}

fn everybody(ui: &mut Ui, session: &mut Session) -> Result<(), CliError> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let page = session.who(None, after.as_deref())?;
        if ui.is_json() {
            show::rows(ui, USERS, &page.users.iter().map(row).collect::<Vec<_>>())?;
        } else {
            users.extend(page.users);
        }
        if page.more_after.is_none() {
            return if ui.is_json() {
                Ok(())
            } else {
                table(ui, users, page.hidden)
            };
        }
        after = page.more_after;
    }
}

/// Shows who is online, then whoever was seen of late, and counts the others.
fn table(ui: &mut Ui, mut users: Vec<Presence>, hidden: bool) -> Result<(), CliError> {
    let all = users.len();
    users.retain(|user| user.last_seen.is_some());
    let away = all - users.len();
    // Times of the broker are in one form, so that their order is that of their text.
    users.sort_by(|a, b| (b.online, &b.last_seen, &a.user).cmp(&(a.online, &a.last_seen, &b.user)));
    show::rows(ui, USERS, &users.iter().map(row).collect::<Vec<_>>())?;
    if away > 0 {
        let others = counted(away as u64, "other");
        ui.note(tr!("{} not seen of late, or hidden", others));
    }
    if hidden {
        ui.note(tr!("you are hidden yourself; undo: mailctl who --show"));
    }
    Ok(())
}

fn row(user: &Presence) -> Value {
    json!({
        "user": user.user,
        "online": user.online,
        "last_seen": user.last_seen,
        "since": user.since,
    })
}
