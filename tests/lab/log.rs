//! What the processes of one node write, line by line, with the moment at which the lab read it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::clock::Stamp;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// When the lab read it: some 50 µs after it was written.
    pub at: Stamp,
    /// In which boot of the node, counted from 1.
    pub boot: u32,
    /// The line, without its end.
    pub text: String,
}

/// The lines of one node over all its boots, also written to a file.
pub struct Log {
    kept: Mutex<(Vec<Line>, File)>,
}

impl Log {
    /// An empty log that is also written to `path`.
    pub fn new(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        Self { kept: Mutex::new((Vec::new(), file)) }
    }

    /// Keeps what arrives on `pipe` until its end, on a thread of its own.
    pub fn follow(self: &Arc<Self>, pipe: impl Read + Send + 'static, boot: u32) {
        let log = Arc::clone(self);
        thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while lines.read_until(b'\n', &mut bytes).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                log.push(Line { at: Stamp::now(), boot, text });
                bytes.clear();
            }
        });
    }

    /// Adds a line.
    pub fn push(&self, line: Line) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The file is a convenience for people, and gone together with the lab.
        drop(writeln!(kept.1, "{} [{}] {}", line.at, line.boot, line.text));
        kept.0.push(line);
    }

    /// All lines from `from` on.
    pub fn since(&self, from: Stamp) -> Vec<Line> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.iter().filter(|line| line.at >= from).cloned().collect()
    }

    /// The first line from `from` on that holds `part`.
    pub fn find(&self, part: &str, from: Stamp) -> Option<Line> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.iter().find(|line| line.at >= from && line.text.contains(part)).cloned()
    }

    /// The last `count` lines, as text.
    pub fn tail(&self, count: usize) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let from = kept.0.len().saturating_sub(count);
        let lines = kept.0.iter().skip(from);
        lines.map(|line| format!("  {} [{}] {}\n", line.at, line.boot, line.text)).collect()
    }
}
