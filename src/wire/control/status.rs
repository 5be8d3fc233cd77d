//! The status document: everything an operator or a monitor wants to know of the pair, as one
//! node sees it.
//!
//! Plain data. Every moment is told as its age in milliseconds (`..._ms`), because the boot clock
//! means nothing to a reader and the wall clock may have jumped. Readers take a missing key for
//! its default and an unknown name for `unknown`, so that the tool and the daemon need not be of
//! one version.

use serde::{Deserialize, Serialize};

use crate::types::PeerState;

/// Everything, as one node sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The name of the pair.
    pub cluster: String,
    /// The name of the node that tells this.
    pub node: String,
    /// The version of its daemon.
    pub version: String,
    /// How long its daemon has been running.
    pub uptime_ms: u64,
    /// The one word.
    pub health: Health,
    /// What is worse than it should be, in no order of weight.
    pub degradations: Vec<Trouble>,
    /// Why the pair is frozen, if it is.
    pub frozen: Option<Frozen>,
    /// Why this node cannot become active now; empty if it could, or is.
    pub blocked: String,
    /// This node and its peers, by number.
    pub nodes: Vec<Node>,
    /// Each link to each peer.
    pub links: Vec<Link>,
    /// This node's service NICs.
    pub nics: Vec<Nic>,
    /// The virtual IPs.
    pub vips: Vec<Vip>,
    /// The fence devices of the other nodes: those that this one asks.
    pub fence_devices: Vec<FenceDevice>,
    /// How many datagrams were refused since the start, by reason; reasons without any are left
    /// out.
    pub refused: Vec<Refused>,
    /// The heartbeat keys, by their fingerprints.
    pub keys: KeyState,
}

/// The pair's condition in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// One node is active, another is ready to take over.
    Ok,
    /// The service runs, but a failure would hurt more than it should.
    Degraded,
    /// No node is active yet: the daemon has just started and listens.
    Starting,
    /// No node is active: a takeover is under way.
    TakingOver,
    /// No node is active, and this one cannot become it: `blocked` says why, and for how long.
    NoActive,
    /// A peer is lost, may hold resources, and no proof can be had.
    Frozen,
    /// Two nodes claim to be active, or another machine claims a VIP.
    Collision,
    /// Not told.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A node's role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Started, listening.
    Joining,
    /// Ready to take over.
    Standby,
    /// Hears nobody, but sees the VIPs answer.
    Isolated,
    /// Is having a lost peer's power cut.
    Fencing,
    /// Cannot prove that a lost peer holds nothing.
    Frozen,
    /// Is taking the resources.
    Acquiring,
    /// Holds the resources.
    Active,
    /// Is giving the resources up.
    Releasing,
    /// Said goodbye.
    Stopped,
    /// Was heard, and is not any more.
    Lost,
    /// Was never heard.
    #[default]
    #[serde(other)]
    Unknown,
}

impl From<PeerState> for NodeState {
    fn from(state: PeerState) -> Self {
        match state {
            PeerState::Joining => Self::Joining,
            PeerState::Standby => Self::Standby,
            PeerState::Isolated => Self::Isolated,
            PeerState::Fencing => Self::Fencing,
            PeerState::Frozen => Self::Frozen,
            PeerState::Acquiring => Self::Acquiring,
            PeerState::Active => Self::Active,
            PeerState::Releasing => Self::Releasing,
            PeerState::Stopped => Self::Stopped,
        }
    }
}

