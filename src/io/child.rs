//! One child process, bounded in time and output, that the loop never waits for.
//!
//! It gets bytes on its standard input and nothing else of ours: no arguments but those given, a
//! fixed environment, `/` as its directory, a process group of its own. Of what it prints the last
//! [`OUTPUT_KEPT_MAX`] bytes are kept: programs say at the end what came of it. Its end, or its
//! deadline, or too much output, gives exactly one [`Report`]; after it nothing of its group is
//! left running. It knows nothing of what the program is for.
//!
//! ```text
//! Running ──exit seen──────────────────────────────► Gone   (report: how it ended)
//!    └─────deadline, too much output, cancel──► Dying ──exit seen──► Gone   (report at once)
//! ```

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use mio::unix::SourceFd;
use mio::unix::pipe::{Receiver, Sender};
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::sys::pidfd;
use crate::sys::spawn::{self, Program, Started};
use crate::types::Instant;

/// How much of the output is kept, from its end, in bytes.
pub const OUTPUT_KEPT_MAX: usize = 4096;
/// How much may be printed at all, in bytes; a child that prints more is killed.
pub const OUTPUT_MAX: usize = 1 << 20;
/// How much is read in one turn of the loop, in bytes.
const DRAIN_MAX: usize = 1 << 16;
/// The environment: where programs are, and messages in the language that is looked for in them.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];

/// What to run.
#[derive(Debug)]
pub struct Spec {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// Its arguments. Everybody on the machine can read them: never a secret.
    pub arguments: Vec<String>,
    /// What it finds on its standard input, before the end of file.
    pub input: Vec<u8>,
    /// When it is killed.
    pub deadline: Instant,
}

/// How a child ended, and what it printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// How.
    pub end: End,
    /// The end of what it printed, standard output and error as they came.
    pub output: Vec<u8>,
}

/// The ways to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It ended with this status.
    Exited(i32),
    /// The program could not be begun: the error's number (errno(3)).
    NotBegun(i32),
    /// A signal that was not ours ended it.
    Signalled(i32),
    /// It was killed at its deadline.
    Deadline,
    /// It was killed because it printed more than [`OUTPUT_MAX`].
    Endless,
    /// It was killed on our own wish.
    Cancelled,
}

/// A child process, from its start until it is reaped.
#[derive(Debug)]
pub struct Child {
    started: Started,
    /// Its own number and its group's.
    group: Pid,
    /// Readable when the process has ended.
    exit: Option<OwnedFd>,
    input: Option<Sender>,
    unwritten: Vec<u8>,
    output: Option<Receiver>,
    kept: Vec<u8>,
    kept_max: usize,
    printed: usize,
    token: Token,
    deadline: Instant,
    report: Option<Report>,
    is_reported: bool,
    is_reaped: bool,
}

/// What the kernel says of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    /// It has ended and waits to be reaped: its number and its group's are still its own.
    Zombie,
    /// Somebody else reaped it: its number may be another's by now.
    Lost,
}

impl Child {
    /// Starts it, without waiting for the program to be found and begun: if it cannot be, its end
    /// is [`End::NotBegun`]. All its descriptors are registered with `token`.
    ///
    /// # Errors
    /// If there can be no process, or no pipe, or what is to be run cannot be written as C does.
    pub fn start(registry: &Registry, token: Token, spec: Spec) -> io::Result<Self> {
        let program = Program::new(&spec.program, &spec.arguments, &ENVIRONMENT)?;
        let (its_input, input) = io::pipe()?;
        let (output, its_output) = io::pipe()?;
        let started = spawn::start(&program, &its_input, &its_output)?;
        drop((its_input, its_output));
        let group = started.pid;
        let mut child = Self {
            started,
            group,
            exit: None,
            input: Some(Sender::from(OwnedFd::from(input))),
            unwritten: spec.input,
            output: Some(Receiver::from(OwnedFd::from(output))),
            kept: Vec::new(),
            kept_max: OUTPUT_KEPT_MAX,
            printed: 0,
            token,
            deadline: spec.deadline,
            report: None,
            is_reported: false,
            is_reaped: false,
        };
        // From here on, dropping it kills the process.
        child.register(registry)?;
        child.write();
        Ok(child)
    }

    /// Keeps the last `len_max` bytes of its output instead of [`OUTPUT_KEPT_MAX`].
    pub fn keep(mut self, len_max: usize) -> Self {
        self.kept_max = len_max;
        self
    }

    /// What is kept of its output so far; nothing once it is reported.
    pub fn output(&self) -> &[u8] {
        &self.kept
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        (!self.is_reported).then_some(self.deadline)
    }

