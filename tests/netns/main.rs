//! The fault table of the specification, row by row, with real daemons, real `ipmi_sim` and a
//! client that measures: nothing here is simulated but the power and the cables.
//!
//! Each test breaks one thing, waits for what must follow, and demands of the client that it is
//! served again, of the observer that no VIP ever had two holders, and of the status that it says
//! why. Figures are printed, not judged: a wait only ends a test that hangs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "../lab/mod.rs"]
mod lab;
mod pair;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../support/sushy.rs"]
mod sushy;

mod attack;
mod daemon;
mod evidence;
mod keys;
mod links;
mod outlets;
mod paths;
mod power;
mod pulse;
mod redfish;
mod replay;
mod serial;
mod surprises;
