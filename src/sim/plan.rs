//! How a world is laid out: its machines, links, service networks and fence devices, and its times.

use core::time::Duration;

use crate::engine::settings::{AfterFence, Level, LinkSettings, PeerSettings, Settings};
use crate::types::heartbeat::NICS_MAX;
use crate::types::{
    BootId, DeviceId, Heartbeat, Incarnation, LinkId, Mac, MachineId, Names, NodeId,
};

/// The most machines of a world.
pub const MACHINES_MAX: usize = 4;
/// A machine that is none of a world's, and has power until somebody cuts it.
pub const OUTSIDER: usize = MACHINES_MAX;

/// Milliseconds, which most times of a world are told in.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The times that the configuration gives, and how long a boot takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between two heartbeats on a link.
    pub keepalive: Duration,
    /// Silence after which a heartbeat is late.
    pub warntime: Duration,
    /// Silence after which a link is down.
    pub deadtime: Duration,
    /// How long a starting node listens.
    pub initdead: Duration,
    /// What one attempt at a fence level may take.
    pub level_timeout: Duration,
    /// After how long a host that is silent altogether is dead; nothing if no kernel is asked.
    pub dead_host: Option<Duration>,
    /// Between two looks at a level where nobody answers, at least.
    pub pace: Duration,
    /// How long an unheard peer whose VIPs answer is left serving.
    pub grace: Duration,
    /// How long a service path must be worse than a peer's before a holder hands over.
    pub path_hold: Duration,
    /// The rest after a move for a bad path.
    pub path_rest: Duration,
    /// How long it takes until pings and probes tell what has changed.
    pub sense: Duration,
    /// Between two checks of a fence device.
    pub fence_check_interval: Duration,
    /// From power to the start of the daemon.
    pub boot: Duration,
}

impl Timing {
    /// A quick pair.
    pub const QUICK: Self = Self {
        keepalive: ms(10),
        warntime: ms(30),
        deadtime: ms(60),
        initdead: ms(300),
        dead_host: None,
        level_timeout: ms(200),
        pace: ms(500),
        grace: ms(500),
        path_hold: ms(50),
        path_rest: ms(2000),
        sense: ms(40),
        fence_check_interval: ms(1000),
        boot: ms(400),
    };
}

/// How a world is laid out.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many machines there are, [`MACHINES_MAX`] at most. They are numbered from 0, their
    /// nodes from 1, and called a, b, c and so on.
    pub nodes: u8,
    /// How many links join each two of them.
    pub links: u8,
    /// How many times quicker than the times say the first link is, if it is not the only one.
    pub quicker: u32,
    /// Whether the last link is a serial line: what can be said in turns is, in an order that
    /// follows no rule.
    pub in_turns: bool,
    /// How many service NICs each has, each in a network of its own.
    pub nics: u8,
    /// How many VIPs there are, dealt out to the NICs in turn.
    pub vips: u16,
    /// Whether the engines do not know of the VIPs, and so never look for them: whoever is lost is
    /// fenced at once.
    pub blind: bool,
    /// Whether the nodes probe each other over their service NICs.
    pub probes: bool,
    /// Whether each service NIC has a ping target.
    pub pings: bool,
    /// How many devices each level of each machine's ladder has. One is a BMC, several are PDU
    /// outlets.
    pub levels: Vec<u8>,
    /// How many witnesses each machine has: devices that are only read.
    pub witnesses: u8,
    /// Whether they belong to the last of those levels; otherwise they are a level of their own,
    /// behind it.
    pub witnesses_beside: bool,
    /// Whether machines and fence devices tell who they are.
    pub identities: bool,
    /// Whether the devices that cut are fence agents, whose off counts only after a command that
    /// they carried out.
    pub agents: bool,
    /// Its times.
    pub timing: Timing,
    /// By machine: how long the others wait before they fence it when none is known to hold.
    pub fence_delays: [Duration; MACHINES_MAX],
    /// How often an order is repeated to a fence device that does not answer; if it is not, it is
    /// told at once that nobody is there.
    pub repeats: Option<Duration>,
    /// What becomes of a machine that was fenced.
    pub after_fence: AfterFence,
    /// The number of the node that goes first when nothing else decides.
    pub preferred: Option<u8>,
    /// The same, as the machines have it whose configuration is not that of the first one.
    pub preferred_elsewhere: Option<u8>,
    /// By machine: the digest of its configuration.
    pub config_digests: [u64; MACHINES_MAX],
}

