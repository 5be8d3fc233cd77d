//! What the engine is told once, at its start: the plan of the configuration in its own terms.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::heartbeat::NICS_MAX;
use crate::types::{BootId, DeviceId, Incarnation, LinkId, Mac, MachineId, NodeId, Term};

/// Everything the engine knows from the start. The configuration has checked it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// This node.
    pub local: NodeId,
    /// The other members, by rising number; the table the engine works on.
    pub peers: Vec<PeerSettings>,
    /// The heartbeat paths, by [`LinkId`]. Each leads to every peer.
    pub links: Vec<LinkSettings>,
    /// How many service NICs there are; bit `n` of a NIC mask is [`crate::types::NicId`] `n`.
    pub nics: u8,
    /// How many virtual IPs there are.
    pub vips: u16,
    /// The MAC addresses of this node's service NICs at the start, as far as they are there;
    /// [`super::Input::Mac`] tells others.
    pub macs: [Mac; NICS_MAX],
    /// How long all peers are listened for at start before the silent ones need a proof.
    pub initdead: Duration,
    /// After how long a silence, of its daemon on all links and of its kernel, a peer is lost
    /// without waiting for the deadtime; nothing if kernels are not asked.
    #[serde(default)]
    pub dead_host_time: Option<Duration>,
    /// How long an unheard peer whose VIPs answer is left serving before it is fenced.
    pub isolated_grace: Duration,
    /// How long a service NIC must be bad here and good at a peer before a holder hands over.
    pub path_hold: Duration,
    /// How long after such a move the next one may begin at the earliest; each time that moves
    /// follow on each other, twice as long.
    pub path_rest: Duration,
    /// The node that goes first when nothing else decides at a cold start.
    pub preferred: Option<NodeId>,
    /// How often every fence device is asked for its reading while all is well.
    pub fence_check_interval: Duration,
    /// The digest of the configuration, compared with the peers'.
    pub config_digest: u64,
    /// This start's incarnation, drawn at random by the shell.
    pub incarnation: Incarnation,
    /// This boot.
    pub boot: BootId,
    /// What this node reads of its own machine.
    #[serde(default)]
    pub machine: MachineId,
}

/// One other member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerSettings {
    /// Its number.
    pub node: NodeId,
    /// How its power is cut: levels in order; all devices of one level must report off.
    pub levels: Vec<Level>,
    /// How long this node waits before it fences that peer when neither is known to hold anything:
    /// settles who shoots first at the cold start of a cut pair.
    pub fence_delay: Duration,
    /// What becomes of it once its power was cut and this node has taken over.
    pub after_fence: AfterFence,
}

/// What becomes of a node whose power was cut, once its service runs elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum AfterFence {
    /// It stays off, for somebody to look at it.
    #[default]
    StaysOff,
    /// It is powered on again, by the devices that cut its power.
    PowersOn,
}

/// One level of the fence ladder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Level {
    /// The devices that together show, and but for the witnesses cut, the power.
    pub devices: Vec<DeviceId>,
    /// Those of them that are only ever read.
    #[serde(default)]
    pub witnesses: Vec<DeviceId>,
    /// How long one attempt at this level may take, reading back included. In later rounds a look
    /// comes before it, which may take as long.
    pub timeout: Duration,
    /// While frozen and nobody answers: how long after the beginning of an attempt at this level
    /// the next one may begin at the earliest. A native device costs a few datagrams each time, an
    /// agent a process.
    pub pace: Duration,
}

impl Level {
    /// Those of its devices that cut.
    pub fn cutters(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.devices.iter().filter(|device| !self.witnesses.contains(device)).copied()
    }
}

/// One heartbeat path and its rhythm.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LinkSettings {
    /// Its place in the table.
    pub id: LinkId,
    /// Interval between two heartbeats.
    pub keepalive: Duration,
    /// Age of the last heartbeat at which it is late.
    pub warntime: Duration,
    /// Age of the last heartbeat at which the link is down.
    pub deadtime: Duration,
}

/// What outlives the daemon, as found at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// The mark that outlives a daemon but not a boot; nothing if there is none or it is damaged.
    pub mark: Option<Mark>,
    /// The record that outlives a boot; the default if there is none or it is damaged.
    pub record: Record,
    /// Whether the kernel still holds any of the VIPs.
    pub leftovers: bool,
}

/// Who held what in this boot. Kept where a reboot erases it (`/run`): only there can it prove
/// that nobody else has taken over since.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// The boot in which it was written.
    pub boot: BootId,
    /// The term that was held.
    pub term: Term,
    /// Whether the resources may still be held: true from before the takeover until after the
    /// release.
    pub holding: bool,
}

/// What must survive a reboot. Kept on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The highest term this node may have used or seen.
    pub term: Term,
    /// The highest term it held itself: whose data is the newest at a cold start.
    pub held_term: Term,
}
