//! What happened, as facts: the same for the log, the event stream and the golden transcripts.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::handover::Stay;
use super::input::Why;
use crate::types::{
    DeviceId, FenceFault, Incarnation, LinkId, Mac, NicId, NodeId, PeerState, Power, Term, VipId,
};

/// One fact worth telling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// This node's role changed.
    Role {
        /// Before.
        from: PeerState,
        /// After.
        to: PeerState,
        /// Why.
        cause: Cause,
        /// The term it has or follows.
        term: Term,
    },
    /// A peer's role, as it tells it, changed.
    PeerRole {
        /// The peer.
        node: NodeId,
        /// What it says now.
        state: PeerState,
        /// The term it says.
        term: Term,
    },
    /// A peer was heard for the first time, or again.
    PeerHeard {
        /// The peer.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
        /// Whether it is the same life, another daemon in the same boot, or another boot.
        life: Life,
    },
    /// A peer's heartbeats are late on all links.
    PeerLate {
        /// The peer.
        node: NodeId,
    },
    /// What a peer's kernel says of its host.
    Kernel {
        /// The peer.
        node: NodeId,
        /// What.
        verdict: Kernel,
    },
    /// A peer was not heard on any link for its deadtime, or its host is dead.
    PeerLost {
        /// The peer.
        node: NodeId,
        /// How long it has been silent.
        silent: Duration,
        /// Whether it was heard at all since this daemon's start.
        was_heard: bool,
    },
    /// A link to a peer changed its state.
    Link {
        /// The peer at its other end.
        node: NodeId,
        /// The link.
        link: LinkId,
        /// After.
        state: LinkState,
    },
    /// This node's own loop was late.
    Stalled {
        /// By how much.
        late_by: Duration,
    },
    /// A service NIC of this node became good or bad.
    Nic {
        /// The NIC.
        nic: NicId,
        /// Whether it has carrier and its ping targets answer.
        good: bool,
    },
    /// This node granted a peer to take over.
    Granted {
        /// To whom.
        node: NodeId,
        /// Up to which term this node takes nothing.
        term: Term,
    },
    /// A proof that a peer holds nothing was had.
    Proven {
        /// The peer.
        node: NodeId,
        /// How.
        by: ProofKind,
    },
    /// A proof was void before it was used.
    ProofVoid {
        /// The peer.
        node: NodeId,
        /// How it had been had.
        by: ProofKind,
    },
    /// A fence attempt at one level begins.
    FenceLevel {
        /// Whose power is cut.
        node: NodeId,
        /// Which level, counted from 1.
        level: u8,
    },
    /// A fence device answered or failed.
    FenceDevice {
        /// The device.
        device: DeviceId,
        /// Its reading, or why there is none.
        reading: Result<Power, FenceFault>,
    },
    /// A level of the ladder did not prove the power off.
    FenceLevelFailed {
        /// Whose power was to be cut.
        node: NodeId,
        /// Which level, counted from 1.
        level: u8,
        /// The device that did not report off.
        device: DeviceId,
        /// Why.
        cause: FrozenCause,
    },
    /// No level proved the power off: frozen until a proof appears.
    Frozen {
        /// The lost peer.
        node: NodeId,
        /// The cause of the last level, or that there is none.
        cause: FrozenCause,
        /// When the ladder is climbed again.
        retry_in: Duration,
    },
    /// A node whose power was cut is powered on again, now that its service runs here.
    PowerOn {
        /// The node.
        node: NodeId,
        /// By the devices of which level, counted from 1.
        level: u8,
    },
    /// It has power again: all devices of that level read on.
    PoweredOn {
        /// The node.
        node: NodeId,
    },
    /// It could not be powered on.
    PowerOnFailed {
        /// The node.
        node: NodeId,
        /// The device that did not report on.
        device: DeviceId,
        /// What it said last.
        reading: Result<Power, FenceFault>,
        /// When it is tried again; nothing if it is given up.
        retry_in: Option<Duration>,
    },
    /// A VIP of ours is claimed by another MAC.
    Collision {
        /// The VIP.
        vip: VipId,
        /// Whose MAC.
        mac: Mac,
        /// The peer, if the MAC is known to be its.
        node: Option<NodeId>,
    },
    /// A peer holds the resources while this node does.
    TwoActives {
        /// The peer.
        node: NodeId,
        /// Its term.
        term: Term,
        /// Who gives way.
        verdict: Verdict,
    },
    /// All resources are held.
    Acquired {
        /// For which term.
        term: Term,
        /// From the beginning of the takeover.
        took: Duration,
    },
    /// The resources could not be acquired.
    AcquireFailed {
        /// Why.
        why: Why,
        /// When the next attempt may begin.
        retry_in: Duration,
    },
    /// The resources could not be released; they may still be held.
    ReleaseFailed {
        /// Why.
        why: Why,
    },
    /// A VIP vanished from the kernel without our asking.
    VipGone {
        /// The VIP.
        vip: VipId,
    },
    /// A VIP is in the kernel of this node, which does not hold the resources; it is taken off.
    VipStray {
        /// The VIP.
        vip: VipId,
    },
    /// A VIP that had vanished was put back.
    VipRestored {
        /// The VIP.
        vip: VipId,
    },
    /// It could not be put back.
    VipNotRestored {
        /// The VIP.
        vip: VipId,
        /// Why.
        why: Why,
    },
    /// This node goes on serving though its service path is bad.
    Stays {
        /// Why.
        why: Stay,
    },
    /// Something is worse than it should be, or is well again.
    Degraded {
        /// What.
        what: Degradation,
        /// What has become of it.
        change: Change,
    },
    /// An operator confirmed that a node holds nothing.
    ConfirmedOff {
        /// The node.
        node: NodeId,
        /// Whether evidence to the contrary was overruled.
        force: bool,
    },
    /// A heartbeat was refused; told at most once a second for each reason.
    Refused {
        /// Who it says it is from.
        node: NodeId,
        /// Where it arrived.
        link: LinkId,
        /// Why.
        reason: Refusal,
        /// How many of that reason since the start.
        count: u64,
    },
}

