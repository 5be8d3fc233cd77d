//! The engine in a small world of its own: virtual time, no threads, every fault on demand.
//!
//! `world` and its parts simulate; the other modules tell what must happen in it.
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
mod freezing;
mod ladder;
mod machine;
mod random;
mod recognition;
mod rows;
mod rows_rest;
mod shell;
mod strays;
mod transitions;
mod words;
mod world;
mod written;
