//! What is done with the bytes that a fuzzer thinks up: one file for each way into tandem.
//!
//! Each `run` takes any bytes and panics if something is true of them that must never be. The
//! fuzzer calls one of them (`fuzz/targets`); the tests call all of them with every seed that is
//! kept in `fuzz/seeds`, where the input of each crash that was ever found is added.
#![allow(dead_code, reason = "each target uses one of them")]

#[allow(clippy::disallowed_methods, reason = "a BMC may wait in a thread of its own")]
#[path = "../../tests/support/bmc.rs"]
pub mod bmc;
pub mod choices;
pub mod config;
pub mod control;
pub mod engine;
pub mod flight;
pub mod heartbeat;
pub mod ipmi;
pub mod netlink;
pub mod packets;
pub mod serial;

/// One way in.
pub type Run = fn(&[u8]);

/// All of them, by the names of their targets.
pub const ALL: [(&str, Run); 9] = [
    ("config", config::run),
    ("control", control::run),
    ("engine", engine::run),
    ("flight", flight::run),
    ("heartbeat", heartbeat::run),
    ("ipmi", ipmi::run),
    ("netlink", netlink::run),
    ("packets", packets::run),
    ("serial", serial::run),
];
