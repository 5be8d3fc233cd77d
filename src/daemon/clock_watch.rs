//! Notices that the loop itself was late: starved, stopped or suspended.

use core::time::Duration;

use crate::types::Instant;

/// How late the loop may be before the engine is told.
const LATE_MIN: Duration = Duration::from_millis(2);

/// Compares when the loop had to wake with when it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockWatch {
    wanted: Option<Instant>,
}

impl ClockWatch {
    /// The loop goes to sleep until `wanted` at the latest.
    pub fn sleep_until(&mut self, wanted: Option<Instant>) {
        self.wanted = wanted;
    }

    /// The loop is awake at `now`: by how much it is late, if by enough to matter.
    pub fn wake(&mut self, now: Instant) -> Option<Duration> {
        let late_by = now.since(self.wanted.take()?);
        (late_by >= LATE_MIN).then_some(late_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_wanted_and_missed_by_enough_is_late() {
        let mut watch = ClockWatch::default();
        assert_eq!(watch.wake(Instant::from_millis(500)), None, "it did not sleep");
        watch.sleep_until(None);
        assert_eq!(watch.wake(Instant::from_millis(500)), None, "nothing was wanted");
        watch.sleep_until(Some(Instant::from_millis(600)));
        assert_eq!(watch.wake(Instant::from_millis(550)), None, "woken before");
        watch.sleep_until(Some(Instant::from_millis(600)));
        assert_eq!(watch.wake(Instant::from_millis(601)), None, "too little to matter");
        watch.sleep_until(Some(Instant::from_millis(600)));
        let late = watch.wake(Instant::from_millis(900));
        assert_eq!(late, Some(Duration::from_millis(300)));
        assert_eq!(watch.wake(Instant::from_millis(999)), None, "told once");
    }
}
