//! A machine that nobody invited: a NIC of its own in a network of the pair, and a packet socket
//! through which it says whatever it likes. It also taps heartbeats at a node's NIC.

use std::io::{IoSlice, Read};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{ControlMessage, LinkAddr, MsgFlags, MultiHeaders, bind, sendmmsg, sendto};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::client::is_quiet;
use crate::lab::plan::service_mac;
use crate::lab::{Lab, Node, netns};
use crate::pair::Pair;

/// The intruder's own MAC.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0xee, 1];

const PORT: u16 = 694;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETH_P_ALL: u16 = 0x0003;
const HEADERS_LEN: usize = 14 + 20 + 8;

/// The prefix of a lab's namespaces.
pub fn prefix(lab: &Lab) -> String {
    lab.client_namespace().strip_suffix("-c").unwrap().to_owned()
}

/// A machine in one network.
pub struct Intruder {
    socket: Socket,
    nic: LinkAddr,
}

impl Intruder {
    /// Plugs it into a bridge of the lab's switch; it goes together with the lab.
    pub fn plug(lab: &Lab, bridge: &str) -> Self {
        Self::plug_as(lab, bridge, "x")
    }

    fn plug_as(lab: &Lab, bridge: &str, name: &str) -> Self {
        let prefix = prefix(lab);
        let (own, switch) = (format!("{prefix}-{name}"), format!("{prefix}-sw"));
        netns::create(&own);
        let mac = MAC.map(|byte| format!("{byte:02x}")).join(":");
        let link = format!("link add {name}-port type veth peer name x0 address {mac} netns {own}");
        let port = format!("link set {name}-port master {bridge} up");
        netns::ip_batch(&switch, &[link, port]);
        netns::ip_batch(&own, &["link set x0 up".to_owned()]);
        let (socket, nic) = packet_socket(&own, "x0");
        Self { socket, nic }
    }

    /// Sends a datagram that seems to come from one node's heartbeat address to the other one's.
    pub fn send_as(&self, from: Node, payload: &[u8]) {
        self.send(&datagram(from, payload));
    }

    /// Claims an address for its own MAC, as a machine does that was given the same one.
    pub fn claim(&self, address: [u8; 4]) {
        self.send(&arp_request(MAC, address, address));
    }

    fn send(&self, frame: &[u8]) {
        // A full queue loses a frame, as a wire would.
        sendto(self.socket.as_raw_fd(), frame, &self.nic, MsgFlags::empty()).ok();
    }
}

/// How many flooders were plugged in: each needs a name of its own.
static PLUGGED: AtomicU32 = AtomicU32::new(0);

/// A machine that sends as fast as it can: whole bursts in one system call.
pub struct Flooder {
    socket: Socket,
    nic: LinkAddr,
    frames: Vec<Vec<u8>>,
}

impl Flooder {
    /// Plugs it in; its datagrams seem to come from the other node of `to`.
    pub fn aim(pair: &Pair, to: Node, datagrams: &[Vec<u8>]) -> Self {
        let number = PLUGGED.fetch_add(1, Ordering::Relaxed);
        let name = format!("f{to}{number}");
        let Intruder { socket, nic } = Intruder::plug_as(&pair.lab, "hb0", &name);
        let frames = datagrams.iter().map(|payload| datagram(to.other(), payload)).collect();
        Self { socket, nic, frames }
    }

    /// Plugs it into the first service network: there it asks who has some address, in the name of
    /// a node's first VIP and of the MAC that holds it, as a loop of switches does that goes on
    /// repeating what that node asked once.
    pub fn echo_claims(pair: &Pair, of: Node) -> Self {
        let Intruder { socket, nic } = Intruder::plug_as(&pair.lab, "svc0", "loop");
        let asked = [10, 77, 0, 250];
        let frames = vec![arp_request(service_mac(of, 0), pair.lab.vip().octets(), asked)];
        Self { socket, nic, frames }
    }

