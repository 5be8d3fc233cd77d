//! Any bytes into `runs::heartbeat`: `scripts/dev fuzz heartbeat SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::heartbeat::run(data));
