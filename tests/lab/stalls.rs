//! Whether the machine itself stood still: a thread on every processor sleeps for moments, and
//! notes when it was woken much too late, as every daemon there was.
//!
//! A test that fails at such a time has perhaps shown nothing but that, and says so.

use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::clock::{Stamp, millis};

/// How long each of them sleeps.
const NAP: Duration = Duration::from_millis(10);
/// What is late: a keepalive of the tests. Ordinary scheduling on busy processors stays far below.
const LATE: Duration = Duration::from_millis(50);
/// What is told of them at most.
const TOLD_MAX: usize = 10;

/// One processor stood still.
#[derive(Clone, Copy, Debug)]
struct Stall {
    cpu: usize,
    at: Stamp,
    lasted: Duration,
}

static STALLS: Mutex<Vec<Stall>> = Mutex::new(Vec::new());
static WATCHED: Once = Once::new();

/// Watches from now on until this process ends.
pub fn watch() {
    WATCHED.call_once(|| {
        for cpu in processors() {
            thread::spawn(move || watch_processor(cpu));
        }
    });
}

/// The processors that this process may run on.
pub fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap()).collect()
}

/// Lets the calling thread run on this processor alone.
pub fn stay_on(cpu: usize) -> nix::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &only)
}

/// What stood still for how long since `from`, for people and for `scripts/dev`; nothing if nothing
/// did.
pub fn told_since(from: Stamp) -> Option<String> {
    let stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let since: Vec<&Stall> = stalls.iter().filter(|stall| stall.at >= from).collect();
    let tell = |stall: &&Stall| {
        let Stall { cpu, at, lasted } = stall;
        format!("processor {cpu} for {:.0} ms until {at}", millis(*lasted))
    };
    let last: Vec<String> = since.iter().rev().take(TOLD_MAX).map(tell).collect();
    let more = since.len().saturating_sub(TOLD_MAX);
    let more = if more > 0 { format!(", and {more} times before") } else { String::new() };
    (!last.is_empty()).then(|| format!("the machine stood still: {}{more}", last.join(", ")))
}

fn watch_processor(cpu: usize) {
    // A processor that was taken away meanwhile has nothing to tell.
    if stay_on(cpu).is_err() {
        return;
    }
    loop {
        let begun = Stamp::now();
        thread::sleep(NAP);
        let at = Stamp::now();
        let lasted = at.since(begun).saturating_sub(NAP);
        if lasted >= LATE {
            let mut stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner);
            stalls.push(Stall { cpu, at, lasted });
        }
    }
}
