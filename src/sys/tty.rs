//! What a terminal device is asked beside its settings: that nobody else may open it, and how much
//! of what was written is still waiting.
//!
//! The settings themselves (`termios`) have safe functions in `nix`.
#![allow(unsafe_code, reason = "these ioctls have no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// Keeps others without CAP_SYS_ADMIN from opening the device until it is closed (ioctl_tty(2),
/// TIOCEXCL).
///
/// # Errors
/// Those of `ioctl(2)`: it is no terminal, or it is gone.
pub fn set_exclusive(tty: impl AsFd) -> nix::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and TIOCEXCL takes no argument.
    let done = unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCEXCL) };
    Errno::result(done).map(drop)
}

/// Lets others open it again (TIOCNXCL): what another process still has open would stay closed to
/// everybody.
///
/// # Errors
/// Those of `ioctl(2)`.
pub fn set_shared(tty: impl AsFd) -> nix::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed, and TIOCNXCL takes no argument.
    let done = unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCNXCL) };
    Errno::result(done).map(drop)
}

/// How many bytes that were written have not left the kernel yet (TIOCOUTQ). Some drivers count
/// their hardware's, pseudo terminals count none.
///
/// # Errors
/// Those of `ioctl(2)`: it is no terminal, or it is gone.
pub fn count_unsent(tty: impl AsFd) -> nix::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed; TIOCOUTQ writes one `int`, and
    // the pointer is to one that lives longer than the call.
    let done = unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    Errno::result(done)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_pseudo_terminal_answers_and_a_file_does_not() {
        let pair = nix::pty::openpty(None, None).unwrap();
        assert_eq!(count_unsent(&pair.slave), Ok(0));
        assert_eq!(set_exclusive(&pair.slave), Ok(()));
        assert_eq!(set_shared(&pair.slave), Ok(()));
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(set_exclusive(&file), Err(Errno::ENOTTY));
        assert_eq!(set_shared(&file), Err(Errno::ENOTTY));
        assert!(count_unsent(&file).is_err());
    }
}
