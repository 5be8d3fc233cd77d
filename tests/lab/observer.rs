//! The observer: asks over and over who has each VIP, and keeps every ARP packet that it hears.
//!
//! Each question carries one of sixteen sender addresses, which the answer repeats: so answers are
//! counted for the question they belong to, and two MACs that answer one question are two holders.
//! It has a namespace of its own, because a kernel that hears the answers learns from them, and the
//! client must learn from announcements alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use super::client::{hurry, is_quiet};
use super::clock::Stamp;
use super::netns;

const ETHERTYPE_ARP: u16 = 0x0806;
const FRAME_LEN: usize = 42;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// How many sender addresses there are: a question is forgotten after as many more.
const SENDERS: u8 = 16;
/// The last byte of the first of them.
const SENDER_FIRST: u8 = 128;

/// A MAC address.
pub type Mac = [u8; 6];

/// One question, and who answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// When it was asked.
    pub at: Stamp,
    /// About which VIP.
    pub vip: Ipv4Addr,
    /// The MACs that said they have it.
    pub answers: BTreeSet<Mac>,
}

/// An announcement: an ARP packet whose sender and target address are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// When it was heard.
    pub at: Stamp,
    /// The address.
    pub vip: Ipv4Addr,
    /// The MAC that it is to be found at.
    pub mac: Mac,
    /// Whether it was sent as a reply, not as a request.
    pub is_reply: bool,
}

/// The running observer; it ends when it is dropped.
pub struct Observer {
    record: Arc<Record>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Record {
    ended: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    questions: Vec<Question>,
    /// The last question about each VIP with each sender address.
    open: BTreeMap<(Ipv4Addr, Ipv4Addr), usize>,
    announcements: Vec<Announcement>,
}

impl Observer {
    /// Starts to ask for all `vips` every `interval` from the namespace `name`, whose NIC `ethN`
    /// is on the network of the VIPs 10.77.N.0/24.
    pub fn start(name: &str, vips: Vec<Ipv4Addr>, interval: Duration) -> Self {
        let (socket, nics) = netns::inside(name, || {
            let protocol = Protocol::from(i32::from(ETHERTYPE_ARP.to_be()));
            (Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap(), own_nics())
        });
        socket.set_nonblocking(true).unwrap();
        socket.set_recv_buffer_size(4 << 20).unwrap();
        let record = Arc::new(Record::default());
        let asking = Arc::clone(&record);
        let thread = thread::spawn(move || asking.ask(&socket, &nics, &vips, interval));
        Self { record, thread: Some(thread) }
    }

    /// All questions so far.
    pub fn questions(&self) -> Vec<Question> {
        self.record.heard.lock().unwrap().questions.clone()
    }

    /// All announcements so far.
    pub fn announcements(&self) -> Vec<Announcement> {
        self.record.heard.lock().unwrap().announcements.clone()
    }

    /// Who has answered for `vip` between two moments.
    pub fn holders(&self, vip: Ipv4Addr, from: Stamp, to: Stamp) -> BTreeSet<Mac> {
        let heard = self.record.heard.lock().unwrap();
        let of_vip = heard.questions.iter().filter(|q| q.vip == vip && (from..to).contains(&q.at));
        of_vip.flat_map(|question| question.answers.iter().copied()).collect()
    }

