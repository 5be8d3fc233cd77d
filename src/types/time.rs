//! Monotonic time as an argument.
//!
//! [`Instant`] counts nanoseconds of `CLOCK_BOOTTIME` (which goes on during suspend). It has no
//! `now()`: the loop reads the clock once per turn and hands the value in. The wall clock is for
//! display only and never decides anything.

use core::time::Duration;

use serde::{Deserialize, Serialize};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A moment: nanoseconds since the machine booted.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Instant(u64);

impl Instant {
    /// The moment of boot, earlier than any other.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after boot; for tests and scenarios.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// How many nanoseconds after `earlier` this is; zero if it is not after it.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The earlier one of two moments that may never come.
    #[inline]
    pub fn soonest(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (Some(at), None) | (None, Some(at)) => Some(at),
            (None, None) => None,
        }
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time (584 years after boot).
    fn add(self, duration: Duration) -> Self {
        self + Span::from(duration)
    }
}

/// A length of time in whole nanoseconds, 584 years at most: a [`Duration`] that is cheap to add,
/// for those that are added in every step.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Span(u64);

impl From<Duration> for Span {
    /// Saturates. In 64 bits, unlike `Duration::as_nanos`, whose 128 cost more than all the rest.
    fn from(duration: Duration) -> Self {
        let whole = duration.as_secs().saturating_mul(NANOS_PER_SEC);
        Self(whole.saturating_add(u64::from(duration.subsec_nanos())))
    }
}

impl core::ops::Add<Span> for Instant {
    type Output = Self;

    /// Saturates at the end of time (584 years after boot).
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl core::fmt::Display for Instant {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let micros = self.0 / 1_000;
        write!(f, "{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_exact_and_saturates_at_the_end_of_time() {
        let durations = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_nanos(1_999_999_999),
            Duration::from_millis(100),
            Duration::from_nanos(u64::MAX - 1),
            Duration::from_nanos(u64::MAX),
            Duration::from_nanos(u64::MAX) + Duration::from_nanos(1),
            Duration::new(18_446_744_073, 999_999_999),
            Duration::MAX,
        ];
        for start in [0, 1, 1_000_000_007, u64::MAX - 1, u64::MAX] {
            for duration in durations {
                let exact = u128::from(start) + duration.as_nanos();
                let expected = u64::try_from(exact).unwrap_or(u64::MAX);
                let sum = Instant::from_nanos(start) + duration;
                assert_eq!(sum.as_nanos(), expected, "{start} + {duration:?}");
            }
        }
    }

    #[test]
    fn never_is_later_than_any_moment() {
        let [early, late] = [1, 2].map(|ms| Some(Instant::from_millis(ms)));
        assert_eq!(Instant::soonest(early, late), early);
        assert_eq!(Instant::soonest(late, early), early);
        assert_eq!(Instant::soonest(None, late), late);
        assert_eq!(Instant::soonest(late, None), late);
        assert_eq!(Instant::soonest(None, None), None);
    }
}
