//! How fast the engine decides and the codec works: `cargo bench --bench engine`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement: it reads the clock, prints, and panics if it cannot go on"
)]

#[path = "../tests/support/duo.rs"]
mod duo;

use std::time::Instant;

use duo::Duo;

/// Periods in one round, and rounds: the best one counts, the others were disturbed.
const PERIODS: u32 = 20_000;
const ROUNDS: u32 = 10;

fn main() {
    let mut duo = Duo::new();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let heard = duo.heard;
        let begun = Instant::now();
        for _ in 0..PERIODS {
            duo.run_one_period();
        }
        let heartbeats = f64::from(u32::try_from(duo.heard - heard).unwrap());
        best = best.min(begun.elapsed().as_secs_f64() / heartbeats);
    }
    // A heartbeat is one step that says it, one that hears it, and the codec both ways.
    println!("heartbeat, said, written, read and heard: {:.2} us", best * 1e6);
    println!("engine with codec: {:.0} heartbeats/s, {:.0} steps/s", 1.0 / best, 2.0 / best);
}
