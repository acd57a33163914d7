//! `mailctl mute`, `mailctl unmute`: topics whose mail is kept and not announced at this device. Asks no
//! server.

use serde_json::json;

use super::{Context, topic};
use crate::cli::args::Muting;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;

/// Mutes a topic, or announces it again; without one, lists what is muted.
pub(crate) fn run(context: &mut Context<'_>, args: &Muting, mute: bool) -> Result<(), CliError> {
    let account = context.account_with_settings()?;
    let muted = account.muted();
    let Some(name) = &args.topic else {
        return list(context, muted.list()?.into_iter().collect());
    };
    let topic = topic::pattern(name)?;
    if topic.as_str() == account.user().as_str() {
        let text = tr!("your own name cannot be muted: topics can");
        let hint = tr!("to take no mail from somebody: mailctl block USER");
        return Err(CliError::usage(text).hint(hint));
    }
    let changed = muted.set(&topic, mute)?;
    let human = match (mute, changed) {
        (true, true) => tr!(
            "muted {topic}: kept, not announced; undo: mailctl unmute {topic}",
            topic = topic
        ),
        (true, false) => tr!("{} is muted already", topic),
        (false, true) => tr!("{} is announced again", topic),
        (false, false) => tr!("{} was not muted", topic),
    };
    let fields = json!({"topic": topic.as_str(), "muted": mute, "changed": changed});
    context.ui.result(&object(fields), human)
}

fn list(context: &mut Context<'_>, topics: Vec<String>) -> Result<(), CliError> {
    if topics.is_empty() {
        context.ui.note(tr!("nothing is muted"));
    }
    topics.into_iter().try_for_each(|topic| {
        let fields = json!({"topic": topic, "muted": true});
        context.ui.result(&object(fields), &topic)
    })
}
