//! `mailctl topic`: join, leave, list, tell.

use serde_json::{Value, json};

use super::{Context, close};
use crate::cli::args::Topic as Verb;
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_later};
use crate::cli::json::object;
use crate::cli::show::{self, Column, cell, mails};
use crate::cli::ui::Ui;
use crate::client::ClientError;
use crate::client::session::Session;
use crate::protocol::codes::Code;
use crate::protocol::names::Pattern;
use crate::protocol::request::From as Start;

const TOPICS: &[Column] = &[
    (tr_later!("Topic"), "topic"),
    (tr_later!("Joined"), "subscribed"),
    (tr_later!(">Waiting"), "waiting"),
];

/// Stands beside the others where it says something.
const MUTED: Column = (tr_later!("Muted"), "muted");

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    // Names are read before anything is asked of the server.
    let joined: Result<Vec<Pattern>, CliError> = match verb {
        Verb::Join(args) => args.topics.iter().map(|topic| pattern(topic)).collect(),
        Verb::Leave(args) => pattern(&args.topic).map(|topic| vec![topic]),
        Verb::Ls | Verb::Info(_) => Ok(Vec::new()),
    };
    let patterns = joined?;
    let mut session = context.session()?;
    let ui = &mut *context.ui;
    let done = match verb {
        Verb::Join(args) => patterns
            .iter()
            .try_for_each(|topic| join(ui, &mut session, topic, args.from)),
        Verb::Leave(_) => patterns
            .iter()
            .try_for_each(|topic| leave(ui, &mut session, topic)),
        Verb::Ls => list(ui, &mut session),
        Verb::Info(args) => info(ui, &mut session, &args.topic),
    };
    close(session);
    done
}

/// Reads a topic's name; the shell's mark before it is accepted.
pub(crate) fn pattern(text: &str) -> Result<Pattern, CliError> {
    let name = text.strip_prefix('!').unwrap_or(text);
    Pattern::parse(name).map_err(|e| CliError::from(e).about(text))
}

/// Joins a topic or prefix and tells so.
pub(crate) fn join(
    ui: &mut Ui,
    session: &mut Session,
    topic: &Pattern,
    from: Start,
) -> Result<(), CliError> {
    let logs = session.join(topic, from)?;
    let waiting: u64 = logs.iter().map(|log| log.waiting).sum();
    let human = if waiting > 0 {
        tr!("joined {}; {} waiting", topic, mails(waiting))
    } else {
        tr!("joined {}", topic)
    };
    let fields = json!({"topic": topic.as_str(), "subscribed": true, "waiting": waiting});
    ui.result(&object(fields), human)
}

/// Leaves a topic or prefix and tells so.
pub(crate) fn leave(ui: &mut Ui, session: &mut Session, topic: &Pattern) -> Result<(), CliError> {
    let was_joined = is_joined(session, topic)?;
    session.leave(topic)?;
    if !was_joined {
        let fields = json!({"topic": topic.as_str(), "subscribed": false, "changed": false});
        return ui.result(&object(fields), tr!("{} was not joined", topic));
    }
    let left = topic.topic();
    let info = left.and_then(|topic| session.topic(topic.as_str()).ok());
    if info.is_some_and(|info| info.subscribed) {
        ui.report(tr!(
            "you still read {} through a prefix: mailctl topic ls",
            topic
        ));
    }
    let fields = json!({"topic": topic.as_str(), "subscribed": false, "changed": true});
    ui.result(&object(fields), tr!("left {}", topic))
}

/// Says whether a prefix was joined, or a topic is read, be it through a prefix.
fn is_joined(session: &mut Session, topic: &Pattern) -> Result<bool, ClientError> {
    if let Some(topic) = topic.topic() {
        return match session.topic(topic.as_str()) {
            Ok(info) => Ok(info.subscribed),
            Err(error) if error.is_refused(Code::NoSuchAddress) => Ok(false),
            Err(error) => Err(error),
        };
    }
    let mut page = session.topics(None)?;
    loop {
        if page.prefixes.iter().any(|prefix| prefix == topic.as_str()) {
            return Ok(true);
        }
        let Some(after) = page.more_after else {
            return Ok(false);
        };
        page = session.topics(Some(&after))?;
    }
}

/// Lists every topic the user may read, his prefixes first.
pub(crate) fn list(ui: &mut Ui, session: &mut Session) -> Result<(), CliError> {
    let rows = rows(session)?;
    if rows.is_empty() && !ui.is_json() {
        ui.note(tr!(
            "no topics yet; make one by joining it: mailctl topic join NAME"
        ));
        return Ok(());
    }
    let mut columns = TOPICS.to_vec();
    columns.extend(rows.iter().any(|row| row["muted"] == true).then_some(MUTED));
    show::rows(ui, &columns, &rows)
}

fn rows(session: &mut Session) -> Result<Vec<Value>, CliError> {
    let muted = session.account().muted().read();
    let mut page = session.topics(None)?;
    let mut rows = Vec::new();
    loop {
        rows.extend(page.prefixes.iter().map(
            |prefix| json!({"topic": prefix, "subscribed": true, "waiting": 0, "prefix": true, "muted": muted.cover(prefix)}),
        ));
        rows.extend(page.topics.iter().map(
            |row| json!({"topic": row.topic, "subscribed": row.subscribed, "waiting": row.waiting, "muted": muted.cover(&row.topic)}),
        ));
        let Some(after) = page.more_after else {
            return Ok(rows);
        };
        page = session.topics(Some(&after))?;
    }
}

fn info(ui: &mut Ui, session: &mut Session, topic: &str) -> Result<(), CliError> {
    let told = session.topic(topic)?;
    let fields = serde_json::to_value(&told).unwrap_or_default();
    if ui.is_json() {
        return ui.object(&object(fields));
    }
    for (label, field) in [
        (tr!("topic"), "topic"),
        (tr!("joined"), "subscribed"),
        (tr!("waiting"), "waiting"),
        (tr!("mails kept"), "mails"),
        (tr!("bytes kept"), "bytes"),
        (tr!("newest"), "head"),
        (tr!("readers"), "subscribers"),
        (tr!("made"), "created_at"),
    ] {
        let value = crate::cli::untrusted::visible(&cell(field, &fields[field]));
        ui.line(format_args!("{label:<12}{value}"))?;
    }
    Ok(())
}
