//! The read-only view of a node that the status shows.

use core::time::Duration;

use super::event::{Cause, Degradation, FrozenCause, LinkState, Refusal};
use super::handover::Stay;
use super::link::Link;
use super::node::Node;
use super::peer::{Peer, Presence};
use crate::types::heartbeat::NICS_MAX;
use crate::types::{
    BootId, DeviceId, FenceFault, Incarnation, Instant, LinkId, Mac, NicId, NodeId, PeerState,
    Power, Term,
};

/// A node as it sees itself and its peers at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// This node.
    pub node: NodeId,
    /// Its role.
    pub state: PeerState,
    /// Since when it has that role.
    pub since: Instant,
    /// Why it has it.
    pub cause: Cause,
    /// The term it holds or follows.
    pub term: Term,
    /// The highest term it ever held itself.
    pub held_term: Term,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its boot.
    pub boot: BootId,
    /// Whether it could become active now.
    pub eligible: bool,
    /// Why it waits, if it holds nothing and nobody is heard to hold anything.
    pub waiting: Option<Waiting>,
    /// Why it stays active though its service path is bad, if it is so.
    pub stay: Option<Stay>,
    /// The other members.
    pub peers: Vec<PeerView>,
    /// This node's service NICs.
    pub nics: Vec<NicView>,
    /// The peers' fence devices.
    pub devices: Vec<DeviceView>,
    /// What is degraded, and since when.
    pub degraded: Vec<(Degradation, Instant)>,
    /// How many authentic heartbeats were refused, by reason.
    pub refused: Vec<(Refusal, u64)>,
    /// How many answers came too late for anybody to wait for them.
    pub late_answers: u64,
}

/// What keeps a passive node from becoming active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// It listens for peers until this moment.
    Listening(Instant),
    /// It removes VIPs from its kernel that it does not hold.
    Purging,
    /// Its own service path is not good.
    PathBad,
    /// A service NIC of it has only just recovered: until this moment silence proves nothing.
    Settling(Instant),
    /// The nodes did not hear each other over a service NIC before the peer fell silent: until this
    /// moment the silence of its VIPs is no reason to fence it.
    Parted(Instant),
    /// Its questions who has the VIPs do not leave its service NICs.
    Unasked,
    /// A takeover failed; the next one may begin at this moment.
    Resting(Instant),
    /// It gave the service away because of its path, and lets others go first.
    Yielding,
    /// This heard peer goes first.
    OtherFirst(NodeId),
    /// It cannot give up what it holds, and tries on.
    CannotRelease,
}

/// One peer as seen from this node.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// The peer.
    pub node: NodeId,
    /// Whether it is heard on any link.
    pub heard: bool,
    /// Since when it is or is not.
    pub presence_since: Instant,
    /// The role it last told, and its term.
    pub told: Option<(PeerState, Term)>,
    /// Since when it has told that role.
    pub told_since: Instant,
    /// Whether it last said that it could become active.
    pub eligible: bool,
    /// The highest term that it last said it held itself.
    pub held_term: Term,
    /// Its incarnation, if it was ever heard.
    pub incarnation: Option<Incarnation>,
    /// Its boot, if it was ever heard.
    pub boot: Option<BootId>,
    /// When it was last heard on any link.
    pub heard_at: Option<Instant>,
    /// The links to it.
    pub links: Vec<LinkView>,
    /// The MACs of its service NICs, as it told them.
    pub macs: [Mac; NICS_MAX],
    /// When one of its MACs last answered for a VIP while we looked.
    pub answered_at: Option<Instant>,
    /// Until when it is left serving unheard, if this node is isolated from it.
    pub grace_until: Option<Instant>,
    /// Why no fence level gave a proof, if none did.
    pub frozen_cause: Option<FrozenCause>,
    /// When its ladder is climbed on, if it is.
    pub ladder_next: Option<Instant>,
    /// What is done to get a proof of it: in the first round the level that is being tried, while
    /// frozen all of them.
    pub levels: Vec<LevelView>,
}

/// One level of a fence ladder that is being climbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LevelView {
    /// Its number, counted from 1.
    pub level: u8,
    /// Why it gave no proof when it was last tried.
    pub cause: Option<FrozenCause>,
    /// What is being done.
    pub doing: Doing,
}

/// What is being done at a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Nothing, until this moment.
    Resting {
        /// When it is looked at again.
        until: Instant,
    },
    /// Its devices are asked for a reading before they are told anything.
    Looking {
        /// When that is given up.
        until: Instant,
    },
    /// They are told to cut the power.
    Cutting {
        /// When that is given up.
        until: Instant,
    },
    /// They were told, and are read.
    Reading {
        /// When that is given up.
        until: Instant,
    },
}

