//! Budgets: how much one user or one network address may ask of the server beyond its share.
//!
//! A budget binds what costs the server something and earns nobody anything: failed requests,
//! registrations, logins, subscriptions. Sends of registered users have
//! none. Pure data on the monotonic clock; who is charged for what is in `core`, `account` and
//! `session`, the figures are in [`limits`].
//!
//! Each budget is one number per user or address: the time at which it is whole again. One that is
//! whole is not kept, so memory follows what goes on now. No budget is ever thrown out to make room for
//! another, or else who has many addresses would be rid of a spent one: when a table of addresses is
//! full, all who have no place in it share one. Users never share: there are no more of them than are
//! registered, and strangers spend nothing of theirs.

use std::collections::HashMap;
use std::hash::Hash;

use ::core::net::IpAddr;

use super::host;
use crate::limits::{self, Rate};
use crate::protocol::LogNumber;
use crate::protocol::codes::{Code, WireError, refusal};

/// Microseconds in a millisecond: budgets count finer than the clock, so that a second's share may be
/// more than a thousand.
const MICROS: u64 = 1_000;

/// Milliseconds between two looks for budgets that are whole again.
const SWEEP_MS: u64 = 1_000;

/// A network address that answers for what comes from it: one of IPv4, or the 64 bits of IPv6 that
/// belong to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    V4([u8; 4]),
    /// The first half, below which a host may give itself any address.
    V6([u8; 8]),
    /// The second half of a link-local address; the first is the same for all of them.
    Link([u8; 8]),
    /// None that the network layer told.
    Unknown,
}

impl Origin {
    /// Reads an address as the network layer tells it.
    pub(super) fn of(address: &str) -> Self {
        let Some(ip) = host::ip_of(address) else {
            return Self::Unknown;
        };
        match ip {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let (first, second) = halves(ip.octets());
                if ip.is_unicast_link_local() {
                    Self::Link(second)
                } else {
                    Self::V6(first)
                }
            }
        }
    }

    /// Says whether it is this machine, where many users may share one address.
    pub(super) fn is_loopback(self) -> bool {
        match self {
            Self::V4([first, ..]) => first == 127,
            // `::1` is the only address there that can connect.
            Self::V6(half) => half == [0; 8],
            Self::Link(_) | Self::Unknown => false,
        }
    }
}

fn halves(octets: [u8; 16]) -> ([u8; 8], [u8; 8]) {
    let (mut first, mut second) = ([0; 8], [0; 8]);
    first.copy_from_slice(&octets[..8]);
    second.copy_from_slice(&octets[8..]);
    (first, second)
}

/// Who asks, as far as budgets know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    User(LogNumber),
    /// A key that belongs to nobody: keys cost nothing, so its address answers for it.
    Stranger(Origin),
}

/// What happens to a request before it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is looked at.
    Welcome,
    /// It is answered `busy`: come back after so many milliseconds.
    Later(u64),
    /// It is dropped: too many were answered `busy` already.
    Silence,
}

/// Every budget of the server.
#[derive(Debug)]
pub(super) struct Budgets {
    failed: PerAsker,
    /// Answers to those who are over a budget.
    answers: PerAsker,
    strangers: Table<Origin>,
    registrations: Table<Origin>,
    /// Those of this machine's own programs, whose users share one address.
    own_registrations: Table<Origin>,
    logins: Table<LogNumber>,
    denied: Table<LogNumber>,
    kept: Table<LogNumber>,
    live_frames: Table<LogNumber>,
    swept_ms: u64,
}

impl Budgets {
    /// Makes whole budgets. `registrations` is what one address has in an hour, and what this machine
    /// has.
    pub(super) fn new(registrations: (u64, u64)) -> Self {
        Self {
            failed: PerAsker::new(limits::FAILED_REQUESTS),
            answers: PerAsker::new(limits::BUSY_ANSWERS),
            strangers: Table::of_addresses(limits::STRANGERS_REQUESTS),
            registrations: Table::of_addresses(hourly(registrations.0)),
            own_registrations: Table::of_addresses(hourly(registrations.1)),
            logins: Table::of_users(limits::LOGINS),
            denied: Table::of_users(limits::DENIED_SUBSCRIPTIONS),
            kept: Table::of_users(limits::DENIED_SHARE),
            live_frames: Table::of_users(limits::LIVE_FRAMES),
            swept_ms: 0,
        }
    }

