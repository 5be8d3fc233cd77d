//! The links between the machines, their noise, and the service networks.

use super::plan::MACHINES_MAX;
use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};

/// Noise on the links, in percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Noise {
    /// Heartbeats that do not arrive, or arrive damaged and are dropped for it.
    pub loss: u64,
    /// Heartbeats that arrive twice.
    pub double: u64,
    /// Heartbeats that arrive late, and so out of order.
    pub late: u64,
}

impl Noise {
    /// Whether there is any.
    pub fn is_any(self) -> bool {
        self != Self::default()
    }
}

/// What joins the machines.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// By link and sender: the machines that what is sent does not reach, one bit each.
    cuts: [[u8; MACHINES_MAX]; LINKS_MAX],
    /// By machine: the machines that its service networks are parted from, one bit each.
    parted: [u8; MACHINES_MAX],
    /// By service network: whether its ping targets are dead.
    pub dead_targets: [bool; NICS_MAX],
    /// The noise on all links.
    pub noise: Noise,
}

impl Network {
    /// Cuts or mends one direction of one link.
    pub fn set_cut(&mut self, link: usize, from: usize, to: usize, cut: bool) {
        set(&mut self.cuts[link][from], to, cut);
    }

    /// Whether that direction of that link is cut.
    pub fn is_cut(&self, link: usize, from: usize, to: usize) -> bool {
        self.cuts[link][from] >> to & 1 == 1
    }

    /// Parts or joins the service networks of two machines.
    pub fn set_parted(&mut self, one: usize, other: usize, parted: bool) {
        set(&mut self.parted[one], other, parted);
        set(&mut self.parted[other], one, parted);
    }

    /// Whether the service networks of the two are parted.
    pub fn is_parted(&self, one: usize, other: usize) -> bool {
        self.parted[one] >> other & 1 == 1
    }

    /// Mends everything.
    pub fn mend(&mut self) {
        *self = Self::default();
    }
}

fn set(mask: &mut u8, bit: usize, on: bool) {
    if on {
        *mask |= 1 << bit;
    } else {
        *mask &= !(1 << bit);
    }
}
