//! Two cores, a bad network between them, and users who talk, dawdle, leave and die at any moment.
//!
//! Each direction is a row of connections. One that breaks loses what comes after some point, what
//! came before may still arrive while the next one stands already, and the core hears late of both. Time
//! is simulated; a run follows from its [`Plan`] alone.

mod world;

use proptest::prelude::*;

use self::world::{Fate, World};

/// What happens in a run.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    /// Lines and notes each side says, in bursts.
    bursts: Vec<Burst>,
    breaks: Vec<Break>,
    /// How fast each user reads: milliseconds between two looks.
    pace_ms: [u64; 2],
    /// One frame in so many is lost, and one comes twice, without a break; 0 for none.
    lossy: u64,
    fate: Fate,
}

#[derive(Debug, Clone)]
struct Burst {
    side: usize,
    at_ms: u64,
    lines: u64,
}

/// A connection that is gone for a while.
#[derive(Debug, Clone)]
struct Break {
    /// Whose outgoing connection.
    side: usize,
    at_ms: u64,
    for_ms: u64,
}

/// Until when things happen; then a run calms down, or ends.
const BUSY_MS: u64 = 12_000;

fn bursts() -> impl Strategy<Value = Vec<Burst>> {
    let lines = prop_oneof![8 => 1_u64..20, 1 => 500_u64..1_500];
    let burst = (0_usize..2, 0..BUSY_MS, lines);
    let burst = burst.prop_map(|(side, at_ms, lines)| Burst { side, at_ms, lines });
    prop::collection::vec(burst, 0..12)
}

fn breaks(most_ms: u64) -> impl Strategy<Value = Vec<Break>> {
    let one = (0_usize..2, 0..BUSY_MS, 1..most_ms);
    let one = one.prop_map(|(side, at_ms, for_ms)| Break {
        side,
        at_ms,
        for_ms,
    });
    prop::collection::vec(one, 0..8)
}

fn plan(most_ms: u64, fate: impl Strategy<Value = Fate>) -> impl Strategy<Value = Plan> {
    let pace = || prop_oneof![Just(0_u64), Just(1), Just(40)];
    let lossy = prop_oneof![Just(0_u64), Just(50), Just(7)];
    let parts = (
        any::<u64>(),
        bursts(),
        breaks(most_ms),
        [pace(), pace()],
        lossy,
        fate,
    );
    parts.prop_map(|(seed, bursts, breaks, pace_ms, lossy, fate)| Plan {
        seed,
        bursts,
        breaks,
        pace_ms,
        lossy,
        fate,
    })
}

/// Somebody leaves or dies at some moment.
fn end() -> impl Strategy<Value = Fate> {
    let at = || 0..BUSY_MS;
    prop_oneof![
        (0_usize..2, at()).prop_map(|(side, at_ms)| Fate::Leaves { side, at_ms }),
        [at(), at()].prop_map(|at_ms| Fate::BothLeave { at_ms }),
        (0_usize..2, at(), any::<bool>()).prop_map(|(side, at_ms, refuses)| Fate::Dies {
            side,
            at_ms,
            refuses
        }),
        (0_usize..2, at()).prop_map(|(side, at_ms)| Fate::CutOff { side, at_ms }),
    ]
}

/// Few by default: `PROPTEST_CASES` asks for more.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 64;
    }
    config
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever breaks for a short time: every line arrives once and in order, and both part in peace.
    #[test]
    fn short_breaks_lose_and_double_nothing(plan in plan(2_000, Just(Fate::Peace))) {
        World::new(&plan).run_in_peace();
    }

    /// Whoever leaves, dies or is cut off, and whenever: nothing is shown twice or out of order, each side
    /// ends in time, and knows exactly what was not acknowledged.
    #[test]
    fn any_end_at_any_moment_is_an_end(plan in plan(6_000, end())) {
        World::new(&plan).run_to_the_end();
    }
}
