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

use std::hint::black_box;
use std::time::Instant;

use duo::{Duo, Medium};

/// Periods in one round, and rounds: the best one counts, the others were disturbed.
const PERIODS: u32 = 20_000;
const ROUNDS: u32 = 10;

fn main() {
    let (heartbeat, step) = measure(1, Medium::Wire);
    // A heartbeat is one step that says it, one that hears it, and the codec both ways.
    println!("heartbeat, said, written, read and heard: {:.2} us", heartbeat * 1e6);
    println!("engine with codec: {:.0} heartbeats/s, {:.0} steps/s", 1.0 / heartbeat, 1.0 / step);
    for links in [1, 2] {
        let (_, step) = measure(links, Medium::Value);
        let copy = measure_copy(links);
        // With a step come the question for the next deadline and the effects taken out.
        println!(
            "engine alone, {links} links: {:.1} ns/step, {:.0} steps/s; {:.0} ns/copy of a node",
            step * 1e9,
            1.0 / step,
            copy * 1e9
        );
    }
}

/// Seconds for each copy of a settled node, and for its end.
fn measure_copy(links: u8) -> f64 {
    let duo = Duo::new(links, Medium::Value);
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..PERIODS {
            drop(black_box(duo.node().clone()));
        }
        best = best.min(begun.elapsed().as_secs_f64() / f64::from(PERIODS));
    }
    best
}

/// Seconds for each heartbeat and for each step of a settled pair.
fn measure(links: u8, medium: Medium) -> (f64, f64) {
    let mut duo = Duo::new(links, medium);
    let (mut heartbeat, mut step) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let (heard, steps) = (duo.heard, duo.steps);
        let begun = Instant::now();
        for _ in 0..PERIODS {
            duo.run_one_period();
        }
        let seconds = begun.elapsed().as_secs_f64();
        heartbeat = heartbeat.min(seconds / f64::from(u32::try_from(duo.heard - heard).unwrap()));
        step = step.min(seconds / f64::from(u32::try_from(duo.steps - steps).unwrap()));
    }
    (heartbeat, step)
}
