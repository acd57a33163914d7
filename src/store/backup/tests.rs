//! Backups that are whole come back; any others are refused, with the place.

use proptest::prelude::*;

use super::super::key::{Kind, Tree};
use super::*;
use crate::limits::BACKUP_BLOCK_BYTES_MAX;
use crate::store::golden;

/// A backup as the first version wrote it; it must be read for good.
const V1: &[u8] = include_bytes!("../../../tests/fixtures/backup/v1.backup");

type OwnedRow = (Tree, Vec<u8>, Vec<u8>);

fn header() -> Header {
    Header {
        made_at: "2026-11-22T20:00:00.000Z".to_owned(),
        server: "0.1.0".to_owned(),
        format: 2,
        incarnation: 7,
    }
}

fn files() -> Vec<KeptFile> {
    let file = |name, content: &[u8]| KeptFile {
        name,
        content: content.to_vec().into(),
    };
    vec![
        file(FILES[0], b"public\nsecret\n"),
        file(FILES[2], b"5570 5571\n"),
    ]
}

fn written(rows: &[OwnedRow]) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &header(), &files()).unwrap();
    for (tree, key, value) in rows {
        writer.row(*tree, key, value).unwrap();
    }
    let (bytes, totals) = writer.finish().unwrap();
    assert_eq!(totals.bytes, bytes.len() as u64);
    assert_eq!(totals.records(), rows.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<KeptFile>, Vec<OwnedRow>), BackupError> {
    let mut reader = Reader::open(bytes)?;
    let mut rows = Vec::new();
    while reader.rows(|row| {
        rows.push((row.tree, row.key.to_vec(), row.value.to_vec()));
        Ok(())
    })? {}
    Ok((reader.header().clone(), reader.files().to_vec(), rows))
}

fn refusal(bytes: &[u8]) -> BackupError {
    read(bytes).expect_err("it is not as it was written")
}

/// Rows over several blocks: some that pack well, some that do not.
fn many() -> Vec<OwnedRow> {
    let row = |nth: u64| {
        let key = [&[Kind::Mail.byte()][..], &[3; 8], &nth.to_be_bytes()].concat();
        let noise = blake3::hash(&nth.to_be_bytes());
        let value = if nth.is_multiple_of(2) {
            vec![7; 3000]
        } else {
            noise.as_bytes().repeat(40)
        };
        (Tree::Mail, key, value)
    };
    (0..400).map(row).collect()
}

#[test]
fn what_goes_in_comes_out() {
    for rows in [vec![], many(), golden::rows()] {
        let (told, kept, found) = read(&written(&rows)).unwrap();
        assert_eq!((told, kept), (header(), files()));
        assert!(found == rows);
    }
}

#[test]
fn it_packs() {
    let rows = many();
    let plain: usize = rows.iter().map(|row| row.1.len() + row.2.len()).sum();
    assert!(plain > 3 * BACKUP_BLOCK_BYTES_MAX);
    let packed = written(&rows).len();
    assert!(packed * 3 < plain, "{packed} of {plain}");
}

#[test]
fn the_first_version_is_still_read_and_its_frame_is_still_written() {
    let (told, kept, rows) = read(V1).unwrap();
    assert_eq!((told, kept), (header(), files()));
    assert!(rows == golden::rows_of_v2());
    // What is packed may change with the packer; what stands before it may not.
    let now = written(&rows);
    let begin = now.iter().zip(V1).take_while(|(a, b)| a == b).count();
    let plain = written(&[]).len() - HEAD_BYTES - END_BYTES;
    assert!(begin >= plain, "another byte at {begin}");
}

#[test]
fn every_flipped_bit_is_refused() {
    let whole = written(&golden::rows());
    for at in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut broken = whole.clone();
            broken[at] ^= bit;
            let error = refusal(&broken);
            let said = match error {
                // A length that grew may reach beyond the end.
                BackupError::Damaged { at, .. } | BackupError::Short { at } => at,
                BackupError::Foreign => 0,
                other => panic!("{at}: {other}"),
            };
            assert!(said <= whole.len() as u64);
        }
    }
}

#[test]
fn every_cut_is_refused() {
    let whole = written(&golden::rows());
    for len in 0..whole.len() {
        match refusal(&whole[..len]) {
            BackupError::Short { at } => assert_eq!(at, len as u64),
            other => panic!("{len}: {other}"),
        }
    }
    let error = refusal(&[&whole[..], b"x"].concat());
    assert!(error.to_string().contains("bytes after its end"), "{error}");
}

