//! A heartbeat costs no allocation: neither to decide, nor to write, nor to read it. What allocates
//! may wait for a lock, fault a page in, or fail.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests; a global allocator cannot be written without"
)]

#[path = "support/duo.rs"]
mod duo;
#[path = "support/inputs.rs"]
mod inputs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use duo::{Duo, Medium};
use inputs::UsualInputs;
use tandem::flight::Encoder;

/// The system's allocator, which counts what each thread asks for.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    COUNT.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system's allocator. The counter is a thread
// local without a destructor that is initialised at compile time: it allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

// In: a settled pair on two links for 100 s, fence checks every 60 s included.
// Out: 4000 heartbeats and more were decided, written, read and heard; nothing was allocated.
#[test]
fn heartbeats_in_steady_state_allocate_nothing() {
    for medium in [Medium::Value, Medium::Wire, Medium::Line] {
        let mut duo = Duo::new(2, medium);
        let heard = duo.heard;
        let allocated = allocations(|| {
            for _ in 0..1000 {
                duo.run_one_period();
            }
        });
        let heard = duo.heard - heard;
        assert!(heard >= 4000, "only {heard} heartbeats");
        assert_eq!(allocated, 0, "{medium:?}: {heard} heartbeats allocated {allocated} times");
    }
}

// In: heartbeats that say nothing new, and ticks, as the flight recorder is given them.
// Out: none of their lines allocates anything.
#[test]
fn recording_heartbeats_and_ticks_allocates_nothing() {
    let mut usual = UsualInputs::new();
    let (mut encoder, mut out) = (Encoder::new(), Vec::with_capacity(1 << 20));
    let (at, input) = usual.next_input();
    encoder.add(at, &input, &mut out).unwrap();
    let allocated = allocations(|| {
        for _ in 0..10_000 {
            let (at, input) = usual.next_input();
            encoder.add(at, &input, &mut out).unwrap();
        }
    });
    assert!(out.len() > 100_000 && out.len() < 1 << 20, "{} bytes", out.len());
    assert_eq!(allocated, 0);
}
