//! Any bytes into `runs::flight`: `scripts/dev fuzz flight SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::flight::run(data));
