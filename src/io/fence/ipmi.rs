//! One order to a BMC: a UDP socket of its own that carries the wire client's datagrams.
//!
//! What the network refuses (no route, port unreachable, no socket to be had) is a datagram lost:
//! the client repeats it, and its deadline is the only end. A BMC that boots, or a switch port
//! that comes up, is found that way.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::{Executor, Learned, Order, Verdict};
use crate::config::device::{Secret, Suite};
use crate::types::{FenceFault, Instant};
use crate::wire::ipmi::{self, CipherSuite, Client, DATAGRAM_LEN_MAX, Login};

/// The most datagrams taken in one turn of the loop.
const DATAGRAMS_PER_TURN_MAX: usize = 32;

/// The suites in the order in which they are tried: what `last` worked goes first.
pub(super) fn suites_to_try(suite: Suite, last: Option<CipherSuite>) -> Vec<CipherSuite> {
    match (suite, last) {
        (Suite::Three, _) => vec![CipherSuite::Three],
        (Suite::Seventeen, _) => vec![CipherSuite::Seventeen],
        (Suite::Auto, Some(CipherSuite::Three)) => {
            vec![CipherSuite::Three, CipherSuite::Seventeen]
        }
        (Suite::Auto, Some(CipherSuite::Seventeen) | None) => {
            vec![CipherSuite::Seventeen, CipherSuite::Three]
        }
    }
}

/// A client with fresh random numbers; the verdict to give if there can be none.
pub(super) fn new_client(
    user: &str,
    password: &Secret,
    suites: &[CipherSuite],
) -> Result<Client, Verdict> {
    let Some(login) = Login::new(user, password.reveal()) else {
        let reason = "user or password is longer than any BMC's".to_owned();
        return Err(Verdict { reading: Err(FenceFault::Credentials), reason });
    };
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        let reason = format!("no random numbers: {error}");
        return Err(Verdict { reading: Err(FenceFault::AgentFailed), reason });
    }
    Ok(Client::new(login, suites, &seed))
}

/// The order in the wire client's words: to it, a check is a reading.
pub(super) const fn wire_order(order: Order) -> ipmi::Order {
    match order {
        Order::Off => ipmi::Order::Off,
        Order::On => ipmi::Order::On,
        Order::Read | Order::Check => ipmi::Order::Read,
    }
}

/// An order under way.
pub(super) struct IpmiOrder {
    client: Client,
    address: SocketAddr,
    token: Token,
    /// Nothing as long as there is none to be had.
    socket: Option<UdpSocket>,
    /// The last thing the network said, for the log.
    trouble: Option<io::Error>,
}

impl IpmiOrder {
    /// Sends what the `client`, which has begun its order, has to send.
    pub(super) fn start(
        registry: &Registry,
        token: Token,
        address: SocketAddr,
        client: Client,
    ) -> Self {
        let mut order = Self { client, address, token, socket: None, trouble: None };
        order.flush(registry);
        order
    }

    fn flush(&mut self, registry: &Registry) {
        while let Some(datagram) = self.client.take_transmit() {
            if let Err(error) = self.send(registry, &datagram) {
                self.trouble = Some(error);
            }
        }
    }

    fn send(&mut self, registry: &Registry, datagram: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(registry, self.token, self.address)?,
        };
        let socket = self.socket.insert(socket);
        match socket.send(datagram) {
            // This is the answer to an earlier datagram; this one was not sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                socket.send(datagram).map(drop)
            }
            sent => sent.map(drop),
        }
    }

    fn receive(&mut self, registry: &Registry, now: Instant) {
        // One byte more than any datagram that is understood: longer ones are seen to be.
        let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            let Some(socket) = &self.socket else { return };
            match socket.recv(&mut buffer) {
                Ok(len) => {
                    self.client.handle(now, buffer.get(..len).unwrap_or(&[]));
                    self.flush(registry);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.trouble = Some(error),
            }
        }
        // There may be more: have the token ready again.
        if let Some(mut socket) = self.socket.take()
            && registry.reregister(&mut socket, self.token, Interest::READABLE).is_ok()
        {
            self.socket = Some(socket);
        }
    }
}

impl Executor for IpmiOrder {
    fn ready(&mut self, registry: &Registry, now: Instant) {
        self.receive(registry, now);
    }

    fn expire(&mut self, registry: &Registry, now: Instant) {
        // The answer may be there, and only we are late.
        self.receive(registry, now);
        self.client.expire(now);
        self.flush(registry);
    }

    fn cancel(&mut self, registry: &Registry, now: Instant) {
        self.client.cancel(now);
        self.flush(registry);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.client.next_deadline()
    }

    fn take_verdict(&mut self) -> Option<Verdict> {
        let reading = self.client.take_outcome()?;
        let reason = match (&reading, &self.trouble) {
            (Err(_), Some(error)) => error.to_string(),
            (Err(_), None) | (Ok(_), _) => String::new(),
        };
        Some(Verdict { reading, reason })
    }

    fn is_over(&self) -> bool {
        self.client.is_idle()
    }

    fn learned(&self) -> Learned {
        Learned { suite: self.client.agreed_suite(), guid: self.client.guid() }
    }
}

/// A socket that speaks to `address` alone, from a port that nobody can foresee.
fn open(registry: &Registry, token: Token, address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let mut socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    registry.register(&mut socket, token, Interest::READABLE)?;
    Ok(socket)
}
