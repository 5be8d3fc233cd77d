//! Any bytes into `runs::serial`: `scripts/dev fuzz serial SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::serial::run(data));
