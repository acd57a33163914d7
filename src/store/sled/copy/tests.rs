//! Stores that go out and come back.

use super::super::super::key::{self, Tree};
use super::super::tests::{filled, make_older};
use super::super::{Change, StoreError};
use super::*;
use crate::limits::ID_JUMP;
use crate::store::backup::{FILES, Reader};
use crate::store::{DirectoryCounters, Snapshot};

fn backup_of(data: &Path) -> Vec<u8> {
    let file = KeptFile {
        name: FILES[0],
        content: b"key".to_vec().into(),
    };
    let store = SledStore::open_whole(data).unwrap();
    let written = store.back_up("now".to_owned(), &[file], Vec::new());
    written.unwrap().0
}

fn restore(backup: &[u8], data: &Path) -> Result<Restored, BackupError> {
    SledStore::restore(data, &mut Reader::open(backup)?)
}

fn loaded(data: &Path) -> Snapshot {
    SledStore::open(data).unwrap().load().unwrap()
}

#[test]
fn a_restored_store_is_the_same_with_higher_numbers_and_another_name() {
    let from = filled(9);
    let backup = backup_of(from.path());
    let to = tempfile::tempdir().unwrap();
    let restored = restore(&backup, to.path()).unwrap();
    let second = SledStore::open(to.path());
    assert!(matches!(second, Err(StoreError::InUse { .. })), "not yet");
    restored.release(to.path());
    let (before, after) = (loaded(from.path()), loaded(to.path()));
    assert_ne!(after.meta.incarnation, before.meta.incarnation);
    assert!(after.mail_counters.mail >= before.mail_counters.mail + ID_JUMP);
    assert!(after.directory_counters.epoch >= 9 + ID_JUMP);
    let same = Snapshot {
        meta: before.meta,
        directory_counters: before.directory_counters,
        mail_counters: before.mail_counters,
        ..after
    };
    assert_eq!(same, before);
    let report = SledStore::verify(to.path()).unwrap();
    assert_eq!(report, SledStore::verify(from.path()).unwrap());
    assert!(!to.path().join(MARK).exists());
}

/// The first restored server gave numbers out; one that is restored from the same backup later knows
/// nothing of them.
#[test]
fn p03_two_restores_of_one_backup_give_no_number_out_twice() {
    let backup = backup_of(filled(9).path());
    let [first, second] = [(); 2].map(|()| {
        let to = tempfile::tempdir().unwrap();
        drop(restore(&backup, to.path()).unwrap());
        loaded(to.path())
    });
    assert!(second.mail_counters.mail > first.mail_counters.mail);
    assert!(second.mail_counters.stream > first.mail_counters.stream);
    assert!(second.directory_counters.address > first.directory_counters.address);
    assert!(second.directory_counters.device > first.directory_counters.device);
    assert!(second.directory_counters.epoch > first.directory_counters.epoch);
}

#[test]
fn a_store_of_an_older_format_comes_back() {
    let from = filled(3);
    make_older(from.path());
    let to = tempfile::tempdir().unwrap();
    drop(restore(&backup_of(from.path()), to.path()).unwrap());
    assert_eq!(loaded(to.path()).meta.format, FORMAT);
}

#[test]
fn a_damaged_store_gives_no_backup() {
    let from = filled(3);
    let store = SledStore::open(from.path()).unwrap();
    let tree = &store.trees.each()[Tree::Mail as usize];
    tree.remove(key::mail(3, 2)).unwrap();
    store.close().unwrap();
    match SledStore::open_whole(from.path()) {
        Err(StoreError::Damaged { what, .. }) => assert!(what.contains("mail 1"), "{what}"),
        other => panic!("{other:?}"),
    }
    let empty = tempfile::tempdir().unwrap();
    SledStore::open_whole(empty.path()).unwrap_err();
    assert!(std::fs::read_dir(empty.path()).unwrap().next().is_none());
}

#[test]
fn what_is_half_restored_is_no_store_and_the_next_try_clears_it() {
    let backup = backup_of(filled(200).path());
    let to = tempfile::tempdir().unwrap();
    restore(&backup[..backup.len() - 1], to.path()).unwrap_err();
    let opened = SledStore::open(to.path());
    assert!(
        matches!(opened, Err(StoreError::Damaged { .. })),
        "{opened:?}"
    );
    drop(opened);
    drop(restore(&backup, to.path()).unwrap());
    assert!(SledStore::verify(to.path()).unwrap().is_whole());
}

#[test]
fn a_store_that_no_restore_began_is_left_alone() {
    let (from, other) = (filled(3), filled(5));
    let error = restore(&backup_of(from.path()), other.path()).unwrap_err();
    assert!(error.to_string().contains("no restore began"), "{error}");
    assert_eq!(loaded(other.path()).mail_counters.mail, 5);
}

#[test]
fn counters_that_no_server_reaches_are_refused() {
    let from = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(from.path()).unwrap();
    let counters = DirectoryCounters {
        address: u64::MAX,
        ..DirectoryCounters::default()
    };
    store
        .commit(&[Change::PutDirectoryCounters(counters)])
        .unwrap();
    store.close().unwrap();
    let to = tempfile::tempdir().unwrap();
    let error = restore(&backup_of(from.path()), to.path()).unwrap_err();
    assert!(error.to_string().contains("no server reaches"), "{error}");
}
