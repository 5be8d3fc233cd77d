//! What the flight recorder costs: `cargo bench --bench flight`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement: it reads the clock, prints, and panics if it cannot go on"
)]

#[path = "../tests/support/inputs.rs"]
mod inputs;

use std::path::Path;
use std::time::{Duration, Instant};

use inputs::UsualInputs;
use tandem::engine::settings::{AfterFence, LinkSettings, PeerSettings};
use tandem::engine::{Node, Settings};
use tandem::flight::{Encoder, Header};
use tandem::io::flight::{Bounds, Recorder, list};
use tandem::types::heartbeat::NICS_MAX;
use tandem::types::{BootId, Incarnation, LinkId, Mac, Names, NodeId};

/// Inputs in one round, and rounds: the best one counts, the others were disturbed.
const INPUTS: u32 = 100_000;
const ROUNDS: u32 = 10;

fn main() {
    let mut out = Vec::with_capacity(16 << 20);
    let (mut usual, mut encoder) = (UsualInputs::new(), Encoder::new());
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let inputs: Vec<_> = (0..INPUTS).map(|_| usual.next_input()).collect();
        out.clear();
        let begun = Instant::now();
        for (at, input) in &inputs {
            encoder.add(*at, input, &mut out).unwrap();
        }
        best = best.min(begun.elapsed().as_secs_f64() / f64::from(INPUTS));
    }
    println!("an input as a line: {:.0} ns", best * 1e9);
    let lines = |mark: &str| {
        let text = core::str::from_utf8(&out).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(mark)).collect();
        lines.iter().map(|line| line.len() + 1).sum::<usize>() / lines.len()
    };
    println!("a heartbeat: {} bytes, a tick: {} bytes", lines(" h "), lines(" t*"));

    // The real thing, in memory, written after each input: as a daemon that has nothing else to do.
    let directory = Path::new("/dev/shm").join(format!("tandem-bench-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let first = usual.next_input().0;
    let settings = settings();
    let node = Node::new(settings.clone(), first);
    let mut recorder = Recorder::begin(&directory, Bounds::default(), header(first), &settings);
    let (mut best, mut worst) = (f64::INFINITY, Duration::ZERO);
    for _ in 0..ROUNDS {
        let inputs: Vec<_> = (0..INPUTS).map(|_| usual.next_input()).collect();
        let begun = Instant::now();
        for (at, input) in &inputs {
            let one = Instant::now();
            recorder.note(&node, *at, input);
            recorder.flush(*at);
            worst = worst.max(one.elapsed());
        }
        best = best.min(begun.elapsed().as_secs_f64() / f64::from(INPUTS));
    }
    println!("recorded and written one by one: {:.0} ns, the worst {worst:?}", best * 1e9);
    println!("{} segments", list(&directory).unwrap().len());
    std::fs::remove_dir_all(&directory).unwrap();
}

fn settings() -> Settings {
    Settings {
        local: NodeId::new(1).unwrap(),
        peers: vec![PeerSettings {
            node: NodeId::new(2).unwrap(),
            levels: Vec::new(),
            fence_delay: Duration::ZERO,
            after_fence: AfterFence::StaysOff,
        }],
        links: vec![LinkSettings {
            id: LinkId(0),
            keepalive: Duration::from_millis(100),
            warntime: Duration::from_millis(300),
            deadtime: Duration::from_millis(500),
        }],
        nics: 1,
        vips: 1,
        macs: [Mac::NONE; NICS_MAX],
        initdead: Duration::from_secs(1),
        dead_host_time: None,
        isolated_grace: Duration::from_secs(5),
        path_hold: Duration::from_secs(1),
        path_rest: Duration::from_secs(60),
        preferred: None,
        fence_check_interval: Duration::from_secs(60),
        config_digest: 1,
        incarnation: Incarnation(1),
        boot: BootId([1; 16]),
    }
}

fn header(at: tandem::types::Instant) -> Header {
    Header {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: "pair".to_owned(),
        local: NodeId::new(1).unwrap(),
        names: Names::default(),
        boot: BootId([1; 16]),
        incarnation: Incarnation(1),
        part: 0,
        follows: false,
        at,
        wall_unix_ms: 0,
    }
}