    /// Sets what one address and this machine have in an hour. What was spent is forgotten.
    pub(super) fn set_registrations(&mut self, (others, own): (u64, u64)) {
        for (table, most) in [
            (&mut self.registrations, others),
            (&mut self.own_registrations, own),
        ] {
            if table.rate != hourly(most) {
                *table = Table::of_addresses(hourly(most));
            }
        }
    }

    /// Says whether a request is looked at at all.
    pub(super) fn admit(&mut self, asker: Asker, mono_ms: u64) -> Admission {
        let counted = match asker {
            Asker::User(_) => Ok(()),
            Asker::Stranger(origin) => self.strangers.take(origin, 1, mono_ms),
        };
        match counted.and_then(|()| self.failed.has(asker, mono_ms)) {
            Ok(()) => Admission::Welcome,
            Err(wait_ms) if self.answers.take(asker, 1, mono_ms).is_ok() => {
                Admission::Later(wait_ms)
            }
            Err(_) => Admission::Silence,
        }
    }

    /// Charges for a request that failed, if its code says that the client is to blame.
    pub(super) fn charge_failure(&mut self, asker: Asker, code: Code, mono_ms: u64) {
        if is_blame(code) {
            self.failed.charge(asker, 1, mono_ms);
        }
    }

    /// Charges a user for a login, or says when the next may be.
    pub(super) fn take_login(&mut self, user: LogNumber, mono_ms: u64) -> Result<(), WireError> {
        let taken = self.logins.take(user, 1, mono_ms);
        taken.map_err(|wait_ms| {
            self.failed.charge(Asker::User(user), 1, mono_ms);
            refusal!(Code::Busy, "this user logs in too often").after_ms(wait_ms)
        })
    }

    /// Charges an address for a registration, or says when the next may be.
    pub(super) fn take_registration(
        &mut self,
        origin: Origin,
        mono_ms: u64,
    ) -> Result<(), WireError> {
        let table = if origin.is_loopback() {
            &mut self.own_registrations
        } else {
            &mut self.registrations
        };
        table.take(origin, 1, mono_ms).map_err(|wait_ms| {
            refusal!(Code::Busy, "too many registrations came from your address").after_ms(wait_ms)
        })
    }

    /// Charges a user for a frame on the live socket, or says that it is one too many.
    pub(super) fn take_live_frame(&mut self, user: LogNumber, mono_ms: u64) -> bool {
        self.live_frames.take(user, 1, mono_ms).is_ok()
    }

    /// Charges a user for what the live socket keeps although it was denied.
    pub(super) fn charge_denied(&mut self, user: LogNumber, cost: u64, mono_ms: u64) {
        self.denied.charge(user, cost, mono_ms);
    }

    /// Takes a user's share of what the live socket keeps of all users, or says that it is full.
    pub(super) fn take_kept(&mut self, user: LogNumber, cost: u64, mono_ms: u64) -> bool {
        self.kept.take(user, cost, mono_ms).is_ok()
    }

    /// Gives everybody's share back: the live socket keeps nothing any more.
    pub(super) fn keep_nothing(&mut self) {
        self.kept.whole_at.clear();
    }

    /// Says whether a user's devices may connect to the live socket.
    pub(super) fn may_connect_live(&self, user: LogNumber, mono_ms: u64) -> bool {
        self.denied.has(user, mono_ms).is_ok()
    }

