//! Backups of the running server: an administrator asks for one part after the other.
//!
//! The store knows what was so at the moment the first one was asked for; who asks sets the pace.

use super::admin::Actor;
use super::core::{Call, Core, Ruling, frame};
use super::read::{Asked, Pending};
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::request::Admin;
use crate::protocol::{reply, time};
use crate::store::Query;
use crate::store::backup::live::{Had, Part};

impl Core {
    /// Begins a backup, which stands in the audit, or goes on with one.
    pub(super) fn backup(&mut self, call: &Call, actor: &Actor, admin: &Admin) -> Ruling {
        let had = admin.after.as_deref().map(had).transpose()?;
        if had.is_none() {
            self.audit(actor, admin.what.word(), "", &Vec::new(), String::new());
        }
        let made_at = time::to_text(self.now.wall_ms);
        self.load(
            Query::Backup { had, made_at },
            Pending::Backup(Asked::by(call)),
        );
        Ok(None)
    }

    pub(super) fn tell_backup(&mut self, call: &Call, part: Option<Part>) {
        let Some(part) = part else {
            let error = refusal!(
                Code::Busy,
                "that backup was given up: another one began, nobody asked for its next part for a minute, or more was written \
                 meanwhile than is kept for it; begin anew"
            );
            self.reply(call, reply::encode_error(&error), Vec::new());
            return;
        };
        let after = format!("{}:{}", part.backup, part.number);
        let header = reply::encode(&reply::BackupPart {
            more_after: part.more.then_some(after),
        });
        let pieces = part.bytes.chunks(limits::FRAME_BYTES_MAX);
        let frames = pieces.map(|piece| frame(piece.to_vec())).collect();
        self.reply(call, header, frames);
    }
}

/// Reads what is to be asked after: the numbers of a backup and of its last part that arrived.
fn had(text: &str) -> Result<Had, WireError> {
    let numbers = text.split_once(':');
    let numbers =
        numbers.and_then(|(backup, part)| Some((backup.parse().ok()?, part.parse().ok()?)));
    numbers.ok_or_else(|| refusal!(Code::BadRequest, "that is no cursor of a backup"))
}
