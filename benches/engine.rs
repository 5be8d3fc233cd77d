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
use tandem::engine::Effects;

/// Periods in one round, and rounds: the best one counts, the others were disturbed.
const PERIODS: u32 = 20_000;
const ROUNDS: u32 = 10;

/// Periods that are noted and then done again by the engines alone: few enough for the cache.
const PERIODS_NOTED: usize = 500;

fn main() {
    let (heartbeat, step) = measure_pair(Medium::Wire);
    // A heartbeat is one step that says it, one that hears it, and the codec both ways.
    println!("heartbeat, said, written, read and heard: {:.2} us", heartbeat * 1e6);
    println!("engine with codec: {:.0} heartbeats/s, {:.0} steps/s", 1.0 / heartbeat, 1.0 / step);
    let (heartbeat, step) = measure_pair(Medium::Value);
    println!(
        "engine and a world of values: {:.0} heartbeats/s, {:.0} steps/s",
        1.0 / heartbeat,
        1.0 / step
    );
    for links in [1, 2] {
        let (step, copy) = (measure_step(links), measure_copy(links));
        println!(
            "engine alone, {links} links: {:.1} ns/step, {:.0} steps/s; {:.0} ns/copy of a node",
            step * 1e9,
            1.0 / step,
            copy * 1e9
        );
    }
}

/// Seconds for each heartbeat and for each step of a settled pair on one link.
fn measure_pair(medium: Medium) -> (f64, f64) {
    let mut duo = Duo::new(1, medium);
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

/// Seconds for each step of the engines alone: copies of a settled pair are given what it was
/// given. With a step come the question for the next deadline and the effects taken out.
fn measure_step(links: u8) -> f64 {
    let mut duo = Duo::new(links, Medium::Value);
    let settled = duo.nodes.clone();
    duo.given = Some(Vec::new());
    for _ in 0..PERIODS_NOTED {
        duo.run_one_period();
    }
    let given = duo.given.unwrap();
    let mut effects = Effects::new();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS * 10 {
        let mut nodes = settled.clone();
        let begun = Instant::now();
        for (now, index, input) in &given {
            let node = &mut nodes[*index];
            node.step(*now, input.clone(), &mut effects);
            while let Some(effect) = effects.take_next() {
                black_box(&effect);
            }
            black_box(node.next_deadline());
        }
        best = best.min(begun.elapsed().as_secs_f64());
    }
    best / f64::from(u32::try_from(given.len()).unwrap())
}

/// Seconds for each copy of a settled node, its end included.
fn measure_copy(links: u8) -> f64 {
    let duo = Duo::new(links, Medium::Value);
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..PERIODS {
            drop(black_box(duo.nodes[0].clone()));
        }
        best = best.min(begun.elapsed().as_secs_f64() / f64::from(PERIODS));
    }
    best
}
