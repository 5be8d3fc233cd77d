//! The log: lines to standard error, never at the price of the loop.
//!
//! A journal or a terminal that does not take a line now does not get it: lines are dropped and
//! counted, and the count is told when lines are taken again.
//!
//! That holds for the journal, pipes and terminals. A regular file is always ready, and its disk
//! may hold up every write: nothing can be done about it on one thread, so it is told at the
//! start. It is meant for tests and for people who look at something.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

/// The longest line in bytes: what a pipe takes at once or not at all (`PIPE_BUF`).
const LINE_LEN_MAX: usize = 4096;

/// Starts the log. `RUST_LOG` overrules `level`, as usual.
pub fn init(level: LevelFilter) {
    // The journal has its own clock and wants the level as a number (sd-daemon(3)).
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(move |line, record| {
            if journal {
                writeln!(line, "<{}>{}", sd_level(record.level()), record.args())
            } else {
                let time = line.timestamp_micros();
                writeln!(line, "{time} {:5} {}", record.level(), record.args())
            }
        })
        .target(Target::Pipe(Box::new(Stderr::default())))
        .init();
    let is_file = |stat: nix::sys::stat::FileStat| {
        SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG
    };
    if fstat(io::stderr()).is_ok_and(is_file) {
        log::warn!("the log goes to a file: a disk that hangs holds up the heartbeats");
    }
}

fn sd_level(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[derive(Debug, Default)]
struct Stderr {
    dropped: u64,
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let fd = stderr.as_fd();
        if self.dropped > 0 {
            let note = format!("<4>{} log lines were dropped: nobody took them\n", self.dropped);
            if write_now(fd, note.as_bytes()) {
                self.dropped = 0;
            }
        }
        let kept = line.get(..LINE_LEN_MAX).unwrap_or(line);
        if !write_now(fd, kept) {
            self.dropped = self.dropped.saturating_add(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the line was taken whole, at once.
fn write_now(fd: BorrowedFd<'_>, line: &[u8]) -> bool {
    use std::os::fd::AsRawFd as _;
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match send(fd.as_raw_fd(), line, flags) {
        Ok(taken) => taken == line.len(),
        Err(nix::errno::Errno::ENOTSOCK) => {
            let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
            let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
            ready && nix::unistd::write(fd, line).is_ok_and(|taken| taken == line.len())
        }
        Err(_) => false,
    }
}