/// What the kernel of a peer tells by answering or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kernel {
    /// It answers on no link while its daemon is heard: its silence will say nothing.
    Mute,
    /// It answers while its daemon is silent: the host lives. It has its whole deadtime.
    Answers,
    /// It does not answer any more: the host is dead, or nothing passes to it. It is lost.
    Silent {
        /// How many questions in a row it has left unanswered on each link that could tell.
        questions: u32,
    },
}

/// Who gives way where two hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This node does.
    WeYield,
    /// The peer has to.
    TheyMustYield,
    /// The peer does already.
    TheyYield,
}

/// Why the role changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// The daemon was started.
    Started,
    /// An earlier daemon of this boot held the resources: nobody else can have taken them.
    Adopted,
    /// A peer that holds the resources is heard.
    ActiveHeard(NodeId),
    /// All peers are heard, none is active, and another one goes first.
    OtherFirst(NodeId),
    /// A lost peer's VIPs answer.
    VipsAnswer(NodeId),
    /// A lost peer's VIPs are silent.
    VipsSilent(NodeId),
    /// A lost peer's VIPs answered for longer than `isolated-grace`.
    GraceOver(NodeId),
    /// A lost peer is heard again.
    PeerHeard(NodeId),
    /// No fence level gave a proof.
    FenceFailed(NodeId),
    /// Every other node is proven to hold nothing; the kind of the last proof.
    Proof(ProofKind),
    /// All resources are held.
    Acquired,
    /// The resources could not be acquired.
    AcquireFailed,
    /// Another node holds a higher term, or claims a VIP.
    Collision(NodeId),
    /// A service NIC has been bad here for `path-hold`, and is good at that peer.
    PathWorse(NodeId),
    /// All resources are given up.
    Released,
    /// This node could not become active now: its service path is not good, or a takeover that
    /// failed has just been rolled back.
    NotEligible,
    /// The daemon is to end.
    Stop,
}

