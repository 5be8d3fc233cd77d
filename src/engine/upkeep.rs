//! Keeping what is held: repairs, announcements that must be made again, and self-doubt.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Event, Life};
use super::holder::RETRY;
use super::input::Outcome;
use super::node::Node;
use super::peer::Peer;
use super::role::Role;
use crate::types::{Instant, NicId, OpId, VipId};

/// How many repairs one step begins; the others follow in the next ones.
const RESTORES_PER_STEP_MAX: usize = 64;

/// A VIP that vanished, with the repair that runs or the time of the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Missing {
    pub(super) vip: VipId,
    pub(super) op: Option<OpId>,
    pub(super) retry_at: Instant,
    told: bool,
}

impl Node {
    /// After a long gap of our own, a holder questions itself before it touches anything: it
    /// listens for a deadtime, and asks the service networks who has its VIPs.
    pub(super) fn doubt_holding(&mut self, out: &mut Effects) {
        let until = self.now + self.deadtime_max();
        if let Role::Active { doubt_until, .. } = self.role.get_mut() {
            *doubt_until = Some(until);
            out.push(Effect::Probe);
        }
    }

    pub(super) fn end_doubt(&mut self, out: &mut Effects) {
        if let Role::Active { doubt_until, .. } = self.role.get_mut() {
            *doubt_until = None;
            out.push(Effect::Announce);
            self.restore_missing(out);
        }
    }

    /// What a heartbeat of a peer means to a holder: another holder, or a cut that has healed.
    pub(super) fn note_holder_heard(&mut self, life: Option<Life>, out: &mut Effects) {
        let holding = match self.role.get() {
            Role::Acquiring(_) | Role::Active { .. } => true,
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Releasing(_)
            | Role::Stopped { .. } => false,
        };
        if !holding {
            return;
        }
        if let Some(rival) = self.heard_rival() {
            self.meet_rival(rival, out);
            return;
        }
        let rival_gone = core::mem::take(&mut self.holding.claims.rival);
        let Role::Active { doubt_until, .. } = self.role.get() else { return };
        match doubt_until {
            Some(until) if self.all_said_since_doubt(*until) => self.end_doubt(out),
            Some(_) => {}
            // A cut has healed, or another holder has given way: no client may stay with a stale
            // entry.
            None if life.is_some() || rival_gone => out.push(Effect::Announce),
            None => {}
        }
    }

    /// Another holder has fallen silent without giving way: its announcements are not to be the
    /// last ones either.
    pub(super) fn note_rival_gone(&mut self, out: &mut Effects) {
        let doubts = !matches!(self.role.get(), Role::Active { doubt_until: None, .. });
        if doubts || !self.holding.claims.rival || self.heard_rival().is_some() {
            return;
        }
        self.holding.claims.rival = false;
        out.push(Effect::Announce);
    }

    /// Whether every peer has answered to what was said after the doubt began that ends at `until`.
    /// What had waited in the sockets is older, and so is what was still under way: since it was
    /// said, another one may have taken over.
    fn all_said_since_doubt(&self, until: Instant) -> bool {
        let doubt = self.deadtime_max();
        let began = |at: Instant| at + doubt >= until;
        let said = |peer: &Peer| peer.said.as_ref().map(|said| Instant::from_nanos(said.echo_sent));
        self.peers.iter().all(|peer| said(peer).is_some_and(began))
    }

    /// A service NIC of this node became good or bad.
    pub(super) fn note_nic(&mut self, nic: NicId, good: bool, out: &mut Effects) {
        out.push(Effect::Report(Event::Nic { nic, good }));
        let active = matches!(self.role.get(), Role::Active { doubt_until: None, .. });
        if good {
            // What was not heard while it was bad is nobody's silence.
            self.look = None;
        }
        if good && active {
            out.push(Effect::Announce);
        }
    }

    /// A VIP vanished: it is put back at once, unless we doubt ourselves.
    pub(super) fn note_vip_gone(&mut self, vip: VipId, out: &mut Effects) {
        let Role::Active { .. } = self.role.get() else { return };
        if self.holding.missing.iter().any(|missing| missing.vip == vip && missing.op.is_none()) {
            return;
        }
        out.push(Effect::Report(Event::VipGone { vip }));
        self.holding.missing.retain(|missing| missing.vip != vip);
        let missing = Missing { vip, op: None, retry_at: self.now, told: false };
        self.holding.missing.push(missing);
        self.restore_missing(out);
    }

    pub(super) fn restore_missing(&mut self, out: &mut Effects) {
        let now = self.now;
        let Role::Active { doubt_until: None, .. } = self.role.get() else { return };
        let mut begun = 0;
        for missing in &mut self.holding.missing {
            if missing.op.is_none() && now >= missing.retry_at && begun < RESTORES_PER_STEP_MAX {
                begun += 1;
                let op = self.ops.next();
                missing.op = Some(op);
                out.push(Effect::Restore { op, vip: missing.vip });
            }
        }
    }

    /// Takes in the end of a repair; whether it was one.
    pub(super) fn restore_done(&mut self, op: OpId, outcome: &Outcome, out: &mut Effects) -> bool {
        let now = self.now;
        let list = &mut self.holding.missing;
        let Some(index) = list.iter().position(|missing| missing.op == Some(op)) else {
            return false;
        };
        match outcome {
            Outcome::Confirmed => {
                let missing = list.remove(index);
                out.push(Effect::Report(Event::VipRestored { vip: missing.vip }));
            }
            Outcome::Refused(why) | Outcome::Unknown(why) => {
                let Some(missing) = list.get_mut(index) else { return true };
                missing.op = None;
                missing.retry_at = now + RETRY;
                if !missing.told {
                    missing.told = true;
                    let (vip, why) = (missing.vip, why.clone());
                    out.push(Effect::Report(Event::VipNotRestored { vip, why }));
                }
            }
        }
        true
    }
}
