//! The configuration: one TOML file, the same on both nodes, from text to a checked plan.
//!
//! ```text
//! text ──toml──► tree ──► raw ──► pair ──────────► plan
//!                (lines)  (types)  (sense, defaults) (this node: NICs, secrets)
//!                                   │
//!                                   └─► print: the normalised file, and its digest
//! ```
//!
//! Every stage adds what it finds to one [`Findings`] and goes on, so that one run tells all that
//! is wrong: file, line, key, what is wrong, what to write instead. The facts it needs of the
//! machine come in as arguments; files are read through [`Files`] alone, implemented for the disk
//! in [`disk`]. It knows no socket, clock or log.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

mod check;
pub mod device;
pub mod disk;
mod duration;
pub mod finding;
pub mod key_file;
pub mod link;
mod machine;
pub mod metadata;
pub mod nearest;
pub mod network;
mod pair;
pub mod plan;
mod print;
mod raw;
mod read;
mod redfish;
pub mod secret;
mod tree;
mod vocabulary;

use core::time::Duration;
use std::path::PathBuf;

pub use device::{Device, DeviceKind, Fingerprint, Identity, Login, Role, Secret, Suite, Trust};
pub use finding::{At, Finding, Findings, Severity};
pub use key_file::{HeartbeatKey, HeartbeatKeys, KeyFile};
pub use link::{Baud, SerialLinkConfig, UdpLinkConfig};
pub use machine::MachineFacts;
pub use metadata::AgentUse;
pub use network::{ServiceNic, Vip};
pub use plan::{Ladder, Link, Plan, Priority, Runtime, Timing, Transport};
pub use secret::{FileFacts, FileFault, Files};

/// Where the file is unless `--config` says another place.
pub const PATH_DEFAULT: &str = "/etc/tandem/tandem.toml";
/// The longest configuration that is read, in bytes; a longer file is refused as a whole.
pub const CONFIG_LEN_MAX: usize = 1 << 20;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Checked {
    /// The plan, if nothing is wrong (there may be warnings).
    pub plan: Option<Plan>,
    /// All that was found, by line.
    pub findings: Findings,
    /// The fence agents, to be asked for their metadata: see [`metadata`].
    pub agents: Vec<AgentUse>,
    /// The files of authorities that Redfish devices name, to be looked at.
    pub authorities: Vec<At<PathBuf>>,
}

/// Reads `text`, the content of `file` (its name is used in messages alone), as the node `node`,
/// or as the one that this machine's host name tells.
///
/// A `node` that is not the one of the host name is looked at from afar: the NICs of this machine
/// are then not asked. An empty host name in `facts` avoids that.
pub fn check(
    file: &str,
    text: &str,
    node: Option<&str>,
    facts: &MachineFacts,
    files: &dyn Files,
) -> Checked {
    let mut findings = Findings::new(file);
    let pair = tree::parse(text, &mut findings, raw::read);
    let pair = pair.map(|raw| check::pair(raw, &mut findings));
    let agents = pair.as_ref().map(metadata::uses).unwrap_or_default();
    let authorities = pair.as_ref().map(redfish::authorities).unwrap_or_default();
    let plan = pair.and_then(|pair| plan_of(pair, node, facts, files, &mut findings));
    findings.sort();
    let plan = plan.filter(|_| findings.errors() == 0);
    Checked { plan, findings, agents, authorities }
}

/// The duration that `text` says, as the configuration writes them: `"500ms"`, `"30s"`, `"5m"`.
///
/// # Errors
/// If it is none: what is wrong, and what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|wrong| format!("{}; {}", wrong.wrong, wrong.instead))
}

fn plan_of(
    pair: pair::Pair,
    node: Option<&str>,
    facts: &MachineFacts,
    files: &dyn Files,
    findings: &mut Findings,
) -> Option<Plan> {
    let local = machine::find_local(&pair, node, facts, findings);
    machine::check(&pair, local, facts, files, findings);
    let secrets = secret::load(&pair, files, findings);
    let local = local?.id;
    plan::build(pair, local, secrets)
}
