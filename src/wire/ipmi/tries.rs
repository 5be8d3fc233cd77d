//! How often and when one request is sent: the repetitions of one step.
//!
//! Knows moments and message tags, not what is sent.

use core::time::Duration;

use crate::types::Instant;

/// The wait before the first repetition, as long as the BMC has not shown to be slower.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(150);
/// The longest wait between two repetitions.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(1200);
/// The most sendings of one request before the whole session is begun anew.
pub(super) const TRIES_MAX: u8 = 5;
/// The same for RAKP message 3: a BMC that took it and whose word was lost answers no other one.
pub(super) const TRIES_CONFIRM_MAX: u8 = 2;

/// The sendings of one request.
#[derive(Clone, Debug)]
pub(super) struct Tries {
    left: u8,
    wait: Duration,
    due: Instant,
    /// Tag and moment of each sending of a handshake message, the newest last.
    sent: Vec<(u8, Instant)>,
}

impl Tries {
    /// At most `max` sendings, the first at `due`, the second `wait` after it; then each wait is
    /// twice the last.
    pub(super) fn new(due: Instant, wait: Duration, max: u8) -> Self {
        Self { left: max, wait: wait.clamp(WAIT_MIN, WAIT_MAX), due, sent: Vec::new() }
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
        self.wait = (self.wait * 2).min(WAIT_MAX);
        self.sent.push((tag, now));
    }

    /// When the message with `tag` was sent; nothing if it was not sent in this step.
    pub(super) fn sent_at(&self, tag: u8) -> Option<Instant> {
        self.sent.iter().find(|(sent, _)| *sent == tag).map(|(_, at)| *at)
    }

    /// The same for the newest sending alone.
    pub(super) fn newest_sent_at(&self, tag: u8) -> Option<Instant> {
        self.sent.last().filter(|(sent, _)| *sent == tag).map(|(_, at)| *at)
    }
}