    /// Forgets budgets that are whole again; not more often than once a second.
    pub(super) fn sweep(&mut self, mono_ms: u64) {
        if mono_ms < self.swept_ms + SWEEP_MS {
            return;
        }
        self.swept_ms = mono_ms;
        self.failed.sweep(mono_ms);
        self.answers.sweep(mono_ms);
        self.strangers.sweep(mono_ms);
        self.registrations.sweep(mono_ms);
        self.own_registrations.sweep(mono_ms);
        self.logins.sweep(mono_ms);
        self.denied.sweep(mono_ms);
        self.kept.sweep(mono_ms);
        self.live_frames.sweep(mono_ms);
    }
}

fn hourly(most: u64) -> Rate {
    Rate {
        burst: most,
        micros: 3_600_000_000 / most.max(1),
    }
}

/// Says whether a client that goes on so has no good reason to.
fn is_blame(code: Code) -> bool {
    matches!(
        code,
        Code::BadRequest
            | Code::Unsupported
            | Code::VersionMismatch
            | Code::TooLarge
            | Code::BadName
            | Code::NotRegistered
            | Code::Denied
            | Code::NeedsCode
            | Code::RegistrationClosed
            | Code::WrongUser
            | Code::NameTaken
    )
}

/// Budgets of users and of strangers' addresses, apart: strangers cost nothing, so whatever they do with
/// theirs must leave the users' alone.
#[derive(Debug)]
struct PerAsker {
    users: Table<LogNumber>,
    strangers: Table<Origin>,
}

impl PerAsker {
    fn new(rate: Rate) -> Self {
        Self {
            users: Table::of_users(rate),
            strangers: Table::of_addresses(rate),
        }
    }

    fn take(&mut self, asker: Asker, cost: u64, mono_ms: u64) -> Result<(), u64> {
        match asker {
            Asker::User(user) => self.users.take(user, cost, mono_ms),
            Asker::Stranger(origin) => self.strangers.take(origin, cost, mono_ms),
        }
    }

    fn has(&self, asker: Asker, mono_ms: u64) -> Result<(), u64> {
        match asker {
            Asker::User(user) => self.users.has(user, mono_ms),
            Asker::Stranger(origin) => self.strangers.has(origin, mono_ms),
        }
    }

    fn charge(&mut self, asker: Asker, cost: u64, mono_ms: u64) {
        match asker {
            Asker::User(user) => self.users.charge(user, cost, mono_ms),
            Asker::Stranger(origin) => self.strangers.charge(origin, cost, mono_ms),
        }
    }

    fn sweep(&mut self, mono_ms: u64) {
        self.users.sweep(mono_ms);
        self.strangers.sweep(mono_ms);
    }
}

/// One budget each for many.
#[derive(Debug)]
struct Table<K> {
    rate: Rate,
    /// Budgets it has room for.
    most: usize,
    /// When each budget that is not whole will be, in microseconds on the monotonic clock.
    whole_at: HashMap<K, u64>,
    /// The budget of all who have no place in a full table.
    others: u64,
}

impl<K: Eq + Hash + Copy> Table<K> {
    fn of_addresses(rate: Rate) -> Self {
        Self::new(rate, limits::BUDGETS_MAX)
    }

    /// With room for all: the server holds more of each user than this.
    fn of_users(rate: Rate) -> Self {
        Self::new(rate, usize::MAX)
    }

    fn new(rate: Rate, most: usize) -> Self {
        Self {
            rate,
            most,
            whole_at: HashMap::new(),
            others: 0,
        }
    }

    /// Takes from a budget, or says after how many milliseconds there will be enough.
    fn take(&mut self, whose: K, cost: u64, mono_ms: u64) -> Result<(), u64> {
        self.wait(whose, cost, mono_ms)?;
        self.charge(whose, cost, mono_ms);
        Ok(())
    }

    /// Says whether a budget holds anything, or after how many milliseconds it will.
    fn has(&self, whose: K, mono_ms: u64) -> Result<(), u64> {
        self.wait(whose, 1, mono_ms)
    }

    /// Takes from a budget, which may go into debt by as much as it holds.
    fn charge(&mut self, whose: K, cost: u64, mono_ms: u64) {
        let now = mono_ms * MICROS;
        let most = now.saturating_add(self.depth().saturating_mul(2));
        let cost = cost.saturating_mul(self.rate.micros);
        let whole_at = self.slot(whose);
        *whole_at = (*whole_at).max(now).saturating_add(cost).min(most);
    }

