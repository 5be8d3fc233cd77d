//! Neighbour discovery for IPv6 over Ethernet (RFC 4861), as far as an address is announced, asked
//! for and seen.
//!
//! ```text
//! +---------------------------------------------------------------+
//! |          Ethernet destination (6), source (6), 0x86dd         |
//! +---------------------------------------------------------------+
//! |  IPv6 header (40): next header 58, hop limit 255              |
//! +---------------+---------------+-------------------------------+
//! | 135 ask / 136 |    code = 0   |           checksum            |
//! +-+-+-+---------+---------------+-------------------------------+
//! |R|S|O|                      reserved                           |
//! +-+-+-+---------------------------------------------------------+
//! |                    target address (16)                        |
//! +---------------+---------------+-------------------------------+
//! | 1 or 2: a MAC | length 1 (*8) |        the MAC (6)            |
//! +---------------+---------------+-------------------------------+
//! ```
//!
//! Pure: frames in, frames out. The options are walked here and not by the packet library, whose
//! length arithmetic overflows on hostile options.

use std::net::Ipv6Addr;

use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertFlags,
    NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet::packet::icmpv6::{Icmpv6Packet, Icmpv6Types, MutableIcmpv6Packet, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

use super::arp::{from_pnet, to_pnet};
use crate::types::Mac;

/// The longest frame this module makes, in bytes.
pub const FRAME_LEN_MAX: usize = MESSAGE_AT + MESSAGE_LEN + MAC_OPTION_LEN;
/// The Ethernet type of IPv6.
pub const ETHER_TYPE: u16 = 0x86dd;
/// All nodes of a link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERNET_LEN: usize = 14;
const IPV6_LEN: usize = 40;
const MESSAGE_AT: usize = ETHERNET_LEN + IPV6_LEN;
/// A solicitation or an advertisement without its options.
const MESSAGE_LEN: usize = 24;
const MAC_OPTION_LEN: usize = 8;
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
/// Anything that passed a router has less (RFC 4861 §7.1).
const HOP_LIMIT: u8 = 255;
/// The most options that are looked at in one message.
const OPTIONS_MAX: usize = 16;

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// RFC 4861 §4.3: who has the target?
    Solicitation {
        /// Who asks; nobody if the sender has no address yet.
        source_mac: Option<Mac>,
    },
    /// RFC 4861 §4.4: the target is here.
    Advertisement {
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It overrides what receivers know.
        overrides: bool,
        /// Where the target is; without it, at the frame's source.
        target_mac: Option<Mac>,
    },
}

/// A neighbour discovery message in its frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ndp {
    /// The frame's sender.
    pub source_mac: Mac,
    /// The frame's addressee.
    pub destination_mac: Mac,
    /// The packet's sender.
    pub source: Ipv6Addr,
    /// The packet's addressee.
    pub destination: Ipv6Addr,
    /// The address that is asked for or told.
    pub target: Ipv6Addr,
    /// What is said of it.
    pub message: Message,
}

/// A frame of at most [`FRAME_LEN_MAX`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    bytes: [u8; FRAME_LEN_MAX],
    len: usize,
}

impl Frame {
    /// The frame's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Ndp {
    /// An unsolicited advertisement to all nodes: `vip` is at `mac` (RFC 4861 §7.2.6). `router`
    /// must be what the host is: hosts forget a default router that says it is none.
    pub fn announce(mac: Mac, vip: Ipv6Addr, router: bool) -> Self {
        Self {
            source_mac: mac,
            destination_mac: multicast_mac(ALL_NODES),
            source: vip,
            destination: ALL_NODES,
            target: vip,
            message: Message::Advertisement {
                router,
                solicited: false,
                overrides: true,
                target_mac: Some(mac),
            },
        }
    }

