//! Any bytes into `runs::engine`: `scripts/dev fuzz engine SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::engine::run(data));
