//! One timerfd for the loop's next deadline.
//!
//! `epoll`'s own timeout is in whole milliseconds and rounds up; a timerfd on the boot clock wakes
//! the loop tens of microseconds after the deadline. It knows nothing of what the deadline is for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::types::Instant;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A timer that becomes readable when its deadline has come. Register its descriptor with the poll.
#[derive(Debug)]
pub struct DeadlineTimer {
    timer: TimerFd,
    armed: Option<Instant>,
}

impl DeadlineTimer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// Those of `timerfd_create(2)`.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?, armed: None })
    }

    /// Arms the timer for `deadline`, or disarms it. A deadline in the past expires at once; one
    /// that is armed already costs no system call.
    ///
    /// # Errors
    /// Those of `timerfd_settime(2)`.
    pub fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if deadline == self.armed {
            return Ok(());
        }
        match deadline {
            None => self.timer.unset()?,
            Some(at) => {
                // A time of zero would disarm it.
                let nanos = at.as_nanos().max(1);
                let seconds = i64::try_from(nanos / NANOS_PER_SECOND).unwrap_or(i64::MAX);
                let rest = i64::try_from(nanos % NANOS_PER_SECOND).unwrap_or(0);
                let expiration = Expiration::OneShot(TimeSpec::new(seconds, rest));
                self.timer.set(expiration, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
        }
        self.armed = deadline;
        Ok(())
    }

    /// Takes the expiry, so that the descriptor is no longer readable. Call it when the poll
    /// reports the timer; a spurious call does no harm.
    ///
    /// # Errors
    /// Those of `read(2)`, except that there is nothing to read.
    pub fn clear(&mut self) -> io::Result<()> {
        match self.timer.wait() {
            Ok(()) => {
                self.armed = None;
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for DeadlineTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

impl AsRawFd for DeadlineTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use core::time::Duration;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::sys::clock;

    fn is_readable(timer: &DeadlineTimer, within: Duration) -> bool {
        let mut fds = [PollFd::new(timer.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, PollTimeout::try_from(within).unwrap()) {
                Err(Errno::EINTR) => {}
                result => return result.unwrap() == 1,
            }
        }
    }

    #[test]
    fn it_wakes_after_its_deadline_and_never_before() {
        let mut timer = DeadlineTimer::new().unwrap();
        let deadline = clock::now() + Duration::from_millis(20);
        timer.set(Some(deadline)).unwrap();
        assert!(is_readable(&timer, Duration::from_secs(5)));
        assert!(clock::now() >= deadline);
        timer.clear().unwrap();
        assert!(!is_readable(&timer, Duration::ZERO));
        timer.clear().unwrap();
    }

    #[test]
    fn a_past_deadline_wakes_at_once_and_a_withdrawn_one_never() {
        let mut timer = DeadlineTimer::new().unwrap();
        timer.set(Some(Instant::ZERO)).unwrap();
        assert!(is_readable(&timer, Duration::from_secs(5)));
        timer.clear().unwrap();
        timer.set(Some(Instant::ZERO)).unwrap();
        assert!(is_readable(&timer, Duration::from_secs(5)), "set again after it was taken");
        timer.clear().unwrap();
        timer.set(Some(clock::now() + Duration::from_millis(10))).unwrap();
        timer.set(None).unwrap();
        assert!(!is_readable(&timer, Duration::from_millis(30)));
    }
}
