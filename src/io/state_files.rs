//! The two files that outlive the daemon: the mark (in `/run`, erased by a reboot) and the record
//! (on disk).
//!
//! Both are a few lines of text with a checksum, so that a person can read them and damage is
//! noticed. The mark is written here, at once: its file system is memory. The record is written by
//! a child process ([`crate::cli`], `put-record`), because a disk may take its time; this module
//! makes its text and reads both at the start.
//!
//! ```text
//! tandem-mark 1
//! boot=5f1c2e4a-0b6d-4f3e-9a57-00ff12ab34cd
//! term=7
//! holding=true
//! crc32=89abcdef
//! ```

use core::fmt;
use core::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::engine::settings::{Mark, Record};
use crate::types::Term;

/// The longest state file in bytes; a longer one is damaged.
pub const STATE_LEN_MAX: usize = 1024;
/// The name of the mark in the runtime directory.
const MARK_NAME: &str = "mark";
/// The name of the note that sessions to BMCs may be open, in the runtime directory.
const SESSIONS_NAME: &str = "bmc-sessions";
/// The name of the record in the state directory.
const RECORD_NAME: &str = "record";

/// Where the files are.
#[derive(Clone, Debug)]
pub struct StateFiles {
    mark: PathBuf,
    sessions: PathBuf,
    record: PathBuf,
}

/// Why a state file says nothing.
#[derive(Debug)]
pub enum Damage {
    /// It cannot be read.
    Unreadable(io::Error),
    /// Its text is not what was written.
    Text(PathBuf),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Text(path) => write!(f, "{} is damaged and ignored", path.display()),
        }
    }
}

impl core::error::Error for Damage {}

impl StateFiles {
    /// The files in these directories.
    pub fn new(runtime_dir: &Path, state_dir: &Path) -> Self {
        Self {
            mark: runtime_dir.join(MARK_NAME),
            sessions: runtime_dir.join(SESSIONS_NAME),
            record: state_dir.join(RECORD_NAME),
        }
    }

    /// The record's path, for the child that writes it.
    pub fn record_path(&self) -> &Path {
        &self.record
    }

    /// The mark of an earlier daemon; nothing if there is none.
    ///
    /// # Errors
    /// If there is one that cannot be read or is damaged: it proves nothing then.
    pub fn read_mark(&self) -> Result<Option<Mark>, Damage> {
        read(&self.mark, parse_mark)
    }

    /// The record of an earlier life; nothing if there is none.
    ///
    /// # Errors
    /// If there is one that cannot be read or is damaged.
    pub fn read_record(&self) -> Result<Option<Record>, Damage> {
        read(&self.record, parse_record)
    }

    /// Writes the mark: beside its place, then into it, so that it is never half written. A mark
    /// that says that nothing is held is removed instead if there is no room to write it: without
    /// one nothing is adopted either, and removing needs no room.
    ///
    /// # Errors
    /// Whatever the file system refuses; the old mark is then still there.
    pub fn write_mark(&self, mark: &Mark) -> io::Result<()> {
        match self.put_mark(mark) {
            Err(_) if !mark.holding => self.remove_mark(),
            result => result,
        }
    }

    /// Removes the mark, so that nothing is adopted. One that is not there is removed.
    ///
    /// # Errors
    /// Whatever the file system refuses.
    pub fn remove_mark(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.mark) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Notes that this daemon opens sessions to BMCs; whether an earlier one of this boot did, and
    /// has not closed them.
    ///
    /// # Errors
    /// Whatever the file system refuses.
    pub fn note_sessions(&self) -> io::Result<bool> {
        let was_there = self.sessions.try_exists()?;
        create(&self.sessions)?;
        Ok(was_there)
    }

    /// All sessions to BMCs are closed.
    ///
    /// # Errors
    /// Whatever the file system refuses.
    pub fn remove_sessions_note(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.sessions) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn put_mark(&self, mark: &Mark) -> io::Result<()> {
        let text = mark_text(mark);
        let draft = self.mark.with_extension("new");
        let mut file = create(&draft)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&draft, &self.mark)
    }
}

/// Writes a record's text durably: beside its place, synced, renamed, the directory synced. Blocks
/// for as long as the disk does: for the child process only.
///
/// # Errors
/// Whatever the file system refuses; the old record is then still there. `InvalidData` if `text` is
/// not a record.
pub fn put_record(path: &Path, text: &[u8]) -> io::Result<()> {
    let is_record = core::str::from_utf8(text).ok().and_then(parse_record).is_some();
    if !is_record {
        return Err(io::Error::new(ErrorKind::InvalidData, "this is not a record"));
    }
    let draft = path.with_extension("new");
    let mut file = create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&draft, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// The text of a record.
pub fn record_text(record: &Record) -> String {
    let mut text = String::from("tandem-record 1\n");
    append(&mut text, "term", &record.term.0);
    append(&mut text, "held-term", &record.held_term.0);
    sealed(text)
}

fn mark_text(mark: &Mark) -> String {
    let mut text = String::from("tandem-mark 1\n");
    append(&mut text, "boot", &mark.boot);
    append(&mut text, "term", &mark.term.0);
    append(&mut text, "holding", &mark.holding);
    sealed(text)
}

fn append(text: &mut String, key: &str, value: &dyn fmt::Display) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "{key}={value}");
}

