//! Taking the resources and giving them up.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::collision::Claims;
use super::effect::{Effect, Effects};
use super::event::{Cause, Event};
use super::input::{Outcome, Why};
use super::node::Node;
use super::proof::Proofs;
use super::role::{Acquiring, AcquiringStage, Releasing, ReleasingStage, Role};
use super::settings::Mark;
use super::upkeep::Missing;
use crate::types::{Instant, OpId, PeerState, Term};

/// The first rest after a takeover that failed; each is twice the one before, up to the maximum.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);
/// When a release, a purge, a mark or a repair that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// How long goodbye is said to peers that do not acknowledge it, in deadtimes.
const GOODBYE_DEADTIMES: u32 = 2;

/// What belongs to holding beside the role itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Holding {
    /// How many takeovers failed in a row.
    failures: u32,
    rest_until: Option<Instant>,
    /// Whether the mark could not be written.
    pub(super) mark_failed: bool,
    /// VIPs that vanished, with the repair that runs or the time of the next one.
    pub(super) missing: Vec<Missing>,
    pub(super) claims: Claims,
}

impl Holding {
    /// Whether a failed takeover still keeps this node from the next one.
    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.resting_until(now).is_some()
    }

    /// When the rest after a failed takeover ends, if one runs.
    pub(super) fn resting_until(&self, now: Instant) -> Option<Instant> {
        self.rest_until.filter(|until| now < *until)
    }
}

impl Node {
    /// Takes over. The proofs are used up by it.
    pub(super) fn take_over(&mut self, proofs: Proofs, term: Term, out: &mut Effects) {
        let cause = Cause::Proof(proofs.decisive());
        self.note_fenced(&proofs);
        drop(proofs);
        self.begin_acquiring(term, cause, out);
        let mark = Mark { boot: self.settings.boot, term, holding: true };
        let op = self.ops.next();
        if let Role::Acquiring(acquiring) = self.role.get_mut() {
            acquiring.stage = AcquiringStage::Marking { op };
        }
        out.push(Effect::Mark { op, mark });
    }

    /// Takes up again what an earlier daemon of this boot held and did not release: nobody else
    /// can have had a proof since.
    pub(super) fn adopt(&mut self, mark: Mark, out: &mut Effects) {
        self.term = self.term.max(mark.term);
        self.begin_acquiring(mark.term, Cause::Adopted, out);
        self.begin_taking(out);
    }

    fn begin_acquiring(&mut self, term: Term, cause: Cause, out: &mut Effects) {
        self.term = self.term.max(term);
        self.newest_claim = self.newest_claim.max(term);
        self.memory.hold(term);
        self.bid = None;
        self.released = false;
        self.look = None;
        self.holding.missing.clear();
        self.holding.claims = Claims::default();
        self.note_taking();
        for peer in &mut self.peers {
            peer.granted = Term::NONE;
            peer.grace_until = None;
            assert!(peer.ladder.is_none(), "a takeover while a fence is under way");
        }
        let stage = AcquiringStage::Taking { op: OpId::default() };
        let role = Role::Acquiring(Acquiring { began: self.now, term, stage });
        self.change_role(role, cause, out);
    }

    fn begin_taking(&mut self, out: &mut Effects) {
        let op = self.ops.next();
        if let Role::Acquiring(acquiring) = self.role.get_mut() {
            acquiring.stage = AcquiringStage::Taking { op };
            out.push(Effect::Acquire { op, term: acquiring.term });
        }
    }

    /// Takes in the end of an operation of the role; whether it was one.
    pub(super) fn role_done(&mut self, op: OpId, outcome: &Outcome, out: &mut Effects) -> bool {
        match self.role.get() {
            Role::Acquiring(Acquiring { stage: AcquiringStage::Marking { op: ours }, .. })
                if *ours == op =>
            {
                // Without a mark a restarted daemon cannot adopt, which is worse but not unsafe.
                self.holding.mark_failed = *outcome != Outcome::Confirmed;
                self.begin_taking(out);
            }
            Role::Acquiring(Acquiring { stage: AcquiringStage::Taking { op: ours }, .. })
                if *ours == op =>
            {
                self.taking_done(outcome, out);
            }
            Role::Releasing(Releasing { stage: ReleasingStage::Dropping { op: ours }, .. })
                if *ours == op =>
            {
                self.dropping_done(outcome, out);
            }
            Role::Releasing(Releasing { stage: ReleasingStage::Marking { op: ours }, .. })
                if *ours == op =>
            {
                self.release_marked(outcome, out);
            }
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Acquiring(_)
            | Role::Active { .. }
            | Role::Releasing(_)
            | Role::Stopped { .. } => return false,
        }
        true
    }

