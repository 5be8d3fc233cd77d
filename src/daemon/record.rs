//! The record goes to disk behind the loop: through a child process, one at a time.

use core::time::Duration;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use mio::{Registry, Token};

use crate::engine::settings::Record;
use crate::engine::{Outcome, Why};
use crate::io::child::{Child, End, Report, Spec};
use crate::io::state_files::record_text;
use crate::types::{Instant, OpId};

/// How long a write may take before its child is killed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The hidden command that a child runs.
pub const COMMAND: &str = "put-record";

/// The writer of the record.
#[derive(Debug)]
pub struct RecordWriter {
    program: PathBuf,
    path: PathBuf,
    token: Token,
    running: Option<(OpId, Child)>,
    done: VecDeque<(OpId, Outcome)>,
}

impl RecordWriter {
    /// A writer to `path` whose child is the program `program`, with `token` for itself.
    pub fn new(program: PathBuf, path: &Path, token: Token) -> Self {
        Self { program, path: path.to_owned(), token, running: None, done: VecDeque::new() }
    }

    /// Begins to write `record`. The engine asks for one write at a time; one more is refused.
    pub fn write(&mut self, registry: &Registry, now: Instant, op: OpId, record: &Record) {
        if self.running.is_some() {
            let why = Why::new("another record is still being written");
            self.done.push_back((op, Outcome::Refused(why)));
            return;
        }
        let spec = Spec {
            program: self.program.clone(),
            arguments: vec![COMMAND.to_owned(), self.path.display().to_string()],
            input: record_text(record).into_bytes(),
            deadline: now + WRITE_TIMEOUT,
        };
        match Child::start(registry, self.token, spec) {
            Ok(child) => self.running = Some((op, child)),
            Err(error) => {
                let why = Why::new(&format!("cannot start its writer: {error}"));
                self.done.push_back((op, Outcome::Refused(why)));
            }
        }
    }

    /// Handles an event of its token.
    pub fn ready(&mut self, registry: &Registry, token: Token) {
        if token == self.token
            && let Some((_, child)) = &mut self.running
        {
            child.ready(registry);
        }
    }

    /// When [`RecordWriter::expire`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.running.as_ref().and_then(|(_, child)| child.next_deadline())
    }

    /// Kills a child whose time is over.
    pub fn expire(&mut self, registry: &Registry, now: Instant) {
        if let Some((_, child)) = &mut self.running {
            child.expire(registry, now);
        }
    }

    /// The next write that has ended.
    pub fn take_done(&mut self) -> Option<(OpId, Outcome)> {
        if let Some((op, child)) = &mut self.running
            && let Some(report) = child.take_report()
        {
            self.done.push_back((*op, outcome(&report)));
        }
        if self.running.as_ref().is_some_and(|(_, child)| child.is_over()) {
            self.running = None;
        }
        self.done.pop_front()
    }
}

impl Drop for RecordWriter {
    /// A write that is under way when the daemon ends goes on: nobody waits for it, and it puts
    /// the record into its place whole or not at all. (Systemd may end it all the same, as it ends
    /// everything of a unit whose daemon has ended.)
    fn drop(&mut self) {
        if let Some((_, child)) = self.running.take() {
            child.leave();
        }
    }
}

fn outcome(report: &Report) -> Outcome {
    let said = String::from_utf8_lossy(&report.output);
    let said = said.trim();
    match report.end {
        End::Exited(0) => Outcome::Confirmed,
        End::Exited(_) => Outcome::Refused(Why::new(said)),
        End::NotBegun(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            Outcome::Refused(Why::new(&format!("its writer cannot be started: {error}")))
        }
        End::Signalled(signal) => {
            Outcome::Unknown(Why::new(&format!("its writer was ended by signal {signal}")))
        }
        End::Deadline => Outcome::Unknown(Why::new("the disk did not take it in time")),
        End::Endless | End::Cancelled => Outcome::Unknown(Why::new("its writer was ended")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_write_that_is_under_way_at_the_end_is_finished() {
        let dir = std::env::temp_dir().join(format!("tandem-record-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let program = dir.join("slow");
        std::fs::write(&program, "#!/bin/sh\nsleep 0.3\ncat >\"$2.new\" && mv \"$2.new\" \"$2\"\n")
            .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let poll = mio::Poll::new().unwrap();
        let path = dir.join("record");
        let mut writer = RecordWriter::new(program, &path, Token(1));
        let record = Record::default();
        writer.write(poll.registry(), clock::now(), OpId(1), &record);
        assert!(writer.take_done().is_none());
        drop(writer);
        let read = || std::fs::read_to_string(&path).ok();
        let written = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            read()
        });
        assert_eq!(written, Some(record_text(&record)));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
