//! `mailctl save ID [N...]`: attachments of a mail of this device's mailbox, into a folder. Asks no server.

use serde_json::json;

use super::Context;
use super::read::held_mail;
use crate::chat::file::Folder;
use crate::cli::args::Save;
use crate::cli::error::{CliError, folder_text};
use crate::cli::i18n::tr;
use crate::cli::json::{self, object};
use crate::cli::show::{counted, size};
use crate::cli::ui::Ui;
use crate::cli::untrusted::visible;
use crate::client::attachments::{self, Attachment};
use crate::client::home::Account;
use crate::client::mailbox::Called;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Save) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    save(context.ui, &account, args)
}

/// Saves them.
pub(crate) fn save(ui: &mut Ui, account: &Account, args: &Save) -> Result<(), CliError> {
    let mailbox = account.mailbox()?;
    let mail = mailbox.read(&held_mail(&mailbox, &args.id)?)?;
    let envelope = &mail.envelope;
    let parts = attachments::parts(envelope.id, &envelope.content_type, &mail.body);
    let chosen = chosen(args, &parts.attachments)?;
    let folder = Folder::open(&args.dir)
        .map_err(|error| CliError::new("io", exit::CANT_CREATE, folder_text(&error)))?;
    for number in chosen {
        keep(
            ui,
            &args.id,
            number,
            &parts.attachments[number - 1],
            &folder,
        )?;
    }
    Ok(())
}

/// Returns the numbers to save, each of which is there.
fn chosen(args: &Save, attached: &[Attachment]) -> Result<Vec<usize>, CliError> {
    let none = |text: String| CliError::new("no_such_attachment", exit::DATA, text);
    if attached.is_empty() {
        return Err(none(tr!("nothing is attached to mail {}", args.id)));
    }
    if let Some(missing) = args
        .numbers
        .iter()
        .find(|n| !(1..=attached.len()).contains(n))
    {
        let have = counted(attached.len() as u64, "attachment");
        return Err(
            none(tr!("mail {} has no attachment {}", args.id, missing)).hint(tr!(
                "it has {}; mailctl read {} lists them",
                have,
                args.id
            )),
        );
    }
    Ok(match args.numbers.as_slice() {
        [] => (1..=attached.len()).collect(),
        named => named.to_vec(),
    })
}

fn keep(
    ui: &mut Ui,
    called: &Called,
    number: usize,
    attached: &Attachment,
    folder: &Folder,
) -> Result<(), CliError> {
    let path = folder
        .keep(&attached.name, &attached.bytes)
        .map_err(|error| CliError::io(&tr!("save into {}", folder.path().display()), &error))?;
    let path = path.display().to_string();
    let bytes = attached.bytes.len() as u64;
    let fields = json!({"id": json::id(called), "n": number, "name": attached.name, "path": path, "size": bytes});
    let human = tr!(
        "saved {} ({}) as {}",
        visible(&attached.name),
        size(bytes),
        visible(&path)
    );
    ui.result(&object(fields), human)
}
