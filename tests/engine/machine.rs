//! One machine of the world: power, boot, kernel, disk, NICs, fence devices, and its daemon.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tandem::engine::settings::{Mark, Record};
use tandem::engine::{Input, Node};
use tandem::types::{FenceFault, Instant, OpId};

/// How a disk or a mark behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    Works,
    Fails,
    /// Never answers, as long as it is so.
    Hangs,
}

/// How taking the resources behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taking {
    Works,
    /// The first address is added, the second refused.
    FailsHalfWay,
    /// It goes on for ever.
    Hangs,
}

/// How a fence device behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Works,
    /// Nobody answers.
    Dead,
    /// Answers, but refuses.
    Refuses(FenceFault),
    /// Acknowledges, and does nothing.
    StaysOn,
    /// Takes the order and never answers.
    Hangs,
    /// Acknowledges, does it, and reads neither on nor off.
    Unclear,
    /// Acknowledges, does nothing, and reads off although the host is on.
    ReadsOff,
}

/// A fence device: a BMC, or one of several PDU outlets of its host.
#[derive(Debug)]
pub struct Device {
    pub host: usize,
    pub outlet: bool,
    pub mode: Mode,
    pub delay: Duration,
    pub outlet_on: bool,
    /// Whether a loss of its host's power takes it along.
    pub shares_power: bool,
    pub has_power: bool,
    /// An off command to a host without power is an error to it.
    pub refuses_when_off: bool,
    /// How many commands to cut the power it has carried out.
    pub cuts: u32,
    /// How many orders of any kind it was given.
    pub orders: u32,
}

/// A running daemon: the engine and what its shell is doing.
#[derive(Debug)]
pub struct Daemon {
    pub uid: u64,
    pub node: Node,
    pub paused: bool,
    /// Inputs that came while it was paused, with the local time of the first.
    pub inbox: VecDeque<Input>,
    pub inbox_since: Option<Instant>,
    /// Operations that wait for their one answer.
    pub pending: BTreeSet<OpId>,
    pub acquiring: Option<OpId>,
    /// When the engine wants its next tick, by its machine's clock.
    pub tick_at: Option<Instant>,
    /// How many ticks in a row wanted another one at once.
    pub spins: u32,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    pub powered: bool,
    /// How many times it booted.
    pub boots: u32,
    /// Its clock's lead over the world's.
    pub clock_lead: u64,
    pub daemon: Option<Daemon>,
    /// Whether its supervisor starts the daemon at boot.
    pub autostart: bool,
    /// The addresses in its kernel.
    pub kernel: BTreeSet<u16>,
    pub mark: Option<Mark>,
    pub record: Record,
    pub mark_fails: bool,
    pub disk: Disk,
    pub taking: Taking,
    pub release_fails: bool,
    pub carrier: Vec<bool>,
    /// NICs with carrier that nothing passes.
    pub deaf: Vec<bool>,
    /// Its questions do not leave it.
    pub mute: bool,
    pub exited: bool,
}

impl Machine {
    pub fn new(nics: u8) -> Self {
        Self {
            powered: true,
            boots: 1,
            clock_lead: 0,
            daemon: None,
            autostart: true,
            kernel: BTreeSet::new(),
            mark: None,
            record: Record::default(),
            mark_fails: false,
            disk: Disk::Works,
            taking: Taking::Works,
            release_fails: false,
            carrier: vec![true; usize::from(nics)],
            deaf: vec![false; usize::from(nics)],
            mute: false,
            exited: false,
        }
    }

    /// Whether any address is in its kernel and reachable power-wise.
    pub fn holds(&self) -> bool {
        self.powered && !self.kernel.is_empty()
    }

    pub fn passes(&self, nic: usize) -> bool {
        self.powered && self.carrier[nic] && !self.deaf[nic]
    }
}
