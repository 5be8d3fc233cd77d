//! `tandem put-word`: the daemon's own child, which puts an operator's word on record.
//!
//! Hidden: it is no command for people. It reads a line on its standard input and adds it,
//! durably, to the file that its argument names.

use std::io::{Read as _, stdin};
use std::path::PathBuf;

use lexopt::Parser;

use super::{Failure, OK};
use crate::io::word_file::{LINE_LEN_MAX, append};

/// The command's name.
pub(super) const NAME: &str = crate::daemon::WORD_COMMAND;

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let path = PathBuf::from(parser.value()?);
    let limit = u64::try_from(LINE_LEN_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    stdin()
        .take(limit)
        .read_to_end(&mut line)
        .map_err(|error| Failure::failed(format!("cannot read the word: {error}")))?;
    append(&path, &line)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    Ok(OK)
}
