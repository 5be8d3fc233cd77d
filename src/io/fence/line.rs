//! The line to one BMC: the session that is kept to it, when it is asked whether it lives, and when
//! the next one is opened after it was lost.
//!
//! Knows moments and failures, and sends nothing: [`super::FencePool`] gives the orders.
//!
//! A BMC closes a session that it has not heard of for 60 s (IPMI v2.0 §6.12.15), and some earlier.

use core::time::Duration;

use super::conn::Conn;
use crate::config::device::Device;
use crate::types::{FenceFault, Instant, Power};
use crate::wire::ipmi::{CipherSuite, Facts, Weakness};

/// How long a kept session may go without an answer before it is asked for one.
pub(super) const ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The time for such an answer, a fresh session included.
pub(super) const ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first and the longest pause before another session is opened; each is twice the one before.
const REOPEN_PAUSE_MIN: Duration = Duration::from_secs(1);
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What is known of one BMC.
pub(super) struct Line {
    pub(super) device: Device,
    /// The session that is kept; nothing while an order has it.
    pub(super) conn: Option<Conn>,
    /// Since when there is one, this one, or since when there is none.
    since: Instant,
    is_open: bool,
    /// When a session is opened without an order; nothing while there is one, and when only an
    /// order shall: a wrong password must not be told again and again, BMCs lock users out.
    reopen_at: Option<Instant>,
    reopen_pause: Duration,
    pub(super) suite: Option<CipherSuite>,
    pub(super) guid: Option<[u8; 16]>,
    facts: Facts,
    /// What was told of its weaknesses.
    told: Vec<Weakness>,
}

/// How it stands with the session to a BMC, and what the BMC says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionView<'a> {
    /// Whether a session is open.
    pub is_open: bool,
    /// Since when.
    pub since: Instant,
    /// The cipher suite that worked last.
    pub suite: Option<CipherSuite>,
    /// The machine's GUID, as the BMC proved itself with.
    pub guid: Option<[u8; 16]>,
    /// All that it says of itself.
    pub facts: &'a Facts,
}

impl Line {
    pub(super) fn new(device: Device, now: Instant) -> Self {
        Self {
            device,
            conn: None,
            since: now,
            is_open: false,
            reopen_at: None,
            reopen_pause: REOPEN_PAUSE_MIN,
            suite: None,
            guid: None,
            facts: Facts::default(),
            told: Vec::new(),
        }
    }

    /// An order has ended, and this is the session that it leaves, if it does. Without one another
    /// is opened from `keep_from` on, if sessions are kept.
    pub(super) fn note_end(
        &mut self,
        now: Instant,
        reading: Result<Power, FenceFault>,
        conn: Option<Conn>,
        is_same: bool,
        keep_from: Option<Instant>,
    ) {
        let is_open = conn.is_some();
        if is_open != self.is_open || (is_open && !is_same) {
            self.since = now;
        }
        self.is_open = is_open;
        self.conn = conn;
        self.reopen_at = match reading {
            _ if is_open => None,
            Ok(_) => keep_from.map(|from| from.max(now)),
            Err(
                FenceFault::Unreachable
                | FenceFault::Garbled
                | FenceFault::Timeout
                | FenceFault::Exhausted,
            ) => keep_from.map(|from| from.max(now + self.reopen_pause)),
            // It was never asked, or overtaken by an order that tells.
            Err(FenceFault::Cancelled) => keep_from.map(|from| from.max(now + REOPEN_PAUSE_MIN)),
            Err(
                FenceFault::Credentials
                | FenceFault::Certificate
                | FenceFault::WrongMachine
                | FenceFault::Privilege
                | FenceFault::Refused
                | FenceFault::Unsupported
                | FenceFault::AgentFailed,
            ) => None,
        };
        match reading {
            Ok(_) => self.reopen_pause = REOPEN_PAUSE_MIN,
            Err(FenceFault::Cancelled) => {}
            Err(_) => self.reopen_pause = (self.reopen_pause * 2).min(REOPEN_PAUSE_MAX),
        }
    }

