//! ICMP echo for IPv4 (RFC 792) and IPv6 (RFC 4443 §4), as far as ping needs it.
//!
//! ```text
//! +---------------+---------------+-------------------------------+
//! | 8/0 or 128/129|    code = 0   |           checksum            |
//! +---------------+---------------+-------------------------------+
//! |           identifier          |        sequence number        |
//! +-------------------------------+-------------------------------+
//! |                     8 bytes of no meaning                     |
//! +---------------------------------------------------------------+
//! ```
//!
//! Pure. The IPv6 checksum covers addresses that only the kernel knows: it fills it in.

use pnet::packet::icmp::echo_reply::EchoReplyPacket;
use pnet::packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet::packet::icmp::{IcmpPacket, IcmpTypes, checksum};
use pnet::packet::icmpv6::{Icmpv6Packet, Icmpv6Types};

/// The length of a request in bytes.
pub const REQUEST_LEN: usize = HEADER_LEN + PAYLOAD_LEN;
const HEADER_LEN: usize = 8;
const PAYLOAD_LEN: usize = 8;
/// Some hosts drop an echo request without data.
const PAYLOAD: [u8; PAYLOAD_LEN] = *b"tandem  ";
/// The shortest IPv4 header; the length field counts in fours.
const IPV4_LEN_MIN: usize = 20;

/// Which of the two protocols.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Family {
    /// ICMP.
    V4,
    /// ICMPv6.
    V6,
}

/// What ties an answer to its question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Who asked.
    pub ident: u16,
    /// Which question.
    pub seq: u16,
}

impl Echo {
    /// The request, without an IP header.
    pub fn emit_request(self, family: Family) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        if let Some(payload) = bytes.get_mut(HEADER_LEN..) {
            payload.copy_from_slice(&PAYLOAD);
        }
        // Both protocols have the same layout; only the type differs.
        if let Some(mut request) = MutableEchoRequestPacket::new(&mut bytes) {
            request.set_icmp_type(IcmpTypes::EchoRequest);
            request.set_identifier(self.ident);
            request.set_sequence_number(self.seq);
        }
        match family {
            Family::V4 => {
                let sum = IcmpPacket::new(&bytes).map_or(0, |packet| checksum(&packet));
                if let Some(mut request) = MutableEchoRequestPacket::new(&mut bytes) {
                    request.set_checksum(sum);
                }
            }
            Family::V6 => {
                if let Some(kind) = bytes.first_mut() {
                    *kind = Icmpv6Types::EchoRequest.0;
                }
            }
        }
        bytes
    }

    /// The answer in what a raw socket received: with an IP header for IPv4, without for IPv6.
    /// Nothing if it is anything else.
    pub fn parse_reply(family: Family, bytes: &[u8]) -> Option<Self> {
        let message = match family {
            Family::V4 => {
                let units = usize::from(bytes.first()? & 0x0f);
                let header_len = (units * 4).max(IPV4_LEN_MIN);
                let message = bytes.get(header_len..)?;
                let packet = IcmpPacket::new(message)?;
                let is_reply = packet.get_icmp_type() == IcmpTypes::EchoReply
                    && packet.get_icmp_code().0 == 0
                    && packet.get_checksum() == checksum(&packet);
                is_reply.then_some(message)?
            }
            Family::V6 => {
                let packet = Icmpv6Packet::new(bytes)?;
                let is_reply = packet.get_icmpv6_type() == Icmpv6Types::EchoReply
                    && packet.get_icmpv6_code().0 == 0;
                is_reply.then_some(bytes)?
            }
        };
        let reply = EchoReplyPacket::new(message)?;
        Some(Self { ident: reply.get_identifier(), seq: reply.get_sequence_number() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    const ECHO: Echo = Echo { ident: 0x1234, seq: 0x0102 };

    /// What the other host makes of a request: the same bytes with another type.
    fn reply(family: Family) -> Vec<u8> {
        let mut message = ECHO.emit_request(family).to_vec();
        match family {
            Family::V6 => {
                message[0] = 129;
                message
            }
            Family::V4 => {
                message[0] = 0;
                let sum = checksum(&IcmpPacket::new(&message).unwrap());
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                let mut packet = vec![0; 20];
                packet[0] = 0x45;
                packet.extend(message);
                packet
            }
        }
    }

    #[test]
    fn requests_are_the_known_bytes() {
        let v4 = ECHO.emit_request(Family::V4);
        assert_eq!(v4[..8], [8, 0, 0x7c, 0x76, 0x12, 0x34, 0x01, 0x02]);
        assert_eq!(&v4[8..], b"tandem  ");
        let v6 = ECHO.emit_request(Family::V6);
        assert_eq!(v6[..8], [128, 0, 0, 0, 0x12, 0x34, 0x01, 0x02]);
    }

    #[test]
    fn answers_are_recognised_and_questions_are_not() {
        for family in [Family::V4, Family::V6] {
            assert_eq!(Echo::parse_reply(family, &reply(family)), Some(ECHO));
        }
        let mut own = vec![0x45; 20];
        own.extend(ECHO.emit_request(Family::V4));
        assert_eq!(Echo::parse_reply(Family::V4, &own), None);
        assert_eq!(Echo::parse_reply(Family::V6, &ECHO.emit_request(Family::V6)), None);
    }

    #[test]
    fn truncated_answers_are_refused() {
        for family in [Family::V4, Family::V6] {
            let whole = reply(family);
            let needed = whole.len() - PAYLOAD_LEN;
            for len in 0..needed {
                assert_eq!(Echo::parse_reply(family, &whole[..len]), None, "{family:?} {len}");
            }
        }
        let mut options = reply(Family::V4);
        options[0] = 0x4f;
        assert_eq!(Echo::parse_reply(Family::V4, &options), None, "a header longer than it is");
    }
}