    /// For how long any VIP had two holders between two moments: each question that two MACs
    /// answered counts for the time until the next one about the same VIP.
    pub fn two_holders(&self, from: Stamp, to: Stamp) -> Duration {
        let heard = self.record.heard.lock().unwrap();
        let mut last: BTreeMap<Ipv4Addr, &Question> = BTreeMap::new();
        let mut total = Duration::ZERO;
        for question in heard.questions.iter().filter(|q| (from..to).contains(&q.at)) {
            let before = last.insert(question.vip, question);
            if let Some(before) = before.filter(|before| before.answers.len() > 1) {
                total += question.at.since(before.at);
            }
        }
        for question in last.values().filter(|question| question.answers.len() > 1) {
            total += to.since(question.at);
        }
        total
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.record.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Record {
    fn ask(
        &self,
        socket: &Socket,
        nics: &BTreeMap<String, LinkAddr>,
        vips: &[Ipv4Addr],
        interval: Duration,
    ) {
        hurry();
        let mut next = Stamp::now();
        let mut turn = 0_u8;
        while !self.ended.load(Ordering::Relaxed) {
            turn = (turn + 1) % SENDERS;
            for vip in vips {
                let [a, b, nic, _] = vip.octets();
                let sender = Ipv4Addr::new(a, b, nic, SENDER_FIRST + turn);
                let nic = nics.get(&format!("eth{nic}")).unwrap();
                self.note_question(*vip, sender);
                let frame = who_has(*vip, sender, nic.addr().unwrap());
                // A full queue costs one question, which then has no answers.
                sendto(socket.as_raw_fd(), &frame, nic, MsgFlags::empty()).ok();
            }
            next = next + interval;
            self.listen_until(socket, next);
        }
    }

    fn note_question(&self, vip: Ipv4Addr, sender: Ipv4Addr) {
        let mut heard = self.heard.lock().unwrap();
        let index = heard.questions.len();
        heard.questions.push(Question { at: Stamp::now(), vip, answers: BTreeSet::new() });
        heard.open.insert((vip, sender), index);
    }

    fn listen_until(&self, socket: &Socket, end: Stamp) {
        let mut frame = [0; 128];
        loop {
            match (&*socket).read(&mut frame) {
                Ok(len) => self.note(&frame[..len]),
                Err(error) if is_quiet(error.kind()) => {
                    let left = end.since(Stamp::now());
                    if left.is_zero() {
                        return;
                    }
                    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
                    // Interrupted is as good as nothing heard: both are looked at again.
                    ppoll(&mut fds, Some(TimeSpec::from(left)), None).ok();
                }
                Err(error) => panic!("observer: {error}"),
            }
        }
    }

    fn note(&self, frame: &[u8]) {
        let at = Stamp::now();
        let Some(Arp { operation, mac, sender, target }) = Arp::parse(frame) else { return };
        let mut heard = self.heard.lock().unwrap();
        if sender == target {
            let is_reply = operation == REPLY;
            heard.announcements.push(Announcement { at, vip: sender, mac, is_reply });
        } else if operation == REPLY
            && let Some(index) = heard.open.get(&(sender, target)).copied()
        {
            heard.questions[index].answers.insert(mac);
        }
    }
}

/// What matters of an ARP packet (RFC 826).
struct Arp {
    operation: u16,
    mac: Mac,
    sender: Ipv4Addr,
    target: Ipv4Addr,
}

impl Arp {
    fn parse(frame: &[u8]) -> Option<Self> {
        let frame: &[u8; FRAME_LEN] = frame.first_chunk()?;
        let address = |at: usize| -> Ipv4Addr {
            let bytes: [u8; 4] = frame[at..at + 4].try_into().unwrap();
            Ipv4Addr::from(bytes)
        };
        Some(Self {
            operation: u16::from_be_bytes([frame[20], frame[21]]),
            mac: frame[22..28].try_into().unwrap(),
            sender: address(28),
            target: address(38),
        })
    }
}

fn who_has(vip: Ipv4Addr, sender: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(REQUEST.to_be_bytes());
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(vip.octets());
    frame
}

/// The NICs of the calling thread's namespace, as a packet socket addresses them.
fn own_nics() -> BTreeMap<String, LinkAddr> {
    let mut nics = BTreeMap::new();
    for interface in getifaddrs().unwrap() {
        let link = interface.address.as_ref().and_then(|address| address.as_link_addr());
        if let Some(link) = link {
            nics.insert(interface.interface_name.clone(), *link);
        }
    }
    nics
}
