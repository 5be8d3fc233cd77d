//! What happens on the service side, as it is told to the engine.

use crate::engine::{Input, Outcome};
use crate::types::{Instant, Mac, NicId, NodeId, OpId, VipId};

/// One thing that happened on the service side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Occurrence {
    /// An operation ended.
    Done {
        /// Which one.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A VIP of ours vanished from the kernel without our asking.
    VipGone(VipId),
    /// A VIP is in the kernel, on whatever link, that we have not acquired.
    VipStray(VipId),
    /// A service NIC gained or lost its carrier; told for each NIC at the start.
    Carrier {
        /// The NIC.
        nic: NicId,
        /// Whether it has carrier.
        up: bool,
    },
    /// A service NIC has another MAC than before, or appeared with it.
    Mac {
        /// The NIC.
        nic: NicId,
        /// The MAC.
        mac: Mac,
    },
    /// The ping targets behind a NIC began or ceased to answer.
    Reach {
        /// The NIC.
        nic: NicId,
        /// Whether one answers.
        up: bool,
    },
    /// Probes between this node and a peer over a NIC began or ceased to pass, both ways.
    Across {
        /// The NIC.
        nic: NicId,
        /// The peer.
        node: NodeId,
        /// Whether they pass.
        passes: bool,
    },
    /// Another host's MAC claims a VIP.
    Claim {
        /// The VIP.
        vip: VipId,
        /// The MAC.
        mac: Mac,
    },
}

impl Occurrence {
    /// The engine's input for it.
    pub fn into_input(self, now: Instant) -> Input {
        match self {
            Self::Done { op, outcome } => Input::Done { op, outcome },
            Self::VipGone(vip) => Input::VipGone { vip },
            Self::VipStray(vip) => Input::VipStray { vip },
            Self::Carrier { nic, up } => Input::Carrier { nic, up },
            Self::Mac { nic, mac } => Input::Mac { nic, mac },
            Self::Reach { nic, up } => Input::Reach { nic, up },
            Self::Across { nic, node, passes } => Input::Across { nic, node, passes },
            Self::Claim { vip, mac } => Input::Claim { vip, mac, at: now },
        }
    }
}