    /// The question who has `vip`, asked by `mac` from its address `own`. Without one it comes from
    /// nobody, as in duplicate detection (RFC 4862 §5.4.2), and is answered to all nodes.
    pub fn who_has(mac: Mac, own: Option<Ipv6Addr>, vip: Ipv6Addr) -> Self {
        let group = solicited_node(vip);
        Self {
            source_mac: mac,
            destination_mac: multicast_mac(group),
            source: own.unwrap_or(Ipv6Addr::UNSPECIFIED),
            destination: group,
            target: vip,
            message: Message::Solicitation { source_mac: own.map(|_| mac) },
        }
    }

    /// The frame.
    pub fn emit(&self) -> Frame {
        let option = match self.message {
            Message::Solicitation { source_mac } => source_mac.map(|mac| (SOURCE_MAC, mac)),
            Message::Advertisement { target_mac, .. } => target_mac.map(|mac| (TARGET_MAC, mac)),
        };
        let option_len = option.map_or(0, |_| MAC_OPTION_LEN);
        let mut frame =
            Frame { bytes: [0; FRAME_LEN_MAX], len: MESSAGE_AT + MESSAGE_LEN + option_len };
        let (head, rest) = frame.bytes.split_at_mut(ETHERNET_LEN);
        let (header, rest) = rest.split_at_mut(IPV6_LEN);
        let (body, tail) = rest.split_at_mut(MESSAGE_LEN);
        if let Some(mut ethernet) = MutableEthernetPacket::new(head) {
            ethernet.set_destination(to_pnet(self.destination_mac));
            ethernet.set_source(to_pnet(self.source_mac));
            ethernet.set_ethertype(EtherTypes::Ipv6);
        }
        if let Some(mut ipv6) = MutableIpv6Packet::new(header) {
            ipv6.set_version(6);
            ipv6.set_payload_length(u16::try_from(MESSAGE_LEN + option_len).unwrap_or(u16::MAX));
            ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
            ipv6.set_hop_limit(HOP_LIMIT);
            ipv6.set_source(self.source);
            ipv6.set_destination(self.destination);
        }
        self.emit_message(body);
        if let (Some((kind, mac)), [k, length, place @ ..]) = (option, tail) {
            *k = kind;
            *length = 1;
            place.copy_from_slice(&mac.0);
        }
        let message = frame.bytes.get_mut(MESSAGE_AT..frame.len).unwrap_or_default();
        if let Some(mut icmpv6) = MutableIcmpv6Packet::new(message) {
            let sum = checksum(&icmpv6.to_immutable(), &self.source, &self.destination);
            icmpv6.set_checksum(sum);
        }
        frame
    }

    /// The fixed part of the message, its checksum still zero.
    fn emit_message(&self, body: &mut [u8]) {
        match self.message {
            Message::Solicitation { .. } => {
                if let Some(mut ask) = MutableNeighborSolicitPacket::new(body) {
                    ask.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
                    ask.set_target_addr(self.target);
                }
            }
            Message::Advertisement { router, solicited, overrides, .. } => {
                let flag = |on: bool, bit: u8| if on { bit } else { 0 };
                if let Some(mut tell) = MutableNeighborAdvertPacket::new(body) {
                    tell.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
                    tell.set_flags(
                        flag(router, NeighborAdvertFlags::Router)
                            | flag(solicited, NeighborAdvertFlags::Solicited)
                            | flag(overrides, NeighborAdvertFlags::Override),
                    );
                    tell.set_target_addr(self.target);
                }
            }
        }
    }

