//! How often and when one request is sent: the repetitions of one step.
//!
//! Knows moments and message tags, not what is sent.

use core::time::Duration;

use crate::types::Instant;

/// The wait before the first repetition, as long as the BMC has not shown to be slower.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(150);
/// The same in a session that is kept: it is known how fast the BMC answers there.
pub(super) const WAIT_KEPT_MIN: Duration = Duration::from_millis(20);
/// The longest wait between two repetitions.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(3);
/// The longest wait between two requests for a session, as long as nobody has answered any: a BMC
/// that answers again is found within it. A slow one is not given less time for it.
pub(super) const KNOCK_MAX: Duration = Duration::from_millis(500);
/// The most sendings of one request before the whole session is begun anew.
pub(super) const TRIES_MAX: u8 = 5;
/// The most sendings of one request in a session that is kept, before it is given up: from
/// [`WAIT_KEPT_MIN`] on they take 1.5 s, for firmware that switches slower than it reads.
pub(super) const TRIES_KEPT_MAX: u8 = 9;
/// The wait after one of `wait`: half as long again, up to [`WAIT_MAX`]. Gentle, because a wait
/// that is too short costs one datagram, and one that is too long costs the client its service.
pub(super) fn longer(wait: Duration) -> Duration {
    (wait * 3 / 2).min(WAIT_MAX)
}

/// The sendings of one request.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    left: u8,
    wait: Duration,
    wait_max: Duration,
    due: Instant,
    /// Tag and moment of each sending of a handshake message, the newest last.
    sent: Vec<(u8, Instant)>,
}

impl Tries {
    /// At most `max` sendings, the first at `due`, the second `wait` after it; then each wait is
    /// half as long again as the last.
    pub(super) fn new(due: Instant, wait: Duration, max: u8) -> Self {
        let wait = wait.clamp(WAIT_MIN, WAIT_MAX);
        Self { left: max, wait, wait_max: WAIT_MAX, due, sent: Vec::new() }
    }

    /// The same for a request for a session at which nobody has answered yet: for as long as
    /// [`TRIES_MAX`] sendings would take, but never [`KNOCK_MAX`] without one.
    pub(super) fn knocking(due: Instant, wait: Duration) -> Self {
        let plain = Self::new(due, wait, TRIES_MAX);
        let (mut patience, mut next) = (Duration::ZERO, plain.wait);
        for _ in 0..TRIES_MAX {
            patience += next;
            next = longer(next);
        }
        let mut wait = plain.wait.min(KNOCK_MAX);
        let knocks = Self { wait, wait_max: KNOCK_MAX, left: 0, ..plain };
        let (mut left, mut waited) = (0_u8, Duration::ZERO);
        while waited < patience {
            left = left.saturating_add(1);
            waited += wait;
            wait = longer(wait).min(KNOCK_MAX);
        }
        Self { left, ..knocks }
    }

    /// The same in a session that is kept, after `wait` that it has shown to need.
    pub(super) fn kept(due: Instant, wait: Duration) -> Self {
        let wait = wait.clamp(WAIT_KEPT_MIN, WAIT_MAX);
        Self { left: TRIES_KEPT_MAX, wait, wait_max: WAIT_MAX, due, sent: Vec::new() }
    }

    /// When to send again, or to give up if [`Self::is_exhausted`].
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// It is sent now, with `tag`; requests without one pass any.
    pub(super) fn note_sent(&mut self, now: Instant, tag: u8) {
        self.left = self.left.saturating_sub(1);
        self.due = now + self.wait;
        self.wait = longer(self.wait).min(self.wait_max);
        self.sent.push((tag, now));
    }

    /// When the message with `tag` was sent; nothing if it was not sent in this step.
    pub(super) fn sent_at(&self, tag: u8) -> Option<Instant> {
        self.sent.iter().find(|(sent, _)| *sent == tag).map(|(_, at)| *at)
    }

    /// When it was sent, if it was sent once: of several an answer does not say which it is for.
    pub(super) fn only_sent_at(&self) -> Option<Instant> {
        match self.sent.as_slice() {
            [(_, at)] => Some(*at),
            [] | [_, _, ..] => None,
        }
    }

    /// When it was first sent.
    pub(super) fn first_sent_at(&self) -> Option<Instant> {
        self.sent.first().map(|(_, at)| *at)
    }

    /// The same for the newest sending alone.
    pub(super) fn newest_sent_at(&self, tag: u8) -> Option<Instant> {
        self.sent.last().filter(|(sent, _)| *sent == tag).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A BMC that comes back is found within half a second, and a slow one has as much time.
    #[test]
    fn nobody_is_left_unasked_for_long_while_nobody_answers() {
        for wait in [WAIT_MIN, Duration::from_millis(700), WAIT_MAX] {
            let (start, mut plain_end) = (Instant::from_millis(1000), Instant::from_millis(1000));
            let mut plain = Tries::new(start, wait, TRIES_MAX);
            while !plain.is_exhausted() {
                plain_end = plain.due();
                plain.note_sent(plain_end, 0);
            }
            let mut tries = Tries::knocking(start, wait);
            let mut now = start;
            while !tries.is_exhausted() {
                assert!(tries.due().since(now) <= KNOCK_MAX, "{wait:?}");
                now = tries.due();
                tries.note_sent(now, 0);
            }
            assert!(tries.due() >= plain.due(), "{wait:?}: {} {}", tries.due(), plain.due());
            assert!(tries.due() <= plain.due() + KNOCK_MAX, "{wait:?}");
            assert!(plain_end <= tries.due(), "{wait:?}");
        }
    }

    #[test]
    fn waits_grow_to_their_bound_and_tags_tell_the_sendings_apart() {
        let start = Instant::from_millis(1000);
        let mut tries = Tries::new(start, Duration::ZERO, TRIES_MAX);
        let mut now = start;
        for tag in 0..TRIES_MAX {
            assert!(!tries.is_exhausted());
            assert_eq!(tries.due(), now);
            tries.note_sent(now, tag);
            assert_eq!(tries.sent_at(tag), Some(now));
            assert_eq!(tries.newest_sent_at(tag), Some(now));
            now = tries.due();
        }
        assert!(tries.is_exhausted());
        assert_eq!(tries.sent_at(0), Some(start));
        assert_eq!(tries.newest_sent_at(0), None);
        assert_eq!(tries.sent_at(TRIES_MAX), None);
        assert!(now.since(start) < Duration::from_millis(2500), "one session costs {now}");
        assert_eq!(longer(WAIT_MAX), WAIT_MAX);
    }
}
