//! `tandem put-record`: the daemon's own child, which waits for the disk in its place.
//!
//! Hidden: it is no command for people. It reads a record on its standard input and puts it,
//! durably, where its argument says.

use std::io::{self, Read as _, stdin};
use std::path::{Path, PathBuf};

use lexopt::Parser;

use super::{Failure, OK};
use crate::io::state_files::{STATE_LEN_MAX, put_record};

/// The command's name.
pub(super) const NAME: &str = crate::daemon::RECORD_COMMAND;

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    put(parser, "record", STATE_LEN_MAX, put_record)
}

/// Lets `write` put what stands on the standard input, `len_max` bytes at most, where the argument
/// says; `what` names it for people.
pub(super) fn put(
    parser: &mut Parser,
    what: &str,
    len_max: usize,
    write: impl FnOnce(&Path, &[u8]) -> io::Result<()>,
) -> Result<u8, Failure> {
    let path = PathBuf::from(parser.value()?);
    let limit = u64::try_from(len_max).unwrap_or(u64::MAX);
    let mut text = Vec::new();
    stdin()
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|error| Failure::failed(format!("cannot read the {what}: {error}")))?;
    write(&path, &text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(OK)
}