    fn taking_done(&mut self, outcome: &Outcome, out: &mut Effects) {
        let Role::Acquiring(acquiring) = self.role.get() else { return };
        let (term, took) = (acquiring.term, self.now.since(acquiring.began));
        match outcome {
            Outcome::Confirmed => {
                self.holding.failures = 0;
                self.holding.rest_until = None;
                out.push(Effect::Report(Event::Acquired { term, took }));
                let role = Role::Active { acquired_at: self.now, doubt_until: None };
                self.change_role(role, Cause::Acquired, out);
            }
            Outcome::Refused(why) | Outcome::Unknown(why) => {
                let why = why.clone();
                self.roll_back(why, out);
            }
        }
    }

    fn roll_back(&mut self, why: Why, out: &mut Effects) {
        let doublings = self.holding.failures.min(8);
        let retry_in = REST_MIN.saturating_mul(1 << doublings).min(REST_MAX);
        self.holding.failures = self.holding.failures.saturating_add(1);
        self.holding.rest_until = Some(self.now + retry_in);
        out.push(Effect::Report(Event::AcquireFailed { why, retry_in }));
        self.release(Cause::AcquireFailed, out);
    }

    /// Gives everything up. Overtakes a takeover that is under way.
    pub(super) fn release(&mut self, cause: Cause, out: &mut Effects) {
        let op = self.ops.next();
        let stage = ReleasingStage::Dropping { op };
        self.change_role(Role::Releasing(Releasing { stage, told: false }), cause, out);
        self.holding.missing.clear();
        self.note_releasing();
        out.push(Effect::Release { op });
    }

    fn dropping_done(&mut self, outcome: &Outcome, out: &mut Effects) {
        match outcome {
            Outcome::Confirmed => self.mark_release(out),
            Outcome::Refused(why) | Outcome::Unknown(why) => {
                let why = why.clone();
                self.rest_release(Some(why), out);
            }
        }
    }

    /// The mark must say that nothing is held before anybody is told: a daemon that is restarted
    /// after the word would otherwise adopt what another one took on it.
    fn mark_release(&mut self, out: &mut Effects) {
        let op = self.ops.next();
        let term = self.memory.held_term();
        let mark = Mark { boot: self.settings.boot, term, holding: false };
        if let Role::Releasing(releasing) = self.role.get_mut() {
            releasing.stage = ReleasingStage::Marking { op };
        }
        out.push(Effect::Mark { op, mark });
    }

    fn release_marked(&mut self, outcome: &Outcome, out: &mut Effects) {
        self.holding.mark_failed = *outcome != Outcome::Confirmed;
        match outcome {
            Outcome::Confirmed => {
                self.released = true;
                self.note_given();
                self.change_role(Role::Standby, Cause::Released, out);
            }
            Outcome::Refused(why) | Outcome::Unknown(why) => {
                let why = why.clone();
                self.rest_release(Some(why), out);
            }
        }
    }

    fn rest_release(&mut self, why: Option<Why>, out: &mut Effects) {
        let until = self.now + RETRY;
        let Role::Releasing(releasing) = self.role.get_mut() else { return };
        releasing.stage = ReleasingStage::Resting { until };
        let first = !releasing.told;
        releasing.told = true;
        if let (true, Some(why)) = (first, why) {
            out.push(Effect::Report(Event::ReleaseFailed { why }));
        }
    }