    /// The message in `frame`; nothing if it is truncated, is another message, has passed a router,
    /// or fails any check of RFC 4861 §7.1. What follows the packet is padding and is ignored.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (head, rest) = frame.split_at_checked(ETHERNET_LEN)?;
        let (header, rest) = rest.split_at_checked(IPV6_LEN)?;
        let ethernet = EthernetPacket::new(head)?;
        let ipv6 = Ipv6Packet::new(header)?;
        let message = rest.get(..usize::from(ipv6.get_payload_length()))?;
        let (body, options) = message.split_at_checked(MESSAGE_LEN)?;
        let icmpv6 = Icmpv6Packet::new(message)?;
        let (source, destination) = (ipv6.get_source(), ipv6.get_destination());
        let is_well_formed = ethernet.get_ethertype() == EtherTypes::Ipv6
            && ipv6.get_version() == 6
            && ipv6.get_next_header() == IpNextHeaderProtocols::Icmpv6
            && ipv6.get_hop_limit() == HOP_LIMIT
            && icmpv6.get_icmpv6_code().0 == 0
            && icmpv6.get_checksum() == checksum(&icmpv6, &source, &destination);
        if !is_well_formed {
            return None;
        }
        let (target, message) = match icmpv6.get_icmpv6_type() {
            Icmpv6Types::NeighborSolicit => {
                let target = NeighborSolicitPacket::new(body)?.get_target_addr();
                let source_mac = find_mac(options, SOURCE_MAC)?;
                if source.is_unspecified() && source_mac.is_some() {
                    return None;
                }
                (target, Message::Solicitation { source_mac })
            }
            Icmpv6Types::NeighborAdvert => {
                let advert = NeighborAdvertPacket::new(body)?;
                let has = |bit| advert.get_flags() & bit != 0;
                let solicited = has(NeighborAdvertFlags::Solicited);
                if solicited && destination.is_multicast() {
                    return None;
                }
                let message = Message::Advertisement {
                    router: has(NeighborAdvertFlags::Router),
                    solicited,
                    overrides: has(NeighborAdvertFlags::Override),
                    target_mac: find_mac(options, TARGET_MAC)?,
                };
                (advert.get_target_addr(), message)
            }
            _ => return None,
        };
        (!target.is_multicast()).then_some(Self {
            source_mac: from_pnet(ethernet.get_source()),
            destination_mac: from_pnet(ethernet.get_destination()),
            source,
            destination,
            target,
            message,
        })
    }

    /// Which address the message claims for which MAC. Only advertisements do.
    pub fn claim(&self) -> Option<(Ipv6Addr, Mac)> {
        let mac = match self.message {
            Message::Solicitation { .. } => return None,
            Message::Advertisement { target_mac, .. } => target_mac.unwrap_or(self.source_mac),
        };
        (mac != Mac::NONE && mac != Mac::BROADCAST).then_some((self.target, mac))
    }
}

