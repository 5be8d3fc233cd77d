//! Optional ping targets of a service NIC: does the network behind it work, when its carrier says
//! nothing about that?
//!
//! One raw ICMP socket for each protocol that the targets need, bound to the NIC, so that a route
//! through another one proves nothing. The kernel's filter lets only answers to our own questions
//! through. The verdict is [`judge::Judge`]'s.

pub mod judge;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::SockaddrStorage;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::config::network::ServiceNic;
use crate::types::Instant;
use crate::wire::echo::{Echo, Family};
use judge::{Judge, low_bits};

/// The most answers that one turn reads from one socket; the rest is read in the next turn.
pub const ANSWERS_PER_TURN_MAX: usize = 32;
/// Longer than an answer with the longest IPv4 header; the rest of a longer one is cut off.
const ANSWER_LEN_MAX: usize = 256;

/// The pings of one NIC.
#[derive(Debug)]
pub struct Pinger {
    device: String,
    targets: Vec<IpAddr>,
    ident: u16,
    judge: Judge,
    outlets: Vec<Outlet>,
    /// The NIC's number, the scope of link-local targets; nothing while it is missing.
    index: Option<u32>,
}

#[derive(Debug)]
struct Outlet {
    family: Family,
    token: Token,
    socket: Socket,
    has_more: bool,
}

impl Pinger {
    /// The pings of that NIC, with `ident` in each question; nothing if it has no targets.
    pub fn new(nic: &ServiceNic, ident: u16, now: Instant) -> Option<Self> {
        (!nic.ping.is_empty()).then(|| Self {
            device: nic.name.clone(),
            targets: nic.ping.clone(),
            ident,
            judge: Judge::new(nic.ping_interval, nic.ping_count.get(), now),
            outlets: Vec::new(),
            index: None,
        })
    }

    /// Opens the sockets on the NIC, which has that number now, or closes them if it is missing.
    ///
    /// # Errors
    /// Those of the sockets and of the poll; the pings of that protocol are then unanswered.
    pub fn reopen(
        &mut self,
        index: Option<u32>,
        registry: &Registry,
        v4: Token,
        v6: Token,
    ) -> io::Result<()> {
        for outlet in self.outlets.drain(..) {
            registry.deregister(&mut SourceFd(&outlet.socket.as_raw_fd()))?;
        }
        self.index = index;
        if index.is_none() {
            return Ok(());
        }
        for (family, token) in [(Family::V4, v4), (Family::V6, v6)] {
            if self.targets.iter().any(|target| family_of(*target) == family) {
                let socket = open(family, &self.device, self.ident)?;
                registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
                self.outlets.push(Outlet { family, token, socket, has_more: true });
            }
        }
        Ok(())
    }

    /// Notes that a token is ready; whether it is one of this NIC's.
    pub fn ready(&mut self, token: Token) -> bool {
        let outlet = self.outlets.iter_mut().find(|outlet| outlet.token == token);
        outlet.map(|outlet| outlet.has_more = true).is_some()
    }

    /// Reads the answers, as far as one turn allows, then asks again if it is time. Tells the
    /// verdict if it changed.
    pub fn turn(&mut self, now: Instant) -> Option<bool> {
        let mut verdict = None;
        for outlet in &mut self.outlets {
            let judge = &mut self.judge;
            let (targets, ident) = (&self.targets, self.ident);
            outlet.drain(|echo, from| {
                if echo.ident == ident && targets.contains(&from) {
                    verdict = judge.answer(echo.seq).or(verdict);
                }
            });
        }
        // What is unread may be the answer that the verdict needs.
        if self.has_more() {
            return verdict;
        }
        let Some((round, judged)) = self.judge.begin_round(now) else { return verdict };
        self.ask(low_bits(round));
        judged.or(verdict)
    }

    fn ask(&self, seq: u16) {
        let echo = Echo { ident: self.ident, seq };
        for target in &self.targets {
            let family = family_of(*target);
            let Some(outlet) = self.outlets.iter().find(|o| o.family == family) else { continue };
            let address = match *target {
                IpAddr::V4(addr) => SocketAddr::V4(SocketAddrV4::new(addr, 0)),
                IpAddr::V6(addr) => {
                    let is_local = addr.is_unicast_link_local();
                    let scope = self.index.filter(|_| is_local).unwrap_or(0);
                    SocketAddr::V6(SocketAddrV6::new(addr, 0, 0, scope))
                }
            };
            if let Err(error) = outlet.socket.send_to(&echo.emit_request(family), &address.into()) {
                log::debug!("ping {target} through {}: {error}", self.device);
            }
        }
    }

    /// Whether there is something to read.
    pub fn has_more(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.has_more)
    }

    /// When the next questions are due.
    pub fn next_deadline(&self) -> Instant {
        self.judge.next_round()
    }
}

impl Outlet {
    fn drain(&mut self, mut take: impl FnMut(Echo, IpAddr)) {
        if !self.has_more {
            return;
        }
        let mut buffer = [0; ANSWER_LEN_MAX];
        for _ in 0..ANSWERS_PER_TURN_MAX {
            match receive(self.socket.as_raw_fd(), &mut buffer) {
                Ok(Some((len, from))) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    if let Some(echo) = Echo::parse_reply(self.family, bytes) {
                        take(echo, from);
                    }
                }
                Ok(None) => {}
                Err(nix::Error::EAGAIN) => {
                    self.has_more = false;
                    return;
                }
                // An interrupted call, or an ICMP error that a question caused.
                Err(_) => {}
            }
        }
    }
}

/// One datagram and its sender.
fn receive(fd: RawFd, buffer: &mut [u8]) -> nix::Result<Option<(usize, IpAddr)>> {
    let (len, from) = nix::sys::socket::recvfrom::<SockaddrStorage>(fd, buffer)?;
    Ok(from.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|from| IpAddr::V4(from.ip()));
        let addr = v4.or_else(|| from.as_sockaddr_in6().map(|from| IpAddr::V6(from.ip())))?;
        Some((len, addr))
    }))
}

fn family_of(addr: IpAddr) -> Family {
    if addr.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn open(family: Family, device: &str, ident: u16) -> io::Result<Socket> {
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    socket.attach_filter(&reply_filter(family, ident))?;
    socket.bind_device(Some(device.as_bytes()))?;
    Ok(socket)
}

/// Lets echo replies with our identifier through. X is where the ICMP header begins: behind the IP
/// header for IPv4, at the beginning for IPv6.
fn reply_filter(family: Family, ident: u16) -> [SockFilter; 7] {
    const LOAD_X_HEADER_LEN: u16 = 0xb1;
    const LOAD_X_NUMBER: u16 = 0x01;
    const LOAD_BYTE_AT_X: u16 = 0x50;
    const LOAD_HALF_AT_X: u16 = 0x48;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const IDENT_AT: u32 = 4;
    let (begin, reply) = match family {
        Family::V4 => (LOAD_X_HEADER_LEN, 0),
        Family::V6 => (LOAD_X_NUMBER, 129),
    };
    [
        SockFilter::new(begin, 0, 0, 0),
        SockFilter::new(LOAD_BYTE_AT_X, 0, 0, 0),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, reply),
        SockFilter::new(LOAD_HALF_AT_X, 0, 0, IDENT_AT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(ident)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