impl Default for Plan {
    fn default() -> Self {
        let mut fence_delays = [ms(300); MACHINES_MAX];
        fence_delays[0] = ms(150);
        fence_delays[1] = ms(0);
        Self {
            nodes: 2,
            links: 2,
            quicker: 1,
            in_turns: false,
            nics: 2,
            vips: 2,
            blind: false,
            probes: false,
            pings: false,
            levels: vec![1],
            witnesses: 0,
            witnesses_beside: false,
            identities: false,
            agents: false,
            timing: Timing::QUICK,
            fence_delays,
            repeats: None,
            after_fence: AfterFence::StaysOff,
            preferred: None,
            preferred_elsewhere: None,
            config_digests: [7; MACHINES_MAX],
        }
    }
}

impl Plan {
    /// The default pair, but patient with an unheard peer whose VIPs answer.
    pub fn patient(grace: Duration) -> Self {
        Self { timing: Timing { grace, ..Timing::QUICK }, ..Self::default() }
    }

    /// The number of a machine's node.
    pub fn node_id(machine: usize) -> NodeId {
        NodeId::new(machine as u8 + 1).expect("a world has few machines")
    }

    /// The id of a machine's boot `boots`.
    pub fn boot_id(machine: usize, boots: u32) -> BootId {
        let mut boot = [machine as u8; 16];
        boot[0] = boots as u8;
        BootId(boot)
    }

    /// Which machine it is; [`OUTSIDER`] has one, too.
    pub fn machine_id(machine: usize) -> MachineId {
        let digest = machine as u64 + 1;
        MachineId { platform: 0x100 + digest, system: 0x200 + digest, ..MachineId::UNKNOWN }
    }

    /// The MAC of a machine's service NIC.
    pub fn mac(machine: usize, nic: usize) -> Mac {
        Mac([2, 0, 0, 0, machine as u8 + 1, nic as u8 + 1])
    }

    /// After how long a silent link is down.
    pub fn deadtime_on(&self, link: u8) -> Duration {
        self.timing.deadtime / self.quickness(link)
    }

    /// After how long a silent link is late.
    pub fn warntime_on(&self, link: u8) -> Duration {
        self.timing.warntime / self.quickness(link)
    }

    /// How many times quicker than the times say a link is.
    fn quickness(&self, link: u8) -> u32 {
        if link == 0 && self.links > 1 { self.quicker.max(1) } else { 1 }
    }

    /// Who goes first when nothing else decides, as a machine's configuration has it.
    fn preferred_of(&self, machine: usize) -> Option<u8> {
        let differs = self.config_digests[machine] != self.config_digests[0];
        if differs { self.preferred_elsewhere } else { self.preferred }
    }

    /// The heartbeat as it comes over its link.
    pub fn as_said(&self, heartbeat: &Heartbeat) -> Heartbeat {
        let mut said = *heartbeat;
        if !self.in_turns || heartbeat.link.0 + 1 != self.links {
            return said;
        }
        // The upper bits of a product: numbers that follow each other have others.
        let turn = heartbeat.seq.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
        let said_macs = match turn {
            0 => 0..2,
            1 => 2..NICS_MAX,
            _ => 0..0,
        };
        for (nic, mac) in said.macs.iter_mut().enumerate() {
            *mac = mac.filter(|_| said_macs.contains(&nic));
        }
        said.config_digest = said.config_digest.filter(|_| turn == 2);
        said.failcount_digest = said.failcount_digest.filter(|_| turn == 3);
        said.machine = None;
        said
    }

    /// The NIC that a VIP lives on.
    pub fn nic_of(&self, vip: u16) -> usize {
        usize::from(vip) % usize::from(self.nics.max(1))
    }

