//! The flight recorder: where the recording lies, how much of it, and what happens when it cannot
//! be written.
//!
//! Segments are files `flight.N` in the runtime directory, numbered upwards over all lives of the
//! daemon in this boot. That directory is memory: a write is a copy and waits for no disk, outlives
//! a daemon that is killed, and ends with the boot. Lines are gathered and written once in a turn
//! of the loop; what was gathered when the daemon panics is written then.
//!
//! ```text
//!              long enough, and the state can be written down
//!   recording ───────────────────────────────────────────────► recording, the next segment
//!       │ ▲
//!       ▼ │ RETRY later, told once
//!      resting     a write failed, or the state could not be written down for too long
//! ```
//!
//! A start begins a segment of its own, so that what an earlier life recorded stays: the oldest
//! segments are removed only to keep all of them together within [`RECORDING_LEN_MAX`]. A daemon
//! that is restarted again and again makes short ones, and does not push the long one out.

use core::time::Duration;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::engine::{Input, Node, Settings};
use crate::flight::{Encoder, Header, Opening};
use crate::sys::clock;
use crate::types::Instant;

/// How long a segment becomes, in bytes. While the state cannot be written down, one may become
/// twice as long.
pub const SEGMENT_LEN_MAX: usize = 1 << 20;
/// How long all segments are together, in bytes: the oldest are removed before there is more.
pub const RECORDING_LEN_MAX: usize = 4 * SEGMENT_LEN_MAX;
/// How many segments there are at the most, however short.
pub const SEGMENTS_MAX: usize = 64;
/// How many bytes are gathered at the most before they are written.
const GATHERED_MAX: usize = 64 << 10;
/// How long a recorder rests after a write that failed.
const RETRY: Duration = Duration::from_secs(60);
/// How the segments' names begin.
const STEM: &str = "flight.";
/// The longest segment that is read: a longer one was not written by us.
const READ_LEN_MAX: u64 = 64 << 20;

/// What became of the recorder, to be told once each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It cannot write, for this reason.
    Failed(String),
    /// It writes again.
    Resumed,
}

/// What lies open: shared with the panic hook, and with nobody else.
#[derive(Debug, Default)]
struct Tail {
    file: Option<File>,
    gathered: Vec<u8>,
}

impl Tail {
    fn write(&mut self) -> io::Result<()> {
        let written = match self.file.as_mut() {
            Some(file) if !self.gathered.is_empty() => file.write_all(&self.gathered),
            Some(_) | None => Ok(()),
        };
        self.gathered.clear();
        written
    }
}

/// How much is recorded, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// As [`SEGMENT_LEN_MAX`].
    pub segment: usize,
    /// As [`RECORDING_LEN_MAX`]; at least two segments.
    pub recording: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { segment: SEGMENT_LEN_MAX, recording: RECORDING_LEN_MAX }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Recording,
    Resting { until: Instant },
}

/// The flight recorder of one daemon.
#[derive(Debug)]
pub struct Recorder {
    directory: PathBuf,
    bounds: Bounds,
    /// Of the present segment; its part and times are set when the next one begins.
    header: Header,
    encoder: Encoder,
    tail: Arc<Mutex<Tail>>,
    state: State,
    /// The earlier segments, the oldest first, with their lengths.
    earlier: VecDeque<(u64, usize)>,
    number: u64,
    /// Of the present segment, with what is gathered.
    len: usize,
    change: Option<Change>,
    has_failed: bool,
}

impl Recorder {
    /// A recorder that writes into `directory`, and the first segment of this life: an engine is
    /// made with `settings` at `header.at`. What other lives left there stays, within the bounds.
    pub fn begin(directory: &Path, bounds: Bounds, header: Header, settings: &Settings) -> Self {
        let mut earlier: Vec<(u64, usize)> = Vec::new();
        for (number, path) in list(directory).unwrap_or_default() {
            let len = std::fs::metadata(&path).map_or(0, |facts| facts.len());
            earlier.push((number, usize::try_from(len).unwrap_or(usize::MAX)));
        }
        let tail = Tail { file: None, gathered: Vec::with_capacity(2 * GATHERED_MAX) };
        let mut recorder = Self {
            directory: directory.to_owned(),
            bounds,
            header,
            encoder: Encoder::new(),
            tail: Arc::new(Mutex::new(tail)),
            state: State::Recording,
            number: earlier.last().map_or(0, |(number, _)| number.saturating_add(1)),
            earlier: earlier.into(),
            len: 0,
            change: None,
            has_failed: false,
        };
        let begun = recorder.open_segment(Opening::Start(settings));
        recorder.settle(begun, recorder.header.at);
        recorder
    }

