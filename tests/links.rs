//! Heartbeat links: UDP in network namespaces of their own, which needs root; serial below.
//!
//! Each test is one thread with two fresh namespaces, `a` and `b`, and a veth pair `hb` between
//! them. A socket stays in the namespace in which it was made; the thread goes to and fro. The
//! namespaces vanish with the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/cable.rs"]
mod cable;
#[path = "links/serial.rs"]
mod serial;

use std::fs::File;
use std::io::Read as _;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Events, Poll, Token};
use nix::sched::{CloneFlags, setns, unshare};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use tandem::config::link::UdpLinkConfig;
use tandem::io::link::{Drained, LinkChange, RECOVERED_MIN, REOPEN_INTERVAL};
use tandem::io::udp::{DRAIN_MAX, UdpLink};
use tandem::types::{Instant, NodeId};

const PORT: u16 = 694;

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn now() -> Instant {
    Instant::ZERO + Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap())
}

/// Two namespaces with a cable between them.
struct World {
    a: File,
    b: File,
    /// One test at a time: a process that another test starts keeps, until it is what it shall
    /// be, a copy of every socket, and with it the socket's address.
    _alone: MutexGuard<'static, ()>,
}

impl World {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(nix::unistd::geteuid().is_root(), "these tests make namespaces: run them as root");
        let fresh = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            ip("link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let world = Self { b: fresh(), a: fresh(), _alone: alone };
        world.lay_cable("hb");
        world
    }

    /// A veth pair, `name` in both namespaces, up: 10.9 and fd00:9 on `hb`, 10.8 and fd00:8 else.
    fn lay_cable(&self, name: &str) {
        let net = if name == "hb" { 9 } else { 8 };
        self.in_a();
        ip(&format!("link add {name} type veth peer name peer-{name}"));
        // `ip` names a namespace by a process that is in it.
        self.in_b();
        let mut sitter = Command::new("sleep").arg("5").spawn().unwrap();
        self.in_a();
        ip(&format!("link set peer-{name} netns {}", sitter.id()));
        sitter.kill().unwrap();
        sitter.wait().unwrap();
        for (namespace, host) in [(&self.a, 1), (&self.b, 2)] {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            if host == 2 {
                ip(&format!("link set peer-{name} name {name}"));
            }
            ip(&format!("addr add 10.{net}.0.{host}/24 dev {name}"));
            ip(&format!("addr add fd00:{net}::{host}/64 dev {name} nodad"));
            ip(&format!("addr add fe80::{net}:{host}/64 dev {name} nodad"));
            ip(&format!("link set {name} up"));
        }
        for namespace in [&self.b, &self.a] {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            wait_until_up(name);
        }
    }

    fn in_a(&self) {
        setns(&self.a, CloneFlags::CLONE_NEWNET).unwrap();
    }