/// One link to one peer.
#[derive(Clone, Copy, Debug)]
pub struct LinkView {
    /// The link.
    pub id: LinkId,
    /// Its state.
    pub state: LinkState,
    /// When the peer was last heard on it.
    pub heard_at: Option<Instant>,
    /// The last round trip.
    pub rtt: Option<Duration>,
    /// Since when it has that state.
    pub since: Instant,
    /// How many heartbeats were heard on it.
    pub heard_count: u64,
    /// How often it became late.
    pub late_count: u64,
}

/// One service NIC of this node.
#[derive(Clone, Copy, Debug)]
pub struct NicView {
    /// The NIC.
    pub id: NicId,
    /// Whether it has carrier.
    pub carrier: bool,
    /// Whether its ping targets answer; true if it has none.
    pub reach: bool,
    /// Both together.
    pub good: bool,
    /// Whether probes to and from every peer pass over it; nothing if there are none.
    pub across: Option<bool>,
}

/// One fence device of a peer.
#[derive(Clone, Copy, Debug)]
pub struct DeviceView {
    /// The device.
    pub id: DeviceId,
    /// Whose power it cuts.
    pub node: NodeId,
    /// Its place on the ladder, counted from 1.
    pub level: u8,
    /// What it last said, and when.
    pub last: Option<(Result<Power, FenceFault>, Instant)>,
    /// The last power it read, and when.
    pub power: Option<(Power, Instant)>,
    /// Since when it gives no reading.
    pub failing_since: Option<Instant>,
    /// Whether its off is no proof, because its host was heard while it read off.
    pub distrusted: bool,
}

impl Node {
    /// The view of this node at the time of its last step.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            node: self.settings.local,
            state: self.state(),
            since: self.role.since(),
            cause: self.role.cause(),
            term: self.told_term(self.state().may_hold()),
            held_term: self.memory.held_term(),
            incarnation: self.settings.incarnation,
            boot: self.settings.boot,
            eligible: self.is_eligible(),
            waiting: self.waiting(),
            stay: self.stay(),
            peers: self.peers.iter().map(view_peer).collect(),
            nics: (0..self.settings.nics)
                .map(NicId)
                .map(|id| NicView {
                    id,
                    carrier: self.path.has_carrier(id),
                    reach: self.path.has_reach(id),
                    good: self.path.is_nic_good(id),
                    across: self.across(id),
                })
                .collect(),
            devices: self
                .devices
                .iter()
                .map(|device| DeviceView {
                    id: device.id,
                    node: device.node,
                    level: device.level,
                    last: device.last,
                    power: device.power,
                    failing_since: device.failing_since,
                    distrusted: self.devices.is_distrusted(device.id),
                })
                .collect(),
            degraded: self.health.degraded().collect(),
            refused: Refusal::ALL.iter().map(|r| (*r, self.refused(*r))).collect(),
            late_answers: self.late_answers(),
        }
    }
}

impl Node {
    fn across(&self, nic: NicId) -> Option<bool> {
        let told = self.peers.iter().filter_map(|peer| peer.crossing.passes(nic));
        told.reduce(|one, other| one && other)
    }
}

fn view_peer(peer: &Peer) -> PeerView {
    let ladder = peer.ladder.as_ref();
    PeerView {
        node: peer.node(),
        heard: match peer.presence {
            Presence::Heard | Presence::Late => true,
            Presence::Unheard | Presence::Lost => false,
        },
        presence_since: peer.presence_since,
        told: peer.last_role,
        told_since: peer.role_since,
        eligible: peer.said.as_ref().is_some_and(|said| said.flags.eligible),
        held_term: peer.said.as_ref().map_or(Term::NONE, |said| said.held_term),
        incarnation: peer.identity.map(|identity| identity.incarnation),
        boot: peer.identity.map(|identity| identity.boot),
        heard_at: peer.heard_at(),
        links: peer.links.iter().map(view_link).collect(),
        macs: peer.macs,
        answered_at: peer.answered_at,
        grace_until: peer.grace_until,
        frozen_cause: ladder.and_then(super::fence::Ladder::frozen_cause),
        ladder_next: ladder.and_then(super::fence::Ladder::next_deadline),
        levels: ladder.map(super::fence::Ladder::views).unwrap_or_default(),
    }
}

fn view_link(link: &Link) -> LinkView {
    LinkView {
        id: link.id,
        state: link.state(),
        heard_at: link.heard_at(),
        rtt: link.rtt(),
        since: link.since(),
        heard_count: link.heard_count,
        late_count: link.late_count,
    }
}
