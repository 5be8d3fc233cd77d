//! One connection to a BMC: a UDP socket of its own that carries the wire client's datagrams.
//!
//! What the network refuses (no route, port unreachable, no socket to be had) is a datagram lost:
//! the client repeats it, and its deadline is the only end. A BMC that boots, or a switch port
//! that comes up, is found that way.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use crate::types::Instant;
use crate::wire::ipmi::{Client, DATAGRAM_LEN_MAX, Order};

/// The most datagrams taken in one turn of the loop.
const DATAGRAMS_PER_TURN_MAX: usize = 32;

/// A client and its socket.
pub(super) struct Conn {
    pub(super) client: Client,
    address: SocketAddr,
    pub(super) token: Token,
    /// Nothing as long as there is none to be had.
    socket: Option<UdpSocket>,
    /// The last thing the network said, for the log.
    pub(super) trouble: Option<io::Error>,
    /// Whether its kept session did not answer in time when it was last asked.
    pub(super) is_suspect: bool,
    /// When its session answered last.
    pub(super) answered_at: Instant,
}

impl Conn {
    /// Nothing is sent yet.
    pub(super) fn new(address: SocketAddr, token: Token, client: Client) -> Self {
        Self {
            client,
            address,
            token,
            socket: None,
            trouble: None,
            is_suspect: false,
            answered_at: Instant::ZERO,
        }
    }

    pub(super) fn begin(
        &mut self,
        registry: &Registry,
        now: Instant,
        order: Order,
        deadline: Instant,
    ) {
        self.client.begin(now, order, deadline);
        self.flush(registry);
    }

    pub(super) fn receive(&mut self, registry: &Registry, now: Instant) {
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

    /// Does what has come due. The answer may be there, and only we are late: it is taken first.
    pub(super) fn expire(&mut self, registry: &Registry, now: Instant) {
        if self.client.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.receive(registry, now);
        self.client.expire(now);
        self.flush(registry);
    }

    /// Gives the order up. A session that was kept before is kept.
    pub(super) fn cancel(&mut self, registry: &Registry, now: Instant) {
        self.is_suspect = self.client.is_suspect(now);
        self.client.cancel(now);
        self.flush(registry);
    }

    /// Gives everything up, and closes the session there may be.
    pub(super) fn close(&mut self, registry: &Registry, now: Instant) {
        self.client.close(now);
        self.flush(registry);
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
