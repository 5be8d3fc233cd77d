//! Operators' words on record: who said what, from where, when, and what was answered.
//!
//! The log has them too; the file in the state directory outlives the log. It is written by a child
//! process, one at a time: nobody waits for it, no takeover either.

use core::time::Duration;
use std::collections::VecDeque;
use std::path::PathBuf;

use mio::{Registry, Token};

use crate::io::child::{Child, End, Report, Spec};
use crate::io::control::Caller;
use crate::io::word_file::LINE_LEN_MAX;
use crate::types::Instant;
use crate::wire::control::moment::utc_millis;

/// The hidden command that a child runs.
pub const COMMAND: &str = "put-word";
/// How long a write may take before its child is killed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most words that wait for the disk; further ones are in the log alone.
const WAITING_MAX: usize = 32;

/// Who asks, as the kernel and the caller itself tell: user, login, process, terminal.
pub(super) fn who(caller: &Caller, by: Option<&str>) -> String {
    let mut text = format!("{} (uid {}", by.unwrap_or("somebody"), caller.uid);
    let proc = PathBuf::from(format!("/proc/{}", caller.pid));
    // Who logged in, whatever he became since; all ones if nobody did.
    let login = std::fs::read_to_string(proc.join("loginuid")).ok();
    let login = login.and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(uid) = login.filter(|uid| *uid != u32::MAX) {
        text.push_str(&format!(", login uid {uid}"));
    }
    text.push_str(&format!(", pid {}", caller.pid));
    let terminal = std::fs::read_link(proc.join("fd/0")).ok();
    let terminal = terminal.map(|path| path.display().to_string());
    match terminal.filter(|path| path.starts_with("/dev/") && !path.contains(char::is_control)) {
        Some(path) if path != "/dev/null" => text.push_str(&format!(", on {path})")),
        Some(_) | None => text.push_str(", no terminal)"),
    }
    text
}

/// The writer of the record of words.
#[derive(Debug)]
pub(super) struct WordWriter {
    program: PathBuf,
    path: PathBuf,
    token: Token,
    waiting: VecDeque<String>,
    running: Option<Child>,
}

impl WordWriter {
    /// A writer to `path` whose child is the program `program`, with `token` for itself.
    pub(super) fn new(program: PathBuf, path: PathBuf, token: Token) -> Self {
        Self { program, path, token, waiting: VecDeque::new(), running: None }
    }

    /// Puts `text` on record as said at this moment of the wall clock.
    pub(super) fn note(&mut self, unix_ms: u64, text: &str) {
        let mut line = utc_millis(unix_ms);
        line.push(' ');
        for c in text.chars() {
            if line.len() + c.len_utf8() >= LINE_LEN_MAX {
                break;
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        line.push('\n');
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(line);
        } else {
            log::warn!("operators' words are not put on record: too many wait for the disk");
        }
    }

    /// Begins the next write if none runs; tells of the one that has ended.
    pub(super) fn turn(&mut self, registry: &Registry, now: Instant) {
        if let Some(child) = &mut self.running {
            child.expire(registry, now);
            if let Some(report) = child.take_report() {
                warn_if_failed(&self.path, &report);
            }
            if child.is_over() {
                self.running = None;
            }
        }
        if self.running.is_some() {
            return;
        }
        let Some(line) = self.waiting.pop_front() else { return };
        let spec = Spec {
            program: self.program.clone(),
            arguments: vec![COMMAND.to_owned(), self.path.display().to_string()],
            input: line.into_bytes(),
            deadline: now + WRITE_TIMEOUT,
        };
        match Child::start(registry, self.token, spec) {
            Ok(child) => self.running = Some(child),
            Err(error) => log::warn!("an operator's word is not put on record: {error}"),
        }
    }

    /// Handles an event of its token.
    pub(super) fn ready(&mut self, registry: &Registry) {
        if let Some(child) = &mut self.running {
            child.ready(registry);
        }
    }

    /// When [`Self::turn`] is due.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        match &self.running {
            Some(child) => child.next_deadline(),
            None => (!self.waiting.is_empty()).then_some(now),
        }
    }
}

impl Drop for WordWriter {
    /// A write that is under way when the daemon ends goes on.
    fn drop(&mut self) {
        if let Some(child) = self.running.take() {
            child.leave();
        }
    }
}

fn warn_if_failed(path: &std::path::Path, report: &Report) {
    if report.end != End::Exited(0) {
        let said = String::from_utf8_lossy(&report.output);
        let (path, said) = (path.display(), said.trim());
        log::warn!("an operator's word is not put on record in {path}: {:?} {said}", report.end);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn who_asks_is_told_as_far_as_the_kernel_knows() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let caller = Caller { uid: 0, gid: 0, pid, groups: vec![] };
        let text = who(&caller, Some("alice@10.0.0.5"));
        assert!(text.starts_with("alice@10.0.0.5 (uid 0"), "{text}");
        assert!(text.contains(&format!(", pid {pid}, ")), "{text}");
        assert!(text.ends_with(')'), "{text}");
        let gone = who(&Caller { uid: 7, gid: 7, pid: i32::MAX, groups: vec![] }, None);
        assert_eq!(gone, format!("somebody (uid 7, pid {}, no terminal)", i32::MAX));
    }

    #[test]
    fn a_word_is_one_line_with_its_time_and_few_wait() {
        let (program, path) = (PathBuf::from("/bin/false"), PathBuf::from("/nonexistent"));
        let mut writer = WordWriter::new(program, path, Token(1));
        writer.note(1_795_310_848_042, &format!("a\nb{}", "\u{fc}".repeat(LINE_LEN_MAX)));
        let line = writer.waiting[0].clone();
        assert!(line.starts_with("2026-11-22 01:27:28.042Z a b"), "{line}");
        assert!(line.ends_with('\n') && line.len() <= LINE_LEN_MAX);
        assert_eq!(line.matches('\n').count(), 1);
        for _ in 0..2 * WAITING_MAX {
            writer.note(0, "again");
        }
        assert_eq!(writer.waiting.len(), WAITING_MAX);
    }
}
