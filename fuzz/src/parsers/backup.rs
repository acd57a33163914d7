//! A backup, which may come from anywhere: it is whole as it was written, or none.

use correio::store::backup::{BackupError, FILES, MAGIC, Reader, VERSION};

/// Bytes as they are; or, after a zero, blocks to which everything is put that makes them pass: kind, packing,
/// bytes of the content (4) and of what is stored (2), and that. A block of kind 4 with nothing in it ends
/// the backup as it should end, with as many records as its packing says.
pub(super) fn backup(bytes: &[u8]) {
    let made;
    let bytes = match bytes.split_first() {
        Some((0, blocks)) => {
            made = sealed(blocks);
            &made
        }
        _ => bytes,
    };
    let reader = match Reader::open(bytes) {
        Ok(reader) => reader,
        Err(error) => return assert_told(&error, bytes.len()),
    };
    let header = reader.header();
    for text in [&header.made_at, &header.server] {
        assert!(text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let files = reader.files();
    assert!(files.iter().any(|file| file.name == FILES[0]) && files.len() <= FILES.len());
    match reader.check() {
        Ok(totals) => {
            assert_eq!(totals.bytes, bytes.len() as u64);
            // Not a byte less, not a byte more.
            assert!(Reader::open(&bytes[..bytes.len() - 1]).is_ok_and(|cut| cut.check().is_err()));
            let more = [bytes, b"x"].concat();
            assert!(Reader::open(&more[..]).is_ok_and(|more| more.check().is_err()));
        }
        Err(error) => assert_told(&error, bytes.len()),
    }
}

fn assert_told(error: &BackupError, len: usize) {
    match error {
        BackupError::Foreign => {}
        BackupError::Newer { found } => assert!(*found > VERSION),
        BackupError::Short { at } => assert_eq!(*at, len as u64),
        BackupError::Damaged { at, what } => assert!(*at <= len as u64 && !what.is_empty()),
        other => panic!("{other:?}"),
    }
}

fn sealed(mut blocks: &[u8]) -> Vec<u8> {
    let mut made = MAGIC.to_vec();
    made.extend(VERSION.to_be_bytes());
    made.extend(crc32c::crc32c(&made).to_be_bytes());
    let mut number = 0_u32;
    while let Some((head, rest)) = blocks.split_first_chunk::<8>() {
        let [kind, packing, content @ .., high, low] = *head;
        let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (stored, after) = rest.split_at(len);
        let (content, stored) = match (kind, len) {
            (4, 0) => end(&made, packing),
            _ => (content, stored.to_vec()),
        };
        push(
            &mut made,
            number,
            [kind, if kind == 4 { 0 } else { packing }],
            content,
            &stored,
        );
        (number, blocks) = (number.wrapping_add(1), after);
    }
    made
}

/// The end mark: records of each of three trees, two bits each, and the hash of everything before.
fn end(before: &[u8], records: u8) -> ([u8; 4], Vec<u8>) {
    let counts = [records & 3, records >> 2 & 3, records >> 4 & 3];
    let mut stored: Vec<u8> = counts
        .iter()
        .flat_map(|count| u64::from(*count).to_be_bytes())
        .collect();
    stored.extend(blake3::hash(before).as_bytes());
    (56_u32.to_be_bytes(), stored)
}

fn push(made: &mut Vec<u8>, number: u32, kind: [u8; 2], content: [u8; 4], stored: &[u8]) {
    let mut head = vec![kind[0], kind[1], 0, 0];
    head.extend(content);
    head.extend(u32::try_from(stored.len()).unwrap_or(0).to_be_bytes());
    let sum = crc32c::crc32c(&number.to_be_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, &head), stored);
    head.extend(sum.to_be_bytes());
    made.extend(head);
    made.extend_from_slice(stored);
}
