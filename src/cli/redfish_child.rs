//! `tandem redfish-child`: the daemon's own child, which waits for a BMC in its place.
//!
//! Hidden: it is no command for people. It reads a task on its standard input, which holds a
//! password, and tells what came of it.

use lexopt::Parser;

use super::{Failure, OK};
use crate::io::{fence, redfish};

/// The command's name.
pub(super) const NAME: &str = fence::REDFISH_COMMAND;

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    if let Some(arg) = parser.next()? {
        return Err(arg.unexpected().into());
    }
    redfish::run().map_err(|error| Failure::failed(error.to_string()))?;
    Ok(OK)
}
