//! `mailctl admin explain`: one mail's life, as far as the server still knows it. What it does not know is said so.

use serde_json::Value;

use super::super::Context;
use super::ask;
use crate::cli::args::{Explain, bare};
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_n};
use crate::cli::json::object;
use crate::cli::show::{self, cell};
use crate::cli::times;
use crate::cli::untrusted::visible;
use crate::protocol::request::{Admin, AdminWhat};

/// Runs the verb.
pub(super) fn run(context: &mut Context<'_>, args: &Explain) -> Result<(), CliError> {
    let mut question = Admin::new(AdminWhat::Explain, None);
    question.particulars.id = Some(args.id);
    question.particulars.user = args.reader.as_deref().map(|user| bare(user).to_owned());
    let mut found = ask(context, question)?;
    let is_gone = |row: &Value| row["kind"] == "unknown" && row["state"] == "gone";
    if found.iter().any(is_gone) {
        found.extend(deeds_about(context, args.id)?);
    }
    if context.ui.is_json() {
        return found
            .iter()
            .try_for_each(|row| context.ui.object(&object(row)));
    }
    copy_by_copy(&found)
        .into_iter()
        .try_for_each(|row| context.ui.line(line(row)))
}

/// Puts the devices below the copy that they read, where the server tells of all copies first.
fn copy_by_copy(found: &[Value]) -> Vec<&Value> {
    let is_device = |row: &Value| row["kind"] == "device";
    let mut rows = Vec::with_capacity(found.len());
    for row in found.iter().filter(|row| !is_device(row)) {
        rows.push(row);
        if row["kind"] == "mail" {
            let readers = found.iter().filter(|other| is_device(other));
            rows.extend(readers.filter(|other| other["id"] == row["id"]));
        }
    }
    rows
}

/// Finds the deeds that may have taken a mail: their numbers lie around it, at an address that need not be its own.
fn deeds_about(context: &mut Context<'_>, id: u64) -> Result<Vec<Value>, CliError> {
    let mut question = Admin::new(AdminWhat::AuditLs, None);
    question.after = Some("0".to_owned());
    let mut deeds = ask(context, question)?;
    deeds.retain(|deed| {
        let range = deed["note"].as_str().and_then(numbers);
        range.is_some_and(|(first, last)| (first..=last).contains(&id))
    });
    for deed in &mut deeds {
        deed["kind"] = "deed".into();
    }
    Ok(deeds)
}

