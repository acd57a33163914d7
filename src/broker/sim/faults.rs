//! How bad a world is, and how often each kind of fault struck.

use super::rng::Rng;

macro_rules! faults {
    ($($name:ident = $text:literal,)+) => {
        /// How often each kind of fault struck, and how much work there was for it to strike.
        #[derive(Debug, Default, Clone, Copy)]
        pub(super) struct Faults {
            $(pub(super) $name: u64,)+
        }

        impl Faults {
            pub(super) fn add(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }

            /// Returns each kind with its count.
            pub(super) fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($text, self.$name),)+]
            }
        }
    };
}

faults! {
    steps = "steps",
    kills = "kills of the server",
    kills_in_a_turn = "  in the middle of a turn's outputs",
    kills_at_start = "  while it started",
    power_cuts = "power cuts",
    torn_batches = "batches torn between two trees",
    commit_errors = "I/O errors on a commit",
    failed_syncs = "failed syncs",
    read_errors = "I/O errors on a read",
    full_disks = "commits on a full disk",
    low_disks = "disks nearly full",
    failed_starts = "starts on a disk that still failed",
    copies = "copies of the store made",
    restores = "restores of a copy",
    older_copies = "older copies in the store's place",
    clock_jumps = "jumps of the wall clock",
    client_deaths = "kills of a client",
    deaths_before_send = "  between saving a send and sending it",
    reconnects = "connections cut and made again",
    partitions = "partitions",
    cuts = "live connections ended by the server",
    slow_readers = "slow readers' bursts",
    lost = "frames lost",
    repeated = "frames repeated",
    late = "frames late or reordered",
    notices_lost = "notices lost",
    old_retries = "retries of settled sends",
    pried = "tries to read what is another's",
    leaves = "topics left",
    joins = "topics joined",
    topics_removed = "topics removed",
    users_removed = "users removed",
    users = "users and devices registered",
    devices = "  of them by a code",
    forgets = "devices forgotten",
    logouts = "logouts",
    mails = "mails acknowledged",
    large = "bodies in parts",
    trims = "mails trimmed",
    expiries = "mails expired",
    leases = "leases",
    lease_ends = "leases ended by silence",
    chats = "chats accepted",
    blocks = "blocks",
    hidden = "users hidden",
    rotations = "keys changed",
    devices_removed = "devices removed by another",
    accounts_removed = "accounts removed by their users",
    disabled = "users disabled",
    kicked = "users kicked",
    revoked = "keys revoked by the administrator",
    released = "ports taken back",
    rules = "roles and quotas set",
    purges = "queues purged",
    queue_releases = "devices that hold no mail back any more",
    shut_out = "requests of who was shut out",
}

impl Faults {
    /// Returns the counts, one kind a line.
    pub(super) fn table(&self) -> String {
        let row = |(kind, count): (&str, u64)| format!("{count:>14}  {kind}\n");
        self.rows().into_iter().map(row).collect()
    }
}

/// How bad a world's network is, in percent.
#[derive(Debug)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) repeats: u64,
    pub(super) late: u64,
    pub(super) notices_lost: u64,
}

impl Weather {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            loss: rng.below(20),
            repeats: rng.below(20),
            late: rng.below(15),
            notices_lost: rng.below(101),
        }
    }

    /// Healed; but live frames may all be lost for good (P10).
    pub(super) fn calm(rng: &mut Rng) -> Self {
        Self {
            loss: 0,
            repeats: 0,
            late: 0,
            notices_lost: rng.pick(&[0, 100]),
        }
    }
}

/// What the people of a world are like, in percent of what they do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mix {
    /// They would rather chat than write.
    pub(super) chats: u64,
    /// They leave and join topics.
    pub(super) churn: u64,
    /// They forget devices and log out.
    pub(super) forgets: u64,
    /// They try to read what is another's.
    pub(super) pries: u64,
    /// The administrator removes things.
    pub(super) removals: u64,
    /// The administrator sets something for a user, or cuts him off.
    pub(super) rules: u64,
    /// Of a thousand steps so many are faults of server, disk or clock.
    pub(super) faults: u64,
    /// Of a thousand steps in so many a copy of the store is made, or takes its place.
    pub(super) copies: u64,
}

impl Mix {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let chatty = rng.chance(30);
        Self {
            chats: if chatty { 50 } else { 0 },
            churn: rng.pick(&[0, 3, 10]),
            forgets: rng.pick(&[0, 0, 1, 2]),
            pries: rng.pick(&[0, 3, 8]),
            removals: rng.pick(&[0, 0, 10, 30]),
            rules: rng.pick(&[0, 0, 20, 50]),
            // Chats need devices that live long enough to meet.
            faults: if chatty { 5 } else { 8 + rng.below(12) },
            copies: rng.pick(&[0, 0, 0, 5]),
        }
    }
}
