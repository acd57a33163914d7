//! A moment is what was, whatever changes while it is read.

use std::collections::BTreeMap;

use super::super::super::kv::Sink;
use super::super::{Paths, lock};
use super::*;

type Key = (usize, Vec<u8>);
type Rows = BTreeMap<Key, Vec<u8>>;

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

struct House {
    _folder: tempfile::TempDir,
    trees: Trees,
    rows: Rows,
    dice: Dice,
}

impl House {
    fn new(seed: u64, rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock(folder.path()).unwrap();
        let trees = Trees::open(&Paths::of(folder.path()).store, lock).unwrap();
        let mut house = Self {
            _folder: folder,
            trees,
            rows: Rows::new(),
            dice: Dice(seed),
        };
        house.change(rows);
        house
    }

    /// Puts and removes some rows in one commit.
    fn change(&mut self, count: usize) {
        let Self {
            trees, rows, dice, ..
        } = self;
        let changed = trees.change(|batches| {
            for _ in 0..count {
                let tree = Tree::ALL[usize::try_from(dice.below(3)).unwrap()];
                let key = dice.below(600).to_be_bytes()[6..].to_vec();
                if dice.below(4) == 0 {
                    batches.remove(tree, &key);
                    rows.remove(&(tree as usize, key));
                } else {
                    let value = vec![1; usize::try_from(dice.below(40)).unwrap()];
                    let value = [&dice.below(1 << 40).to_be_bytes()[..], &value].concat();
                    batches.put(tree, &key, &value);
                    rows.insert((tree as usize, key), value);
                }
            }
            Ok(())
        });
        changed.unwrap();
    }
}

/// Reads on; says whether there was more.
fn read_on(rewind: &mut Rewind, into: &mut Vec<(Key, Vec<u8>)>) -> Result<bool, Gone> {
    let read = rewind.rows(&mut |tree, key, value| {
        into.push(((tree as usize, key.to_vec()), value.to_vec()));
        Ok(())
    })?;
    Ok(read.is_some())
}

#[test]
fn p02_what_is_read_is_of_one_moment_whatever_is_committed_meanwhile() {
    for seed in 0..40 {
        let mut house = House::new(seed, 2_000);
        let mut rewind = Rewind::begin(&house.trees, 1);
        let then = house.rows.clone();
        let mut read = Vec::new();
        loop {
            let count = usize::try_from(house.dice.below(300)).unwrap();
            house.change(count);
            if !read_on(&mut rewind, &mut read).unwrap() {
                break;
            }
        }
        assert_ne!(house.rows, then, "seed {seed}");
        let then: Vec<_> = then.into_iter().collect();
        assert_eq!(read, then, "seed {seed}");
        assert!(house.trees.moments().lock().is_none(), "nothing is kept on");
    }
}

#[test]
fn p09_who_is_overtaken_is_told_and_costs_nothing_more() {
    let mut house = House::new(1, 2_000);
    let mut first = Rewind::begin(&house.trees, 1);
    let mut read = Vec::new();
    assert!(read_on(&mut first, &mut read).unwrap());
    let mut second = Rewind::begin(&house.trees, 2);
    assert!(matches!(
        read_on(&mut first, &mut read),
        Err(Gone::Overtaken)
    ));
    drop(first);
    assert!(read_on(&mut second, &mut read).unwrap(), "it goes on");
    // More than is kept.
    house.trees.moments().lock().as_mut().unwrap().bytes = BACKUP_KEPT_BYTES_MAX;
    house.change(300);
    assert!(matches!(
        read_on(&mut second, &mut read),
        Err(Gone::Overtaken)
    ));
    // Nobody asks any more.
    let third = Rewind::begin(&house.trees, 3);
    drop(third);
    assert!(house.trees.moments().lock().is_none());
}
