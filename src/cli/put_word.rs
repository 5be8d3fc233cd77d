//! `tandem put-word`: the daemon's own child, which puts an operator's word on record.
//!
//! Hidden: it is no command for people. It reads a line on its standard input and adds it,
//! durably, to the file that its argument names.

use lexopt::Parser;

use super::Failure;
use super::put_record::put;
use crate::io::word_file::{LINE_LEN_MAX, append};

/// The command's name.
pub(super) const NAME: &str = crate::daemon::WORD_COMMAND;

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    put(parser, "word", LINE_LEN_MAX, append)
}
