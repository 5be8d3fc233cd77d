//! Any bytes into `runs::netlink`: `scripts/dev fuzz netlink SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::netlink::run(data));
