//! How long a takeover takes once the fence has its verdict, in a network namespace: from the
//! mark on disk to the kernel's addresses and the announcements on the wire.
//! `cargo bench --bench takeover`, as root.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a measurement: it waits, prints, and panics if it cannot go on"
)]

#[path = "../tests/network/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use tandem::engine::Outcome;
use tandem::engine::settings::Mark;
use tandem::io::state_files::StateFiles;
use tandem::sys::clock;
use tandem::types::{BootId, Term};
use tandem::wire::arp::Arp;
use world::{Rig, World, hear, nic, vip};

const ROUNDS: usize = 30;

fn main() {
    let Some(world) = World::new() else { return };
    let dir = std::env::temp_dir().join(format!("tandem-takeover-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    println!("takeover, {ROUNDS} rounds: median / longest, in ms after the fence verdict");
    for count in [1_usize, 6, 100] {
        measure(&world, &dir, count);
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Times of one takeover.
#[derive(Default)]
struct Times {
    first: Vec<Duration>,
    last: Vec<Duration>,
    done: Vec<Duration>,
}

fn measure(world: &World, dir: &std::path::Path, count: usize) {
    let vips: Vec<_> = (0..count).map(|n| vip(&format!("10.77.0.{}/24", 100 + n))).collect();
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    let files = StateFiles::new(dir, dir);
    let ear = world.far_ear(0x0806);
    let mut times = Times::default();
    for round in 0..ROUNDS {
        drop(hear(&ear));
        let mut unheard: BTreeSet<Ipv4Addr> =
            (0..count).map(|n| Ipv4Addr::new(10, 77, 0, u8::try_from(100 + n).unwrap())).collect();
        let term = Term(u64::try_from(round).unwrap());
        let begun = clock::now();
        files.write_mark(&Mark { boot: BootId([1; 16]), term, holding: true }).unwrap();
        let op = rig.begin_acquire();
        let mut first = None;
        let mut last = None;
        let outcome = rig.outcome_with(op, || {
            let now = clock::now();
            for frame in hear(&ear) {
                let Some(arp) = Arp::parse(&frame) else { continue };
                if arp.sender_ip == arp.target_ip && unheard.remove(&arp.sender_ip) {
                    first.get_or_insert(now);
                    last = Some(now);
                }
            }
        });
        let done = clock::now();
        assert_eq!(outcome, Outcome::Confirmed);
        // What was announced in the last turn before the end.
        for frame in hear(&ear) {
            if let Some(arp) = Arp::parse(&frame).filter(|arp| arp.sender_ip == arp.target_ip)
                && unheard.remove(&arp.sender_ip)
            {
                first.get_or_insert(done);
                last = Some(done);
            }
        }
        assert!(unheard.is_empty(), "not announced: {unheard:?}");
        times.first.push(first.unwrap().since(begun));
        times.last.push(last.unwrap().since(begun));
        times.done.push(done.since(begun));
        assert_eq!(rig.release(), Outcome::Confirmed);
    }
    let (first, last, done) = (times.first, times.last, times.done);
    println!(
        "{count:>4} VIPs: first announced {}, last announced {}, all held {}",
        show(first),
        show(last),
        show(done)
    );
}

fn show(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    format!("{:.2} / {:.2}", ms(times.len() / 2), ms(times.len() - 1))
}
