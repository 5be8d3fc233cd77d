//! Any bytes into `runs::config`: `scripts/dev fuzz config SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::config::run(data));