impl NodeState {
    /// As it stands in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Standby => "standby",
            Self::Isolated => "isolated",
            Self::Fencing => "fencing",
            Self::Frozen => "frozen",
            Self::Acquiring => "acquiring",
            Self::Active => "active",
            Self::Releasing => "releasing",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that is worse than it should be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trouble {
    /// For programs, as in `fence-device`, `peer-missing`.
    pub code: String,
    /// For people, in one line.
    pub what: String,
    /// For how long it has been so.
    pub since_ms: u64,
    /// What to do, in one line.
    pub remedy: String,
}

/// Why the pair is frozen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Frozen {
    /// The lost node.
    pub node: String,
    /// For programs, as in `unreachable`, `stays-on`.
    pub cause: String,
    /// The cause for people, in one line.
    pub what: String,
    /// What was seen, one line each: what every fence device said, what answered, what did not.
    pub evidence: Vec<String>,
    /// What is being done at each fence level.
    pub levels: Vec<FrozenLevel>,
    /// What to do, one step each, in order.
    pub remedy: Vec<String>,
    /// The command that gets out of it on an operator's word.
    pub command: String,
    /// What that command does, and when it is refused.
    pub command_does: String,
    /// For how long it has been so.
    pub since_ms: u64,
    /// When the fence devices are tried again; while an attempt is under way, its next step.
    pub retry_in_ms: u64,
}

/// One level of the fence ladder of a lost node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FrozenLevel {
    /// Its number, counted from 1.
    pub level: u8,
    /// The devices that must all read off.
    pub devices: Vec<String>,
    /// Why it gave no proof when it was last tried, for programs; empty if it was not yet.
    pub cause: String,
    /// The same for people.
    pub what: String,
    /// `resting`, `looking` (asked for a reading), `cutting` (told to cut the power) or `reading`
    /// (read back after that).
    pub doing: String,
    /// For how long yet.
    pub left_ms: u64,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u8,
    /// Whether it is the one that tells this.
    pub local: bool,
    /// Its role; of a peer, as it said last.
    pub state: NodeState,
    /// For how long it has been in it.
    pub since_ms: u64,
    /// How it came into it; of a peer, as far as this node saw it.
    pub last_change: Option<Change>,
    /// When it was last heard, on any link; nothing for this node, and if it never was.
    pub heard_ms: Option<u64>,
    /// The term it has or follows.
    pub term: u64,
    /// The highest term that it held itself.
    pub held_term: u64,
    /// Its incarnation, in hexadecimal; empty if it is not known.
    pub incarnation: String,
    /// Its boot, as the kernel writes it; empty if it is not known.
    pub boot: String,
    /// Whether it could become active now.
    pub eligible: bool,
    /// Whether an operator keeps it standby.
    pub held: bool,
}

/// A change of role.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// What it became, as in `became active`.
    pub what: String,
    /// Why, for people, in one line.
    pub reason: String,
    /// How long ago.
    pub ago_ms: u64,
}

/// One link to one peer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// `udp` or `serial`.
    pub kind: String,
    /// Whether it is there for the case that the others fail.
    pub backup: bool,
    /// The peer at its other end.
    pub peer: String,
    /// What it runs over, as in `eth1 10.9.0.1 -> 10.9.0.2` or `/dev/ttyS0 115200`.
    pub path: String,
    /// Whether it works.
    pub state: LinkState,
    /// Why it has this state, as in `nothing heard for 1.2 s`; empty if it is well.
    pub reason: String,
    /// For how long it has been so.
    pub since_ms: u64,
    /// The age of the last heartbeat; nothing if there was none.
    pub last_heartbeat_ms: Option<u64>,
    /// The last round-trip time in microseconds; nothing if there was none.
    pub rtt_us: Option<u64>,
    /// Why it cannot send, if it cannot; otherwise empty.
    pub send_error: String,
    /// Since the daemon's start.
    pub counters: LinkCounters,
}

/// The condition of one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Not told.
    #[default]
    #[serde(other)]
    Unknown,
}

impl LinkState {
    /// As it stands in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Up => "up",
            Self::Late => "late",
            Self::OneWay => "one-way",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What went over a link since the daemon's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkCounters {
    /// Heartbeats sent.
    pub sent: u64,
    /// Heartbeats that the kernel did not take.
    pub send_errors: u64,
    /// Heartbeats that a newer one overtook while they waited for a serial line.
    pub overtaken: u64,
    /// Heartbeats accepted.
    pub received: u64,
    /// Datagrams and frames refused, and what was no frame at all.
    pub refused: u64,
    /// Bytes on a serial line that were in no frame.
    pub noise_bytes: u64,
    /// How often it was late.
    pub late: u64,
}

