//! The checked plan: everything the daemon needs of the configuration, as one node sees it.

use core::time::Duration;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::device::Device;
use super::key_file::HeartbeatKeys;
use super::link::{SerialLinkConfig, UdpLinkConfig};
use super::network::{ServiceNic, Vip};
use super::pair::{Pair, PairCarrier, PairDevice, PairKind, PairLink};
use super::print;
use super::secret::Secrets;
use crate::engine::Settings;
use crate::engine::settings::{AfterFence, Level, LinkSettings, PeerSettings};
use crate::types::heartbeat::NICS_MAX;
use crate::types::{BootId, DeviceId, Incarnation, LinkId, Mac, Names, NodeId};

/// While a pair is frozen: between the beginnings of two looks at a device that does not answer, if
/// a look is a few datagrams.
const PACE_NATIVE: Duration = Duration::from_millis(500);
/// The same where each look is a child process, most of which wait out their own timeouts.
const PACE_CHILD: Duration = Duration::from_secs(2);

/// Everything the daemon needs. Tables are ordered as their identifiers number them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The pair's name.
    pub cluster: String,
    /// The digest of that name: separates clusters on one wire.
    pub cluster_id: u64,
    /// The digest of the normalised file, secrets left out; equal on nodes that agree.
    pub config_digest: u64,
    /// The normalised file: every default written out. Parses to the same plan.
    pub normalised: String,
    /// This node.
    pub local: NodeId,
    /// All members, by rising number.
    pub nodes: Vec<NodeId>,
    /// How long this node waits before it fences when neither is known to hold anything.
    pub fence_delay: Duration,
    /// What becomes of a node whose power was cut, once its service runs elsewhere.
    pub after_fence: AfterFence,
    /// The node that goes first when nothing else decides at a cold start.
    pub preferred: Option<NodeId>,
    /// What everything is called.
    pub names: Names,
    /// The rhythm.
    pub timing: Timing,
    /// The heartbeat keys, as they were when the file was read.
    pub keys: HeartbeatKeys,
    /// The file in which they are.
    pub key_file: PathBuf,
    /// The heartbeat paths, by [`LinkId`].
    pub links: Vec<Link>,
    /// The service NICs, by [`crate::types::NicId`].
    pub nics: Vec<ServiceNic>,
    /// The virtual IPs, by [`crate::types::VipId`].
    pub vips: Vec<Vip>,
    /// The fence devices of all nodes, by [`DeviceId`].
    pub devices: Vec<Device>,
    /// How each node is fenced, by rising number; this node's own ladder is there too.
    pub ladders: Vec<Ladder>,
    /// The process.
    pub runtime: Runtime,
}

/// How one node is fenced.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The node.
    pub node: NodeId,
    /// Level by level; none if the node is accepted to be without.
    pub levels: Vec<Level>,
}

/// `[timing]`. The first three are what links have that say nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Interval between two heartbeats.
    pub keepalive: Duration,
    /// Age of the last heartbeat at which it is late.
    pub warntime: Duration,
    /// Age of the last heartbeat at which a link is down.
    pub deadtime: Duration,
    /// After how long a host that is silent altogether is dead; nothing if no kernel is asked.
    pub dead_host_time: Option<Duration>,
    /// How long all peers are listened for at start.
    pub initdead: Duration,
    /// How long an unheard peer whose VIPs answer is left serving.
    pub isolated_grace: Duration,
    /// How often every fence device is asked while all is well.
    pub fence_check_interval: Duration,
    /// How long a service NIC must be bad here and good at the peer before a holder hands over.
    pub path_hold: Duration,
    /// How long after such a move the next one may begin, at first.
    pub path_rest: Duration,
}

/// One heartbeat path.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its number and rhythm.
    pub settings: LinkSettings,
    /// What carries it.
    pub transport: Transport,
    /// Whether it is there for the case that the others fail.
    pub backup: bool,
}

/// What carries a heartbeat path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transport {
    /// UDP over one NIC.
    Udp(UdpLinkConfig),
    /// A serial line.
    Serial(SerialLinkConfig),
}

/// `[runtime]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Runtime {
    /// Where operators reach the daemon; at most 107 bytes.
    pub control_socket: PathBuf,
    /// What a reboot shall erase.
    pub runtime_dir: PathBuf,
    /// What must survive a reboot.
    pub state_dir: PathBuf,
    /// The scheduler's class.
    pub priority: Priority,
    /// Whether all memory is locked.
    pub lock_memory: bool,
}

/// How the process is scheduled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// As any other.
    Off,
    /// SCHED_FIFO with this priority, 1 to 99.
    RealTime(u8),
}

