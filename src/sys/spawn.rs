//! Starting a program without waiting for it, not even for its file to be read.
//!
//! The standard library waits until the new process has found and begun its program: for a disk
//! that hangs without bound, and under real-time priority for a task of less priority. Here the
//! parent makes a copy of itself (`fork(2)`) and goes on; the copy alone waits. What it finds out,
//! a program that cannot be begun, comes back through a pipe that anybody may look at later.
//!
//! Between `fork` and `execve` the copy makes system calls on what was made before, and nothing
//! else: no memory is allocated, no lock taken, nothing is dropped (signal-safety(7)).
#![allow(unsafe_code, reason = "fork and what may follow it have no safe wrapper")]

use core::ffi::{CStr, c_char, c_int, c_uint};
use core::ptr;
use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, setpgid};

/// Where the new process keeps the pipe for its failure: the first descriptor beyond the standard
/// ones.
const FAILURE_FD: c_int = 3;
/// What follows it.
const FIRST_CLOSED_FD: c_uint = 4;
/// The exit status of a process that could not begin its program, as shells have it.
const STATUS_NOT_BEGUN: c_int = 127;
/// The highest number of a signal.
const SIGNAL_MAX: c_int = 64;

/// A program with its arguments and environment, ready to be begun.
#[derive(Debug)]
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// The program at `path`, which is absolute, with `arguments` and, of the environment, nothing
    /// but `environment`.
    ///
    /// # Errors
    /// If one of them has a zero byte in it.
    pub fn new(
        path: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut all = vec![path.clone()];
        for argument in arguments {
            all.push(CString::new(argument.as_bytes())?);
        }
        let mut variables = Vec::new();
        for (name, value) in environment {
            variables.push(CString::new(format!("{name}={value}"))?);
        }
        Ok(Self { path, arguments: all, environment: variables })
    }
}

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    /// Its number, which is its process group's, too.
    pub pid: Pid,
    failure: PipeReader,
}

impl Started {
    /// Takes the status of the process if it has ended, which frees its number; never waits.
    pub fn reap(&self) -> Option<ExitStatus> {
        let mut status = 0;
        // SAFETY: `status` outlives the call, which writes at most one int to it.
        let pid = unsafe { libc::waitpid(self.pid.as_raw(), &raw mut status, libc::WNOHANG) };
        (pid == self.pid.as_raw()).then(|| ExitStatus::from_raw(status))
    }

    /// Why the program could not be begun. Asked when the process has ended; never waits.
    pub fn failure(&mut self) -> Option<io::Error> {
        let mut errno = [0; size_of::<c_int>()];
        self.failure.read_exact(&mut errno).ok()?;
        Some(io::Error::from_raw_os_error(c_int::from_ne_bytes(errno)))
    }
}

/// Starts `program` with `input` as its standard input, `output` as its standard output and error,
/// `/` as its directory, a process group of its own, all signals as the system has them, and no
/// other descriptor of ours. Returns as soon as there is a process; whether the program can be
/// begun shows later.
///
/// # Errors
/// Those of `pipe(2)` and `fork(2)`.
pub fn start(program: &Program, input: &PipeReader, output: &PipeWriter) -> io::Result<Started> {
    let (failure, failure_end) = io::pipe()?;
    let flags = nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(failure.as_fd(), nix::fcntl::FcntlArg::F_SETFL(flags))?;
    let arguments = pointers(&program.arguments);
    let environment = pointers(&program.environment);
    // A signal that reached the copy would run our handler in it, and tell us to stop.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    // SAFETY: the child does not return from `begin`, which calls only async-signal-safe
    // functions on memory that exists already.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        let prepared = Prepared {
            path: &program.path,
            arguments: &arguments,
            environment: &environment,
            input,
            output,
            failure: &failure_end,
        };
        begin(&prepared);
    }
    mask.thread_set_mask()?;
    match forked? {
        ForkResult::Parent { child } => {
            // Both do it: whoever comes first, the group is there when it is needed. Too late is
            // an error, and means that the child has done it.
            setpgid(child, child).ok();
            Ok(Started { pid: child, failure })
        }
        ForkResult::Child => unreachable!("the child has begun its program, or ended"),
    }
}

/// What the copy needs, all of it made before.
struct Prepared<'a> {
    path: &'a CStr,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    input: &'a PipeReader,
    output: &'a PipeWriter,
    failure: &'a PipeWriter,
}

/// Becomes the program, or tells why not and ends.
fn begin(prepared: &Prepared<'_>) -> ! {
    if keep_descriptors(prepared).is_ok() {
        if forget_parent().is_ok() {
            let (arguments, variables) =
                (prepared.arguments.as_ptr(), prepared.environment.as_ptr());
            // SAFETY: the path ends with a zero, and so does each text that the two lists point
            // to, which live in the caller's `Program`; both lists end with a null.
            unsafe { libc::execve(prepared.path.as_ptr(), arguments, variables) };
        }
        let errno = Errno::last_raw().to_ne_bytes();
        // SAFETY: the pointer and the length are those of `errno`.
        unsafe { libc::write(FAILURE_FD, errno.as_ptr().cast(), errno.len()) };
    }
    // SAFETY: ends the process without running anything of ours.
    unsafe { libc::_exit(STATUS_NOT_BEGUN) }
}

/// Leaves the standard descriptors and the pipe for a failure, and closes all others: a program
/// whose disk hangs would keep our locks, should we end meanwhile.
fn keep_descriptors(prepared: &Prepared<'_>) -> Result<(), Errno> {
    dup2_stdin(prepared.input)?;
    dup2_stdout(prepared.output)?;
    dup2_stderr(prepared.output)?;
    let failure = prepared.failure.as_raw_fd();
    if failure != FAILURE_FD {
        // SAFETY: both are numbers; what was open as FAILURE_FD is closed, and nothing of this
        // process uses it again.
        let moved = unsafe { libc::dup3(failure, FAILURE_FD, libc::O_CLOEXEC) };
        Errno::result(moved)?;
    }
    // A kernel without it (before 5.9) closes them at `execve`: all are close-on-exec.
    // SAFETY: takes three numbers; nothing of this process uses these descriptors again.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_CLOSED_FD, c_uint::MAX, 0) };
    Ok(())
}

/// Signals as the system has them, a process group of its own, a directory that is always there.
fn forget_parent() -> Result<(), Errno> {
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: no handler is installed; signals that cannot be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    SigSet::empty().thread_set_mask()?;
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    chdir(c"/")
}

/// The list that `execve` wants; it lives no longer than `texts`.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
