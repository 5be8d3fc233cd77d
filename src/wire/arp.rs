//! ARP for IPv4 over Ethernet (RFC 826), as far as an address is announced, asked for and seen.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |          Ethernet destination (6), source (6), 0x0806         |
//! +-------------------------------+-------------------------------+
//! |     hardware type = 1         |     protocol type = 0x0800    |
//! +---------------+---------------+-------------------------------+
//! | hw length = 6 | pr length = 4 |  operation: 1 ask, 2 answer   |
//! +---------------+---------------+-------------------------------+
//! |          sender MAC (6), sender IP (4)                        |
//! |          target MAC (6), target IP (4)                        |
//! +---------------------------------------------------------------+
//! ```
//!
//! Pure: frames in, frames out. Which addresses are ours, and when to send, is decided elsewhere.

use std::net::Ipv4Addr;

use pnet::packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_base::MacAddr;

use crate::types::Mac;

/// The length of an Ethernet frame with an ARP packet, without padding, in bytes.
pub const FRAME_LEN: usize = ETHERNET_LEN + ARP_LEN;
/// The Ethernet type of ARP.
pub const ETHER_TYPE: u16 = 0x0806;

const ETHERNET_LEN: usize = 14;
const ARP_LEN: usize = 28;
const MAC_LEN: u8 = 6;
const IPV4_LEN: u8 = 4;

/// What an ARP packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// It asks who has the target address.
    Request,
    /// It tells who has the sender address.
    Reply,
}

/// An ARP packet in its Ethernet frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// The frame's sender.
    pub source: Mac,
    /// The frame's addressee.
    pub destination: Mac,
    /// What it is for.
    pub operation: Operation,
    /// The MAC that receivers learn.
    pub sender_mac: Mac,
    /// The address they learn it for; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// Whom it answers; nobody in a question.
    pub target_mac: Mac,
    /// Which address is asked for.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// A gratuitous request: `vip` is at `mac` (RFC 5227 §3, an ARP announcement).
    pub fn announce_by_request(mac: Mac, vip: Ipv4Addr) -> Self {
        Self {
            source: mac,
            destination: Mac::BROADCAST,
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: vip,
            target_mac: Mac::NONE,
            target_ip: vip,
        }
    }

    /// A gratuitous reply: the same news, for those that learn from replies only. The target MAC
    /// repeats the sender's (RFC 5944 §4.6).
    pub fn announce_by_reply(mac: Mac, vip: Ipv4Addr) -> Self {
        Self { operation: Operation::Reply, target_mac: mac, ..Self::announce_by_request(mac, vip) }
    }

    /// The question who has `vip`, asked by `mac`. `own` is the asking NIC's address in the prefix
    /// of the VIP; without one it is an ARP probe (RFC 5227 §2.1.1), which nobody learns from.
    pub fn who_has(mac: Mac, own: Option<Ipv4Addr>, vip: Ipv4Addr) -> Self {
        Self {
            sender_ip: own.unwrap_or(Ipv4Addr::UNSPECIFIED),
            ..Self::announce_by_request(mac, vip)
        }
    }

    /// The frame.
    pub fn emit(&self) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        let (head, body) = frame.split_at_mut(ETHERNET_LEN);
        if let Some(mut ethernet) = MutableEthernetPacket::new(head) {
            ethernet.set_destination(to_pnet(self.destination));
            ethernet.set_source(to_pnet(self.source));
            ethernet.set_ethertype(EtherTypes::Arp);
        }
        if let Some(mut arp) = MutableArpPacket::new(body) {
            arp.set_hardware_type(ArpHardwareTypes::Ethernet);
            arp.set_protocol_type(EtherTypes::Ipv4);
            arp.set_hw_addr_len(MAC_LEN);
            arp.set_proto_addr_len(IPV4_LEN);
            arp.set_operation(match self.operation {
                Operation::Request => ArpOperations::Request,
                Operation::Reply => ArpOperations::Reply,
            });
            arp.set_sender_hw_addr(to_pnet(self.sender_mac));
            arp.set_sender_proto_addr(self.sender_ip);
            arp.set_target_hw_addr(to_pnet(self.target_mac));
            arp.set_target_proto_addr(self.target_ip);
        }
        frame
    }

    /// The ARP packet in `frame`; nothing if it is truncated, or not IPv4 over Ethernet, or
    /// neither request nor reply. What follows it is padding and is ignored.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (head, body) = frame.split_at_checked(ETHERNET_LEN)?;
        let ethernet = EthernetPacket::new(head)?;
        let arp = ArpPacket::new(body.get(..ARP_LEN)?)?;
        let is_ipv4_over_ethernet = ethernet.get_ethertype() == EtherTypes::Arp
            && arp.get_hardware_type() == ArpHardwareTypes::Ethernet
            && arp.get_protocol_type() == EtherTypes::Ipv4
            && arp.get_hw_addr_len() == MAC_LEN
            && arp.get_proto_addr_len() == IPV4_LEN;
        if !is_ipv4_over_ethernet {
            return None;
        }
        Some(Self {
            source: from_pnet(ethernet.get_source()),
            destination: from_pnet(ethernet.get_destination()),
            operation: match arp.get_operation() {
                ArpOperations::Request => Operation::Request,
                ArpOperations::Reply => Operation::Reply,
                ArpOperation(_) => return None,
            },
            sender_mac: from_pnet(arp.get_sender_hw_addr()),
            sender_ip: arp.get_sender_proto_addr(),
            target_mac: from_pnet(arp.get_target_hw_addr()),
            target_ip: arp.get_target_proto_addr(),
        })
    }

    /// Which address the packet claims for which MAC, whether it asks or answers: every receiver
    /// learns the sender's pair from either. A probe claims nothing.
    pub fn claim(&self) -> Option<(Ipv4Addr, Mac)> {
        let claims = !self.sender_ip.is_unspecified()
            && self.sender_mac != Mac::NONE
            && self.sender_mac != Mac::BROADCAST;
        claims.then_some((self.sender_ip, self.sender_mac))
    }
}