    /// Takes the report, once.
    pub fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }

    /// Whether the process is reaped: nothing more will happen.
    pub fn is_over(&self) -> bool {
        self.is_reaped
    }

    /// Something happened at the child's token: writes, reads, looks whether it has ended.
    pub fn ready(&mut self, registry: &Registry) {
        self.write();
        self.read(registry);
        if self.is_over() {
            return;
        }
        match self.life() {
            Life::Running => {}
            Life::Zombie => {
                self.kill_group();
                self.bury(registry);
            }
            Life::Lost => self.bury(registry),
        }
    }

    /// Kills it if its deadline has come.
    pub fn expire(&mut self, registry: &Registry, now: Instant) {
        if !self.is_reported && self.deadline <= now {
            // It may have ended in time, and only we are late.
            self.ready(registry);
            self.kill(End::Deadline);
        }
    }

    /// Kills it without waiting for its end; reports that at once if nothing was reported yet.
    pub fn cancel(&mut self) {
        self.kill(End::Cancelled);
    }

    /// Lets it run on by itself, without its deadline: for work that must outlive us. One that has
    /// not got all of its input is killed: half of it is worse than nothing.
    pub fn leave(mut self) {
        self.is_reaped |= self.unwritten.is_empty();
    }

    fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let exit = pidfd::open(self.group)?;
        registry.register(&mut SourceFd(&exit.as_raw_fd()), self.token, Interest::READABLE)?;
        self.exit = Some(exit);
        if let Some(input) = &mut self.input {
            input.set_nonblocking(true)?;
            registry.register(input, self.token, Interest::WRITABLE)?;
        }
        if let Some(output) = &mut self.output {
            output.set_nonblocking(true)?;
            registry.register(output, self.token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Writes what the pipe takes; closes it when all is written or nobody reads it.
    fn write(&mut self) {
        let Some(input) = &mut self.input else { return };
        while !self.unwritten.is_empty() {
            match input.write(&self.unwritten) {
                Ok(0) => break,
                Ok(len) => drop(self.unwritten.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It closed its input without reading all: its own decision.
                Err(_) => break,
            }
        }
        self.unwritten = Vec::new();
        // Closing deregisters it; the other descriptors keep the token.
        self.input = None;
    }

    /// Reads what is there, up to a bound: what is left makes the token ready again.
    fn read(&mut self, registry: &Registry) {
        let mut buffer = [0; 4096];
        let mut drained = 0;
        while let Some(output) = &mut self.output {
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(len) => {
                    self.kept.extend(buffer.iter().take(len));
                    let beyond = self.kept.len().saturating_sub(self.kept_max);
                    drop(self.kept.drain(..beyond));
                    self.printed = self.printed.saturating_add(len);
                    drained += len;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
            if self.printed > OUTPUT_MAX {
                self.kill(End::Endless);
                self.output = None;
            }
            if drained >= DRAIN_MAX {
                self.rearm(registry);
                return;
            }
        }
    }

    fn rearm(&mut self, registry: &Registry) {
        let Some(output) = &mut self.output else { return };
        if registry.reregister(output, self.token, Interest::READABLE).is_err() {
            self.output = None;
        }
    }

    fn life(&self) -> Life {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.group), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Life::Running,
            Ok(_) => Life::Zombie,
            Err(_) => Life::Lost,
        }
    }

    /// Reads the last words of the ended process, reaps it, reports. What it left in its group has
    /// been killed before.
    fn bury(&mut self, registry: &Registry) {
        self.read(registry);
        let status = self.started.reap();
        self.is_reaped = true;
        if let Some(exit) = self.exit.take() {
            // A failure leaves nothing behind: the descriptor is closed at the end of this block.
            registry.deregister(&mut SourceFd(&exit.as_raw_fd())).ok();
        }
        self.input = None;
        self.output = None;
        let errno = self.started.failure().and_then(|error| error.raw_os_error());
        self.report_once(errno.map_or_else(|| end_of(status), End::NotBegun));
    }

    fn kill(&mut self, end: End) {
        if !self.is_over() {
            self.kill_group();
        }
        self.report_once(end);
    }

    /// Only for a process that is not reaped: its group's number is still its own.
    fn kill_group(&self) {
        if let Err(error) = killpg(self.group, Signal::SIGKILL) {
            log::debug!("child {}: cannot kill its group: {error}", self.group);
        }
    }

    fn report_once(&mut self, end: End) {
        if !self.is_reported {
            self.is_reported = true;
            self.report = Some(Report { end, output: core::mem::take(&mut self.kept) });
        }
    }
}

impl Drop for Child {
    /// Leaves nothing running, unless it was left on purpose. A process that does not end at once
    /// stays a zombie of ours.
    fn drop(&mut self) {
        if !self.is_over() {
            self.kill_group();
            self.started.reap();
        }
    }
}

/// Without a status it is not known to have done anything.
fn end_of(status: Option<ExitStatus>) -> End {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => End::Exited(code),
        Some((None, Some(signal))) => End::Signalled(signal),
        Some((None, None)) | None => End::Signalled(0),
    }
}
