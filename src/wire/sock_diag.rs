//! The kernel's list of TCP connections, and the request to destroy one (`sock_diag(7)`).
//!
//! ```text
//! +---------------------------------------------------------------+
//! | netlink header (16): length, type, flags, sequence, port      |
//! +---------------+---------------+---------------+---------------+
//! |    family     | protocol/state| extensions/…  |               |
//! +---------------+---------------+---------------+---------------+
//! | states wanted (4), in requests only                           |
//! +---------------------------------------------------------------+
//! | socket id (48): ports (2+2), source (16), destination (16),   |
//! |                 interface (4), cookie (8)                     |
//! +---------------------------------------------------------------+
//! | in answers: timers, queues, user, inode (20)                  |
//! +---------------------------------------------------------------+
//! ```
//!
//! Pure, and only what the release of a VIP needs. Headers are in the host's byte order, addresses
//! and ports in the network's; a socket id is handed back to the kernel as it came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of every request in bytes.
pub const REQUEST_LEN: usize = HEADER_LEN + BODY_LEN;
const HEADER_LEN: usize = 16;
const BODY_LEN: usize = 56;
const ID_LEN: usize = 48;
/// In an answer the id stands right behind four small fields.
const ANSWER_ID_AT: usize = 4;
const SOURCE_AT: usize = 4;

const LIST: u16 = 20;
const DESTROY: u16 = 21;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP.
const ALL: u16 = 0x301;
/// NLM_F_REQUEST | NLM_F_ACK.
const ONE: u16 = 0x005;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
/// Every TCP state in which there is another side: all but closed (7), listening (10) and
/// time-wait (6).
const STATES: u32 = 0b1_1011_0011_1110;

/// Which connections are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Of IPv4 sockets.
    V4,
    /// Of IPv6 sockets, which may carry IPv4.
    V6,
}

/// One TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connection {
    family: u8,
    id: [u8; ID_LEN],
}

/// One message of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// A connection of the list.
    Connection(Connection),
    /// The list is complete.
    End,
    /// The answer to a request that was not a list: an error number, or zero.
    Status(i32),
}

impl Connection {
    /// This host's end of it; an IPv4 address also where an IPv6 socket carries it.
    pub fn local(&self) -> IpAddr {
        let [_, _, _, _, a, b, c, d, ..] = self.id;
        if self.family == AF_INET {
            return IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        }
        let source = self.id.get(SOURCE_AT..SOURCE_AT + 16).and_then(|s| s.try_into().ok());
        let source: [u8; 16] = source.unwrap_or_default();
        IpAddr::V6(Ipv6Addr::from(source)).to_canonical()
    }

    /// The request to destroy it.
    pub fn destroy(&self) -> [u8; REQUEST_LEN] {
        request(DESTROY, ONE, self.family, &self.id)
    }
}

/// The request for all connections of that family.
pub fn list(family: Family) -> [u8; REQUEST_LEN] {
    let family = match family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    };
    request(LIST, ALL, family, &[0; ID_LEN])
}

fn request(kind: u16, flags: u16, family: u8, id: &[u8; ID_LEN]) -> [u8; REQUEST_LEN] {
    let length = u32::try_from(REQUEST_LEN).unwrap_or(0);
    let fields: [&[u8]; 7] = [
        &length.to_ne_bytes(),
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &[0; 8],
        &[family, TCP, 0, 0],
        &STATES.to_ne_bytes(),
        id,
    ];
    let mut bytes = [0; REQUEST_LEN];
    for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    bytes
}

/// The messages in a datagram, up to the first that is malformed.
pub fn items(mut datagram: &[u8]) -> impl Iterator<Item = Item> + '_ {
    core::iter::from_fn(move || {
        loop {
            let (kind, body, rest) = split_message(datagram)?;
            datagram = rest;
            if let Some(item) = parse(kind, body) {
                return Some(item);
            }
        }
    })
}

fn split_message(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let body = datagram.get(HEADER_LEN..length)?;
    // Messages begin at multiples of four; the last one may lack its padding.
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, rest))
}

fn parse(kind: u16, body: &[u8]) -> Option<Item> {
    match kind {
        LIST => {
            let family = *body.first()?;
            let id = body.get(ANSWER_ID_AT..ANSWER_ID_AT + ID_LEN)?.try_into().ok()?;
            let is_known = matches!(family, AF_INET | AF_INET6);
            is_known.then_some(Item::Connection(Connection { family, id }))
        }
        DONE => Some(Item::End),
        ERROR => {
            let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
            Some(Item::Status(code.saturating_neg()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    /// An answer as the kernel gives it: a connection from that address.
    fn answer(family: u8, source: &[u8]) -> Vec<u8> {
        let mut message = vec![];
        message.extend(88u32.to_ne_bytes());
        message.extend(LIST.to_ne_bytes());
        message.extend([0; 10]);
        message.extend([family, 1, 0, 0]);
        message.extend([0x1f, 0x90, 0xc3, 0x50]);
        message.extend(source);
        message.resize(16 + 72, 0x5a);
        message
    }

    fn status(code: i32) -> Vec<u8> {
        let mut message = vec![];
        message.extend(36u32.to_ne_bytes());
        message.extend(ERROR.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(code.to_ne_bytes());
        message.resize(36, 0);
        message
    }

    fn locals(datagram: &[u8]) -> Vec<String> {
        items(datagram)
            .map(|item| match item {
                Item::Connection(connection) => connection.local().to_string(),
                Item::End => "end".into(),
                Item::Status(code) => code.to_string(),
            })
            .collect()
    }

    #[test]
    fn every_state_with_another_side_is_asked_for_and_no_other() {
        let wanted: Vec<u32> = (0..32).filter(|state| STATES & (1 << state) != 0).collect();
        assert_eq!(wanted, [1, 2, 3, 4, 5, 8, 9, 11, 12]);
        let bytes = list(Family::V6);
        assert_eq!(bytes[..4], 72u32.to_ne_bytes());
        assert_eq!(bytes[16..18], [AF_INET6, TCP]);
    }

    #[test]
    fn local_addresses_are_read_also_behind_a_mapping() {
        let mut datagram = answer(AF_INET, &[10, 0, 0, 100]);
        let mut v6 = [0; 16];
        (v6[0], v6[1], v6[15]) = (0xfd, 0, 1);
        datagram.extend(answer(AF_INET6, &v6));
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 7]);
        datagram.extend(answer(AF_INET6, &mapped));
        datagram.extend(answer(9, &[]));
        datagram.extend(status(-95));
        assert_eq!(locals(&datagram), ["10.0.0.100", "fd00::1", "10.0.0.7", "95"]);
    }

    #[test]
    fn the_id_is_handed_back_as_it_came() {
        let datagram = answer(AF_INET, &[10, 0, 0, 100]);
        let Some(Item::Connection(connection)) = items(&datagram).next() else { unreachable!() };
        let bytes = connection.destroy();
        assert_eq!(bytes[4..6], DESTROY.to_ne_bytes());
        assert_eq!(bytes[24..], datagram[20..68]);
    }

    #[test]
    fn truncated_and_lying_datagrams_end_the_list() {
        let whole = answer(AF_INET, &[10, 0, 0, 100]);
        for len in 0..whole.len() {
            assert_eq!(items(&whole[..len]).next(), None, "{len} bytes");
        }
        for length in [0u32, 15, 89, u32::MAX] {
            let mut lying = whole.clone();
            lying[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(items(&lying).next(), None, "length {length}");
        }
    }
}