/// How a proof was had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProofKind {
    /// The peer granted it.
    Granted,
    /// The peer released, or said goodbye.
    Released,
    /// The peer's power was read off.
    Fenced,
    /// An operator said so.
    Confirmed,
}

/// Which life of a peer is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// The first one that is heard.
    First,
    /// The same one as before.
    Same,
    /// Another daemon in the same boot.
    Restarted,
    /// Another boot.
    Rebooted,
}

/// The state of one link to one peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum LinkState {
    /// Nothing heard since the start, and it is too early to judge.
    Quiet,
    /// Heartbeats arrive both ways.
    Up,
    /// The last heartbeat is older than the warntime.
    Late,
    /// The peer's heartbeats arrive, ours do not reach it.
    OneWay,
    /// The last heartbeat is older than the deadtime, or none ever came.
    Down,
}

/// Why a fence level, and with the last one the pair, has no proof. Each has another remedy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FrozenCause {
    /// No fence device is configured for the node.
    NoDevice,
    /// The device does not answer, and the host is silent: probably both lost power together.
    Unreachable,
    /// The device answers, but refuses user, password or privilege, or the command itself.
    Refuses(FenceFault),
    /// The device accepted the command, and the power stays on.
    StaysOn,
    /// The device answers, but what it says is not on or off.
    Unclear,
    /// The device read off while the host was heard: its off proves nothing.
    Contradicted,
    /// The device or its agent failed in another way.
    Failed(FenceFault),
}

/// What can be worse than it should be while the service goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Degradation {
    /// A peer is lost or stopped: there is nobody to take over.
    PeerMissing(NodeId),
    /// A peer is heard, but not on this link, or does not hear us on it.
    LinkDown(NodeId, LinkId),
    /// A peer is heard, but could not take over now.
    PeerNotReady(NodeId),
    /// A fence device does not give a reading: a failover that needs it would freeze.
    FenceDevice(DeviceId),
    /// A fence device read off while its host was heard: its off is no proof, so that a failover
    /// that needs it would freeze.
    FenceContradicted(DeviceId),
    /// The record cannot be written to disk.
    Record,
    /// The boot-local mark cannot be written: a restarted daemon could not adopt.
    Mark,
    /// The peer's configuration differs from ours.
    ConfigDiffers(NodeId),
    /// This node's own service path is not good.
    PathBad,
    /// Probes do not pass between this node and a peer over a service NIC that both call good.
    Parted(NodeId, NicId),
}

/// What has become of a degradation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is so from now on.
    Begun,
    /// It is well again.
    Mended,
    /// It is no longer this node's to judge: its role changed, or the peer is not heard any more.
    Unjudged,
}

/// Why an authentic heartbeat was refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// It is not from a configured peer.
    Stranger,
    /// It is not addressed to this node.
    NotForUs,
    /// It was sent on another link.
    OtherLink,
    /// It was heard before.
    Replayed,
    /// It is older than the replay window.
    Stale,
    /// It is of another incarnation, and does not answer to ours.
    Unproven,
    /// It tells a term that nobody can have reached.
    Term,
}

impl Refusal {
    /// All of them, for tables of counters.
    pub const ALL: [Self; 7] = [
        Self::Stranger,
        Self::NotForUs,
        Self::OtherLink,
        Self::Replayed,
        Self::Stale,
        Self::Unproven,
        Self::Term,
    ];

    /// The reason as the status names it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::NotForUs => "not-for-us",
            Self::OtherLink => "other-link",
            Self::Replayed => "replayed",
            Self::Stale => "stale",
            Self::Unproven => "unproven-incarnation",
            Self::Term => "impossible-term",
        }
    }
}
