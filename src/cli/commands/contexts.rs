//! `mailctl context`: names for this home's users at their servers. Asks no server.

use serde_json::{Value, json};

use super::{Context, user_name};
use crate::cli::args::{Context as Verb, ContextAdd, ContextOne};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::ui::Table;
use crate::cli::untrusted::{columns, visible};
use crate::client::home::{self, Home};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    let home = context.home()?;
    match verb {
        Verb::Ls => list(context, &home),
        Verb::Add(args) => add(context, &home, args),
        Verb::Use(args) => choose(context, &home, &args.name),
        Verb::Rm(args) => remove(context, &home, &args.name),
        Verb::Show(args) => show(context, &home, args),
    }
}

fn list(context: &mut Context<'_>, home: &Home) -> Result<(), CliError> {
    let all = home.contexts()?;
    if context.ui.is_json() {
        let rows = all.iter().map(|row| object(fields(row)));
        return rows.into_iter().try_for_each(|row| context.ui.object(&row));
    }
    if all.is_empty() {
        context.ui.note(tr!(
            "nobody is logged in here; start with: mailctl login USER"
        ));
        return Ok(());
    }
    let mut table = Table::new(&["", tr!("Name"), tr!("User"), tr!("Server")]);
    for row in &all {
        let url = &row.account.place().url;
        let mark = if row.is_default { "*" } else { "" };
        let server = url.endpoint(url.port);
        table.row(&[&mark, &row.name, row.account.user(), &server]);
    }
    table.print(context.ui)
}

fn fields(row: &home::Context) -> Value {
    json!({
        "context": row.name,
        "user": row.account.user().as_str(),
        "server": row.account.place().url.to_string(),
        "default": row.is_default,
        "given": row.is_given,
    })
}

fn add(context: &mut Context<'_>, home: &Home, args: &ContextAdd) -> Result<(), CliError> {
    let name = user_name(&args.name)?;
    if let Ok(other) = home.context(name.as_str())
        && other.is_given
    {
        let text = tr!("{} is the name of {} already", name, other.account.user());
        return Err(CliError::usage(text).hint(format!("mailctl context rm {name}")));
    }
    let account = match &args.user {
        None => context.account_as_it_lies()?,
        Some(user) => {
            let place = context.named_place()?;
            let key = place.as_ref().map(|place| &place.url.key);
            home.account(key, Some(&user_name(user)?))?
        }
    };
    home.name_context(&name, &account)?;
    let named = home.context(name.as_str())?;
    let url = &account.place().url;
    let user = account.user();
    let human = tr!("{} is {} at {}", name, user, url.endpoint(url.port));
    context.ui.result(&object(fields(&named)), human)
}

fn choose(context: &mut Context<'_>, home: &Home, name: &str) -> Result<(), CliError> {
    let chosen = home.context(name)?;
    home.set_default(&chosen.account)?;
    let chosen = home.context(name)?;
    let (user, url) = (chosen.account.user(), &chosen.account.place().url);
    let human = tr!("you are {} now, at {}", user, url.endpoint(url.port));
    context.ui.result(&object(fields(&chosen)), human)
}

fn remove(context: &mut Context<'_>, home: &Home, name: &str) -> Result<(), CliError> {
    let found = home.context(name)?;
    let user = found.account.user();
    if !home.unname_context(&found.name)? {
        let text = tr!("{} is the user's own name, nobody gave it", found.name);
        let error = CliError::new("usage", exit::USAGE, text);
        return Err(error
            .hint(tr!("to give it another: mailctl context add NEW {}", user))
            .hint(tr!(
                "to remove the user from here: mailctl --as {} logout --forget",
                user
            )));
    }
    let fields = json!({"context": found.name, "removed": true});
    let human = tr!(
        "{} is no name any more; {} stays logged in",
        found.name,
        user
    );
    context.ui.result(&object(fields), human)
}

fn show(context: &mut Context<'_>, home: &Home, args: &ContextOne) -> Result<(), CliError> {
    let found = if let Some(name) = &args.name {
        home.context(name)?
    } else {
        let account = context.account_as_it_lies()?;
        let mut all = home.contexts()?.into_iter();
        let same = |row: &home::Context| row.account.folder() == account.folder();
        all.find(same).ok_or(home::HomeError::NoAccount)?
    };
    let account = &found.account;
    let place = account.place();
    let mut all = fields(&found);
    all["source"] = json!(place.source);
    all["key"] = json!(hex::encode(account.public_key()));
    all["home"] = json!(account.folder());
    if context.ui.is_json() {
        return context.ui.object(&object(all));
    }
    let source = place.source.as_ref().map(|path| path.display().to_string());
    let in_use = if found.is_default {
        tr!("yes")
    } else {
        tr!("no")
    };
    for (label, value) in [
        (tr!("context"), found.name.clone()),
        (tr!("user"), account.user().to_string()),
        (tr!("in use"), in_use.to_owned()),
        (tr!("server"), place.url.endpoint(place.url.port)),
        (tr!("server key"), hex::encode(place.url.key)),
        (tr!("named by"), source.unwrap_or_else(|| "-".to_owned())),
        (tr!("own key"), hex::encode(account.public_key())),
        (tr!("lies in"), account.folder().display().to_string()),
    ] {
        let gap = " ".repeat(19_usize.saturating_sub(columns(label)));
        context
            .ui
            .line(format!("{label}{gap}{}", visible(&value)))?;
    }
    Ok(())
}
