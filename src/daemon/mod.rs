//! The daemon: start-up in order, the loop, the end.
//!
//! ```text
//!   scheduling and memory ─► sockets and devices ─► what an earlier life left ─► engine ─► loop
//! ```
//!
//! Everything that can wait for something (reading files, asking the kernel what there is) happens
//! before the loop. On the loop nothing waits.

mod carry;
mod clock_watch;
mod device_status;
mod flood;
pub mod frozen;
mod hearing;
mod inspection;
mod journal;
mod key_change;
mod keyring;
mod keys;
mod record;
mod remedy;
mod sessions;
mod shell;
mod status;
mod words;
mod wrong_key;

pub use inspection::COMMAND as INSPECTION_COMMAND;
pub use record::COMMAND as RECORD_COMMAND;
pub use remedy::of_reading as remedy_of_reading;
pub use words::COMMAND as WORD_COMMAND;

use core::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Plan, Priority, Runtime};
use crate::io::state_files::{Damage, StateFiles};
use crate::sys::priority;
use crate::types::{BootId, Incarnation};

/// Where the kernel tells its boot.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// Why the daemon could not start, or had to end.
#[derive(Debug)]
pub enum Failure {
    /// Something that it needs could not be had.
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Another daemon is running, or the control socket cannot be made.
    Control(crate::io::control::OpenError),
    /// Something else is wrong.
    Other(String),
}

impl Failure {
    fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, source } => write!(f, "cannot {what}: {source}"),
            Self::Control(error) => write!(f, "control socket: {error}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Failure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Control(error) => Some(error),
            Self::Other(_) => None,
        }
    }
}

/// Runs the daemon until it is told to end.
///
/// # Errors
/// If something it needs cannot be had.
pub fn run(plan: Plan) -> Result<(), Failure> {
    let life = Life::begin(&plan.runtime)?;
    prepare_process(&plan);
    shell::Shell::open(plan, life)?.run()
}

/// What makes this start of the daemon this one.
struct Life {
    boot: BootId,
    incarnation: Incarnation,
    files: StateFiles,
    /// Held for as long as the daemon lives: two of them would share one mark.
    _lock: File,
}

impl Life {
    fn begin(runtime: &Runtime) -> Result<Self, Failure> {
        make_directory(&runtime.runtime_dir)?;
        // Without a state directory tandem serves, degraded: the first record that cannot be
        // written tells.
        if let Err(failure) = make_directory(&runtime.state_dir) {
            log::error!("{failure}");
        }
        let lock = lock(&runtime.runtime_dir)?;
        Ok(Self {
            boot: read_boot()?,
            incarnation: draw_incarnation()?,
            files: StateFiles::new(&runtime.runtime_dir, &runtime.state_dir),
            _lock: lock,
        })
    }
}

/// A directory that only root may look into.
fn make_directory(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Failure::io(format!("make the directory {}", path.display()), error))
}

fn lock(directory: &Path) -> Result<File, Failure> {
    let path: PathBuf = directory.join("lock");
    let file = File::create(&path)
        .map_err(|error| Failure::io(format!("make {}", path.display()), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Failure::Other(format!(
            "another tandem daemon holds {}: stop it first (systemctl stop tandem)",
            path.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(Failure::io(format!("lock {}", path.display()), error))
        }
    }
}

fn read_boot() -> Result<BootId, Failure> {
    let text = std::fs::read_to_string(BOOT_ID_PATH)
        .map_err(|error| Failure::io(format!("read {BOOT_ID_PATH}"), error))?;
    text.parse().map_err(|error| Failure::Other(format!("{BOOT_ID_PATH}: {error}")))
}

fn draw_incarnation() -> Result<Incarnation, Failure> {
    loop {
        let drawn = getrandom::u64()
            .map_err(|error| Failure::Other(format!("cannot draw a random number: {error}")))?;
        if Incarnation(drawn) != Incarnation::NONE {
            return Ok(Incarnation(drawn));
        }
    }
}

/// Real-time priority and locked memory, when permitted; a clear warning when not.
fn prepare_process(plan: &Plan) {
    if let Priority::RealTime(level) = plan.runtime.priority
        && let Err(error) = priority::set_realtime(level)
    {
        log::warn!(
            "no real-time priority ({error}): under load heartbeats may be late; run as root, or \
             with CAP_SYS_NICE, or set runtime.priority = \"off\""
        );
    }
    if plan.runtime.lock_memory
        && let Err(error) = priority::lock_memory()
    {
        log::warn!(
            "memory is not locked ({error}): a swapped page may delay a takeover; run as root, or \
             with CAP_IPC_LOCK, or set runtime.lock-memory = false"
        );
    }
}

/// Tells what is wrong with a state file, and goes on as if there were none.
fn or_nothing<T>(what: &str, read: Result<Option<T>, Damage>) -> Option<T> {
    read.unwrap_or_else(|damage| {
        log::warn!("the {what} of an earlier life {damage}");
        None
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn runtime(dir: &Path, state_dir: PathBuf) -> Runtime {
        Runtime {
            control_socket: dir.join("control"),
            runtime_dir: dir.join("run"),
            state_dir,
            priority: Priority::Off,
            lock_memory: false,
        }
    }

    /// Row 21: whatever is wrong with it; what is in its place here is a file.
    #[test]
    fn a_state_directory_that_cannot_be_made_keeps_nobody_from_starting() {
        let dir = std::env::temp_dir().join(format!("tandem-life-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        let life = Life::begin(&runtime(&dir, dir.join("file").join("state"))).unwrap();
        assert!(life.files.read_record().is_err() || life.files.read_record().unwrap().is_none());
        let other = Life::begin(&runtime(&dir, dir.join("state")));
        assert!(matches!(other, Err(Failure::Other(_))), "the lock is held");
        drop(life);
        let broken = Runtime {
            runtime_dir: dir.join("file").join("run"),
            ..runtime(&dir, dir.join("state"))
        };
        assert!(matches!(Life::begin(&broken), Err(Failure::Io { .. })));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