    fn wait(&self, whose: K, cost: u64, mono_ms: u64) -> Result<(), u64> {
        let now = mono_ms * MICROS;
        let is_full = self.whole_at.len() >= self.most;
        let others = if is_full { self.others } else { 0 };
        let whole_at = self.whole_at.get(&whose).copied().unwrap_or(others);
        let after = whole_at
            .max(now)
            .saturating_add(cost.saturating_mul(self.rate.micros));
        match after.saturating_sub(now).saturating_sub(self.depth()) {
            0 => Ok(()),
            over => Err(over.div_ceil(MICROS)),
        }
    }

    fn slot(&mut self, whose: K) -> &mut u64 {
        if self.whole_at.len() >= self.most && !self.whole_at.contains_key(&whose) {
            return &mut self.others;
        }
        self.whole_at.entry(whose).or_default()
    }

    /// Microseconds in which an empty budget becomes whole.
    fn depth(&self) -> u64 {
        self.rate.burst.saturating_mul(self.rate.micros)
    }

    fn sweep(&mut self, mono_ms: u64) {
        self.whole_at
            .retain(|_, whole_at| *whole_at > mono_ms * MICROS);
        // Else a short flood from many addresses would keep its memory for ever.
        if self.whole_at.capacity() > 4 * self.whole_at.len() + 1_024 {
            self.whole_at.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five at once, then one in 100 ms.
    const RATE: Rate = Rate {
        burst: 5,
        micros: 100_000,
    };

    #[test]
    fn a_budget_is_spent_and_grows_again() {
        let mut table = Table::of_addresses(RATE);
        for _ in 0..5 {
            assert_eq!(table.take(1, 1, 1_000), Ok(()));
        }
        assert_eq!(table.take(1, 1, 1_000), Err(100), "the wait is true");
        assert_eq!(table.take(1, 1, 1_099), Err(1));
        assert_eq!(table.take(2, 1, 1_000), Ok(()), "to each his own");
        assert_eq!(table.take(1, 1, 1_100), Ok(()));
        assert_eq!(table.take(1, 1, 1_100), Err(100));
        assert_eq!(table.take(1, 5, 1_600), Ok(()), "whole again");
        assert_eq!(table.take(1, 6, 9_000), Err(100), "never more than whole");
    }

    #[test]
    fn who_asks_too_much_is_refused_no_longer_than_twice_its_budget() {
        let mut table = Table::of_addresses(RATE);
        table.charge(1, 1_000_000, 0);
        assert_eq!(table.has(1, 0), Err(600));
        assert_eq!(table.has(1, 599), Err(1));
        assert_eq!(table.has(1, 600), Ok(()));
    }

    #[test]
    fn p08_budgets_are_bounded_and_no_crowd_resets_one() {
        let mut table = Table::of_addresses(RATE);
        table.charge(0, 5, 0);
        for other in 1..10 * limits::BUDGETS_MAX {
            table.charge(other, 1, 0);
        }
        assert_eq!(table.whole_at.len(), limits::BUDGETS_MAX);
        assert_eq!(table.has(0, 0), Err(100), "still spent");
        let late = usize::MAX;
        assert!(table.has(late, 0).is_err(), "the crowd shares one");
        table.sweep(100);
        assert_eq!(table.whole_at.len(), 1, "what is whole is forgotten");
        assert_eq!(table.has(late, 100), Ok(()));
        assert!(table.whole_at.capacity() < limits::BUDGETS_MAX);
    }

    #[test]
    fn p09_a_crowd_of_strangers_spends_no_budget_of_a_user() {
        let mut budgets = Budgets::new((10, 10));
        let stranger = |nth: usize| {
            let [.., a, b, c] = nth.to_be_bytes();
            Asker::Stranger(Origin::V6([0x20, 1, 0xd, 0xb8, 0, a, b, c]))
        };
        for nth in 0..limits::BUDGETS_MAX + 1_000 {
            budgets.charge_failure(stranger(nth), Code::NotRegistered, 0);
        }
        let late = stranger(limits::BUDGETS_MAX + 1_000);
        assert!(matches!(budgets.admit(late, 0), Admission::Later(_)));
        assert_eq!(budgets.admit(Asker::User(7), 0), Admission::Welcome);
    }

    #[test]
    fn an_address_is_a_host() {
        assert_eq!(Origin::of("192.0.2.7"), Origin::of("::ffff:192.0.2.7"));
        assert_ne!(Origin::of("192.0.2.7"), Origin::of("192.0.2.8"));
        assert_eq!(
            Origin::of("2001:db8:1:2::1"),
            Origin::of("2001:db8:1:2:9::")
        );
        assert_ne!(Origin::of("2001:db8:1:2::1"), Origin::of("2001:db8:1:3::1"));
        for text in [
            "",
            "localhost",
            "1.2.3",
            "192.0.2.7:80",
            "192.0.2.7%eth0",
            "%eth0",
        ] {
            assert_eq!(Origin::of(text), Origin::Unknown);
        }
        assert_eq!(Origin::of("fe80::1%eth0"), Origin::of("fe80::1%2"));
        assert_ne!(Origin::of("fe80::1%eth0"), Origin::of("fe80::2%eth0"));
        assert_ne!(Origin::of("fe80::1%eth0"), Origin::Unknown);
        assert!(!Origin::of("fe80::1%lo").is_loopback());
        assert!(Origin::of("127.0.0.9").is_loopback());
        assert!(Origin::of("::1").is_loopback());
        assert!(!Origin::of("192.0.2.7").is_loopback());
        assert!(!Origin::of("2001:db8::1").is_loopback());
    }

    #[test]
    fn p09_who_goes_on_failing_is_answered_at_times_and_then_not_at_all() {
        let mut budgets = Budgets::new((10, 10));
        let eve = Asker::User(1);
        let mut failed = 0;
        while budgets.admit(eve, 0) == Admission::Welcome {
            budgets.charge_failure(eve, Code::BadRequest, 0);
            failed += 1;
        }
        assert_eq!(failed, limits::FAILED_REQUESTS.burst);
        let mut told = 1;
        while let Admission::Later(wait_ms) = budgets.admit(eve, 0) {
            assert_eq!(wait_ms, limits::FAILED_REQUESTS.micros / MICROS);
            told += 1;
        }
        assert_eq!(told, limits::BUSY_ANSWERS.burst);
        assert_eq!(budgets.admit(eve, 0), Admission::Silence);
        assert_eq!(budgets.admit(Asker::User(2), 0), Admission::Welcome);
        let after_ms = limits::FAILED_REQUESTS.micros / MICROS;
        assert_eq!(budgets.admit(eve, after_ms), Admission::Welcome);
    }

    #[test]
    fn what_is_no_fault_of_the_client_costs_nothing() {
        let mut budgets = Budgets::new((10, 10));
        let ana = Asker::User(1);
        for code in [Code::NoSession, Code::MailboxFull, Code::ShuttingDown] {
            for _ in 0..2 * limits::FAILED_REQUESTS.burst {
                budgets.charge_failure(ana, code, 0);
            }
        }
        assert_eq!(budgets.admit(ana, 0), Admission::Welcome);
    }

    #[test]
    fn strangers_of_one_address_share() {
        let mut budgets = Budgets::new((10, 10));
        let home = Asker::Stranger(Origin::of("192.0.2.7"));
        let away = Asker::Stranger(Origin::of("192.0.2.8"));
        for _ in 0..limits::STRANGERS_REQUESTS.burst {
            assert_eq!(budgets.admit(home, 0), Admission::Welcome);
        }
        assert!(matches!(budgets.admit(home, 0), Admission::Later(_)));
        assert_eq!(budgets.admit(away, 0), Admission::Welcome);
    }
}
