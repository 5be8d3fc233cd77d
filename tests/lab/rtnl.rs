//! One rtnetlink socket in the switch's namespace, kept open so that a fault that concerns many
//! ports is one system call, and the moment it takes effect is known to some 50 µs.

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::clock::Stamp;
use super::netns;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const AF_BRIDGE: u8 = 7;
const IFLA_PROTINFO: u16 = 12;
const IFLA_BRPORT_STATE: u16 = 1;
const NLA_F_NESTED: u16 = 0x8000;
const IFF_UP: u32 = 1;
const HEADER_LEN: usize = 16;

/// A change of one port.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Whether frames pass: a disabled port drops both ways, and both ends keep their carrier.
    Forward(bool),
    /// Whether the port is up: a port that is down takes the carrier from the other end.
    Up(bool),
    /// The port vanishes, with the NIC at its other end.
    Delete,
}

/// The socket.
pub struct Rtnl {
    socket: Socket,
    seq: u32,
}

impl Rtnl {
    /// Opens it in the namespace `name`.
    pub fn open(name: &str) -> Self {
        let socket = netns::inside(name, || {
            let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
            socket.bind_auto().unwrap();
            socket
        });
        Self { socket, seq: 0 }
    }

    /// Makes all changes in order with one system call; the value is the moment just before it.
    /// A port that vanished meanwhile is no error: its machine may be gone already. Nor is one that
    /// has no carrier yet and shall forward: the kernel opens it when the carrier comes.
    pub fn apply(&mut self, changes: &[(u32, Change)]) -> Stamp {
        let mut bytes = Vec::new();
        for (index, change) in changes {
            self.seq += 1;
            bytes.extend(message(self.seq, *index, *change));
        }
        let begun = Stamp::now();
        if changes.is_empty() {
            return begun;
        }
        assert_eq!(self.socket.send(&bytes, 0).unwrap(), bytes.len());
        let mut answers = 0;
        while answers < changes.len() {
            answers += self.read_answers(changes);
        }
        begun
    }

    /// How many answers the next datagram holds.
    fn read_answers(&self, changes: &[(u32, Change)]) -> usize {
        let (data, _) = self.socket.recv_from_full().unwrap();
        let mut rest = data.as_slice();
        let mut answers = 0;
        while rest.len() >= HEADER_LEN + 4 {
            let len = usize::try_from(u32_at(rest, 0)).unwrap();
            if u16_at(rest, 4) == NLMSG_ERROR {
                let code = i32::from_ne_bytes(rest[16..20].try_into().unwrap());
                let harmless = code == -libc::ENODEV || code == -libc::ENETDOWN;
                assert!(code == 0 || harmless, "rtnetlink: error {code} in {changes:?}");
                answers += 1;
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        answers
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

/// `struct nlmsghdr`, `struct ifinfomsg` and the attributes of one change.
fn message(seq: u32, index: u32, change: Change) -> Vec<u8> {
    let (kind, family, flags, mask) = match change {
        Change::Forward(_) => (RTM_SETLINK, AF_BRIDGE, 0, 0),
        Change::Up(up) => (RTM_NEWLINK, 0, if up { IFF_UP } else { 0 }, IFF_UP),
        Change::Delete => (RTM_DELLINK, 0, 0, 0),
    };
    let mut body = vec![family, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(mask.to_ne_bytes());
    if let Change::Forward(forward) = change {
        // BR_STATE_DISABLED is 0, BR_STATE_FORWARDING is 3.
        let state = if forward { 3 } else { 0 };
        body.extend(12_u16.to_ne_bytes());
        body.extend((IFLA_PROTINFO | NLA_F_NESTED).to_ne_bytes());
        body.extend(5_u16.to_ne_bytes());
        body.extend(IFLA_BRPORT_STATE.to_ne_bytes());
        body.extend([state, 0, 0, 0]);
    }
    let len = u32::try_from(HEADER_LEN + body.len()).unwrap();
    let mut message = Vec::new();
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(seq.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}
