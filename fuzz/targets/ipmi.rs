//! Any bytes into `runs::ipmi`: `scripts/dev fuzz ipmi SECONDS`.
#![no_main]

#[path = "../runs/mod.rs"]
mod runs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| runs::ipmi::run(data));
