//! This node's own service path: whether its service NICs can reach anybody.
//!
//! A NIC is good when it has carrier and, if it has ping targets, one of them answers. A deaf node
//! must neither judge nor replace a healthy peer.

use crate::types::NicId;
use crate::types::heartbeat::NICS_MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Nic {
    carrier: bool,
    unreachable: bool,
}

/// The service NICs of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Path {
    nics: [Nic; NICS_MAX],
    count: usize,
}

impl Path {
    /// `count` NICs, without carrier until it is reported.
    pub(super) fn new(count: u8) -> Self {
        let count = usize::from(count);
        assert!(count <= NICS_MAX, "more service NICs than a heartbeat has places");
        Self { nics: [Nic::default(); NICS_MAX], count }
    }

    /// Takes a carrier report in; whether the NIC's being good changed by it, and to what.
    pub(super) fn note_carrier(&mut self, nic: NicId, up: bool) -> Option<bool> {
        self.note(nic, |nic| nic.carrier = up)
    }

    /// Takes a report of the ping targets in; whether the NIC's being good changed, and to what.
    pub(super) fn note_reach(&mut self, nic: NicId, up: bool) -> Option<bool> {
        self.note(nic, |nic| nic.unreachable = !up)
    }

    fn note(&mut self, nic: NicId, change: impl FnOnce(&mut Nic)) -> Option<bool> {
        if nic.index() >= self.count {
            return None;
        }
        let before = self.is_nic_good(nic);
        if let Some(entry) = self.nics.get_mut(nic.index()) {
            change(entry);
        }
        let after = self.is_nic_good(nic);
        (before != after).then_some(after)
    }

    /// Whether the NIC has carrier.
    pub(super) fn has_carrier(&self, nic: NicId) -> bool {
        self.nics.get(nic.index()).is_some_and(|nic| nic.carrier)
    }

    /// Whether the NIC's ping targets answer, or it has none.
    pub(super) fn has_reach(&self, nic: NicId) -> bool {
        self.nics.get(nic.index()).is_some_and(|nic| !nic.unreachable)
    }

    /// Whether the NIC has carrier and its targets, if any, answer.
    pub(super) fn is_nic_good(&self, nic: NicId) -> bool {
        self.nics.get(nic.index()).is_some_and(|nic| nic.carrier && !nic.unreachable)
    }

    /// The good NICs, one bit each.
    pub(super) fn good_mask(&self) -> u8 {
        let mut mask = 0;
        for (bit, nic) in self.nics.iter().take(self.count).enumerate() {
            if nic.carrier && !nic.unreachable {
                mask |= 1u8 << bit;
            }
        }
        mask
    }

    /// Whether this node may judge, and serve in place of, a peer whose good NICs were
    /// `peer_mask`: at least one NIC is good here, and each that was good there. What is bad on
    /// both sides is not this node's fault. Without service NICs there is nothing to be bad.
    pub(super) fn is_good_against(&self, peer_mask: u8) -> bool {
        let ours = self.good_mask();
        self.count == 0 || (ours != 0 && peer_mask & self.all_mask() & !ours == 0)
    }

    fn all_mask(&self) -> u8 {
        (0..self.count).fold(0, |mask, bit| mask | (1u8 << bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_without_carrier_or_reach_is_not_good() {
        let mut path = Path::new(2);
        assert_eq!(path.note_carrier(NicId(0), true), Some(true));
        assert_eq!(path.note_carrier(NicId(0), true), None);
        assert_eq!(path.note_reach(NicId(0), false), Some(false));
        assert_eq!(path.note_carrier(NicId(0), false), None);
        assert_eq!(path.note_reach(NicId(0), true), None);
        assert_eq!(path.note_carrier(NicId(0), true), Some(true));
        assert_eq!(path.note_carrier(NicId(7), true), None, "not a configured NIC");
        assert_eq!(path.good_mask(), 0b01);
    }

    #[test]
    fn the_path_is_good_if_nothing_is_worse_than_at_the_peer() {
        let mut path = Path::new(2);
        assert!(!path.is_good_against(0), "deaf on all");
        path.note_carrier(NicId(0), true);
        assert!(!path.is_good_against(0xff), "the peer has both, or was never heard");
        assert!(path.is_good_against(0b01), "the second is bad there too");
        path.note_carrier(NicId(1), true);
        assert!(path.is_good_against(0xff));
    }
}
