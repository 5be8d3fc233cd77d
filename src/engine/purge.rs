//! Taking VIPs off a node that does not hold the resources: what an earlier life left in its
//! kernel, and what somebody else put there.
//!
//! ```text
//!   done ──► running ──► done
//!              ▲  │ refused, unknown
//!              │  ▼
//!             resting
//! ```
//!
//! Whatever the role is: until the release is confirmed, this node grants nothing, asks for
//! nothing, is not eligible, and says so, since its kernel answers for what it must not hold.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::Event;
use super::holder::RETRY;
use super::input::Outcome;
use super::node::Node;
use super::role::{Releasing, ReleasingStage, Role};
use crate::types::{Instant, OpId, VipId};

/// Whether VIPs are being removed that this node must not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Purge {
    Running {
        op: OpId,
    },
    /// To be begun then: the last one failed, or nothing could be begun yet.
    Resting {
        until: Instant,
    },
    Done,
}

impl Node {
    pub(super) fn purge(&mut self, out: &mut Effects) {
        let op = self.ops.next();
        self.purge = Purge::Running { op };
        out.push(Effect::Release { op });
    }

    /// Whether VIPs may be in the kernel that this node must not have.
    pub(super) fn is_purging(&self) -> bool {
        match self.purge {
            Purge::Running { .. } | Purge::Resting { .. } => true,
            Purge::Done => false,
        }
    }

    /// A VIP is in the kernel that this node has not acquired.
    pub(super) fn note_vip_stray(&mut self, vip: VipId, out: &mut Effects) {
        match self.role.get() {
            // It is ours by now.
            Role::Acquiring(_) | Role::Active { .. } => return,
            // The list that ends the release is yet to come, and will show it.
            Role::Releasing(Releasing {
                stage: ReleasingStage::Dropping { .. } | ReleasingStage::Resting { .. },
                ..
            }) => return,
            Role::Releasing(Releasing { stage: ReleasingStage::Marking { .. }, .. })
            | Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Stopped { .. } => {}
        }
        out.push(Effect::Report(Event::VipStray { vip }));
        if self.is_purging() {
            return;
        }
        if self.may_purge() {
            self.purge(out);
        } else {
            self.purge = Purge::Resting { until: self.now };
        }
    }

    /// Takes in the end of a purge; whether it was one.
    pub(super) fn purge_done(&mut self, op: OpId, outcome: &Outcome, out: &mut Effects) -> bool {
        if self.purge != (Purge::Running { op }) {
            return false;
        }
        self.purge = match outcome {
            Outcome::Confirmed => Purge::Done,
            Outcome::Refused(why) | Outcome::Unknown(why) => {
                out.push(Effect::Report(Event::ReleaseFailed { why: why.clone() }));
                Purge::Resting { until: self.now + RETRY }
            }
        };
        true
    }

    pub(super) fn tick_purge(&mut self, out: &mut Effects) {
        if self.purge_deadline().is_some_and(|until| self.now >= until) {
            self.purge(out);
        }
    }

    /// When the purge wants a tick.
    pub(super) fn purge_deadline(&self) -> Option<Instant> {
        match self.purge {
            Purge::Resting { until } if self.may_purge() => Some(until),
            Purge::Resting { .. } | Purge::Running { .. } | Purge::Done => None,
        }
    }

    /// A holder's own operations are not to be overtaken by a purge; they end in a list too.
    fn may_purge(&self) -> bool {
        match self.role.get() {
            Role::Acquiring(_) | Role::Active { .. } | Role::Releasing(_) => false,
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Stopped { .. } => true,
        }
    }
}
