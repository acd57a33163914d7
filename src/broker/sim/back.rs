//! A store that goes back in time: an earlier copy of it takes its place, by `restore`, which jumps over every number
//! that may have been given out since, or by hand, of which the server knows nothing.
//!
//! What was told since the copy was made is void, so the model goes back too; from there on every promise holds as
//! before. After a restore no number of the lost time means something else (P3). That a client finds it out is tested
//! with the real one (`tests/went_back.rs`): here its device knows, drops its marks and takes the server's.

use super::disk::Disk;
use super::ledger::Ledger;
use super::model::Model;
use super::{Event, Sim};
use crate::store::memory::Memory;

/// An image of the disk, and what was true when it was made.
pub(super) struct StoreCopy {
    pub(super) image: Memory,
    pub(super) synced: Ledger,
    model: Model,
}

impl Sim {
    /// Makes a copy of the store, or puts the one there is in its place.
    pub(super) fn copy_or_go_back(&mut self) {
        if self.rng.chance(50)
            && let Some(copy) = self.copy.take()
        {
            let is_restore = self.rng.chance(50);
            self.go_back(&copy, is_restore);
            // The same one may be restored twice.
            self.copy = Some(copy);
        } else {
            let (image, synced) = self.disk.copy();
            let model = self.model.clone();
            self.copy = Some(StoreCopy {
                image,
                synced,
                model,
            });
            self.model.faults.copies += 1;
        }
    }

    fn go_back(&mut self, copy: &StoreCopy, is_restore: bool) {
        let was_up = self.end_process();
        self.disk = Disk::of_copy(copy, self.disk.torn);
        if is_restore {
            let random = self.rng.next();
            self.disk.jump(self.time_ms, random);
            self.model.faults.restores += 1;
        } else {
            self.model.faults.older_copies += 1;
        }
        self.model.went_back(copy.model.clone(), is_restore);
        // The server was away for long: nothing of before is on its way any more.
        self.events.retain(|_, event| !event.is_frame());
        for device in &mut self.devices {
            device.went_back();
        }
        if was_up {
            let down_ms = self.rng.below(3_000);
            self.at(down_ms, Event::Start);
        }
    }
}