/// One of this node's service NICs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Whether it has carrier.
    pub carrier: bool,
    /// Whether its ping targets answer; nothing if it has none.
    pub reach: Option<bool>,
    /// Both together.
    pub good: bool,
    /// Whether the probes between the nodes pass over it, both ways; nothing if there are none, or
    /// it is too early to tell.
    pub across: Option<bool>,
}

/// One virtual IP.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Vip {
    /// As in the configuration, with its prefix.
    pub address: String,
    /// The NIC on which it is held.
    pub nic: String,
    /// Whether this node holds it.
    pub held: bool,
    /// Who else was last seen to answer for it.
    pub claimed_by: Option<Claim>,
}

/// Somebody else's answer for a VIP.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    /// Whose MAC.
    pub mac: String,
    /// The node that has it; empty if none is known to.
    pub node: String,
    /// How long ago.
    pub ago_ms: u64,
}

/// One fence device.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FenceDevice {
    /// Its name.
    pub name: String,
    /// The node whose power it cuts.
    pub node: String,
    /// At which level it is tried, counted from 1.
    pub level: u8,
    /// `ipmi` or the agent's name.
    pub kind: String,
    /// `on`, `off` or `unknown`, as last read; empty if it was never read.
    pub reading: String,
    /// The age of the last answer, or of the failure to get one; nothing if it was never asked.
    pub read_ms: Option<u64>,
    /// Why the last attempt gave no reading; empty if it gave one.
    pub fault: String,
    /// Whether its off is no proof, because its host was heard while it read off.
    pub distrusted: bool,
    /// `on` or `off`, as it last read, whatever it said since; empty if it never did.
    pub power: String,
    /// The age of that.
    pub power_ms: Option<u64>,
    /// For how long it has given no reading; nothing if it gives one.
    pub failing_ms: Option<u64>,
    /// The session that is kept to a BMC: `open` or `closed`; empty for agents, and before the
    /// first attempt.
    pub session: String,
    /// Since when it is so.
    pub session_ms: Option<u64>,
    /// The number of the cipher suite in use; nothing for agents, and before the first session.
    pub cipher_suite: Option<u8>,
    /// The GUID of the machine behind a BMC, its bytes as the BMC sends them, in hexadecimal;
    /// empty if it was not told.
    pub guid: String,
    /// The GUID of the BMC itself, likewise.
    pub device_guid: String,
    /// The firmware revision of a BMC; empty if it was not told.
    pub firmware: String,
    /// How the BMC lets people in who should not be, and what to do about it.
    pub warnings: Vec<String>,
}

/// The heartbeat keys, by their fingerprints: a fingerprint tells whether two keys are the same,
/// and nothing else of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyState {
    /// The file in which they are.
    pub file: String,
    /// The key that this node sends with.
    pub sends: String,
    /// The other one that it accepts; empty if there is none.
    pub accepts: String,
    /// What the peers' heartbeats tell of theirs.
    pub peers: Vec<PeerKeys>,
    /// How long it takes at most until a change at a peer shows here.
    pub settle_ms: u64,
}

/// What a peer's heartbeats tell of its keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerKeys {
    /// The peer.
    pub node: String,
    /// The key that it sends with; empty while it is not heard.
    pub sends: String,
    /// Whether it accepts the other key of this node, too.
    pub accepts_other: bool,
    /// Whether it accepts a key that this node has not.
    pub accepts_unknown: bool,
}

/// How many datagrams were refused for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// For programs and people, as in `wrong-key`, `replayed`.
    pub reason: String,
    /// How many since the start.
    pub count: u64,
}
