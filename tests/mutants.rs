//! Are the checkers any good? Deliberate mistakes in the engine, each of which must be noticed.
//!
//! `scripts/dev mutants [NAME]... [--seeds N] [--seconds S] [--spares]`: every mutant of
//! `tests/mutants/list.toml` (or those whose names have NAME in them) is built as a small crate of
//! its own, `types`, `engine` and `sim` with the mistake in it, and random walks and worlds are run
//! until one of them fails. The engine as it is must pass the same ones before. A mutant that
//! survives is a missing check, a fault that no world has, or a rule that another one covers: those
//! that are known to be covered are run with `--spares` alone, and are expected to survive.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that runs others and prints"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

#[path = "mutants/list.rs"]
mod list;

use list::Mutant;

/// The layers that compile by themselves.
const LAYERS: [&str; 3] = ["types", "engine", "sim"];
/// How many worlds a mutant may survive, and for how many seconds.
const SEEDS: u64 = 20_000;
const SECONDS: u64 = 90;
const MANIFEST: &str = r#"[package]
name = "mutant"
version = "0.1.0"
edition = "2024"

[dependencies]
serde = { version = "1", features = ["derive", "rc"] }

[profile.release]
opt-level = 2
incremental = true
overflow-checks = true

[workspace]
"#;
const LIBRARY: &str = "pub mod engine;\npub mod sim;\npub mod types;\n";

struct Wanted {
    names: Vec<String>,
    seeds: u64,
    seconds: u64,
    spares: bool,
}

fn wanted() -> Result<Wanted, lexopt::Error> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};
    let mut wanted = Wanted { names: Vec::new(), seeds: SEEDS, seconds: SECONDS, spares: false };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seeds") => wanted.seeds = parser.value()?.parse()?,
            Long("seconds") => wanted.seconds = parser.value()?.parse()?,
            Long("spares") => wanted.spares = true,
            Value(name) => wanted.names.push(name.string()?),
            other @ (Long(_) | Short(_)) => return Err(other.unexpected()),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}");
            eprintln!("scripts/dev mutants [NAME]... [--seeds N] [--seconds S] [--spares]");
            return ExitCode::from(2);
        }
    };
    let mutants = match list::read(root()) {
        Ok(mutants) => mutants,
        Err(complaints) => {
            eprintln!("{complaints}");
            return ExitCode::FAILURE;
        }
    };
    let is_wanted = |mutant: &&Mutant| {
        let is_named = wanted.names.iter().any(|name| mutant.name.contains(name));
        mutant.covered_by.is_some() == wanted.spares && (wanted.names.is_empty() || is_named)
    };
    let mutants: Vec<Mutant> = mutants.iter().filter(is_wanted).cloned().collect();
    if mutants.is_empty() {
        eprintln!("no mutant is called so");
        return ExitCode::from(2);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workshops: Vec<Workshop> = (0..cores.min(mutants.len())).map(Workshop::set_up).collect();
    let unchanged = workshops.first().map(|workshop| workshop.judge(&Mutant::none(), &wanted));
    let unchanged = unchanged.unwrap_or_default();
    println!("{:32} {unchanged}", "(the engine as it is)");
    if !unchanged.starts_with("survived") {
        return ExitCode::FAILURE;
    }
    let survivors = judge_all(&mutants, &workshops, &wanted);
    if !wanted.spares {
        survivors.iter().for_each(|survivor| println!("SURVIVES {survivor}"));
    }
    println!("mutants={} caught={}", mutants.len(), mutants.len() - survivors.len());
    let expected = if wanted.spares { mutants.len() } else { 0 };
    if survivors.len() == expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Deals the mutants out to the workshops; those that survive.
fn judge_all(mutants: &[Mutant], workshops: &[Workshop], wanted: &Wanted) -> Vec<String> {
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for workshop in workshops {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let verdict = workshop.judge(mutant, wanted);
                    let seconds = began.elapsed().as_secs_f64();
                    println!("{:32} {verdict} ({seconds:.1} s)", mutant.name);
                    if !verdict.starts_with("caught") {
                        let survivor = format!("{}: {}", mutant.name, mutant.mistake);
                        survivors.lock().expect("nobody panics with it").push(survivor);
                    }
                }
            });
        }
    });
    survivors.into_inner().expect("nobody panics with it")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where mutants are made: one small crate, whose sources are changed in turn, so that only what
/// has changed is compiled again.
struct Workshop {
    folder: PathBuf,
    /// The sources as they are: where in the crate, and the text.
    sources: Vec<(PathBuf, String)>,
}

impl Workshop {
    /// Furnishes workshop `number`: each thread has one of its own.
    fn set_up(number: usize) -> Self {
        let folder = root().join(format!("target/mutants/{number}"));
        let mut sources = vec![
            (PathBuf::from("Cargo.toml"), MANIFEST.to_owned()),
            (PathBuf::from("src/lib.rs"), LIBRARY.to_owned()),
            (PathBuf::from("src/main.rs"), read(&root().join("tests/mutants/search.rs"))),
        ];
        for layer in LAYERS {
            collect(&PathBuf::from("src").join(layer), &mut sources);
        }
        // Left-overs of a layer that has changed its shape must not be compiled.
        if let Err(error) = fs::remove_dir_all(folder.join("src"))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            panic!("{}: {error}", folder.display());
        }
        let workshop = Self { folder, sources };
        workshop.write(&Mutant::none());
        // The versions that the project uses; cargo drops those that are not needed.
        let lock = workshop.folder.join("Cargo.lock");
        fs::copy(root().join("Cargo.lock"), lock).expect("the lock file is copied");
        workshop
    }

    /// Writes the sources with the mistake in them; a file that is right already stays untouched.
    fn write(&self, mutant: &Mutant) {
        for (path, text) in &self.sources {
            let place = self.folder.join(path);
            let text = mutant.apply(path, text);
            if fs::read_to_string(&place).is_ok_and(|found| found == text) {
                continue;
            }
            fs::create_dir_all(place.parent().expect("it lies in a folder")).expect("a folder");
            fs::write(&place, text).expect("a source is written");
        }
    }

    /// Builds the mutant and runs it: one line that says what became of it.
    fn judge(&self, mutant: &Mutant, wanted: &Wanted) -> String {
        self.write(mutant);
        let built = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--release", "--quiet"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("RUSTFLAGS", "-A warnings")
            .output()
            .expect("cargo runs");
        if !built.status.success() {
            return format!("does not compile:\n{}", String::from_utf8_lossy(&built.stderr));
        }
        let run = Command::new(self.folder.join("target/release/mutant"))
            .args([0, wanted.seeds, wanted.seconds].map(|number| number.to_string()))
            .output()
            .expect("the mutant runs");
        let said = String::from_utf8_lossy(&run.stdout).trim().to_owned();
        if said.is_empty() { format!("ended without a word: {}", run.status) } else { said }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds all sources below a folder of the project.
fn collect(folder: &Path, sources: &mut Vec<(PathBuf, String)>) {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
    for entry in entries {
        let entry = entry.expect("it can be listed");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            collect(&path, sources);
        } else {
            sources.push((path, read(&entry.path())));
        }
    }
}
