//! What must be remembered over a restart or a reboot, and whether it is written.
//!
//! The record (terms) goes to disk behind the loop; a term is reserved there before it is needed,
//! so that no takeover waits for a disk. The mark (who holds) is boot-local and written by the role
//! machine's own steps.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::fence::Ops;
use super::input::Outcome;
use super::settings::Record;
use crate::types::{Instant, OpId, Term};

/// How long a takeover waits for the reservation of its term. A disk that takes longer is treated
/// as one that fails: tandem goes on, degraded, and says so.
pub(super) const RESERVE_WAIT_MAX: Duration = Duration::from_secs(1);
/// When a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The record, as wanted and as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    wanted: Record,
    written: Record,
    writing: Option<Write>,
    retry_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Write {
    op: OpId,
    record: Record,
    began: Instant,
}

impl Memory {
    pub(super) fn new(found: Record) -> Self {
        Self { wanted: found, written: found, writing: None, retry_at: None }
    }

    /// The highest term that this node itself held.
    pub(super) fn held_term(&self) -> Term {
        self.wanted.held_term
    }

    /// From now on `term` counts as used or seen.
    pub(super) fn reserve(&mut self, term: Term) {
        self.wanted.term = self.wanted.term.max(term);
    }

    /// From now on `term` counts as held by this node.
    pub(super) fn hold(&mut self, term: Term) {
        self.reserve(term);
        self.wanted.held_term = self.wanted.held_term.max(term);
    }

    /// Whether a takeover for `term` may begin: it is reserved, or the disk fails or dawdles.
    pub(super) fn is_reserved(&self, term: Term, now: Instant) -> bool {
        self.written.term >= term || self.is_failing(now)
    }

    /// Whether the disk refuses what it is given, or does not answer in time.
    pub(super) fn is_failing(&self, now: Instant) -> bool {
        let dawdles = self.writing.is_some_and(|write| now >= write.began + RESERVE_WAIT_MAX);
        self.retry_at.is_some() || dawdles
    }

    /// Begins a write if there is something to write and none runs.
    pub(super) fn write(&mut self, now: Instant, ops: &mut Ops, out: &mut Effects) {
        let resting = self.retry_at.is_some_and(|at| now < at);
        if self.wanted == self.written || self.writing.is_some() || resting {
            return;
        }
        let op = ops.next();
        self.writing = Some(Write { op, record: self.wanted, began: now });
        out.push(Effect::Store { op, record: self.wanted });
    }

    /// Takes the end of a write in; whether it was the one that runs.
    pub(super) fn done(&mut self, op: OpId, outcome: &Outcome, now: Instant) -> bool {
        let Some(write) = self.writing.filter(|write| write.op == op) else { return false };
        self.writing = None;
        match outcome {
            Outcome::Confirmed => {
                self.written = write.record;
                self.retry_at = None;
            }
            Outcome::Refused(_) | Outcome::Unknown(_) => self.retry_at = Some(now + RETRY),
        }
        true
    }

    /// When it wants to be looked at next.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let dawdles_at = self.writing.map(|write| write.began + RESERVE_WAIT_MAX);
        let retry_at = if self.writing.is_none() { self.retry_at } else { None };
        Instant::soonest(dawdles_at.filter(|at| *at > now), retry_at)
    }
}
