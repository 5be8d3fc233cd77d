//! When the kernel received a datagram, on the clock that decides.
//!
//! The kernel stamps datagrams with the wall clock (`SO_TIMESTAMPNS`), which may jump; decisions
//! rest on `CLOCK_BOOTTIME`. So the stamp is turned at once into an age by the wall clock and that
//! age into a moment by the boot clock. A jump between the two readings cannot do much: the moment
//! is kept between two that are known, that of the last look into an empty socket and now.
//!
//! Heads up: the kernel begins to stamp from a work queue, some milliseconds after the first socket
//! of the machine asks for it. What arrives before bears the time of its reading.

use core::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::types::Instant;

/// How often both clocks are read again when the reading took long, as it does when the process
/// lost its CPU in between.
const READINGS_MAX: usize = 3;
/// A reading of both clocks that took no longer than this is good enough.
const READING_TIME_MAX: Duration = Duration::from_micros(20);

/// Both clocks, read together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockPair {
    boot: Instant,
    wall: Duration,
}

impl ClockPair {
    /// Both clocks now; nothing if the kernel does not tell them.
    pub fn read() -> Option<Self> {
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..READINGS_MAX {
            let before = boot_now()?;
            let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).ok()?);
            let took = boot_now()?.since(before);
            if best.is_none_or(|(shortest, _)| took < shortest) {
                best = Some((took, Self { boot: before + took / 2, wall }));
            }
            if took <= READING_TIME_MAX {
                break;
            }
        }
        best.map(|(_, pair)| pair)
    }

    /// The moment of the wall clock's `stamp`, not before `earliest` and not after `latest`.
    pub fn moment_of(&self, stamp: Duration, earliest: Instant, latest: Instant) -> Instant {
        let age = u64::try_from(self.wall.saturating_sub(stamp).as_nanos()).unwrap_or(u64::MAX);
        let moment = Instant::from_nanos(self.boot.as_nanos().saturating_sub(age));
        moment.max(earliest).min(latest)
    }
}

fn boot_now() -> Option<Instant> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(Instant::ZERO + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: ClockPair =
        ClockPair { boot: Instant::from_millis(5_000), wall: Duration::from_secs(1_000_000) };

    fn moment(stamp_ms: u64) -> Instant {
        let earliest = Instant::from_millis(4_900);
        PAIR.moment_of(Duration::from_millis(stamp_ms), earliest, Instant::from_millis(5_000))
    }

    #[test]
    fn the_age_is_carried_over() {
        assert_eq!(moment(1_000_000_000 - 7), Instant::from_millis(4_993));
        assert_eq!(moment(1_000_000_000), Instant::from_millis(5_000));
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_kept_between_known_moments() {
        assert_eq!(moment(1_000_000_000 + 3_600_000), Instant::from_millis(5_000));
        assert_eq!(moment(1_000_000_000 - 3_600_000), Instant::from_millis(4_900));
        assert_eq!(moment(0), Instant::from_millis(4_900));
    }

    #[test]
    fn the_kernel_tells_both_clocks() {
        let first = ClockPair::read();
        let second = ClockPair::read();
        assert!(first.is_some());
        assert!(first.zip(second).is_some_and(|(a, b)| a.boot <= b.boot));
    }
}
