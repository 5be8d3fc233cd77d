//! The exhaustive search: `scripts/dev search [NAME]...`.
//!
//! Round by round: every state of the round is copied for every move it has; what was not seen
//! before is the next round. So the way to a violation that is printed is one of the shortest.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures and prints"
)]

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tandem::sim::search::{Fingerprints, Move, Root, State, roots};

const SHARDS: usize = 256;
/// How many states a thread takes at a time.
const PORTION: usize = 64;

/// A fingerprint is as good as its own hash.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[..8]);
        self.0 = u64::from_ne_bytes(word);
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = (number >> 32) as u64;
    }
}

type Seen = HashSet<u128, BuildHasherDefault<Itself>>;

/// How a state was come upon first: from which one, by which move.
type Origin = (u32, Move);

/// A state of a round, and its number.
type Numbered = (State, u32);

/// What one thread found in a round.
#[derive(Default)]
struct Found {
    states: Vec<(State, Origin)>,
    moves: u64,
    violation: Option<Origin>,
}

struct Search {
    seen: Vec<Mutex<Seen>>,
    origins: Vec<Origin>,
    moves: u64,
    depth: u32,
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = roots();
    if let Some(unknown) = wanted.iter().find(|name| all.iter().all(|root| root.name != **name)) {
        eprintln!("there is no world {unknown}; there are:");
        for root in &all {
            eprintln!("  {:12} {}", root.name, root.shows);
        }
        return ExitCode::from(2);
    }
    // What fails is told by this program, with the way to it.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut states = 0;
    for root in all.iter().filter(|root| wanted.is_empty() || wanted.iter().any(|w| w == root.name))
    {
        match search(root) {
            Ok(count) => states += count,
            Err(story) => {
                println!("{story}");
                println!("\nreplay: scripts/dev search {}", root.name);
                println!("states={states} violations=1 seconds={:.1}", seconds(began));
                return ExitCode::FAILURE;
            }
        }
    }
    println!("states={states} violations=0 seconds={:.1}", seconds(began));
    ExitCode::SUCCESS
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// Visits all states of a world; how many there are, or the story of a violation.
fn search(root: &Root) -> Result<usize, String> {
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut first = root.state();
    let fingerprint = Fingerprints::new(&first).of(&mut first);
    let seen = (0..SHARDS).map(|_| Mutex::new(Seen::default())).collect();
    let mut search = Search { seen, origins: vec![(0, Move::Tick(0))], moves: 0, depth: 0 };
    search.insert(fingerprint);
    let mut round: Vec<Numbered> = vec![(first, 0)];
    let mut widest = 1;
    while !round.is_empty() && root.moves_max.is_none_or(|most| search.depth < most) {
        let next = AtomicUsize::new(0);
        let shared = &search;
        let results: Vec<Found> = std::thread::scope(|scope| {
            let work = || shared.expand(&round, &next);
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread ends")).collect()
        });
        round.clear();
        for found in results {
            search.moves += found.moves;
            if let Some((parent, last)) = found.violation {
                return Err(search.story(root, parent, last));
            }
            for (state, origin) in found.states {
                let number = u32::try_from(search.origins.len()).expect("fewer states than that");
                search.origins.push(origin);
                round.push((state, number));
            }
        }
        search.depth += 1;
        widest = widest.max(round.len());
        if std::env::var_os("TANDEM_SEARCH_TELL").is_some() {
            eprintln!("{} round {} wide {}", root.name, search.depth, round.len());
        }
    }
    let count = search.origins.len();
    let left = if round.is_empty() { "" } else { " (all that so many rounds reach)" };
    println!(
        "{:12} states={count} moves={} rounds={} widest={widest} seconds={:.1}: {}{left}",
        root.name,
        search.moves,
        search.depth,
        seconds(began),
        root.shows
    );
    Ok(count)
}

impl Search {
    /// Whether this is the first time that it is seen.
    fn insert(&self, fingerprint: u128) -> bool {
        let shard = (fingerprint as usize) % SHARDS;
        self.seen[shard].lock().expect("no thread has failed").insert(fingerprint)
    }

    fn expand(&self, round: &[Numbered], next: &AtomicUsize) -> Found {
        let mut found = Found::default();
        let Some((first, _)) = round.first() else { return found };
        let mut fingerprints = Fingerprints::new(first);
        let mut moves = Vec::new();
        loop {
            let from = next.fetch_add(PORTION, Ordering::Relaxed);
            for (state, number) in round.iter().skip(from).take(PORTION) {
                state.moves(&mut moves);
                for one in &moves {
                    let mut after = state.clone();
                    let applied = catch_unwind(AssertUnwindSafe(|| after.apply(*one)));
                    if applied.is_err() {
                        found.violation = Some((*number, *one));
                        return found;
                    }
                    found.moves += 1;
                    if self.insert(fingerprints.of(&mut after)) {
                        found.states.push((after, (*number, *one)));
                    }
                }
            }
            if from >= round.len() {
                return found;
            }
        }
    }

    /// The way to a violation, told again from the beginning.
    fn story(&self, root: &Root, parent: u32, last: Move) -> String {
        let mut way = vec![last];
        let mut at = parent;
        while at != 0 {
            let (before, one) = self.origins[at as usize];
            way.push(one);
            at = before;
        }
        way.reverse();
        let mut state = root.state();
        state.world.story.kept = true;
        let mut told = String::new();
        for one in &way {
            state.world.forget();
            let what = state.describe(*one);
            let end = catch_unwind(AssertUnwindSafe(|| state.apply(*one)));
            told.push_str(&format!("* {what}\n"));
            for line in state.world.plain_lines() {
                told.push_str(&format!("    {line}\n"));
            }
            if let Err(panic) = end {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                let line = text.lines().next().unwrap_or("the engine's own assertion").to_owned();
                told.push_str(&format!("VIOLATION: {line}"));
            }
        }
        told
    }
}
