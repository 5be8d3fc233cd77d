//! The boot clock: the one place where monotonic time enters the program.
//!
//! `CLOCK_BOOTTIME` goes on during suspend, so that a machine that slept knows how long it was
//! away. The loop reads it once per turn; nobody else needs to.

use nix::time::{ClockId, clock_gettime};

use crate::types::Instant;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The present moment. The clock cannot fail on a kernel that has it (2.6.39 and later); were it to
/// fail, [`Instant::ZERO`] is returned, which lies before every deadline.
pub fn now() -> Instant {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Instant::ZERO, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        Instant::from_nanos(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos))
    })
}

/// The wall clock in milliseconds since 1970. For display only: it may jump.
#[allow(clippy::disallowed_methods, reason = "the one place that reads it, for display only")]
pub fn wall_unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_runs_and_agrees_with_the_kernels_uptime() {
        let before = now();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(-1.0);
        let after = now();
        assert!(after > before, "it runs");
        let told = after.since(Instant::ZERO).as_secs_f64();
        assert!((told - seconds).abs() < 5.0, "{told} s and {seconds} s");
    }
}
