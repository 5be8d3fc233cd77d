//! One UDP heartbeat link: datagrams out, datagrams in with the kernel's time of their receipt.
//!
//! It decides nothing about a peer. It refuses to know what is in a datagram, and no failure of it
//! is fatal: a link that cannot send or is not open says so once, counts, and tries again. The
//! socket is bound to its NIC; when the NIC goes away for good the socket is dead, so that it is
//! closed and opened again as soon as there is a NIC of that name.
//!
//! ```text
//!          reopen: ok                    send: the NIC is gone
//! closed ──────────────► open (sends) ─────────────────────────► closed
//!    ▲ │ reopen: failed     │  ▲
//!    └─┘ (at most every     ▼  │ error / RECOVERED_MIN sends without one
//!    REOPEN_INTERVAL)    open (cannot send to a peer)
//! ```

pub mod guard;
mod socket;

use core::time::Duration;
use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use nix::sys::time::TimeSpec;

pub use guard::{KnownLife, Width};

use super::link::{
    Datagram, Drained, LinkChange, LinkCounters, OpenError, REOPEN_INTERVAL, Sending, errno_of,
    send_failure,
};
use super::receive_clock::ClockPair;
use crate::config::link::UdpLinkConfig;
use crate::types::{Instant, NodeId};
use crate::wire::heartbeat::LEN_MAX;

/// The most datagrams that one drain takes from the socket. What is left waits for the next turn,
/// so that a flood on one link starves no other.
pub const DRAIN_MAX: usize = 64;

/// One UDP heartbeat link.
#[derive(Debug)]
pub struct UdpLink {
    config: UdpLinkConfig,
    token: Token,
    state: State,
    peers: Vec<Peer>,
    counters: LinkCounters,
    cmsg: Vec<u8>,
    /// The cluster whose heartbeats the kernel lets through; everybody's if there is none.
    cluster: Option<u64>,
    width: Width,
    /// What the present socket has dropped.
    dropped: u32,
}

#[derive(Debug)]
enum State {
    Closed {
        retry_at: Instant,
        error: Option<OpenError>,
    },
    Open {
        socket: UdpSocket,
        nic: u32,
        /// When the socket was last seen empty: nothing that is in it now is older.
        empty_at: Instant,
    },
}

#[derive(Debug)]
struct Peer {
    node: NodeId,
    addr: IpAddr,
    target: SocketAddr,
    sending: Sending,
}

impl UdpLink {
    /// A link, not open yet: [`UdpLink::reopen`] does that.
    pub fn new(config: UdpLinkConfig, token: Token) -> Self {
        let peers = config.peers.iter().map(|(node, addr)| Peer {
            node: *node,
            addr: *addr,
            target: SocketAddr::new(*addr, config.port),
            sending: Sending::Works,
        });
        Self {
            peers: peers.collect(),
            config,
            token,
            state: State::Closed { retry_at: Instant::ZERO, error: None },
            counters: LinkCounters::default(),
            cmsg: cmsg_space!(TimeSpec, u32),
            cluster: None,
            width: Width::Wide,
            dropped: 0,
        }
    }

    /// Lets the kernel drop what cannot be a heartbeat of this cluster, from the next opening on.
    pub fn guard(&mut self, cluster: u64) {
        self.cluster = Some(cluster);
    }

    /// Changes how much the kernel lets through.
    ///
    /// # Errors
    /// If the kernel does not take the filter; the one before stays.
    pub fn set_width(&mut self, width: Width) -> Result<(), OpenError> {
        let (State::Open { socket, .. }, Some(cluster)) = (&self.state, self.cluster) else {
            return Ok(());
        };
        if width == self.width {
            return Ok(());
        }
        let filter = guard::filter(&self.config, cluster, &width);
        socket::attach(socket, &filter)?;
        self.width = width;
        Ok(())
    }

