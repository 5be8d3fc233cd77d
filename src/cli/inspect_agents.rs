//! `tandem inspect-agents`: the daemon's own child, which waits for fence agents in its place.
//!
//! Hidden: it is no command for people, who have `tandem check`. It reads which agents are told
//! what on its standard input, and prints what does not fit.

use std::io::{Read as _, stdin};

use lexopt::Parser;

use super::{Failure, OK, say};
use crate::config::{AgentUse, CONFIG_LEN_MAX};
use crate::io::agents;

/// The command's name.
pub(super) const NAME: &str = crate::daemon::INSPECTION_COMMAND;

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    if let Some(arg) = parser.next()? {
        return Err(arg.unexpected().into());
    }
    // What agents are told is of the configuration, and written down a little longer.
    let limit = u64::try_from(CONFIG_LEN_MAX.saturating_mul(4)).unwrap_or(u64::MAX);
    let mut text = Vec::new();
    stdin()
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|error| Failure::failed(format!("cannot read the agents: {error}")))?;
    let agents: Vec<AgentUse> = serde_json::from_slice(&text)
        .map_err(|error| Failure::failed(format!("these are no agents: {error}")))?;
    let misfits = agents::inspect(&agents)
        .map_err(|error| Failure::failed(format!("cannot ask the agents: {error}")))?;
    say(&serde_json::to_string(&misfits).unwrap_or_default())?;
    Ok(OK)
}