    /// Takes in that the engine is given `input` at `now`. To be called before it is.
    pub fn note(&mut self, node: &Node, now: Instant, input: &Input) {
        let segment = self.bounds.segment;
        match self.state {
            State::Recording if self.len < segment => {}
            State::Recording if !node.has_unused_proof() => {
                let begun = self.next_segment(node, now, true);
                self.settle(begun, now);
            }
            State::Recording if self.len < segment.saturating_mul(2) => {}
            State::Recording => {
                let written = self.lock().write();
                self.state = State::Resting { until: now };
                self.settle(written, now);
            }
            State::Resting { until } if now >= until && !node.has_unused_proof() => {
                let begun = self.next_segment(node, now, false);
                self.settle(begun, now);
            }
            State::Resting { .. } => {}
        }
        if self.state == State::Recording {
            let added = self.add(now, input);
            self.settle(added, now);
        }
    }

    /// Writes what was gathered. To be called before the loop sleeps.
    pub fn flush(&mut self, now: Instant) {
        let written = self.lock().write();
        self.settle(written, now);
    }

    /// What has become of it since it was asked last.
    pub fn take_change(&mut self) -> Option<Change> {
        self.change.take()
    }

    /// From now on, what is gathered is written when this process panics.
    pub fn write_on_panic(&self) {
        let tail = Arc::clone(&self.tail);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let tail = match tail.try_lock() {
                Ok(tail) => Some(tail),
                Err(TryLockError::Poisoned(tail)) => Some(tail.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            };
            if let Some(mut tail) = tail {
                // There is nobody left to tell if it fails.
                drop(tail.write());
            }
            hook(panic);
        }));
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&mut self, now: Instant, input: &Input) -> io::Result<()> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let before = tail.gathered.len();
        self.encoder.add(now, input, &mut tail.gathered)?;
        self.len += tail.gathered.len() - before;
        if tail.gathered.len() < GATHERED_MAX {
            return Ok(());
        }
        tail.write()
    }

    fn next_segment(&mut self, node: &Node, now: Instant, follows: bool) -> io::Result<()> {
        self.lock().write()?;
        if self.len > 0 {
            self.earlier.push_back((self.number, self.len));
        }
        self.number = self.number.saturating_add(1);
        self.header.part = self.header.part.saturating_add(1);
        self.header.follows = follows;
        self.header.at = now;
        self.header.wall_unix_ms = clock::wall_unix_ms();
        self.open_segment(Opening::Checkpoint(node))
    }

    fn open_segment(&mut self, opening: Opening<'_>) -> io::Result<()> {
        self.len = 0;
        self.make_room();
        let path = segment_path(&self.directory, self.number);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.gathered.clear();
        self.encoder.begin(&self.header, opening, &mut tail.gathered)?;
        self.len = tail.gathered.len();
        self.state = State::Recording;
        tail.file = Some(file);
        tail.write()
    }

    /// Removes the oldest segments until another one may be as long as it likes.
    fn make_room(&mut self) {
        let total = |list: &VecDeque<(u64, usize)>| {
            list.iter().fold(0usize, |sum, (_, len)| sum.saturating_add(*len))
        };
        while total(&self.earlier) > self.bounds.recording.saturating_sub(self.bounds.segment)
            || self.earlier.len() >= SEGMENTS_MAX
        {
            let Some((number, _)) = self.earlier.pop_front() else { return };
            // One that is gone already, or cannot be removed, is no reason to record nothing.
            drop(std::fs::remove_file(segment_path(&self.directory, number)));
        }
    }

    /// Takes in how a write ended: after one that failed the recorder rests.
    fn settle(&mut self, ended: io::Result<()>, now: Instant) {
        match ended {
            Ok(()) if self.has_failed && self.state == State::Recording && self.len > 0 => {
                self.has_failed = false;
                self.change = Some(Change::Resumed);
            }
            Ok(()) => {}
            Err(error) => {
                self.state = State::Resting { until: now + RETRY };
                let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.file = None;
                tail.gathered.clear();
                if !self.has_failed {
                    self.has_failed = true;
                    self.change = Some(Change::Failed(error.to_string()));
                }
            }
        }
    }
}

impl Drop for Recorder {
    /// A loop that ends by an error has not flushed.
    fn drop(&mut self) {
        // There is nobody left to tell if it fails.
        drop(self.lock().write());
    }
}

/// The segments in a directory, the oldest first: their numbers and paths.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(STEM));
        if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// A segment's bytes.
///
/// # Errors
/// Whatever the file system refuses; `InvalidData` if it is longer than any that was written here.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(READ_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > READ_LEN_MAX {
        let what = "it is longer than any recording of tandem";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(bytes)
}

fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{STEM}{number}"))
}