impl Plan {
    /// What the engine is told at its start. The daemon adds what it alone knows: the boot, the
    /// incarnation drawn for this start, and the MACs of the service NICs, by
    /// [`crate::types::NicId`].
    pub fn engine_settings(
        &self,
        boot: BootId,
        incarnation: Incarnation,
        macs: [Mac; NICS_MAX],
    ) -> Settings {
        let peers = self.ladders.iter().filter(|ladder| ladder.node != self.local);
        Settings {
            local: self.local,
            peers: peers
                .map(|ladder| PeerSettings {
                    node: ladder.node,
                    levels: ladder.levels.clone(),
                    fence_delay: self.fence_delay,
                    after_fence: self.after_fence,
                })
                .collect(),
            links: self.links.iter().map(|link| link.settings).collect(),
            nics: u8::try_from(self.nics.len()).unwrap_or(u8::MAX),
            vips: u16::try_from(self.vips.len()).unwrap_or(u16::MAX),
            macs,
            initdead: self.timing.initdead,
            dead_host_time: self.timing.dead_host_time,
            isolated_grace: self.timing.isolated_grace,
            path_hold: self.timing.path_hold,
            path_rest: self.timing.path_rest,
            preferred: self.preferred,
            fence_check_interval: self.timing.fence_check_interval,
            config_digest: self.config_digest,
            incarnation,
            boot,
        }
    }
}

/// The plan of node `local`. Nothing if anything is missing.
pub(super) fn build(pair: Pair, local: NodeId, secrets: Option<Secrets>) -> Option<Plan> {
    let Secrets { keys, devices } = secrets?;
    let normalised = print::print(&pair)?;
    let links = links(&pair, local)?;
    let names = names(&pair);
    let ladders = pair.nodes.iter().map(|node| ladder(node.id, &pair.devices)).collect();
    let cluster = pair.cluster?;
    let this = pair.nodes.iter().find(|node| node.id == local)?;
    Some(Plan {
        cluster_id: digest(&cluster),
        config_digest: digest(&normalised),
        cluster,
        normalised,
        local,
        nodes: pair.nodes.iter().map(|node| node.id).collect(),
        fence_delay: this.fence_delay,
        after_fence: pair.after_fence,
        preferred: pair.preferred,
        names,
        timing: pair.timing,
        keys,
        key_file: pair.key_file?.value,
        links,
        nics: pair.nics.into_iter().map(|at| at.value).collect(),
        vips: pair.vips.into_iter().map(|at| at.value).collect(),
        devices,
        ladders,
        runtime: pair.runtime,
    })
}

fn links(pair: &Pair, local: NodeId) -> Option<Vec<Link>> {
    let mut links = Vec::new();
    for (index, link) in pair.links.iter().enumerate() {
        let settings = LinkSettings {
            id: LinkId(u8::try_from(index).ok()?),
            keepalive: link.rhythm.keepalive,
            warntime: link.rhythm.warntime,
            deadtime: link.rhythm.deadtime,
        };
        let transport = transport(link, local)?;
        links.push(Link { settings, transport, backup: link.backup });
    }
    Some(links)
}

/// What carries a link, as node `local` sees it.
fn transport(link: &PairLink, local: NodeId) -> Option<Transport> {
    match &link.carrier {
        PairCarrier::Udp { nic, port, group, addresses } => {
            let own = addresses.iter().find(|(id, _)| *id == local)?;
            let peers = addresses.iter().filter(|(id, _)| *id != local);
            Some(Transport::Udp(UdpLinkConfig {
                nic: nic.value.clone(),
                local: own.1.value,
                peers: peers.map(|(id, at)| (*id, at.value)).collect(),
                group: *group,
                port: *port,
            }))
        }
        PairCarrier::Serial { baud, rtscts, devices } => {
            let own = devices.iter().find(|(id, _)| *id == local)?;
            let (peer, _) = devices.iter().find(|(id, _)| *id != local)?;
            Some(Transport::Serial(SerialLinkConfig {
                device: own.1.value.clone(),
                baud: *baud,
                rtscts: *rtscts,
                peer: *peer,
            }))
        }
    }
}

/// The levels of a node in order. A level lasts as long as its slowest device.
fn ladder(node: NodeId, devices: &[PairDevice]) -> Ladder {
    let mut levels: Vec<Level> = Vec::new();
    let highest = devices.iter().filter(|d| d.node == node).map(|d| d.level).max().unwrap_or(0);
    for level in 1..=highest {
        let is_of_level = |device: &&PairDevice| device.node == node && device.level == level;
        let numbered = (0..=u8::MAX).map(DeviceId).zip(devices);
        let ids = numbered.filter(|(_, device)| is_of_level(device)).map(|(id, _)| id);
        let timeout = devices.iter().filter(is_of_level).map(|device| device.timeout).max();
        let pace = devices.iter().filter(is_of_level).map(|device| pace(&device.kind)).max();
        levels.push(Level {
            devices: ids.collect(),
            timeout: timeout.unwrap_or_default(),
            pace: pace.unwrap_or_default(),
        });
    }
    Ladder { node, levels }
}

/// How often a level is looked at while nobody answers there, at most.
fn pace(kind: &PairKind) -> Duration {
    match kind {
        PairKind::Ipmi { .. } => PACE_NATIVE,
        PairKind::Redfish { .. } | PairKind::Agent { .. } => PACE_CHILD,
    }
}

fn names(pair: &Pair) -> Names {
    Names {
        nodes: pair.nodes.iter().map(|node| (node.id, node.name.clone())).collect(),
        links: pair.links.iter().map(|link| link.name.value.clone()).collect(),
        nics: pair.nics.iter().map(|nic| nic.value.name.clone()).collect(),
        vips: pair.vips.iter().map(|vip| vip.value.net.to_string()).collect(),
        devices: pair.devices.iter().map(|device| device.name.clone()).collect(),
    }
}

/// The first eight bytes of the SHA-256 of `text`.
fn digest(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}
