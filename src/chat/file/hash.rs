//! BLAKE3 of a file, read once from its front in pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::gauge::Gauge;

/// Bytes read at once: enough that the calls do not count, little enough for any memory.
const READ_BYTES: usize = 256 * 1024;

/// Hashes the first `length` bytes of a file and moves the gauge along. Nothing when the gauge was
/// stopped; an error of kind `UnexpectedEof` when the file is shorter.
pub(super) fn hash(file: &File, length: u64, gauge: &Gauge) -> io::Result<Option<blake3::Hasher>> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut done = 0;
    while done < length && !gauge.is_stopped() {
        let room = usize::try_from(length - done).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let read = file.read_at(&mut buffer[..room], done)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        gauge.set(done);
    }
    Ok((done == length).then_some(hasher))
}
