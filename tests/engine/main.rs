//! The engine in a small world of its own: virtual time, no threads, every fault on demand.
//!
//! The world is `tandem::sim`; the modules tell what must happen in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test that breaks its own assumptions may as well end"
)]

mod collisions;
mod flight;
mod freezing;
mod ladder;
mod paths;
mod power_on;
mod pulses;
mod recognition;
mod rows;
mod rows_rest;
mod slow_links;
mod strays;
mod told;
mod transitions;
mod words;
mod written;

use std::time::Duration;

use tandem::sim::Timing;

const KEEPALIVE: Duration = Timing::QUICK.keepalive;
const DEADTIME: Duration = Timing::QUICK.deadtime;
const INITDEAD: Duration = Timing::QUICK.initdead;
const LEVEL_TIMEOUT: Duration = Timing::QUICK.level_timeout;
