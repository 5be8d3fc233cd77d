//! The client: what somebody who uses the VIPs sees.
//!
//! It pings every VIP through its kernel's own ARP table, so that a takeover that is not announced
//! is an outage for it as for any other client, and tells by the MAC of each reply which node sent
//! it. It keeps every reply and judges afterwards.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::unistd::gettid;
use socket2::{Domain, Protocol, Socket, Type};

use super::Node;
use super::clock::Stamp;
use super::netns;
use super::plan::service_mac;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ICMP_ECHO_REPLY: u8 = 0;
/// Tells the client's pings from others.
const ECHO_ID: u16 = 0x7a11;
/// A node that answered this lately is the one that answers.
const LATELY: Duration = Duration::from_millis(50);

/// One reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// When it was read from the socket.
    pub at: Stamp,
    /// From which VIP.
    pub vip: Ipv4Addr,
    /// Which node's NIC sent it.
    pub node: Node,
}

/// A break in a VIP's replies that ended with another node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outage {
    /// The last reply of the old holder.
    pub last: Stamp,
    /// The first reply of the new holder.
    pub first: Stamp,
}

impl Outage {
    /// How long the client was without the service.
    pub fn duration(&self) -> Duration {
        self.first.since(self.last)
    }
}

/// The running client; it ends when it is dropped.
pub struct Client {
    record: Arc<Record>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Record {
    ended: AtomicBool,
    sent: AtomicU64,
    replies: Mutex<Vec<Reply>>,
}

impl Client {
    /// Starts to ping all `vips` every `interval` from the namespace `name`.
    pub fn start(name: &str, vips: Vec<Ipv4Addr>, interval: Duration) -> Self {
        let (sender, receiver) = netns::inside(name, || {
            let sender = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
            let protocol = Protocol::from(i32::from(ETHERTYPE_IPV4.to_be()));
            (sender, Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap())
        });
        // Replies are read from the other socket; here they would only pile up.
        sender.set_recv_buffer_size(0).unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        receiver.set_recv_buffer_size(4 << 20).unwrap();
        let record = Arc::new(Record::default());
        let reading = Arc::clone(&record);
        let sending = Arc::clone(&record);
        let known = vips.clone();
        let threads = vec![
            thread::spawn(move || reading.read(&receiver, &known)),
            thread::spawn(move || sending.send(&sender, &vips, interval)),
        ];
        Self { record, threads }
    }

    /// All replies so far.
    pub fn replies(&self) -> Vec<Reply> {
        self.record.replies.lock().unwrap().clone()
    }

    /// How many pings were sent so far.
    pub fn sent(&self) -> u64 {
        self.record.sent.load(Ordering::Relaxed)
    }

    /// The node that answers for `vip` now.
    pub fn holder(&self, vip: Ipv4Addr) -> Option<Node> {
        let replies = self.record.replies.lock().unwrap();
        let last = replies.iter().rev().find(|reply| reply.vip == vip)?;
        (last.at.elapsed() < LATELY).then_some(last.node)
    }

    /// How `vip` went over to `new` after `from`; nothing if it did not, or nobody else answered
    /// before.
    pub fn outage(&self, vip: Ipv4Addr, new: Node, from: Stamp) -> Option<Outage> {
        let replies = self.record.replies.lock().unwrap();
        let of_vip = || replies.iter().filter(|reply| reply.vip == vip);
        let first = of_vip().find(|reply| reply.at >= from && reply.node == new)?.at;
        let last = of_vip().rfind(|reply| reply.at < first && reply.node != new)?.at;
        Some(Outage { last, first })
    }

    /// The longest time without a reply from `vip` between two moments.
    pub fn longest_gap(&self, vip: Ipv4Addr, from: Stamp, to: Stamp) -> Duration {
        let replies = self.record.replies.lock().unwrap();
        let of_vip = replies.iter().filter(|reply| reply.vip == vip).map(|reply| reply.at);
        let mut longest = Duration::ZERO;
        let mut last = from;
        for at in of_vip.filter(|at| (from..to).contains(at)).chain([to]) {
            longest = longest.max(at.since(last));
            last = at;
        }
        longest
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.record.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Record {
    fn send(&self, socket: &Socket, vips: &[Ipv4Addr], interval: Duration) {
        hurry();
        let mut next = Stamp::now();
        let mut seq = 0_u16;
        while !self.ended.load(Ordering::Relaxed) {
            seq = seq.wrapping_add(1);
            let packet = echo_request(seq);
            for vip in vips {
                // While nobody holds it, the kernel says so: that is what is measured.
                drop(socket.send_to(&packet, &SocketAddrV4::new(*vip, 0).into()));
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            next = next + interval;
            thread::sleep(next.since(Stamp::now()));
        }
    }

    fn read(&self, socket: &Socket, vips: &[Ipv4Addr]) {
        hurry();
        let mut frame = [0; 256];
        while !self.ended.load(Ordering::Relaxed) {
            match (&*socket).read(&mut frame) {
                Ok(len) => {
                    let at = Stamp::now();
                    if let Some((vip, node)) = parse_reply(&frame[..len])
                        && vips.contains(&vip)
                    {
                        self.replies.lock().unwrap().push(Reply { at, vip, node });
                    }
                }
                Err(error) if is_quiet(error.kind()) => {}
                Err(error) => panic!("client: {error}"),
            }
        }
    }
}

/// Whether an error says only that nothing has come.
pub fn is_quiet(kind: ErrorKind) -> bool {
    kind == ErrorKind::WouldBlock || kind == ErrorKind::Interrupted || kind == ErrorKind::TimedOut
}

/// Gives the calling thread real-time priority, so that the measuring side is not what is late.
/// Where that is not allowed the numbers are only less exact.
pub fn hurry() {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "12", &gettid().to_string()]);
    drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

fn echo_request(seq: u16) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0];
    packet.extend(ECHO_ID.to_be_bytes());
    packet.extend(seq.to_be_bytes());
    let words = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[2..4].copy_from_slice(&(!folded).to_be_bytes());
    packet
}

/// The sender of an echo reply to us, and the node whose MAC it came from.
fn parse_reply(frame: &[u8]) -> Option<(Ipv4Addr, Node)> {
    let source_mac = frame.get(6..12)?;
    let ip = frame.get(14..)?;
    let header_len = usize::from(ip.first()? & 0x0f) * 4;
    let icmp = ip.get(header_len..)?;
    let is_reply = frame.get(12..14)? == ETHERTYPE_IPV4.to_be_bytes()
        && *ip.get(9)? == 1
        && *icmp.first()? == ICMP_ECHO_REPLY
        && icmp.get(4..6)? == ECHO_ID.to_be_bytes();
    let source: [u8; 4] = ip.get(12..16)?.try_into().unwrap();
    let vip = Ipv4Addr::from(source);
    let node =
        Node::BOTH.into_iter().find(|node| service_mac(*node, vip.octets()[2]) == source_mac);
    if is_reply { Some((vip, node?)) } else { None }
}
