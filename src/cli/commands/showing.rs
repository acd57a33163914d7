//! Mails on their way to being seen: claimed, printed, and marked once it is known that somebody read so far.

use std::collections::VecDeque;

use super::refresh::separate;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::pager::Idle;
use crate::cli::show::{self, counted};
use crate::cli::ui::Ui;
use crate::client::mailbox::{Claim, Mailbox, Place, ShownBefore};
use crate::protocol::reply::Envelope;

/// Mails shown between two syncs of the marks: what a power cut may show again.
const SYNC_EVERY: usize = 64;

/// Claims and prints mails, each with its copies, as long as somebody reads on.
pub(super) fn show_each(
    ui: &mut Ui,
    showing: &mut Showing<'_>,
    unseen: &[Vec<Place>],
    wanted: usize,
    idle: Idle<'_>,
) -> Result<(), CliError> {
    // The heading is the first sheet.
    let mut reads = ui.turn(idle)?;
    for copies in unseen {
        if !reads || showing.begun == wanted {
            break;
        }
        if showing.print(ui, copies)? {
            reads = ui.turn(idle)?;
            showing.mark(ui.shown_sheets())?;
        }
    }
    Ok(())
}

/// A mail with its copies, claimed.
struct Claimed {
    claims: Vec<Claim>,
    envelopes: Vec<Envelope>,
}

/// Mails that are being shown: each stays claimed until it is known to be seen.
pub(super) struct Showing<'a> {
    mailbox: &'a Mailbox,
    /// Printed, and perhaps not seen; with the sheets that are shown when it is.
    printed: VecDeque<(usize, Claimed)>,
    before: ShownBefore,
    begun: usize,
    marked: usize,
    /// Copies of what was shown before.
    again: usize,
    read: Vec<Envelope>,
}

impl<'a> Showing<'a> {
    /// Begins with nothing shown.
    pub(super) fn new(mailbox: &'a Mailbox) -> Self {
        Self {
            mailbox,
            printed: VecDeque::new(),
            before: ShownBefore::default(),
            begun: 0,
            marked: 0,
            again: 0,
            read: Vec::new(),
        }
    }

    /// Returns how many mails were printed.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Returns the envelopes of what was marked as seen since the last time.
    pub(super) fn take_read(&mut self) -> Vec<Envelope> {
        std::mem::take(&mut self.read)
    }

    /// Claims and prints a mail with all its copies; a copy that another process has claimed is shown by that one.
    /// Returns whether this process has printed anything.
    fn print(&mut self, ui: &mut Ui, copies: &[Place]) -> Result<bool, CliError> {
        let mut claims = Vec::with_capacity(copies.len());
        for (id, log) in copies {
            claims.extend(self.mailbox.claim(*id, *log)?);
        }
        let Some(first) = claims.first() else {
            return Ok(false);
        };
        let mail = first.read()?;
        let mut envelopes = vec![mail.envelope.clone()];
        for claim in &claims[1..] {
            envelopes.push(claim.read()?.envelope);
        }
        let is_shown = !ui.is_json() && self.mailbox.was_shown(&mail, &mut self.before)?;
        if !is_shown {
            let addresses: Vec<String> = envelopes.iter().map(|e| e.address.clone()).collect();
            separate(ui)?;
            show::mail_by(ui, &mail.envelope, &addresses, &mail.body)?;
        }
        let claimed = Claimed { claims, envelopes };
        if is_shown {
            self.again += 1;
            self.see(claimed)?;
            return Ok(false);
        }
        self.begun += 1;
        // The heading before them is a sheet too.
        self.printed.push_back((self.begun + 1, claimed));
        Ok(true)
    }

    /// Marks the mails that are seen once so many sheets are.
    pub(super) fn mark(&mut self, sheets: usize) -> Result<(), CliError> {
        while let Some((_, claimed)) = self.printed.pop_front_if(|(sheet, _)| *sheet <= sheets) {
            self.see(claimed)?;
            self.marked += 1;
        }
        Ok(())
    }

    fn see(&mut self, claimed: Claimed) -> Result<(), CliError> {
        for claim in &claimed.claims {
            self.mailbox.mark_shown(claim)?;
        }
        self.read.extend(claimed.envelopes);
        if (self.marked + self.again).is_multiple_of(SYNC_EVERY) {
            self.mailbox.sync_shown()?;
        }
        Ok(())
    }

    /// Says what was not shown, of so many.
    pub(super) fn tell(&self, ui: &mut Ui, wanted: usize) {
        if self.again > 0 {
            ui.note(tr!(
                "{} came by another address too; shown before, not shown again",
                counted(self.again as u64, "mail")
            ));
        }
        if self.marked < self.begun {
            let mails = counted(wanted as u64, "mail");
            ui.note(tr!(
                "{} of {} shown; the others stay unseen",
                self.marked,
                mails
            ));
        }
    }
}