fn sealed(mut text: String) -> String {
    let sum = crc32fast::hash(text.as_bytes());
    let _infallible = writeln!(text, "crc32={sum:08x}");
    text
}

/// The lines before the checksum, if it is right.
fn unsealed(text: &str) -> Option<&str> {
    let at = text.rfind("crc32=")?;
    let (body, seal) = text.split_at_checked(at)?;
    let sum = u32::from_str_radix(seal.strip_prefix("crc32=")?.strip_suffix('\n')?, 16).ok()?;
    (crc32fast::hash(body.as_bytes()) == sum).then_some(body)
}

/// The values of exactly these keys, in this order, below the title.
fn values<'t, const N: usize>(text: &'t str, title: &str, keys: [&str; N]) -> Option<[&'t str; N]> {
    let mut lines = unsealed(text)?.lines();
    if lines.next()? != title {
        return None;
    }
    let mut values = [""; N];
    for (value, key) in values.iter_mut().zip(keys) {
        *value = lines.next()?.strip_prefix(key)?.strip_prefix('=')?;
    }
    lines.next().is_none().then_some(values)
}

fn parse_mark(text: &str) -> Option<Mark> {
    let [boot, term, holding] = values(text, "tandem-mark 1", ["boot", "term", "holding"])?;
    Some(Mark { boot: boot.parse().ok()?, term: parse_term(term)?, holding: holding.parse().ok()? })
}

fn parse_record(text: &str) -> Option<Record> {
    let [term, held_term] = values(text, "tandem-record 1", ["term", "held-term"])?;
    Some(Record { term: parse_term(term)?, held_term: parse_term(held_term)? })
}

/// A term that can have been reached; a higher one was not written by us.
fn parse_term(text: &str) -> Option<Term> {
    text.parse().ok().map(Term).filter(|term| *term <= Term::BELIEVED_MAX)
}

fn read<T>(path: &Path, parse: fn(&str) -> Option<T>) -> Result<Option<T>, Damage> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Damage::Unreadable(error)),
    };
    let limit = u64::try_from(STATE_LEN_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(Damage::Unreadable)?;
    let text = core::str::from_utf8(&bytes).ok().filter(|text| text.len() <= STATE_LEN_MAX);
    text.and_then(parse).map(Some).ok_or_else(|| Damage::Text(path.to_owned()))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::types::BootId;

    const MARK: Mark = Mark { boot: BootId([7; 16]), term: Term(12), holding: true };
    const RECORD: Record = Record { term: Term(13), held_term: Term(12) };

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tandem-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn files(&self) -> StateFiles {
            StateFiles::new(&self.0, &self.0)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _best_effort = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = Dir::new("state-roundtrip");
        let files = dir.files();
        assert!(files.read_mark().unwrap().is_none());
        assert!(files.read_record().unwrap().is_none());
        files.write_mark(&MARK).unwrap();
        put_record(files.record_path(), record_text(&RECORD).as_bytes()).unwrap();
        assert_eq!(files.read_mark().unwrap(), Some(MARK));
        assert_eq!(files.read_record().unwrap(), Some(RECORD));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let text = mark_text(&MARK);
        assert_eq!(parse_mark(&text), Some(MARK));
        for len in 0..text.len() {
            assert_eq!(parse_mark(&text[..len]), None, "cut to {len}");
        }
        for index in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(
                    parse_mark(&changed).is_none_or(|mark| mark == MARK),
                    "byte {index} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn a_term_that_nobody_can_have_reached_is_damage() {
        let highest = Record { term: Term::BELIEVED_MAX, held_term: Term(1) };
        assert_eq!(parse_record(&record_text(&highest)), Some(highest));
        let beyond = Record { term: highest.term.next(), ..highest };
        assert_eq!(parse_record(&record_text(&beyond)), None);
    }

    #[test]
    fn a_damaged_or_endless_file_says_nothing() {
        let dir = Dir::new("state-damage");
        let files = dir.files();
        std::fs::write(files.record_path(), b"tandem-record 1\nterm=99\n").unwrap();
        assert!(matches!(files.read_record(), Err(Damage::Text(_))));
        std::fs::write(files.record_path(), vec![b'x'; 1 << 20]).unwrap();
        assert!(matches!(files.read_record(), Err(Damage::Text(_))));
        std::fs::write(files.record_path(), [0xff; 10]).unwrap();
        assert!(matches!(files.read_record(), Err(Damage::Text(_))));
    }

    #[test]
    fn a_release_is_remembered_where_there_is_no_room_to_write() {
        let dir = Dir::new("state-no-room");
        let files = dir.files();
        files.write_mark(&MARK).unwrap();
        // The draft cannot be made: as on a file system without room.
        std::fs::create_dir(dir.0.join("mark.new")).unwrap();
        assert!(files.write_mark(&MARK).is_err());
        assert_eq!(files.read_mark().unwrap(), Some(MARK));
        files.write_mark(&Mark { holding: false, ..MARK }).unwrap();
        assert_eq!(files.read_mark().unwrap(), None, "and so nothing is adopted");
        files.write_mark(&Mark { holding: false, ..MARK }).unwrap();
    }

    #[test]
    fn only_a_record_is_put_in_its_place() {
        let dir = Dir::new("state-put");
        let files = dir.files();
        let error = put_record(files.record_path(), b"rubbish").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(files.read_record().unwrap().is_none());
    }
}
