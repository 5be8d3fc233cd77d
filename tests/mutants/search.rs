//! What a mutant is run by: random worlds, and random walks, until one fails. Copied beside each
//! mutated engine.
//!
//! Prints one line. `caught` is followed by what noticed the mistake (a check of the world, or an
//! assertion of the engine itself), the seed, and what it said; `survived` by the seeds it took.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutant::sim::{seeds, walks};

/// How many walks belong to a seed: each is much shorter than its world.
const WALKS: u64 = 2;
/// A world that takes longer than this has lost its way.
const WORLD_TIME_MAX: Duration = Duration::from_secs(20);

static SEED: AtomicU64 = AtomicU64::new(0);
static SAID: Mutex<String> = Mutex::new(String::new());

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let (from, count) = (args.next().expect("from"), args.next().expect("count"));
    let limit = Duration::from_secs(args.next().expect("seconds"));
    std::panic::set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("a panic");
        let first = what.lines().next().unwrap_or_default();
        let file = info.location().map_or("", |location| location.file());
        let by = if file.contains("engine") { "engine" } else { "check" };
        *SAID.lock().expect("nobody panics with it") = format!("by={by} said={first}");
    }));
    std::thread::spawn(watch);
    let began = Instant::now();
    for seed in from..from + count {
        SEED.store(seed, Ordering::Relaxed);
        let walk = |n| (move || walks::run(seed * WALKS + n, false).steps, seed * WALKS + n);
        for (walk, number) in (0..WALKS).map(walk) {
            if catch_unwind(AssertUnwindSafe(walk)).is_err() {
                println!("caught walk={number} {}", said());
                return;
            }
        }
        if catch_unwind(AssertUnwindSafe(|| seeds::run(seed, false).steps)).is_err() {
            println!("caught seed={seed} {}", said());
            return;
        }
        if began.elapsed() > limit {
            println!("survived seeds={}", seed - from + 1);
            return;
        }
    }
    println!("survived seeds={count}");
}

/// What the last failure said.
fn said() -> String {
    SAID.lock().expect("nobody panics with it").clone()
}

/// Ends everything when one world goes on for ever.
fn watch() {
    let mut last = u64::MAX;
    loop {
        let seed = SEED.load(Ordering::Relaxed);
        if seed == last {
            println!("caught seed={seed} by=clock said=a world that does not end");
            std::process::exit(0);
        }
        last = seed;
        std::thread::sleep(WORLD_TIME_MAX);
    }
}