    fn in_b(&self) {
        setns(&self.b, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// The link's end in `a`, node 1, and its end in `b`, node 2, both open.
    fn ends(&self, local: &str, peer: &str, group: Option<&str>) -> (End, End) {
        self.in_b();
        let b = End::open(peer, 1, local, group);
        self.in_a();
        (End::open(local, 2, peer, group), b)
    }
}

/// Runs `ip` in the thread's namespace.
fn ip(arguments: &str) -> String {
    let done = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// A new NIC drops what is sent until the kernel's link-watch has seen its carrier, which it does
/// up to a second later.
fn wait_until_up(nic: &str) {
    for _ in 0..500 {
        if ip(&format!("link show {nic}")).contains("state UP") {
            return;
        }
        pass(Duration::from_millis(10));
    }
    assert_eq!(ip(&format!("link show {nic}")), "state UP");
}

/// One end of a link with a poll of its own.
struct End {
    link: UdpLink,
    poll: Poll,
    to: NodeId,
}

impl End {
    fn open(local: &str, to: u8, peer: &str, group: Option<&str>) -> Self {
        let config = UdpLinkConfig {
            nic: "hb".to_owned(),
            local: local.parse().unwrap(),
            peers: vec![(node(to), peer.parse().unwrap())],
            group: group.map(|group| group.parse().unwrap()),
            port: PORT,
        };
        let poll = Poll::new().unwrap();
        let mut link = UdpLink::new(config, Token(7));
        assert_eq!(link.reopen(poll.registry(), now()), Some(LinkChange::Opened));
        Self { link, poll, to: node(to) }
    }

    fn send(&mut self, bytes: &[u8]) -> Option<LinkChange> {
        self.link.send(self.to, bytes, now())
    }

    fn reopen(&mut self, now: Instant) -> Option<LinkChange> {
        self.link.reopen(self.poll.registry(), now)
    }

    /// Waits until the socket is readable, or for `time`.
    fn wait(&mut self, time: Duration) {
        wait(&mut self.poll, time);
    }

    /// All that is there after a short wait.
    fn take(&mut self) -> Vec<(Vec<u8>, Instant, Option<NodeId>)> {
        let mut taken = Vec::new();
        self.wait(Duration::from_millis(300));
        while self.link.drain(now(), |datagram| {
            taken.push((datagram.bytes.to_vec(), datagram.at, datagram.from));
        }) == Drained::More
        {}
        taken
    }

    fn take_bytes(&mut self) -> Vec<Vec<u8>> {
        self.take().into_iter().map(|(bytes, ..)| bytes).collect()
    }
}

/// Polls for `time`, or until there is an event; begins again when a signal interrupts it.
fn wait(poll: &mut Poll, time: Duration) {
    let until = now() + time;
    let mut events = Events::with_capacity(4);
    while poll.poll(&mut events, Some(until.since(now()))).is_err() {}
}

/// Lets time pass.
fn pass(time: Duration) {
    wait(&mut Poll::new().unwrap(), time);
}

/// Whether what `a` says is heard by `b`, soon: a cable that has just come up may still lose some.
fn arrives(a: &mut End, b: &mut End, bytes: &[u8]) -> bool {
    (0..20).any(|_| {
        assert_eq!(a.send(bytes), None);
        b.take_bytes().iter().any(|taken| taken == bytes)
    })
}

#[test]
fn unicast_is_delivered_both_ways_over_ipv4_and_ipv6() {
    let world = World::new();
    let families =
        [("10.9.0.1", "10.9.0.2"), ("fd00:9::1", "fd00:9::2"), ("fe80::9:1", "fe80::9:2")];
    for (local, peer) in families {
        let (mut a, mut b) = world.ends(local, peer, None);
        assert!(arrives(&mut a, &mut b, b"up") && arrives(&mut b, &mut a, b"up"), "{peer}");
        let (sent, received) = (a.link.counters().sent, a.link.counters().received);
        assert_eq!(a.send(b"to b"), None);
        assert_eq!(b.send(b"to a"), None);
        let at_b = b.take();
        assert_eq!(at_b.len(), 1, "{peer}");
        assert_eq!((at_b[0].0.as_slice(), at_b[0].2), (b"to b".as_slice(), Some(node(1))));
        let at_a = a.take();
        assert_eq!(at_a.len(), 1, "{local}");
        assert_eq!((at_a[0].0.as_slice(), at_a[0].2), (b"to a".as_slice(), Some(node(2))));
        assert_eq!(a.link.counters().sent, sent + 1);
        assert_eq!(a.link.counters().received, received + 1);
    }
}

#[test]
fn multicast_is_delivered_to_the_group_but_not_to_its_sender() {
    let world = World::new();
    let families = [
        ("10.9.0.1", "10.9.0.2", "239.255.9.4", "239.255.9.5"),
        ("fd00:9::1", "fd00:9::2", "ff02::9:4", "ff02::9:5"),
    ];
    for (local, peer, group, other_group) in families {
        let (mut a, mut b) = world.ends(local, peer, Some(group));
        assert_eq!(a.send(b"to all"), None);
        let at_b = b.take();
        assert_eq!(at_b.len(), 1, "{group}");
        assert_eq!((at_b[0].0.as_slice(), at_b[0].2), (b"to all".as_slice(), None));
        assert_eq!(a.take_bytes(), Vec::<Vec<u8>>::new(), "{group}");
        drop((a, b));

        let (mut a, _) = world.ends(local, peer, Some(other_group));
        world.in_b();
        let mut b = End::open(peer, 1, local, Some(group));
        a.send(b"to others");
        assert_eq!(b.take_bytes(), Vec::<Vec<u8>>::new(), "{group}");
    }
}

#[test]
fn what_arrives_over_another_nic_is_not_heard() {
    let world = World::new();
    world.lay_cable("svc");
    let (mut a, _b) = world.ends("10.9.0.1", "10.9.0.2", None);
    let unbound = UdpSocket::bind(("10.9.0.1", 5000)).unwrap();
    unbound.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    world.in_b();
    // In b, 10.9.0.1 is now behind the service cable, and b speaks with its heartbeat address.
    ip("route add 10.9.0.1/32 dev svc src 10.9.0.2");
    let sender = UdpSocket::bind(("10.9.0.2", 5000)).unwrap();
    sender.send_to(b"astray", ("10.9.0.1", 5000)).unwrap();
    sender.send_to(b"astray", ("10.9.0.1", PORT)).unwrap();
    // The kernel itself delivers it: only the binding to the NIC keeps it out.
    assert_eq!(unbound.recv(&mut [0; 16]).unwrap(), 6);
    assert_eq!(a.take_bytes(), Vec::<Vec<u8>>::new());
    assert_eq!(a.link.counters().strangers, 0);
    ip("route del 10.9.0.1/32 dev svc");
    sender.send_to(b"at home", ("10.9.0.1", PORT)).unwrap();
    assert_eq!(a.take_bytes(), vec![b"at home".to_vec()]);
}

#[test]
fn strangers_and_long_datagrams_are_counted_and_dropped() {
    let world = World::new();
    let (mut a, _b) = world.ends("10.9.0.1", "10.9.0.2", None);
    world.in_b();
    ip("addr add 10.9.0.3/24 dev hb");
    let stranger = UdpSocket::bind(("10.9.0.3", 5000)).unwrap();
    stranger.send_to(b"let me in", ("10.9.0.1", PORT)).unwrap();
    let peer = UdpSocket::bind(("10.9.0.2", 5000)).unwrap();
    peer.send_to(&[7; 257], ("10.9.0.1", PORT)).unwrap();
    peer.send_to(&[7; 2000], ("10.9.0.1", PORT)).unwrap();
    peer.send_to(&[7; 256], ("10.9.0.1", PORT)).unwrap();
    pass(Duration::from_millis(50));
    assert_eq!(a.take_bytes(), vec![vec![7; 256]]);
    let counters = a.link.counters();
    assert_eq!((counters.strangers, counters.too_long, counters.received), (1, 2, 1));
}

// The kernel begins to stamp a moment after the first socket asks for it, from a work queue; what
// comes before has the time of its reading. So the first tries may fail, the following may not.
#[test]
fn a_late_reading_does_not_make_a_datagram_younger() {
    let world = World::new();
    let (mut a, mut b) = world.ends("10.9.0.1", "10.9.0.2", None);
    let mut is_early = || {
        let before = now();
        b.send(b"early");
        let after = now();
        pass(Duration::from_millis(200));
        let at = a.take()[0].1;
        let slack = Duration::from_millis(20);
        at + slack >= before && at <= after + slack
    };
    assert!((0..20).any(|_| is_early()), "no datagram has the time of its receipt");
    assert!((0..3).all(|_| is_early()), "a datagram has the time of its reading");
}

#[test]
fn a_flood_is_drained_in_bounded_turns() {
    let world = World::new();
    let (mut a, mut b) = world.ends("10.9.0.1", "10.9.0.2", None);
    for _ in 0..DRAIN_MAX + 10 {
        b.send(b"x");
    }
    pass(Duration::from_millis(50));
    let mut count = 0;
    assert_eq!(a.link.drain(now(), |_| count += 1), Drained::More);
    assert_eq!(count, DRAIN_MAX);
    assert_eq!(a.link.drain(now(), |_| count += 1), Drained::Empty);
    assert_eq!(count, DRAIN_MAX + 10);
}

#[test]
fn a_nic_that_is_down_is_told_once_and_recovers() {
    let world = World::new();
    let (mut a, mut b) = world.ends("10.9.0.1", "10.9.0.2", None);
    ip("link set hb down");
    let told = a.send(b"x");
    assert!(matches!(told, Some(LinkChange::SendFails { .. })), "{told:?}");
    for _ in 0..20 {
        assert_eq!(a.send(b"x"), None);
    }
    assert!(a.link.is_open());
    assert!(a.link.send_error(node(2)).is_some());
    ip("link set hb up");
    wait_until_up("hb");
    for _ in 1..RECOVERED_MIN {
        assert_eq!(a.send(b"y"), None);
    }
    assert_eq!(a.send(b"y"), Some(LinkChange::SendWorks { to: node(2) }));
    assert_eq!(a.link.send_error(node(2)), None);
    assert!(arrives(&mut a, &mut b, b"y"));
    assert_eq!(a.link.counters().send_errors, 21);
}

#[test]
fn a_nic_that_is_deleted_and_made_again_is_found_again() {
    let world = World::new();
    for (local, peer, group) in [
        ("10.9.0.1", "10.9.0.2", None),
        ("10.9.0.1", "10.9.0.2", Some("239.255.9.4")),
        ("fd00:9::1", "fd00:9::2", None),
        ("fd00:9::1", "fd00:9::2", Some("ff02::9:4")),
    ] {
        let (mut a, _b) = world.ends(local, peer, group);
        ip("link del hb");
        assert_eq!(a.send(b"x"), Some(LinkChange::Gone), "{local} {group:?}");
        assert!(!a.link.is_open());
        let first = now();
        let told = a.reopen(first);
        assert!(matches!(told, Some(LinkChange::OpenFailed(_))), "{told:?}");
        assert_eq!(a.link.next_deadline(), Some(first + REOPEN_INTERVAL));
        assert_eq!(a.reopen(first + REOPEN_INTERVAL / 2), None);
        assert_eq!(a.reopen(first + REOPEN_INTERVAL), None, "the same error is not told again");
        assert_eq!(a.send(b"x"), None);
        world.lay_cable("hb");
        assert_eq!(a.reopen(first + REOPEN_INTERVAL), None, "not due yet");
        a.link.hasten();
        assert_eq!(a.reopen(first + REOPEN_INTERVAL), Some(LinkChange::Opened));
        world.in_b();
        let mut b = End::open(peer, 1, local, group);
        world.in_a();
        assert!(arrives(&mut a, &mut b, b"again"), "{local} {group:?}");
    }
}

#[test]
fn datagrams_are_marked_as_network_control_and_multicast_stays_on_its_cable() {
    let world = World::new();
    let (mut a, _b) = world.ends("10.9.0.1", "10.9.0.2", Some("239.255.9.4"));
    world.in_b();
    let every_frame = Protocol::from(i32::from(0x0003u16.to_be()));
    let tap = Socket::new(Domain::PACKET, Type::RAW, Some(every_frame)).unwrap();
    tap.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    a.send(b"marked");
    let mut frame = [0u8; 512];
    let (tos, ttl) = loop {
        let len = (&tap).read(&mut frame).expect("the datagram within two seconds");
        let is_ours = frame[..len].windows(6).any(|window| window == b"marked");
        if is_ours && frame[12..14] == [0x08, 0x00] {
            break (frame[15], frame[22]);
        }
    };
    assert_eq!((tos, ttl), (0xc0, 1));
}
