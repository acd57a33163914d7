//! `mailctl context`: names for this home's users at their servers. Asks no server.

use serde_json::{Value, json};

use super::{Context, user_name};
use crate::cli::args::{Context as Verb, ContextAdd, ContextOne};
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::ui::Table;
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
        context
            .ui
            .note("nobody is logged in here; start with: mailctl login USER");
        return Ok(());
    }
    let mut table = Table::new(&["", "Name", "User", "Server"]);
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
        let text = format!("{name} is the name of {} already", other.account.user());
        return Err(CliError::usage(text).hint(format!("mailctl context rm {name}")));
    }
    let account = match &args.user {
        None => context.account()?,
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
    let human = format!("{name} is {user} at {}", url.endpoint(url.port));
    context.ui.result(&object(fields(&named)), human)
}

fn choose(context: &mut Context<'_>, home: &Home, name: &str) -> Result<(), CliError> {
    let chosen = home.context(name)?;
    home.set_default(&chosen.account)?;
    let chosen = home.context(name)?;
    let (user, url) = (chosen.account.user(), &chosen.account.place().url);
    let human = format!("you are {user} now, at {}", url.endpoint(url.port));
    context.ui.result(&object(fields(&chosen)), human)
}

fn remove(context: &mut Context<'_>, home: &Home, name: &str) -> Result<(), CliError> {
    let found = home.context(name)?;
    let user = found.account.user();
    if !home.unname_context(&found.name)? {
        let text = format!("{} is the user's own name, nobody gave it", found.name);
        let error = CliError::new("usage", exit::USAGE, text);
        return Err(error.hint(format!(
            "to give it another: mailctl context add NEW {user}; to remove the user from here: mailctl --as {user} logout --forget"
        )));
    }
    let fields = json!({"context": found.name, "removed": true});
    let human = format!("{} is no name any more; {user} stays logged in", found.name);
    context.ui.result(&object(fields), human)
}

fn show(context: &mut Context<'_>, home: &Home, args: &ContextOne) -> Result<(), CliError> {
    let found = if let Some(name) = &args.name {
        home.context(name)?
    } else {
        let account = context.account()?;
        let mut all = home.contexts()?.into_iter();
        let same = |row: &home::Context| row.account.folder() == account.folder();
        all.find(same).ok_or(home::HomeError::NoAccount)?
    };
    let account = &found.account;
    let place = account.place();
    let mut all = fields(&found);
    all["source"] = json!(place.source);
    all["key"] = json!(hex::encode(account.keys().public));
    all["home"] = json!(account.folder());
    if context.ui.is_json() {
        return context.ui.object(&object(all));
    }
    let source = place.source.as_ref().map(|path| path.display().to_string());
    let in_use = if found.is_default { "yes" } else { "no" };
    for (label, value) in [
        ("context", found.name.clone()),
        ("user", account.user().to_string()),
        ("in use", in_use.to_owned()),
        ("server", place.url.endpoint(place.url.port)),
        ("server key", hex::encode(place.url.key)),
        ("named by", source.unwrap_or_else(|| "-".to_owned())),
        ("own key", hex::encode(account.keys().public)),
        ("lies in", account.folder().display().to_string()),
    ] {
        let value = crate::cli::untrusted::visible(&value);
        context.ui.line(format_args!("{label:<12}{value}"))?;
    }
    Ok(())
}
