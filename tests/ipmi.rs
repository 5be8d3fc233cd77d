//! Fence devices: the native IPMI client and the agents, against BMCs that behave and BMCs that
//! do not. Needs the Debian packages openipmi (`ipmi_sim`), ipmitool and fence-agents; without
//! them the tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may wait, print, and fail where it cannot go on"
)]

#[path = "support/bmc.rs"]
mod bmc;
#[path = "ipmi/client.rs"]
mod client;
#[path = "support/ipmi_sim.rs"]
mod ipmi_sim;
#[path = "support/pool.rs"]
mod pool;

#[path = "ipmi/agents.rs"]
mod agents;
#[path = "ipmi/kept.rs"]
mod kept;
#[path = "ipmi/native.rs"]
mod native;
#[path = "ipmi/warm.rs"]
mod warm;
