//! Random worlds and random walks by the million:
//! `scripts/dev sim [--seeds N] [--from SEED] [--seed SEED]`.
//!
//! The seeds are dealt out to as many threads as there are cores. A seed that fails is run again
//! with its story, and the command that replays it is printed.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tandem::sim::World;
use tandem::sim::{seeds, walks};

const SEEDS: u64 = 2_000;
/// How many seeds a thread takes at a time.
const PORTION: u64 = 256;

struct Wanted {
    from: u64,
    count: u64,
    tell: bool,
}

fn wanted() -> Result<Wanted, lexopt::Error> {
    use lexopt::Arg;
    use lexopt::prelude::{Long, ValueExt};
    let mut wanted = Wanted { from: 0, count: SEEDS, tell: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seeds") => wanted.count = parser.value()?.parse()?,
            Long("from") => wanted.from = parser.value()?.parse()?,
            Long("seed") => {
                wanted.from = parser.value()?.parse()?;
                wanted.count = 1;
                wanted.tell = true;
            }
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected()),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}; usage: scripts/dev sim [--seeds N] [--from SEED] [--seed SEED]");
            return ExitCode::from(2);
        }
    };
    // What fails is told by this program, with its story.
    std::panic::set_hook(Box::new(|_| {}));
    if wanted.tell {
        let (walk, world) = tell(wanted.from);
        println!("The walk of the seed:\n{}", walk.as_ref().unwrap_or_else(|story| story));
        println!("The world of the seed:\n{}", world.as_ref().unwrap_or_else(|story| story));
        return if walk.is_ok() && world.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let steps = AtomicU64::new(0);
    let next = AtomicU64::new(wanted.from);
    let end = wanted.from.saturating_add(wanted.count);
    let failed = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&next, end, &steps, &failed));
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let failed = failed.into_inner();
    if failed != u64::MAX {
        let (walk, world) = tell(failed);
        for story in [walk, world].into_iter().filter_map(Result::err) {
            println!("{story}");
        }
        println!("\nreplay: scripts/dev sim --seed {failed}");
        return ExitCode::FAILURE;
    }
    let steps = steps.into_inner();
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = steps as f64 / seconds;
    println!(
        "seeds={} steps={steps} violations=0 threads={threads} seconds={seconds:.1} \
         steps_per_second={rate:.0}",
        wanted.count
    );
    ExitCode::SUCCESS
}

/// The stories of a seed's walk and of its world; as errors, where they end in a violation.
fn tell(seed: u64) -> (Result<String, String>, Result<String, String>) {
    let told = |run: fn(u64, bool) -> World| {
        let run = || run(seed, true).story();
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            text.unwrap_or("an assertion that says nothing").to_owned()
        })
    };
    (told(walks::run), told(seeds::run))
}

/// Runs seeds until there are none left, or one has failed.
fn work(next: &AtomicU64, end: u64, steps: &AtomicU64, failed: &AtomicU64) {
    let mut made = 0;
    loop {
        let first = next.fetch_add(PORTION, Ordering::Relaxed);
        if first >= end || failed.load(Ordering::Relaxed) != u64::MAX {
            break;
        }
        for seed in first..end.min(first + PORTION) {
            let run = || walks::run(seed, false).steps + seeds::run(seed, false).steps;
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(steps) => made += steps,
                Err(_panic) => {
                    failed.fetch_min(seed, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
    steps.fetch_add(made, Ordering::Relaxed);
}