    /// Whether a level has devices that cut and witnesses beside them.
    pub fn has_witness_beside(&self) -> bool {
        self.witnesses > 0 && self.witnesses_beside
    }

    /// How many fence devices each machine has, witnesses included. Those come last.
    pub fn devices_per_host(&self) -> usize {
        self.cutters_per_host() + usize::from(self.witnesses)
    }

    /// How many of them cut.
    pub fn cutters_per_host(&self) -> usize {
        self.levels.iter().map(|count| usize::from(*count)).sum()
    }

    /// The ladder of a machine.
    fn ladder(&self, node: usize) -> Vec<Level> {
        let first = node * self.devices_per_host();
        let ids = |from: usize, count: usize| -> Vec<DeviceId> {
            (from..from + count).map(|n| DeviceId(n as u8)).collect()
        };
        let mut next = first;
        let mut level = |count: u8| {
            let devices = ids(next, usize::from(count));
            next += devices.len();
            let (timeout, pace) = (self.timing.level_timeout, self.timing.pace);
            Level { devices, witnesses: Vec::new(), timeout, pace }
        };
        let mut levels: Vec<Level> = self.levels.iter().map(|count| level(*count)).collect();
        let witnesses = ids(first + self.cutters_per_host(), usize::from(self.witnesses));
        if witnesses.is_empty() {
            return levels;
        }
        if !self.witnesses_beside || levels.is_empty() {
            levels.push(Level {
                devices: Vec::new(),
                witnesses: Vec::new(),
                timeout: self.timing.level_timeout,
                pace: self.timing.pace,
            });
        }
        if let Some(last) = levels.last_mut() {
            last.devices.extend(&witnesses);
            last.witnesses = witnesses;
        }
        levels
    }

    /// The names of everything, for people.
    pub fn names(&self) -> Names {
        let machines = usize::from(self.nodes);
        let name = |node: usize| char::from(b'a' + node as u8).to_string();
        let list = |prefix: &str, count: usize| -> Vec<String> {
            (0..count).map(|n| format!("{prefix}{n}")).collect()
        };
        Names {
            nodes: (0..machines).map(|n| (Self::node_id(n), name(n))).collect(),
            links: list("link", usize::from(self.links)),
            nics: list("nic", usize::from(self.nics)),
            vips: list("vip", usize::from(self.vips)),
            devices: list("device", machines * self.devices_per_host()),
        }
    }

    /// What the engine on machine `local` is told at its start in that machine's boot `boots`.
    pub fn settings(&self, local: usize, boots: u32, incarnation: u64) -> Settings {
        let peers = (0..usize::from(self.nodes)).filter(|n| *n != local).map(|node| PeerSettings {
            node: Self::node_id(node),
            levels: self.ladder(node),
            fence_delay: self.fence_delays[node],
            after_fence: self.after_fence,
        });
        let links = (0..self.links).map(|n| LinkSettings {
            id: LinkId(n),
            keepalive: self.timing.keepalive / self.quickness(n),
            warntime: self.warntime_on(n),
            deadtime: self.deadtime_on(n),
        });
        let mut macs = [Mac::NONE; NICS_MAX];
        for (nic, mac) in macs.iter_mut().enumerate().take(usize::from(self.nics)) {
            *mac = Self::mac(local, nic);
        }
        Settings {
            local: Self::node_id(local),
            peers: peers.collect(),
            links: links.collect(),
            nics: self.nics,
            vips: if self.blind { 0 } else { self.vips },
            macs,
            initdead: self.timing.initdead,
            dead_host_time: self.timing.dead_host,
            isolated_grace: self.timing.grace,
            path_hold: self.timing.path_hold,
            path_rest: self.timing.path_rest,
            preferred: self.preferred_of(local).and_then(NodeId::new),
            fence_check_interval: self.timing.fence_check_interval,
            config_digest: self.config_digests[local],
            incarnation: Incarnation(incarnation),
            boot: Self::boot_id(local, boots),
            machine: if self.identities { Self::machine_id(local) } else { MachineId::UNKNOWN },
        }
    }
}