    /// When the pool is to give an order of its own.
    pub(super) fn order_at(&self) -> Option<Instant> {
        match &self.conn {
            Some(conn) => Some(conn.answered_at + ALIVE_INTERVAL),
            None => self.reopen_at,
        }
    }

    /// An order is given now.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.reopen_at = self.reopen_at.map(|_| now + self.reopen_pause);
        if let Some(conn) = &mut self.conn {
            conn.answered_at = now;
        }
    }

    /// The session is closed for good.
    pub(super) fn take_conn(&mut self, now: Instant) -> Option<Conn> {
        self.reopen_at = None;
        if self.is_open {
            self.since = now;
            self.is_open = false;
        }
        self.conn.take()
    }

    /// Whether what the BMC says of itself has changed since; takes it over.
    pub(super) fn learn_facts(&mut self) -> bool {
        let Some(conn) = &self.conn else { return false };
        let facts = conn.client.facts();
        if *facts == self.facts || *facts == Facts::default() {
            return false;
        }
        self.facts.clone_from(facts);
        true
    }

    /// The weaknesses that were not told yet; they count as told then.
    pub(super) fn take_untold(&mut self) -> Vec<Weakness> {
        let known = self.facts.weaknesses.iter();
        let untold: Vec<_> = known.filter(|it| !self.told.contains(it)).copied().collect();
        self.told.extend(&untold);
        untold
    }

    pub(super) fn view(&self) -> SessionView<'_> {
        let Self { is_open, since, suite, guid, ref facts, .. } = *self;
        SessionView { is_open, since, suite, guid, facts }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::device::DeviceKind;
    use crate::types::NodeId;

    fn line(now: Instant) -> Line {
        let kind = DeviceKind::Agent { program: "/x".into(), params: vec![], secrets: vec![] };
        let node = NodeId::new(1).unwrap();
        Line::new(Device::new("bmc", node, kind), now)
    }

    #[test]
    fn a_lost_session_is_opened_again_with_a_growing_pause() {
        let mut now = Instant::from_millis(1000);
        let from = Some(now);
        let mut line = line(now);
        assert_eq!(line.order_at(), None, "the first order is somebody else's");
        let mut pauses = Vec::new();
        for _ in 0..9 {
            line.note_end(now, Err(FenceFault::Unreachable), None, true, from);
            let at = line.order_at().unwrap_or(Instant::ZERO);
            pauses.push(at.since(now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        line.note_end(now, Ok(Power::On), None, true, from);
        line.note_end(now, Err(FenceFault::Timeout), None, true, from);
        assert_eq!(line.order_at(), Some(now + REOPEN_PAUSE_MIN), "an answer ends that");
        line.postpone(now);
        assert_eq!(line.order_at(), Some(now + REOPEN_PAUSE_MIN * 2), "not at once again");
    }

    /// A BMC that is told a wrong password too often locks the user out.
    #[test]
    fn what_will_be_refused_again_is_left_to_the_checks() {
        let now = Instant::from_millis(1000);
        for fault in [
            FenceFault::Credentials,
            FenceFault::Privilege,
            FenceFault::Refused,
            FenceFault::Unsupported,
        ] {
            let mut line = line(now);
            line.note_end(now, Err(fault), None, true, Some(now));
            assert_eq!(line.order_at(), None, "{fault}");
        }
    }

    #[test]
    fn nothing_is_opened_before_sessions_may_be_kept() {
        let now = Instant::from_millis(1000);
        let from = now + Duration::from_secs(65);
        let mut line = line(now);
        line.note_end(now, Ok(Power::On), None, true, Some(from));
        assert_eq!(line.order_at(), Some(from));
        line.note_end(now, Ok(Power::On), None, true, None);
        assert_eq!(line.order_at(), None);
    }
}
