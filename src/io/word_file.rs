//! The record of operators' words: a line each, kept over reboots, written behind the loop.
//!
//! Appended and synced by a child process (`put-word`), because a disk may take its time. When the
//! file has grown long it is put aside once, so that two files at most are kept.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The name of the file in the state directory.
pub const NAME: &str = "operators.log";
/// The longest line in bytes, its end included.
pub const LINE_LEN_MAX: usize = 1024;
/// From this length on the file is put aside.
const FILE_LEN_MAX: u64 = 256 * 1024;

/// Adds `line` to the file at `path`, durably.
///
/// # Errors
/// Whatever the file system refuses; `InvalidData` if it is not one line.
pub fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let ends = line.iter().filter(|byte| **byte == b'\n').count();
    let is_line = line.len() <= LINE_LEN_MAX && ends == 1 && line.ends_with(b"\n");
    if !is_line {
        return Err(io::Error::new(ErrorKind::InvalidData, "this is not one line"));
    }
    if std::fs::metadata(path).is_ok_and(|found| found.len() >= FILE_LEN_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.write_all(line)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn lines_are_added_and_the_file_is_bounded() {
        let dir = std::env::temp_dir().join(format!("tandem-words-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join(NAME);
        append(&path, b"one\n").unwrap();
        append(&path, b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        for wrong in [&b"no end"[..], b"", b"two\nlines\n", &[b'x'; LINE_LEN_MAX + 1]] {
            assert!(append(&path, wrong).is_err());
        }
        std::fs::write(&path, "x".repeat(256 * 1024)).unwrap();
        append(&path, b"three\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
        assert_eq!(std::fs::metadata(dir.join("operators.log.1")).unwrap().len(), 256 * 1024);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