    /// Sends `count` of them, from number `from` on; the value is how many left.
    pub fn burst(&self, count: u64, from: u64) -> u64 {
        let first = usize::try_from(from).unwrap() % self.frames.len();
        let frames = self.frames.iter().cycle().skip(first).take(usize::try_from(count).unwrap());
        let parts: Vec<[IoSlice<'_>; 1]> = frames.map(|frame| [IoSlice::new(frame)]).collect();
        let addresses = vec![Some(self.nic); parts.len()];
        let mut headers = MultiHeaders::preallocate(parts.len(), None);
        let fd = self.socket.as_raw_fd();
        let none: [ControlMessage<'_>; 0] = [];
        let sent = sendmmsg(fd, &mut headers, &parts, addresses, none, MsgFlags::empty());
        // A full queue loses the rest, as a wire would.
        sent.map_or(count, |sent| u64::try_from(sent.count()).unwrap())
    }
}

/// A tap at the first heartbeat NIC of a node.
pub struct Tap(Socket);

/// A heartbeat as it was on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tapped {
    /// Who sent it.
    pub from: Node,
    /// The datagram.
    pub bytes: Vec<u8>,
}

impl Tap {
    /// Records from now on, as much as fits into the socket.
    pub fn at(lab: &Lab, node: Node) -> Self {
        let (socket, nic) = packet_socket(lab.machine(node).namespace(), "hb0");
        bind(socket.as_raw_fd(), &nic).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.set_recv_buffer_size(16 << 20).unwrap();
        Self(socket)
    }

    /// All that was heard, from both nodes, in order.
    pub fn take(&self) -> Vec<Tapped> {
        let mut frame = [0; 2048];
        let mut heard = Vec::new();
        loop {
            match (&self.0).read(&mut frame) {
                Ok(len) => heard.extend(parse(&frame[..len])),
                Err(error) if is_quiet(error.kind()) => return heard,
                Err(error) => panic!("tap: {error}"),
            }
        }
    }
}

fn packet_socket(namespace: &str, nic: &str) -> (Socket, LinkAddr) {
    netns::inside(namespace, || {
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        let mut nics = getifaddrs().unwrap();
        let found = nics.find_map(|interface| {
            let link = interface.address.as_ref().and_then(|address| address.as_link_addr());
            link.copied().filter(|_| interface.interface_name == nic)
        });
        (socket, found.unwrap())
    })
}

fn parse(frame: &[u8]) -> Option<Tapped> {
    let ip = frame.get(14..34)?;
    let udp = frame.get(34..HEADERS_LEN)?;
    let is_heartbeat = frame[12..14] == ETHERTYPE_IPV4.to_be_bytes()
        && ip[0] == 0x45
        && ip[9] == 17
        && udp[2..4] == PORT.to_be_bytes();
    let from = Node::BOTH.into_iter().find(|node| ip[15] == node.number())?;
    is_heartbeat.then(|| Tapped { from, bytes: frame[HEADERS_LEN..].to_vec() })
}

fn datagram(from: Node, payload: &[u8]) -> Vec<u8> {
    let to = from.other();
    // The heartbeat NICs are numbered from 0x10 on.
    let mut frame = service_mac(to, 0x10).to_vec();
    frame.extend(MAC);
    frame.extend(ETHERTYPE_IPV4.to_be_bytes());
    let len = u16::try_from(20 + 8 + payload.len()).unwrap();
    let mut ip = vec![0x45, 0];
    ip.extend(len.to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend([10, 88, 0, from.number(), 10, 88, 0, to.number()]);
    let words = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&(!folded).to_be_bytes());
    frame.extend(ip);
    frame.extend(PORT.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend((len - 20).to_be_bytes());
    // No checksum (RFC 768).
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// Runs nftables in the switch of a lab.
pub fn nft_in_switch(lab: &Lab, script: &str) {
    let switch = format!("{}-sw", prefix(lab));
    netns::feed(Command::new("ip").args(["netns", "exec", &switch, "nft", "-f", "-"]), script);
}

/// Somebody with this MAC and address asks who has another one. The frame itself is the intruder's,
/// so that no switch learns a wrong port.
fn arp_request(mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(MAC);
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender);
    frame.extend([0; 6]);
    frame.extend(target);
    frame
}
