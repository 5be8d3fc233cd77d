//! A child process as a file descriptor that becomes readable when the child has ended.
//!
//! Knows nothing of who waits; the child must still be reaped.
#![allow(unsafe_code, reason = "pidfd_open has no wrapper in libc or nix")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::unistd::Pid;

/// The descriptor of the process `pid` (pidfd_open(2), Linux 5.3), close-on-exec.
/// The caller makes sure that `pid` is its own child and not reaped yet, else it may be another
/// process's number by now.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = RawFd::try_from(fd)
        .map_err(|_e| io::Error::new(io::ErrorKind::InvalidData, "no file descriptor"))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
