//! `mailctl search WORD...`: mails of this device's mailbox, newest first. Asks no server.

use super::Context;
use crate::cli::args::Search;
use crate::cli::error::{CliError, query_text};
use crate::cli::i18n::tr;
use crate::cli::pager;
use crate::cli::show::{self, counted};
use crate::cli::times;
use crate::cli::ui::{Table, Ui};
use crate::client::home::Account;
use crate::client::mailbox::Mailbox;
use crate::client::search::{Hit, Query, search};

/// How the verb ends when nothing was found and that is asked for.
const NOTHING_FOUND: u8 = 1;

/// Rows that are measured together: later ones may have wider columns.
const ROWS_TOGETHER: usize = 500;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Search) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    context
        .ui
        .paged(&mut pager::rest, |ui| find(ui, &account, args))
}

/// Finds them and shows them.
pub(crate) fn find(ui: &mut Ui, account: &Account, args: &Search) -> Result<(), CliError> {
    let query = Query::parse(&args.words, &times::now()).map_err(|error| {
        CliError::usage(query_text(&error))
            .hint(tr!("what may be searched for: mailctl search --help"))
    })?;
    let mailbox = account.mailbox()?;
    let found = search(&mailbox, &query)?;
    let shown = args.limit.unwrap_or(found.hits.len()).min(found.hits.len());
    for (nth, hits) in found.hits[..shown].chunks(ROWS_TOGETHER).enumerate() {
        if ui.is_json() {
            objects(ui, &mailbox, hits)?;
        } else {
            rows(ui, &mailbox, hits, nth == 0)?;
        }
    }
    if found.unreadable > 0 {
        let files = counted(found.unreadable as u64, "file");
        ui.warn(tr!("{} of the mailbox could not be read", files));
    }
    if found.hits.is_empty() {
        ui.note(tr!("nothing found"));
        return if args.exit_code {
            Err(CliError::silent(NOTHING_FOUND))
        } else {
            Ok(())
        };
    }
    if shown < found.hits.len() {
        let all = counted(found.hits.len() as u64, "mail");
        ui.report(tr!("{} of {} that fit", shown, all));
    }
    Ok(())
}

fn objects(ui: &mut Ui, mailbox: &Mailbox, hits: &[Hit]) -> Result<(), CliError> {
    for hit in hits {
        match mailbox.read(&hit.held) {
            Ok(mail) => show::held(ui, &hit.held, &mail.envelope, &mail.body)?,
            Err(error) if error.is_missing() => {} // removed meanwhile
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn rows(ui: &mut Ui, mailbox: &Mailbox, hits: &[Hit], is_first: bool) -> Result<(), CliError> {
    let mut table = if is_first {
        Table::new(&[
            tr!(">ID"),
            tr!("When"),
            tr!("From"),
            tr!("To"),
            tr!("Subject"),
        ])
    } else {
        Table::below(5)
    };
    for hit in hits {
        let envelope = match mailbox.read(&hit.held) {
            Ok(mail) => mail.envelope,
            Err(error) if error.is_missing() => continue,
            Err(error) => return Err(error.into()),
        };
        let to = if hit.held.is_imported() {
            envelope.to.join(", ")
        } else {
            envelope.address
        };
        table.row(&[
            hit.held.called(),
            &times::human(&envelope.sent_at),
            &envelope.from,
            &to,
            &envelope.subject,
        ]);
    }
    table.print(ui)
}