/// The MAC as the packet library has it.
pub(super) fn to_pnet(mac: Mac) -> MacAddr {
    MacAddr::from(mac.0)
}

/// The MAC as this program has it.
pub(super) fn from_pnet(mac: MacAddr) -> Mac {
    Mac(mac.octets())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x0a]);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    // tcpdump reads it as "Request who-has 10.0.0.100 tell 10.0.0.100".
    const GRATUITOUS: [u8; FRAME_LEN] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x08, 0x06, 0x00,
        0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x02, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x00,
        0x00, 0x64, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x64,
    ];

    #[test]
    fn a_gratuitous_request_is_the_frame_everybody_knows() {
        assert_eq!(Arp::announce_by_request(MAC, VIP).emit(), GRATUITOUS);
    }

    #[test]
    fn a_gratuitous_reply_differs_in_operation_and_target_only() {
        let mut expected = GRATUITOUS;
        expected[21] = 2;
        expected[32..38].copy_from_slice(&MAC.0);
        assert_eq!(Arp::announce_by_reply(MAC, VIP).emit(), expected);
    }

    #[test]
    fn what_is_emitted_is_parsed_back() {
        let own = Some(Ipv4Addr::new(10, 0, 0, 1));
        for arp in [
            Arp::announce_by_request(MAC, VIP),
            Arp::announce_by_reply(MAC, VIP),
            Arp::who_has(MAC, own, VIP),
            Arp::who_has(MAC, None, VIP),
        ] {
            assert_eq!(Arp::parse(&arp.emit()), Some(arp));
            let mut padded = arp.emit().to_vec();
            padded.resize(60, 0xee);
            assert_eq!(Arp::parse(&padded), Some(arp), "padding is ignored");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        for len in 0..FRAME_LEN {
            assert_eq!(Arp::parse(&GRATUITOUS[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn other_protocols_and_operations_are_refused() {
        for (at, value) in [(13, 0), (15, 6), (17, 1), (18, 8), (19, 16), (20, 1), (21, 3)] {
            let mut frame = GRATUITOUS;
            frame[at] = value;
            assert_eq!(Arp::parse(&frame), None, "byte {at} = {value}");
        }
    }

    #[test]
    fn announcements_and_answers_claim_and_probes_do_not() {
        assert_eq!(Arp::announce_by_request(MAC, VIP).claim(), Some((VIP, MAC)));
        assert_eq!(Arp::announce_by_reply(MAC, VIP).claim(), Some((VIP, MAC)));
        assert_eq!(Arp::who_has(MAC, None, VIP).claim(), None);
        let nobody = Arp { sender_mac: Mac::NONE, ..Arp::announce_by_reply(MAC, VIP) };
        assert_eq!(nobody.claim(), None);
    }
}