/// Reads the range in the note of a purge or a move, `mails 12-40`.
fn numbers(note: &str) -> Option<(u64, u64)> {
    let range = note.strip_prefix("mails ")?.split([' ', ',']).next()?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Says one row to people.
fn line(row: &Value) -> String {
    let word = |field: &str| visible(row[field].as_str().unwrap_or_default());
    let number = |field: &str| row[field].as_u64().unwrap_or(0);
    match row["kind"].as_str().unwrap_or_default() {
        "mail" => copy(row),
        "device" => device(row),
        "recipient" => not_there(row),
        "reader" => outsider(row),
        "more" => tr_n!(
            number("devices"),
            "  and {n} device more; --for USER shows one user's",
            "  and {n} devices more; --for USER shows one user's"
        ),
        "deed" => tr!(
            "may have taken it: {} of {}, {} ({}), line {} of the audit",
            word("what"),
            word("address"),
            visible(&times::human(row["at"].as_str().unwrap_or_default())),
            word("note"),
            number("number")
        ),
        _ if row["state"] == "never" => {
            tr!("{}: no such number was given out yet", number("id"))
        }
        _ => tr!(
            "{}: no mail of this number is kept. It was read by all, expired, trimmed, purged or moved, its address was \
             removed, or it never was a mail's: what is gone leaves no trace but in the audit",
            number("id")
        ),
    }
}

fn copy(row: &Value) -> String {
    let word = |field: &str| visible(row[field].as_str().unwrap_or_default());
    let number = |field: &str| row[field].as_u64().unwrap_or(0);
    let sent = visible(&times::human(row["sent_at"].as_str().unwrap_or_default()));
    let size = show::size(number("size"));
    let mut line = tr!(
        "mail {} of {} to {}, accepted {}, {}, on disk",
        number("id"),
        word("from"),
        word("address"),
        sent,
        size
    );
    if row["state"] == "expired" {
        line += tr!("; expired: its text is gone");
    }
    line
}

fn device(row: &Value) -> String {
    let word = |field: &str| visible(row[field].as_str().unwrap_or_default());
    let state = match row["state"].as_str().unwrap_or_default() {
        "acknowledged" => tr!("has it, or was released from it"),
        "in_flight" => tr!("was given it, has not acknowledged it"),
        "joined_later" => tr!("does not get it: joined later"),
        _ => tr!("it waits"),
    };
    let mut line = tr!(
        "  {} on device {} ({}): {}",
        word("user"),
        row["device"].as_u64().unwrap_or(0),
        word("name"),
        state
    );
    if row["online"] == true {
        line += tr!("; is here");
    } else if row["last_seen"].is_string() {
        line += &tr!(
            "; last seen {}",
            visible(&cell("last_seen", &row["last_seen"]))
        );
    } else {
        line += tr!("; was never seen");
    }
    if row["shut_out"] == true {
        line += tr!("; is shut out: disabled or kicked");
    }
    line
}

fn not_there(row: &Value) -> String {
    let address = visible(row["address"].as_str().unwrap_or_default());
    let code = row["code"].as_str().map(visible);
    match (row["state"].as_str().unwrap_or_default(), code) {
        ("refused", Some(code)) => tr!("no copy at {}: refused ({})", address, code),
        ("refused", None) => tr!(
            "no copy at {}: refused then; why is not known any more",
            address
        ),
        ("removed", _) => tr!("no copy at {}: that user was removed", address),
        ("no_such_address", _) => tr!(
            "no copy at {}: there is no such address (any more)",
            address
        ),
        ("gone", _) => tr!(
            "no copy at {} any more: read by all, expired, trimmed, purged or moved",
            address
        ),
        _ => tr!(
            "no copy at {}: refused then, or gone since; which is not known any more",
            address
        ),
    }
}

fn outsider(row: &Value) -> String {
    let user = visible(row["user"].as_str().unwrap_or_default());
    match row["state"].as_str().unwrap_or_default() {
        "no_device" => tr!("{} has no device: it waits", user),
        "blocked" => tr!("{} does not get it: blocks its sender", user),
        "may_not_read" => tr!("{} does not get it: may not read that topic", user),
        "not_subscribed" => tr!("{} does not get it: has not joined that topic", user),
        _ => tr!("{} does not get it: it was not sent to that user", user),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_numbers_of_a_deed_are_read_from_its_note() {
        assert_eq!(numbers("mails 12-40"), Some((12, 40)));
        assert_eq!(numbers("mails 12-40 to bob, 50-78"), Some((12, 40)));
        for note in ["", "mails", "mails 12", "bodies of 1-2", "mails a-b"] {
            assert_eq!(numbers(note), None, "{note}");
        }
    }

    #[test]
    fn p12_what_is_explained_cannot_act() {
        for kind in ["mail", "device", "recipient", "reader", "more", "deed", "?"] {
            let bad = "\u{1b}[2J\n";
            let row = json!({
                "kind": kind, "id": 1, "from": bad, "address": bad, "user": bad, "name": bad, "what": bad, "note": bad,
                "at": bad, "code": bad, "sent_at": bad, "last_seen": bad, "device": bad, "state": "refused",
            });
            let said = line(&row);
            let acts = |c: char| crate::cli::untrusted::is_active(c);
            assert!(!said.contains(acts), "{kind}: {said:?}");
        }
    }
}
