//! The agents of the fence-agents package: their metadata against configurations, and a PDU with
//! several outlets. Needs the Debian package fence-agents; without it the tests fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    missing_docs,
    reason = "a test may wait, and fail where it cannot go on; what is shared is not all used"
)]

#[path = "support/bmc.rs"]
mod bmc;
#[path = "support/ipmi_sim.rs"]
mod ipmi_sim;
#[path = "support/pool.rs"]
mod pool;

#[path = "agents/metadata.rs"]
mod metadata;
#[path = "agents/pdu.rs"]
mod pdu;
