//! This node's own service path: whether its service NICs can reach anybody.
//!
//! A NIC is good when it has carrier and, if it has ping targets, one of them answers. A deaf node
//! must neither judge nor replace a healthy peer.
//!
//! A NIC that was bad and is good again has its carrier, and nothing more: a switch port may let
//! pass nothing for a while after (spanning tree, IEEE 802.1D §17.14). So the moment is kept.

use serde::{Deserialize, Serialize};

use crate::types::heartbeat::NICS_MAX;
use crate::types::{Instant, NicId};

/// The service NICs of this node. Bit `n` of each mask is [`NicId`] `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Path {
    /// Those that there are.
    all: u8,
    /// Those whose carrier was ever reported.
    reported: u8,
    carrier: u8,
    unreachable: u8,
    recovered_at: Option<Instant>,
}

const _: () = assert!(NICS_MAX == 8, "a mask has one bit for each service NIC");

impl Path {
    /// `count` NICs, without carrier until it is reported.
    pub(super) fn new(count: u8) -> Self {
        assert!(usize::from(count) <= NICS_MAX, "more service NICs than a heartbeat has places");
        let all = u8::MAX.checked_shr(u8::BITS - u32::from(count)).unwrap_or(0);
        Self { all, reported: 0, carrier: 0, unreachable: 0, recovered_at: None }
    }

    /// Takes a carrier report in; whether the NIC's being good changed by it, and to what.
    pub(super) fn note_carrier(&mut self, nic: NicId, up: bool, now: Instant) -> Option<bool> {
        let was_reported = self.reported & bit(nic) != 0;
        let change = self.note(nic, |path, bit| {
            path.reported |= bit;
            path.carrier = with(path.carrier, bit, up);
        });
        // What was found good at the start has not recovered.
        if change == Some(true) && was_reported {
            self.recovered_at = Some(now);
        }
        change
    }

    /// Takes a report of the ping targets in; whether the NIC's being good changed, and to what.
    pub(super) fn note_reach(&mut self, nic: NicId, up: bool, now: Instant) -> Option<bool> {
        let change = self.note(nic, |path, bit| {
            path.unreachable = with(path.unreachable, bit, !up);
        });
        if change == Some(true) {
            self.recovered_at = Some(now);
        }
        change
    }

    fn note(&mut self, nic: NicId, change: impl FnOnce(&mut Self, u8)) -> Option<bool> {
        let bit = bit(nic);
        if self.all & bit == 0 {
            return None;
        }
        let before = self.is_nic_good(nic);
        change(self, bit);
        let after = self.is_nic_good(nic);
        (before != after).then_some(after)
    }

    /// When a NIC that had been bad became good, the last time; nothing if none ever did.
    pub(super) fn recovered_at(&self) -> Option<Instant> {
        self.recovered_at
    }

    /// Whether the NIC has carrier.
    pub(super) fn has_carrier(&self, nic: NicId) -> bool {
        self.carrier & bit(nic) != 0
    }

    /// Whether the NIC's ping targets answer, or it has none.
    pub(super) fn has_reach(&self, nic: NicId) -> bool {
        self.all & !self.unreachable & bit(nic) != 0
    }

    /// Whether the NIC has carrier and its targets, if any, answer.
    pub(super) fn is_nic_good(&self, nic: NicId) -> bool {
        self.good_mask() & bit(nic) != 0
    }

    /// Whether the NIC is among a peer's good ones.
    pub(super) fn is_good_there(&self, nic: NicId, peer_mask: u8) -> bool {
        self.of_mine(peer_mask) & bit(nic) != 0
    }

    /// The good NICs, one bit each.
    pub(super) fn good_mask(&self) -> u8 {
        self.carrier & !self.unreachable
    }

    /// Those of a peer's good NICs that this node has too.
    pub(super) fn of_mine(&self, peer_mask: u8) -> u8 {
        peer_mask & self.all
    }

    /// Whether a peer whose good NICs are `peer_mask` is better off: a NIC is good there that is
    /// bad here, and none is bad there that is good here.
    pub(super) fn is_worse_than(&self, peer_mask: u8) -> bool {
        let (ours, theirs) = (self.good_mask(), self.of_mine(peer_mask));
        theirs & !ours != 0 && ours & !theirs == 0
    }

    /// Whether this node may judge, and serve in place of, a peer whose good NICs were
    /// `peer_mask`: at least one NIC is good here, and each that was good there. What is bad on
    /// both sides is not this node's fault. Without service NICs there is nothing to be bad.
    pub(super) fn is_good_against(&self, peer_mask: u8) -> bool {
        let ours = self.good_mask();
        self.all == 0 || (ours != 0 && peer_mask & self.all & !ours == 0)
    }
}

/// The NIC's bit; none if no mask has a place for it.
fn bit(nic: NicId) -> u8 {
    1u8.checked_shl(u32::from(nic.0)).unwrap_or(0)
}

fn with(mask: u8, bit: u8, on: bool) -> u8 {
    if on { mask | bit } else { mask & !bit }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    #[test]
    fn a_nic_without_carrier_or_reach_is_not_good() {
        let mut path = Path::new(2);
        assert_eq!(path.note_carrier(NicId(0), true, NOW), Some(true));
        assert_eq!(path.note_carrier(NicId(0), true, NOW), None);
        assert_eq!(path.note_reach(NicId(0), false, NOW), Some(false));
        assert_eq!(path.note_carrier(NicId(0), false, NOW), None);
        assert_eq!(path.note_reach(NicId(0), true, NOW), None);
        assert_eq!(path.note_carrier(NicId(0), true, NOW), Some(true));
        assert_eq!(path.note_carrier(NicId(7), true, NOW), None, "not a configured NIC");
        assert_eq!(path.note_carrier(NicId(200), true, NOW), None, "no NIC of any node");
        assert_eq!(path.good_mask(), 0b01);
    }

    #[test]
    fn the_path_is_good_if_nothing_is_worse_than_at_the_peer() {
        let mut path = Path::new(2);
        assert!(!path.is_good_against(0), "deaf on all");
        path.note_carrier(NicId(0), true, NOW);
        assert!(!path.is_good_against(0xff), "the peer has both, or was never heard");
        assert!(path.is_good_against(0b01), "the second is bad there too");
        path.note_carrier(NicId(1), true, NOW);
        assert!(path.is_good_against(0xff));
    }

    #[test]
    fn only_a_nic_that_was_bad_has_recovered() {
        let mut path = Path::new(2);
        let at = Instant::from_millis;
        path.note_carrier(NicId(0), true, at(1));
        path.note_carrier(NicId(1), false, at(1));
        path.note_reach(NicId(0), true, at(2));
        assert_eq!(path.recovered_at(), None, "good from the start");
        path.note_carrier(NicId(1), true, at(3));
        assert_eq!(path.recovered_at(), Some(at(3)));
        path.note_carrier(NicId(1), true, at(4));
        path.note_reach(NicId(0), false, at(5));
        assert_eq!(path.recovered_at(), Some(at(3)), "told twice, and bad");
        path.note_reach(NicId(0), true, at(6));
        assert_eq!(path.recovered_at(), Some(at(6)));
    }
}
