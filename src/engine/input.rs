//! All that can happen to the engine.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::Remembered;
use crate::types::{
    DeviceId, FenceFault, Heartbeat, Instant, LinkId, Mac, MachineId, NicId, NodeId, OpId, Power,
    VipId,
};

/// One thing that happened.
#[allow(clippy::large_enum_variant, reason = "most are heartbeats, and none shall allocate")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The first input of every engine: what an earlier life left behind.
    Start(Remembered),
    /// Nothing but time: a deadline has come. A spurious one changes nothing.
    Tick,
    /// The loop itself woke up this much later than it had to: what it did not hear meanwhile is
    /// not the peers' silence.
    Stalled {
        /// How late the loop was.
        late_by: Duration,
    },
    /// An authentic heartbeat, not yet judged for freshness.
    Heard {
        /// The link on which it arrived.
        link: LinkId,
        /// When the kernel received it.
        at: Instant,
        /// What it says.
        heartbeat: Heartbeat,
    },
    /// A service NIC of this node gained or lost its carrier.
    Carrier {
        /// The NIC.
        nic: NicId,
        /// Whether it has carrier.
        up: bool,
    },
    /// The ping targets behind a service NIC of this node began or ceased to answer.
    Reach {
        /// The NIC.
        nic: NicId,
        /// Whether a target answers. A NIC without targets is never reported.
        up: bool,
    },
    /// The probes between this node and a peer over a service NIC began or ceased to pass, both
    /// ways. Nothing is reported where the nodes do not probe each other.
    Across {
        /// The NIC, the same of both.
        nic: NicId,
        /// The peer.
        node: NodeId,
        /// Whether they pass.
        passes: bool,
    },
    /// The one answer to a [`super::Effect::AskKernels`].
    KernelsAsked {
        /// The links on which the questions left this node through a NIC with carrier, one bit
        /// each.
        links: u16,
    },
    /// A peer's kernel has answered such a question.
    KernelAnswered {
        /// The link whose address it answered for.
        link: LinkId,
        /// The peer.
        node: NodeId,
        /// When the answer was received, at the latest.
        at: Instant,
    },
    /// The one answer to a [`super::Effect::Probe`].
    Probed {
        /// Whether questions left on every service NIC that has VIPs and is up, and on one at
        /// least.
        asked: bool,
    },
    /// A service NIC of this node has this MAC from now on. One that is gone keeps its last one.
    Mac {
        /// The NIC.
        nic: NicId,
        /// Its MAC.
        mac: Mac,
    },
    /// Somebody else's MAC answered for, or announced, one of the VIPs.
    Claim {
        /// The VIP.
        vip: VipId,
        /// Whose MAC; never one of this node's.
        mac: Mac,
        /// When.
        at: Instant,
    },
    /// One of the VIPs this node holds vanished from the kernel without our asking.
    VipGone {
        /// The VIP.
        vip: VipId,
    },
    /// One of the VIPs is in this node's kernel, on whatever link, though this node has not
    /// acquired it: somebody else put it there.
    VipStray {
        /// The VIP.
        vip: VipId,
    },
    /// The one answer to an effect with an [`OpId`].
    Done {
        /// The effect's.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
    },
    /// The one answer to a [`super::Effect::Power`].
    Reading {
        /// The effect's.
        op: OpId,
        /// What the device says of the power, or why it says nothing. A device that was told to
        /// switch and acknowledged it reports `Unknown` unless it has read the power too.
        reading: Result<Power, FenceFault>,
    },
    /// A fence device has told whose it is. Told before the answer in which it was learnt.
    Identity {
        /// The device.
        device: DeviceId,
        /// All that it has told in this daemon's life.
        machine: MachineId,
    },
    /// An operator's word that a node holds nothing.
    ConfirmOff {
        /// Which request, for the answer.
        request: RequestId,
        /// The node.
        node: NodeId,
        /// Whether evidence to the contrary is overruled, where that can be.
        force: bool,
    },
    /// Give up whatever is held, say goodbye, end.
    Stop,
}

/// How an operation ended. `Unknown` unlocks nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It is done, and was seen to be.
    Confirmed,
    /// It is certain not to be done.
    Refused(Why),
    /// It may or may not be done.
    Unknown(Why),
}

/// A reason for people: one line, bounded by whoever makes it to [`Why::LEN_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Why(String);

impl From<String> for Why {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl Why {
    /// The longest reason; what exceeds it is cut off.
    pub const LEN_MAX: usize = 200;

    /// The reason `text`, cut to its bound, control characters replaced.
    pub fn new(text: &str) -> Self {
        let mut line = String::new();
        for c in text.chars() {
            if line.len() + c.len_utf8() > Self::LEN_MAX {
                break;
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        Self(line)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Ties an operator's request to its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What a fence device is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Cut the power. The answer proves nothing: it is read back with [`Order::Read`].
    Off,
    /// Restore it. The answer says no more than that the device took it.
    On,
    /// Tell the power, as part of switching it.
    Read,
    /// Tell the power, only to know that the device works. Any other order overtakes it.
    Check,
}
