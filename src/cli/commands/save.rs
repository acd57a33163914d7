//! `mailctl save ID [N...]`: attachments of a mail of this device's mailbox, into a folder. Asks no server.

use serde_json::json;

use super::Context;
use super::read::the_mail;
use crate::chat::file::Folder;
use crate::cli::args::Save;
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::show::{counted, size};
use crate::cli::untrusted::visible;
use crate::client::attachments::{self, Attachment};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Save) -> Result<(), CliError> {
    let mail = the_mail(context, args.id)?;
    let parts = attachments::parts(args.id, &mail.envelope.content_type, &mail.body);
    let chosen = chosen(args, &parts.attachments)?;
    let folder = Folder::open(&args.dir)
        .map_err(|error| CliError::new("io", exit::CANT_CREATE, error.to_string()))?;
    for number in chosen {
        keep(
            context,
            args.id,
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
        return Err(none(format!("nothing is attached to mail {}", args.id)));
    }
    if let Some(missing) = args
        .numbers
        .iter()
        .find(|n| !(1..=attached.len()).contains(n))
    {
        let have = counted(attached.len() as u64, "attachment");
        return Err(
            none(format!("mail {} has no attachment {missing}", args.id)).hint(format!(
                "it has {have}; mailctl read {} lists them",
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
    context: &mut Context<'_>,
    id: u64,
    number: usize,
    attached: &Attachment,
    folder: &Folder,
) -> Result<(), CliError> {
    let path = folder
        .keep(&attached.name, &attached.bytes)
        .map_err(|error| CliError::io(&format!("save into {}", folder.path().display()), &error))?;
    let path = path.display().to_string();
    let bytes = attached.bytes.len() as u64;
    let fields = json!({"id": id, "n": number, "name": attached.name, "path": path, "size": bytes});
    let human = format!(
        "saved {} ({}) as {}",
        visible(&attached.name),
        size(bytes),
        visible(&path)
    );
    context.ui.result(&object(fields), human)
}
