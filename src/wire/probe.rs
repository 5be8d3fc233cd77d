//! The probe that a node sends over a service NIC, so that a switch port that passes nothing is
//! found although it has carrier: one Ethernet frame of 78 bytes, the last 16 its tag.
//!
//! ```text
//!      0        1        2        3        4        5        6        7
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!    Ethernet: destination (6, broadcast), source (6), 0x88B5
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//!   0| magic "tP"      |version |key hint|from    |to      |nic     |reserved|
//!   8| cluster                                                              |
//!  16| incarnation                                                          |
//!  24| number                                                               |
//!  32| echo of incarnation                                                  |
//!  40| echo of number                                                       |
//!  48| tag: HMAC-SHA256 over the 48 bytes before, left 16 bytes             |
//!   +--------+--------+--------+--------+--------+--------+--------+--------+
//! ```
//!
//! Pure. A right tag says that somebody with the key sent it at some time; that it is no recording
//! shows only in its echo, which its receiver compares with what it sent (`docs/PROTOCOL.md` §7).

use super::auth::{Keys, TAG_LEN, Tag};
use super::heartbeat::ClusterId;
use crate::types::heartbeat::NICS_MAX;
use crate::types::{Incarnation, Mac, NicId, NodeId};

/// The Ethernet type of probes: IEEE 802 local experimental 1 (IEEE 802-2014 §9.2.4).
pub const ETHER_TYPE: u16 = 0x88b5;
/// The length of a probe's frame in bytes; more than the shortest that Ethernet carries.
pub const FRAME_LEN: usize = ETHERNET_LEN + BODY_LEN;
/// The version that is sent, and the only one that is understood.
pub const VERSION: u8 = 1;
/// What every probe begins with, behind the Ethernet header.
pub const MAGIC: [u8; 2] = *b"tP";

const ETHERNET_LEN: usize = 14;
const TAGGED_LEN: usize = 48;
const BODY_LEN: usize = TAGGED_LEN + TAG_LEN;

/// What a probe says: from one node, to one node, over one service NIC of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Who sends it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// The service NIC it was sent through: the addressee's of the same number must hear it.
    pub nic: NicId,
    /// The sender's incarnation.
    pub incarnation: Incarnation,
    /// One up with each probe of this incarnation over this NIC, from 1.
    pub number: u64,
    /// The addressee's incarnation that was heard last over this NIC.
    pub echo_incarnation: Incarnation,
    /// The number of the addressee's probe that was heard last; zero if none was.
    pub echo_number: u64,
}

impl Probe {
    /// The frame, sent from the NIC with that MAC, for everybody on the segment.
    pub fn emit(&self, mac: Mac, cluster: ClusterId, keys: &Keys) -> [u8; FRAME_LEN] {
        let [high, low] = ETHER_TYPE.to_be_bytes();
        let [magic, more_magic] = MAGIC;
        let words = [
            [
                magic,
                more_magic,
                VERSION,
                keys.hint(self.number),
                self.from.get(),
                self.to.get(),
                self.nic.0,
                0,
            ],
            cluster.0.to_be_bytes(),
            self.incarnation.0.to_be_bytes(),
            self.number.to_be_bytes(),
            self.echo_incarnation.0.to_be_bytes(),
            self.echo_number.to_be_bytes(),
        ];
        let tagged = words.as_flattened();
        let tag = keys.tag(tagged);
        let mut frame = [0; FRAME_LEN];
        let ethernet = Mac::BROADCAST.0.into_iter().chain(mac.0).chain([high, low]);
        for (place, byte) in frame.iter_mut().zip(ethernet.chain(tagged.iter().copied()).chain(tag))
        {
            *place = byte;
        }
        frame
    }

    /// The probe of this cluster in a frame; nothing if it is none, or has no right tag. Bytes
    /// behind it are padding.
    pub fn parse(frame: &[u8], cluster: ClusterId, keys: &Keys) -> Option<Self> {
        let body = frame.get(ETHERNET_LEN..FRAME_LEN)?;
        let (tagged, tag) = body.split_at_checked(TAGGED_LEN)?;
        let (words, []) = tagged.as_chunks::<8>() else { return None };
        let [head, told_cluster, incarnation, number, echo_incarnation, echo_number] = words else {
            return None;
        };
        let [magic, more_magic, VERSION, _hint, from, to, nic, 0] = *head else { return None };
        let is_ours =
            [magic, more_magic] == MAGIC && u64::from_be_bytes(*told_cluster) == cluster.0;
        if !is_ours || usize::from(nic) >= NICS_MAX {
            return None;
        }
        let (from, to) = NodeId::new(from).zip(NodeId::new(to)).filter(|(from, to)| from != to)?;
        let tag: Tag = tag.try_into().ok()?;
        keys.verify(tagged, &tag)?;
        Some(Self {
            from,
            to,
            nic: NicId(nic),
            incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
            number: u64::from_be_bytes(*number),
            echo_incarnation: Incarnation(u64::from_be_bytes(*echo_incarnation)),
            echo_number: u64::from_be_bytes(*echo_number),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
    const CLUSTER: ClusterId = ClusterId(0x0102_0304_0506_0708);

    fn keys(byte: u8) -> Keys {
        Keys::new(&[byte; 32], None).unwrap()
    }

    fn probe() -> Probe {
        Probe {
            from: NodeId::new(1).unwrap(),
            to: NodeId::new(2).unwrap(),
            nic: NicId(3),
            incarnation: Incarnation(0x1111_2222_3333_4444),
            number: 9,
            echo_incarnation: Incarnation(7),
            echo_number: 8,
        }
    }

    #[test]
    fn what_was_sent_is_what_is_heard_with_or_without_padding() {
        let frame = probe().emit(MAC, CLUSTER, &keys(1));
        assert_eq!(frame.len(), 78);
        assert_eq!(Probe::parse(&frame, CLUSTER, &keys(1)), Some(probe()));
        let padded = [&frame[..], &[0; 20]].concat();
        assert_eq!(Probe::parse(&padded, CLUSTER, &keys(1)), Some(probe()));
    }

    #[test]
    fn a_frame_has_its_form() {
        let frame = probe().emit(MAC, CLUSTER, &keys(1));
        let head =
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 1, 1, 0x88, 0xb5, b't', b'P', 1];
        assert_eq!(frame[..17], head);
        assert_eq!(frame[18..30], [1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(frame[45], 9, "the number");
        assert_eq!(frame[53], 7, "the echo of the incarnation");
        assert_eq!(frame[61], 8, "the echo of the number");
    }

    #[test]
    fn another_key_cluster_or_version_and_every_changed_byte_is_refused() {
        let frame = probe().emit(MAC, CLUSTER, &keys(1));
        assert_eq!(Probe::parse(&frame, CLUSTER, &keys(2)), None);
        assert_eq!(Probe::parse(&frame, ClusterId(1), &keys(1)), None);
        for at in 14..FRAME_LEN {
            let mut changed = frame;
            changed[at] ^= 1;
            assert_eq!(Probe::parse(&changed, CLUSTER, &keys(1)), None, "byte {at}");
        }
    }

    #[test]
    fn whatever_comes_is_parsed_without_panic() {
        for len in 0..FRAME_LEN {
            let frame = probe().emit(MAC, CLUSTER, &keys(1));
            assert_eq!(Probe::parse(&frame[..len], CLUSTER, &keys(1)), None);
        }
    }
}
