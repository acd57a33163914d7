//! Faults that strike between two steps: of the server, the disk, the clock, the clients, the network.

use super::{Event, Sim};
use crate::protocol::request::Request;

/// What fails of the disk, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    pub(super) kind: TroubleKind,
    /// Once, or as long as this.
    pub(super) until_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TroubleKind {
    Commit,
    Sync,
    Full,
    Read,
}

/// How the server's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Kill,
    PowerCut,
}

impl Sim {
    pub(super) fn strike(&mut self) {
        if self.rng.below(1_000) < self.mix.faults {
            match self.rng.below(12) {
                0 | 1 => self.die(End::Kill),
                2 | 3 => self.die(End::PowerCut),
                4 => self.fuse = Some(self.rng.below(4)),
                5 | 6 => self.disk_fails(),
                7 => self.disk_fills(),
                8 => self.clock_jumps(),
                9 => self.partition(),
                _ => self.deafen(),
            }
        }
        if self.rng.below(1_000) < self.mix.copies {
            self.copy_or_go_back();
        }
        match self.rng.below(1_000) {
            0..=4 => {
                let device = self.rng.index(self.devices.len());
                self.client_dies(device);
            }
            5..=14 => {
                let device = self.rng.index(self.devices.len());
                let conn = self.connect(device);
                self.devices[device].reconnect(conn);
                self.model.faults.reconnects += 1;
            }
            _ => {}
        }
    }

    pub(super) fn client_dies(&mut self, device: usize) {
        let conn = self.connect(device);
        self.devices[device].restart(conn);
        self.model.faults.client_deaths += 1;
    }

    fn disk_fails(&mut self) {
        let kinds = [TroubleKind::Commit, TroubleKind::Sync, TroubleKind::Read];
        let for_long = self.rng.chance(30);
        let until_ms = for_long.then(|| self.time_ms + self.rng.below(8_000));
        self.trouble = Some(Trouble {
            kind: self.rng.pick(&kinds),
            until_ms,
        });
    }

    /// The reserve is used up; if that goes on, so is the disk.
    fn disk_fills(&mut self) {
        self.model.faults.low_disks += 1;
        self.low_until_ms = self.time_ms + 300 + self.rng.below(4_000);
        if self.rng.chance(50) {
            self.trouble = Some(Trouble {
                kind: TroubleKind::Full,
                until_ms: Some(self.low_until_ms),
            });
        }
    }

    fn clock_jumps(&mut self) {
        const DAY_MS: i64 = 86_400_000;
        let jump = self.rng.pick(&[
            365 * DAY_MS,
            -DAY_MS,
            1_000,
            -1_000,
            3_600_000,
            -30 * DAY_MS,
        ]);
        self.wall_ms += jump;
        self.model.faults.clock_jumps += 1;
    }

    /// One device, or all of them, are cut off for a time.
    fn partition(&mut self) {
        self.model.faults.partitions += 1;
        let until_ms = self.time_ms + self.rng.below(6_000);
        let all = self.rng.chance(30);
        let one = self.rng.index(self.devices.len());
        for device in 0..self.devices.len() {
            if all || device == one {
                self.cut_until_ms[device] = until_ms;
            }
        }
    }

    /// A slow reader loses every live frame for a time.
    fn deafen(&mut self) {
        self.model.faults.slow_readers += 1;
        let device = self.rng.index(self.devices.len());
        self.deaf_until_ms[device] = self.time_ms + self.rng.below(10_000);
    }

    pub(super) fn is_cut(&self, device: usize) -> bool {
        self.cut_until_ms[device] > self.time_ms
    }

    // -- the server's process --

    /// The server's process ends, with or without the machine's power.
    pub(super) fn die(&mut self, end: End) {
        if !self.end_process() {
            return;
        }
        match end {
            End::PowerCut => {
                self.model.faults.power_cuts += 1;
                self.disk.power_cut(&mut self.rng);
            }
            End::Kill => {
                self.model.faults.kills += 1;
                self.disk.kill(&mut self.rng);
            }
        }
        let down_ms = self.rng.below(3_000);
        self.at(down_ms, Event::Start);
    }

