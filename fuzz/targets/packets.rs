//! Any bytes into `runs::packets`: `scripts/dev fuzz packets SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::packets::run(data));