/// The multicast group in which a node is asked for `addr` (RFC 4291 §2.7.1).
pub fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of a multicast group (RFC 2464 §7).
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The MAC in the first option of that kind; `Some(None)` if there is no such option, `None` if the
/// options are malformed: one of length zero makes the whole message void (RFC 4861 §4.6).
#[allow(clippy::option_option, reason = "malformed, absent and present are three things")]
fn find_mac(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    for _ in 0..OPTIONS_MAX {
        let (kind, units) = match options {
            [] => return Some(found),
            [_] => return None,
            [kind, units, ..] => (*kind, usize::from(*units)),
        };
        if units == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(units * 8)?;
        if kind == wanted && found.is_none() {
            let mac = option.get(2..8)?;
            found = Some(Mac(mac.try_into().ok()?));
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x0a]);
    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100);
    const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x0a);

    // The unsolicited advertisement of fd00::100 at 02:00:00:00:00:0a. tcpdump -vv reads
    // it as "[icmp6 sum ok] neighbor advertisement, tgt is fd00::100, Flags [override]".
    const ADVERTISEMENT: [u8; FRAME_LEN_MAX] = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x86, 0xdd, 0x60,
        0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x88, 0x00, 0x58, 0x94, 0x20, 0x00,
        0x00, 0x00, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a,
    ];

    /// The checksum of RFC 4443 §2.3, summed in the plainest way.
    fn plain_checksum(frame: &[u8]) -> u16 {
        let mut message = frame[MESSAGE_AT..].to_vec();
        message[2..4].fill(0);
        let mut sum = u32::from(u16::try_from(message.len()).unwrap()) + 58;
        for pair in frame[22..54].chunks(2).chain(message.chunks(2)) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    /// Puts the right checksum into a frame that a test has changed.
    fn repair(frame: &mut [u8]) {
        let sum = plain_checksum(frame).to_be_bytes();
        frame[MESSAGE_AT + 2..MESSAGE_AT + 4].copy_from_slice(&sum);
    }

    fn samples() -> [Ndp; 5] {
        let answer = Ndp {
            destination: OWN,
            destination_mac: MAC,
            message: Message::Advertisement {
                router: true,
                solicited: true,
                overrides: true,
                target_mac: None,
            },
            ..Ndp::announce(MAC, VIP, false)
        };
        [
            Ndp::announce(MAC, VIP, false),
            Ndp::announce(MAC, VIP, true),
            Ndp::who_has(MAC, Some(OWN), VIP),
            Ndp::who_has(MAC, None, VIP),
            answer,
        ]
    }

    #[test]
    fn an_announcement_is_the_known_frame() {
        assert_eq!(Ndp::announce(MAC, VIP, false).emit().as_bytes(), ADVERTISEMENT);
    }

    #[test]
    fn checksums_are_those_of_the_plainest_sum() {
        for ndp in samples() {
            let frame = ndp.emit();
            let bytes = frame.as_bytes();
            let sum = u16::from_be_bytes([bytes[MESSAGE_AT + 2], bytes[MESSAGE_AT + 3]]);
            assert_eq!(sum, plain_checksum(bytes), "{ndp:?}");
        }
    }

    #[test]
    fn what_is_emitted_is_parsed_back() {
        for ndp in samples() {
            assert_eq!(Ndp::parse(ndp.emit().as_bytes()), Some(ndp));
            let mut padded = ndp.emit().as_bytes().to_vec();
            padded.extend([0xee; 7]);
            assert_eq!(Ndp::parse(&padded), Some(ndp), "padding is ignored");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        for ndp in samples() {
            let frame = ndp.emit();
            for len in 0..frame.len {
                assert_eq!(Ndp::parse(&frame.bytes[..len]), None, "{len} bytes of {ndp:?}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_after_the_ethernet_header_is_refused_or_harmless() {
        // The flow label and the traffic class are not covered by the checksum, nor judged.
        let label = ETHERNET_LEN..ETHERNET_LEN + 4;
        for at in ETHERNET_LEN..FRAME_LEN_MAX {
            for bit in 0..8 {
                let mut frame = ADVERTISEMENT;
                frame[at] ^= 1 << bit;
                let parsed = Ndp::parse(&frame);
                assert!(parsed.is_none() || label.contains(&at), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn routed_and_malformed_messages_are_refused() {
        // Hop limit, code, a multicast target, an option of length zero, one that is too long, and
        // the solicited flag in a multicast.
        let at = MESSAGE_AT;
        for (at, value) in [(21, 254), (at + 1, 1), (at + 8, 0xff), (79, 0), (79, 32), (58, 0x60)] {
            let mut frame = ADVERTISEMENT;
            frame[at] = value;
            repair(&mut frame);
            assert_eq!(Ndp::parse(&frame), None, "byte {at} = {value}");
        }
    }

    #[test]
    fn advertisements_claim_with_or_without_option_and_questions_do_not() {
        let [tell, _, ask, probe, bare] = samples();
        assert_eq!(tell.claim(), Some((VIP, MAC)));
        assert_eq!(bare.claim(), Some((VIP, MAC)));
        assert_eq!(ask.claim(), None);
        assert_eq!(probe.claim(), None);
    }

    #[test]
    fn groups_and_their_macs_are_derived_from_the_address() {
        let vip: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
        assert_eq!(solicited_node(vip).to_string(), "ff02::1:ff12:3456");
        let mac = multicast_mac(solicited_node(vip));
        assert_eq!(mac, Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
    }
}
