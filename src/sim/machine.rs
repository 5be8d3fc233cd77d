//! One machine of a world: power, boot, kernel, disk, NICs, and its daemon.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::plan::MACHINES_MAX;
use crate::engine::settings::{Mark, Record};
use crate::engine::{Input, Node};
use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};
use crate::types::{Instant, OpId};

/// How a disk behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// Writes what it is given.
    Works,
    /// Refuses it.
    Fails,
    /// Never answers, as long as it is so.
    Hangs,
}

/// How taking the resources behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taking {
    /// All are had.
    Works,
    /// The first address is added, the second refused.
    FailsHalfWay,
    /// It goes on for ever.
    Hangs,
}

/// A set of VIPs, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vips(u64);

impl Vips {
    /// How many VIPs a world can have.
    pub const MAX: u16 = 64;

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether `vip` is there.
    pub fn contains(self, vip: u16) -> bool {
        vip < Self::MAX && self.0 >> vip & 1 == 1
    }

    /// Adds `vip`.
    pub fn insert(&mut self, vip: u16) {
        assert!(vip < Self::MAX, "a world has few VIPs");
        self.0 |= 1 << vip;
    }

    /// Removes `vip`; whether it was there.
    pub fn remove(&mut self, vip: u16) -> bool {
        let there = self.contains(vip);
        self.0 &= !(1 << vip);
        there
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0 = 0;
    }

    /// All that are there, by rising number.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (0..Self::MAX).take(64 - self.0.leading_zeros() as usize).filter(move |v| self.contains(*v))
    }
}

/// A running daemon: the engine and what its shell is doing.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Which daemon of the world it is.
    pub uid: u64,
    /// The engine.
    pub node: Node,
    /// Whether it is suspended.
    pub paused: bool,
    /// Inputs that came while it was paused.
    pub inbox: VecDeque<Input>,
    /// When the first of them came, by the machine's clock.
    pub inbox_since: Option<Instant>,
    /// Operations that wait for their one answer.
    pub pending: Vec<OpId>,
    /// The last operation that was begun: numbers only go up.
    pub last_op: OpId,
    /// The takeover that is under way.
    pub acquiring: Option<OpId>,
    /// When the engine wants its next tick, by its machine's clock.
    pub tick_at: Option<Instant>,
    /// When it had its last tick.
    pub ticked_at: Instant,
    /// How many ticks in a row came at once after the one before.
    pub spins: u32,
    /// By service NIC: whether a ping target answers, as it was told last.
    pub reach: [Option<bool>; NICS_MAX],
    /// By service NIC and machine: whether probes pass, as it was told last.
    pub across: [[Option<bool>; MACHINES_MAX]; NICS_MAX],
    /// The agents that acknowledged the last command that it gave them.
    pub obeyed: BTreeSet<usize>,
}

impl Daemon {
    /// A daemon whose engine has had no input yet.
    pub fn new(uid: u64, node: Node) -> Self {
        Self {
            uid,
            node,
            paused: false,
            inbox: VecDeque::new(),
            inbox_since: None,
            pending: Vec::new(),
            last_op: OpId::default(),
            acquiring: None,
            tick_at: None,
            ticked_at: Instant::ZERO,
            spins: 0,
            reach: [None; NICS_MAX],
            across: [[None; MACHINES_MAX]; NICS_MAX],
            obeyed: BTreeSet::new(),
        }
    }

    /// It has a tick at `local`, by its machine's clock.
    pub(super) fn note_tick(&mut self, local: Instant) {
        let at_once = local <= self.ticked_at + Duration::from_micros(1);
        self.ticked_at = local;
        self.spins = if at_once { self.spins + 1 } else { 0 };
    }

    /// Takes an operation out that is answered now; whether it was still waiting.
    pub fn finish(&mut self, op: OpId) -> bool {
        let found = self.pending.iter().position(|pending| *pending == op);
        found.map(|index| self.pending.swap_remove(index)).is_some()
    }
}

/// One machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Whether it has power.
    pub powered: bool,
    /// How many times it booted.
    pub boots: u32,
    /// How many daemons were started on it: the later, the higher its incarnation.
    pub starts: u32,
    /// Its clock's lead over the world's, in nanoseconds.
    pub clock_lead: u64,
    /// Its daemon, if one runs.
    /// Shared by all copies of the world until it changes: [`Machine::daemon_mut`].
    pub daemon: Option<Arc<Daemon>>,
    /// Whether its supervisor starts the daemon at boot.
    pub autostart: bool,
    /// The addresses in its kernel.
    pub kernel: Vips,
    /// The boot-local mark.
    pub mark: Option<Mark>,
    /// The record on its disk.
    pub record: Record,
    /// Whether the mark cannot be written.
    pub mark_fails: bool,
    /// How its disk behaves.
    pub disk: Disk,
    /// How taking the resources behaves.
    pub taking: Taking,
    /// Whether VIPs cannot be removed.
    pub release_fails: bool,
    /// By service NIC: whether it has carrier.
    pub carrier: [bool; NICS_MAX],
    /// By service NIC: whether nothing passes though it has carrier.
    pub deaf: [bool; NICS_MAX],
    /// Whether its questions do not leave it.
    pub mute: bool,
    /// By link: whether its cable is pulled out of this machine's NIC.
    pub unplugged: [bool; LINKS_MAX],
    /// Whether its kernel answers nobody who asks for its link addresses.
    pub unanswering: bool,
    /// Whether its daemon has ended in order.
    pub exited: bool,
    /// Whether its marks outlive a boot, which they must not.
    pub keeps_mark: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            powered: true,
            boots: 1,
            starts: 0,
            clock_lead: 0,
            daemon: None,
            autostart: true,
            kernel: Vips::default(),
            mark: None,
            record: Record::default(),
            mark_fails: false,
            disk: Disk::Works,
            taking: Taking::Works,
            release_fails: false,
            carrier: [true; NICS_MAX],
            deaf: [false; NICS_MAX],
            mute: false,
            unplugged: [false; LINKS_MAX],
            unanswering: false,
            exited: false,
            keeps_mark: false,
        }
    }
}

impl Machine {
    /// Its daemon, to be changed; copied first if another world shares it.
    pub fn daemon_mut(&mut self) -> Option<&mut Daemon> {
        self.daemon.as_mut().map(Arc::make_mut)
    }

    /// Whether its kernel answers for any address.
    pub fn holds(&self) -> bool {
        self.powered && !self.kernel.is_empty()
    }

    /// Whether its service NIC lets anything pass.
    pub fn passes(&self, nic: usize) -> bool {
        self.powered && self.carrier[nic] && !self.deaf[nic]
    }

    /// Whether a daemon runs on it and is not suspended.
    pub fn is_awake(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_vips_is_a_set() {
        let mut vips = Vips::default();
        for vip in [3, 0, 63, 3] {
            vips.insert(vip);
        }
        assert_eq!(vips.iter().collect::<Vec<_>>(), [0, 3, 63]);
        assert!(vips.remove(0) && !vips.remove(0));
        assert_eq!((vips.len(), vips.contains(63), vips.contains(64)), (2, true, false));
        vips.clear();
        assert!(vips.is_empty());
    }
}