    /// Whether there is a socket.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// When [`UdpLink::reopen`] is due; nothing while the link is open.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Closed { retry_at, .. } => Some(retry_at),
            State::Open { .. } => None,
        }
    }

    /// Makes the next attempt to open due at once: for when a NIC of that name appeared.
    pub fn hasten(&mut self) {
        if let State::Closed { retry_at, .. } = &mut self.state {
            *retry_at = Instant::ZERO;
        }
    }

    /// Opens the socket if it is not open and an attempt is due.
    pub fn reopen(&mut self, registry: &Registry, now: Instant) -> Option<LinkChange> {
        let State::Closed { retry_at, error: last } = self.state else { return None };
        if now < retry_at {
            return None;
        }
        match self.open(registry, now) {
            Ok(()) => Some(LinkChange::Opened),
            Err(error) => {
                let retry_at = now + REOPEN_INTERVAL;
                self.state = State::Closed { retry_at, error: Some(error) };
                (last != Some(error)).then_some(LinkChange::OpenFailed(error))
            }
        }
    }

    fn open(&mut self, registry: &Registry, now: Instant) -> Result<(), OpenError> {
        let filter = self.cluster.map(|cluster| guard::filter(&self.config, cluster, &Width::Wide));
        let (made, nic) = socket::open(&self.config, filter.as_deref())?;
        self.width = Width::Wide;
        self.dropped = 0;
        let mut socket = UdpSocket::from_std(made.into());
        registry
            .register(&mut socket, self.token, Interest::READABLE)
            .map_err(|error| OpenError { step: "watch the socket", errno: errno_of(&error) })?;
        for peer in &mut self.peers {
            let addr = self.config.group.unwrap_or(peer.addr);
            peer.target = socket::target(addr, self.config.port, nic);
            peer.sending = Sending::Works;
        }
        self.counters.opened += 1;
        self.state = State::Open { socket, nic, empty_at: now };
        Ok(())
    }

    /// Sends one datagram to one peer: to its address, or to the group.
    pub fn send(&mut self, to: NodeId, bytes: &[u8], now: Instant) -> Option<LinkChange> {
        let peer = self.peers.iter_mut().find(|peer| peer.node == to)?;
        let State::Open { socket, nic, .. } = &self.state else {
            self.counters.send_errors += 1;
            return None;
        };
        match socket.send_to(bytes, peer.target) {
            Ok(_) => {
                self.counters.sent += 1;
                peer.note_success()
            }
            Err(error) => {
                self.counters.send_errors += 1;
                // IPv4 says ENODEV when the NIC is gone, IPv6 ENETUNREACH: only its number tells.
                if socket::nic_index(&self.config.nic) != Some(*nic) {
                    self.state = State::Closed { retry_at: now, error: None };
                    return Some(LinkChange::Gone);
                }
                peer.note_failure(errno_of(&error))
            }
        }
    }

    /// Takes up to [`DRAIN_MAX`] datagrams out of the socket and hands those that may be
    /// heartbeats to `sink`. `now` is the turn's; no datagram is said to have come later.
    pub fn drain(&mut self, now: Instant, mut sink: impl FnMut(Datagram<'_>)) -> Drained {
        let State::Open { socket, empty_at, .. } = &mut self.state else { return Drained::Empty };
        let is_multicast = self.config.group.is_some();
        let clocks = ClockPair::read();
        let mut buffer = [0u8; LEN_MAX];
        for _ in 0..DRAIN_MAX {
            let received = match receive(socket, &mut buffer, &mut self.cmsg) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => {
                    *empty_at = now;
                    return Drained::Empty;
                }
                Err(_) => {
                    self.counters.receive_errors += 1;
                    continue;
                }
            };
            if let Some(dropped) = received.dropped {
                let more = dropped.wrapping_sub(core::mem::replace(&mut self.dropped, dropped));
                self.counters.by_kernel = self.counters.by_kernel.saturating_add(u64::from(more));
            }
            let from = self.peers.iter().find(|peer| Some(peer.addr) == received.source);
            let Some(bytes) = received.len.and_then(|len| buffer.get(..len)) else {
                self.counters.too_long += 1;
                continue;
            };
            if from.is_none() && !is_multicast {
                self.counters.strangers += 1;
                continue;
            }
            self.counters.received += 1;
            let at = match clocks.zip(received.stamp) {
                Some((clocks, stamp)) => clocks.moment_of(stamp, *empty_at, now),
                None => now,
            };
            let from = from.filter(|_| !is_multicast).map(|peer| peer.node);
            sink(Datagram { bytes, at, from });
        }
        Drained::More
    }

    /// What went over it.
    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Why nothing can be sent to that peer at present; nothing if it can.
    pub fn send_error(&self, to: NodeId) -> Option<String> {
        match &self.state {
            State::Closed { error: Some(error), .. } => return Some(error.to_string()),
            State::Closed { error: None, .. } => {
                return Some(format!("cannot find the NIC {}", self.config.nic));
            }
            State::Open { .. } => {}
        }
        let peer = self.peers.iter().find(|peer| peer.node == to)?;
        peer.sending.error().map(|errno| format!("cannot send: {}", send_failure(errno)))
    }

    /// The way it takes to that peer, for people.
    pub fn path(&self, to: NodeId) -> String {
        let own = self.peers.iter().find(|peer| peer.node == to).map(|peer| peer.addr);
        let to = self.config.group.or(own).map(|addr| addr.to_string()).unwrap_or_default();
        format!("{} {} -> {to}", self.config.nic, self.config.local)
    }

    /// The link's part of the configuration.
    pub fn config(&self) -> &UdpLinkConfig {
        &self.config
    }
}

impl Peer {
    fn note_success(&mut self) -> Option<LinkChange> {
        let to = self.node;
        self.sending.succeed().then_some(LinkChange::SendWorks { to })
    }

    fn note_failure(&mut self, errno: Errno) -> Option<LinkChange> {
        let to = self.node;
        self.sending.fail(errno).then_some(LinkChange::SendFails { to, errno })
    }
}

struct Received {
    /// How long it is; nothing if it did not fit.
    len: Option<usize>,
    /// The kernel's time of its receipt, by the wall clock.
    stamp: Option<Duration>,
    source: Option<IpAddr>,
    /// How many the socket had dropped when it came; nothing if none.
    dropped: Option<u32>,
}

fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8; LEN_MAX],
    cmsg: &mut [u8],
) -> nix::Result<Received> {
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(cmsg), flags)?;
    let is_whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    let (mut stamp, mut dropped) = (None, None);
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampns(time) = control {
            stamp = Some(Duration::from(time));
        } else if let ControlMessageOwned::RxqOvfl(count) = control {
            dropped = Some(count);
        }
    }
    let source = message.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|found| IpAddr::V6(found.ip())))
    });
    Ok(Received { len: is_whole.then_some(message.bytes), stamp, source, dropped })
}