    /// Leads towards the end: holders release first, the others say goodbye.
    pub(super) fn decide_stop(&mut self, out: &mut Effects) {
        match self.role.get() {
            Role::Acquiring(_) | Role::Active { .. } => self.release(Cause::Stop, out),
            Role::Releasing(_) => {}
            Role::Joining | Role::Standby | Role::Isolated | Role::Fencing | Role::Frozen => {
                // VIPs that cannot be removed make a goodbye false: it is tried until it is done.
                if !self.is_purging() {
                    self.say_goodbye(out);
                }
            }
            Role::Stopped { .. } => self.end_when_heard(),
        }
    }

    fn say_goodbye(&mut self, out: &mut Effects) {
        self.bid = None;
        self.look = None;
        for index in 0..self.peers.len() {
            self.stop_checks_of(index, out);
            if let Some(peer) = self.peers.get_mut(index) {
                peer.drop_ladder(out);
            }
        }
        let until = self.now + self.deadtime_max() * GOODBYE_DEADTIMES;
        let role = Role::Stopped { since: self.next_sent(), until, ended: false };
        self.change_role(role, Cause::Stop, out);
        self.end_when_heard();
    }

    /// Ends once every peer that is heard has acknowledged a heartbeat from after the goodbye, or
    /// when waiting for it has taken long enough.
    fn end_when_heard(&mut self) {
        let now = self.now;
        let Role::Stopped { since, until, ended } = self.role.get() else { return };
        let (since, over) = (*since, now >= *until);
        if *ended {
            return;
        }
        let heard = self.peers.iter().filter(|peer| peer.is_heard()).all(|peer| {
            peer.said
                .as_ref()
                .is_some_and(|said| said.state == PeerState::Stopped || acknowledges(said, since))
        });
        // A VIP that appeared since makes the goodbye false again.
        let is_purging = self.is_purging();
        if let Role::Stopped { ended, .. } = self.role.get_mut() {
            *ended = !is_purging && (over || heard);
        }
    }

    /// Ends the process, behind everything else that this step asks for: the last word and the
    /// last write go out, whatever was acknowledged.
    pub(super) fn exit_if_ended(&mut self, out: &mut Effects) {
        if let Role::Stopped { ended: true, .. } = self.role.get()
            && !self.exited
        {
            self.exited = true;
            out.push(Effect::Exit);
        }
    }

    /// What time brings to the role.
    pub(super) fn tick_role(&mut self, out: &mut Effects) {
        let now = self.now;
        match self.role.get() {
            Role::Releasing(Releasing { stage: ReleasingStage::Resting { until }, .. })
                if now >= *until =>
            {
                let op = self.ops.next();
                if let Role::Releasing(releasing) = self.role.get_mut() {
                    releasing.stage = ReleasingStage::Dropping { op };
                }
                out.push(Effect::Release { op });
            }
            Role::Active { doubt_until: Some(until), .. } if now >= *until => {
                self.end_doubt(out);
            }
            Role::Active { .. } => {
                self.note_rival_gone(out);
                self.restore_missing(out);
            }
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Acquiring(_)
            | Role::Releasing(_)
            | Role::Stopped { .. } => {}
        }
    }

    /// When the role wants a tick.
    pub(super) fn role_deadline(&self) -> Option<Instant> {
        let role = match self.role.get() {
            Role::Releasing(Releasing { stage: ReleasingStage::Resting { until }, .. }) => {
                Some(*until)
            }
            Role::Active { doubt_until: Some(until), .. } => Some(*until),
            Role::Active { doubt_until: None, .. } => {
                let idle = self.holding.missing.iter().filter(|missing| missing.op.is_none());
                idle.map(|missing| missing.retry_at).min()
            }
            // Later than that, it is the end of a purge that is waited for.
            Role::Stopped { until, ended: false, .. } => Some(*until).filter(|at| *at > self.now),
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Acquiring(_)
            | Role::Releasing(_)
            | Role::Stopped { .. } => None,
        };
        let rest = self.holding.rest_until.filter(|until| self.is_passive() && *until > self.now);
        Instant::soonest(role, rest)
    }
}

/// Whether the peer has heard something that we sent at or after `since`, on any link.
fn acknowledges(said: &crate::types::Heartbeat, since: Instant) -> bool {
    said.echo_sent >= since.as_nanos()
}
