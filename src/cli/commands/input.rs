//! What a mail is made of: files and stdin. A file that would be waited for is refused, for nobody writes to it perhaps;
//! what the shell hands over (`<(...)`, `/dev/stdin`) is a pipe that somebody writes to.

use std::fs::{File, FileType, OpenOptions, canonicalize, metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat};

use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::protocol::codes::exit;

/// The device that is always empty.
const NULL: &str = "/dev/null";

/// Opens a file to be sent.
pub(super) fn open(path: &Path) -> Result<File, CliError> {
    let failed = |error: io::Error| CliError::io(&tr!("read {}", path.display()), &error);
    // So that a pipe without a writer is not waited for.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if !kind.is_file() && !is_handed_over(path, kind) && !is_null(&file) {
        let text = tr!("{} is no file but a pipe or a device", path.display());
        return Err(CliError::new("io", exit::IO, text).hint(tr!(
            "to send what comes out of it: cat {} | mailctl send ... -",
            path.display()
        )));
    }
    let flags = fcntl_getfl(&file).map_err(|error| failed(error.into()))?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK).map_err(|error| failed(error.into()))?;
    Ok(file)
}

/// Says whether it is a pipe of this process, which has no name in any folder.
fn is_handed_over(path: &Path, kind: FileType) -> bool {
    kind.is_fifo() && canonicalize(path).is_err()
}

fn is_null(file: impl AsFd) -> bool {
    let null = metadata(NULL).map(|about| about.rdev());
    fstat(file)
        .is_ok_and(|about| about.st_rdev != 0 && null.is_ok_and(|null| null == about.st_rdev))
}

/// Makes sure that stdin is one. One that was closed (`<&-`) was opened anew before `main`, as an empty device that
/// could be written to as well: what is read there is nobody's mail.
pub(super) fn stdin_is_there() -> Result<(), CliError> {
    let stdin = io::stdin();
    let is_read_only = |flags: OFlags| flags & OFlags::RWMODE == OFlags::RDONLY;
    let is_closed = match fcntl_getfl(&stdin) {
        Ok(flags) => is_null(&stdin) && !is_read_only(flags),
        Err(_) => true,
    };
    if is_closed {
        let text = tr!("stdin is closed: there is nothing to send");
        let error = CliError::new("io", exit::IO, text);
        return Err(error.hint(tr!(
            "give the body with -b TEXT or -f FILE, or `-` to read it from stdin"
        )));
    }
    Ok(())
}
