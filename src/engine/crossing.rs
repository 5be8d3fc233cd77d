//! Whether anything passes between this node and a peer over each service NIC: what their probes
//! tell.
//!
//! That nothing passes does not tell whose port is dead: both may have carrier, and hear others. So
//! it moves nothing by itself. It only makes the silence of the peer's VIPs worth less, once the
//! peer is lost: what had not passed before is not expected to be heard then.

use serde::{Deserialize, Serialize};

use super::node::Node;
use super::peer::Peer;
use crate::types::{NicId, NodeId};

/// What the probes to and from one peer tell. Bit `n` of each mask is [`NicId`] `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Crossing {
    /// The NICs of which anything was told.
    reported: u8,
    /// Those over which they pass, both ways.
    passing: u8,
    /// Those over which they did not while the peer was heard.
    parted: u8,
}

impl Crossing {
    fn note(&mut self, bit: u8, passes: bool) {
        self.reported |= bit;
        if passes {
            self.passing |= bit;
            self.parted &= !bit;
        } else {
            self.passing &= !bit;
        }
    }

    /// The peer is heard, and has been for long enough for its probes to have passed.
    pub(super) fn note_heard(&mut self) {
        self.parted = self.reported & !self.passing;
    }

    /// The NICs over which nothing passed while the peer was heard.
    pub(super) fn parted(&self) -> u8 {
        self.parted
    }

    /// Whether probes pass over the NIC; nothing if nothing was told.
    pub(super) fn passes(&self, nic: NicId) -> Option<bool> {
        let bit = 1u8.checked_shl(u32::from(nic.0)).unwrap_or(0);
        (self.reported & bit != 0).then_some(self.passing & bit != 0)
    }
}

impl Node {
    /// Probes to and from a peer began or ceased to pass over a service NIC.
    pub(super) fn note_across(&mut self, nic: NicId, node: NodeId, passes: bool) {
        let bit = self.path.of_mine(1u8.checked_shl(u32::from(nic.0)).unwrap_or(0));
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.node() == node) {
            peer.crossing.note(bit, passes);
        }
    }

    /// Whether the peer's daemon has run for so long that its pings have told what they find, and
    /// its probes pass if they can: as long as a network may take at a start.
    pub(super) fn is_acquainted(&self, peer: &Peer) -> bool {
        peer.was_heard() && self.now >= peer.acquainted_at
    }

    /// Whether the silence of the peer's VIPs may come from a port that was dead before it.
    pub(super) fn is_parted_from(&self, peer: &Peer) -> bool {
        peer.crossing.parted() & self.path.good_mask() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_did_not_pass_while_the_peer_was_heard_is_parted() {
        let mut crossing = Crossing::default();
        assert_eq!(crossing.passes(NicId(0)), None);
        crossing.note(0b01, true);
        crossing.note_heard();
        crossing.note(0b01, false);
        assert_eq!(crossing.parted(), 0, "it fell silent with the peer");
        assert_eq!(crossing.passes(NicId(0)), Some(false));
        crossing.note_heard();
        assert_eq!(crossing.parted(), 0b01, "the peer is heard, its probes are not");
        crossing.note(0b01, true);
        assert_eq!(crossing.parted(), 0);
    }
}