#[test]
fn blocks_that_were_swapped_left_out_or_doubled_are_refused() {
    let whole = written(&many());
    let mut begins = vec![PREFACE_BYTES];
    while let Some(head) = whole
        .get(begins[begins.len() - 1]..)
        .filter(|rest| !rest.is_empty())
    {
        let stored = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        begins.push(begins[begins.len() - 1] + HEAD_BYTES + stored as usize);
    }
    let blocks: Vec<&[u8]> = begins.windows(2).map(|at| &whole[at[0]..at[1]]).collect();
    assert!(blocks.len() > 5, "header, files, rows, end");
    let joined = |order: &[usize]| {
        let blocks = order.iter().flat_map(|nth| blocks[*nth]);
        let bytes = whole[..PREFACE_BYTES].iter().chain(blocks);
        bytes.copied().collect::<Vec<u8>>()
    };
    let order: Vec<usize> = (0..blocks.len()).collect();
    assert!(read(&joined(&order)).is_ok());
    for nth in 0..blocks.len() {
        let mut without = order.clone();
        without.remove(nth);
        refusal(&joined(&without));
        let mut twice = order.clone();
        twice.insert(nth, nth);
        refusal(&joined(&twice));
        let mut swapped = order.clone();
        swapped.swap(nth, (nth + 1) % blocks.len());
        refusal(&joined(&swapped));
    }
}

#[test]
fn another_file_and_a_newer_version_are_told_apart_from_damage() {
    assert!(matches!(refusal(b"#!/bin/sh"), BackupError::Foreign));
    assert!(matches!(refusal(b"x"), BackupError::Foreign));
    assert!(matches!(refusal(b""), BackupError::Short { at: 0 }));
    let mut newer = written(&[]);
    newer[11] = 2;
    let sum = crc32c::crc32c(&newer[..12]);
    newer[12..16].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(refusal(&newer), BackupError::Newer { found: 2 }));
}

#[test]
fn rows_out_of_order_and_of_no_tree_are_refused() {
    let row = |tree, key: &[u8]| (tree, key.to_vec(), vec![1]);
    let one = row(Tree::Mail, &[Kind::Mail.byte(), 1]);
    for rows in [
        vec![one.clone(), one.clone()],
        vec![one.clone(), row(Tree::Mail, &[Kind::Mail.byte(), 0])],
        vec![
            one.clone(),
            row(Tree::Directory, &[Kind::Address.byte(), 9]),
        ],
        vec![row(Tree::Cursors, &[Kind::Mail.byte(), 1])],
        vec![row(Tree::Mail, &[0xff])],
        vec![row(Tree::Mail, &[])],
    ] {
        assert!(matches!(
            refusal(&written(&rows)),
            BackupError::Damaged { .. }
        ));
    }
}

#[test]
fn a_header_that_acts_and_files_of_no_server_are_refused() {
    let begun = |header: &Header, files: &[KeptFile]| {
        let writer = Writer::begin(Vec::new(), header, files).unwrap();
        writer.finish().unwrap().0
    };
    let server = "0.1.0\x1b[2J".to_owned();
    let acting = Header { server, ..header() };
    let named = |name| KeptFile {
        name,
        content: Vec::new().into(),
    };
    for bytes in [
        begun(&acting, &files()),
        begun(&header(), &[]),
        begun(&header(), &[named(FILES[0]), named("../../x")]),
        begun(&header(), &[named(FILES[0]), named(FILES[0])]),
        begun(&header(), &[named(FILES[1])]),
    ] {
        assert!(matches!(refusal(&bytes), BackupError::Damaged { .. }));
    }
}

#[test]
fn a_stream_that_fails_is_no_damage() {
    #[derive(Debug)]
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("gone"))
        }
    }
    let error = Reader::open(Failing).expect_err("it fails");
    assert!(matches!(error, BackupError::Stream { deed: "read", .. }));
    let mut room = [0; 100];
    let full = Writer::begin(&mut room[..], &header(), &files()).and_then(Writer::finish);
    assert!(matches!(
        full,
        Err(BackupError::Stream { deed: "write", .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes come, there is an answer; whatever is done to a backup, it is refused.
    #[test]
    fn nothing_but_a_whole_backup_is_taken(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        len in 0usize..40,
    ) {
        prop_assert!(read(&noise).is_err());
        let whole = written(&golden::rows());
        let at = at.index(whole.len());
        let end = (at + len).min(whole.len());
        let replaced = [&whole[..at], &noise, &whole[end..]].concat();
        prop_assert_eq!(read(&replaced).is_ok(), replaced == whole);
    }

    #[test]
    fn any_rows_come_back(
        rows in proptest::collection::btree_map(
            (0usize..3, proptest::collection::vec(any::<u8>(), 0..80)),
            proptest::collection::vec(any::<u8>(), 0..300),
            0..30,
        ),
    ) {
        let first = [Kind::Address.byte(), Kind::Mail.byte(), Kind::Cursor.byte()];
        let rows: Vec<OwnedRow> = rows
            .into_iter()
            .map(|((tree, key), value)| {
                (Tree::ALL[tree], [&first[tree..=tree], &key].concat(), value)
            })
            .collect();
        let (_, _, found) = read(&written(&rows)).unwrap();
        prop_assert!(found == rows);
    }
}
