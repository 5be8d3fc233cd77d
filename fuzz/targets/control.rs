//! Any bytes into `runs::control`: `scripts/dev fuzz control SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::control::run(data));