    /// What the process held is gone. Returns whether there was one.
    pub(super) fn end_process(&mut self) -> bool {
        let was_there = self.core.take().is_some();
        if was_there {
            self.life += 1;
            self.fuse = None;
            self.has_begun = false;
            self.held.clear();
            self.waiting.clear();
            self.granted.clear();
            self.live.clear();
        }
        was_there
    }

    /// The store failed: the process ends with 74, and what was written may or may not be there.
    fn store_fails(&mut self) {
        if !self.end_process() {
            return;
        }
        self.disk.power_cut(&mut self.rng);
        let down_ms = self.rng.below(1_000);
        self.at(down_ms, Event::Start);
    }

    /// Says whether an operation of the disk fails now, and counts it.
    pub(super) fn commit_fails(&mut self) -> bool {
        let Some(trouble) = self.trouble_now() else {
            return false;
        };
        let count = match trouble.kind {
            TroubleKind::Commit => &mut self.model.faults.commit_errors,
            TroubleKind::Sync => &mut self.model.faults.failed_syncs,
            TroubleKind::Full => &mut self.model.faults.full_disks,
            TroubleKind::Read => return false,
        };
        *count += 1;
        if trouble.kind == TroubleKind::Sync {
            // All of it reached the file; whether it reached the disk nobody knows.
            while !self.disk.is_all_written() {
                self.disk.write();
            }
        }
        self.trouble = self.trouble.filter(|trouble| trouble.until_ms.is_some());
        self.store_fails();
        true
    }

    pub(super) fn read_fails(&mut self) -> bool {
        let fails = self
            .trouble_now()
            .is_some_and(|t| t.kind == TroubleKind::Read);
        if fails {
            self.model.faults.read_errors += 1;
            self.trouble = self.trouble.filter(|trouble| trouble.until_ms.is_some());
            self.store_fails();
        }
        fails
    }

    /// Says whether a start fails on a disk that still does.
    pub(super) fn start_fails(&mut self) -> bool {
        let lasts = self
            .trouble_now()
            .is_some_and(|t| t.until_ms.is_some() && t.kind != TroubleKind::Full);
        let fails = lasts && self.rng.chance(50);
        self.model.faults.failed_starts += u64::from(fails);
        fails
    }

    fn trouble_now(&mut self) -> Option<Trouble> {
        let is_over = |t: &Trouble| t.until_ms.is_some_and(|until_ms| until_ms <= self.time_ms);
        if self.trouble.as_ref().is_some_and(is_over) || self.calm {
            self.trouble = None;
        }
        self.trouble
    }

    /// Says whether a request is one that removes something from everybody.
    pub(super) fn note_deed(&mut self, request: &Request, serial: u64) {
        use crate::protocol::request::AdminWhat;
        if let Request::Admin(admin) = request {
            self.model.deed_taken(admin.what, serial);
            if admin.what == AdminWhat::QueuePurge {
                let name = admin.address.as_deref().unwrap_or_default();
                self.model.purged(name);
            }
            match admin.what {
                AdminWhat::UserRm => self.model.faults.users_removed += 1,
                AdminWhat::TopicRm => self.model.faults.topics_removed += 1,
                AdminWhat::UserDisable => self.model.faults.disabled += 1,
                AdminWhat::SessionKick => self.model.faults.kicked += 1,
                AdminWhat::KeyRevoke => self.model.faults.revoked += 1,
                AdminWhat::LeaseRelease => self.model.faults.released += 1,
                AdminWhat::QueuePurge => self.model.faults.purges += 1,
                AdminWhat::QueueRelease => self.model.faults.queue_releases += 1,
                AdminWhat::UserRole | AdminWhat::UserQuota => self.model.faults.rules += 1,
                _ => {}
            }
        }
    }
}
