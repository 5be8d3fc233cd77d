//! Destroys the TCP connections of VIPs that this node no longer has.
//!
//! A connection whose address went elsewhere would hang until its timeouts; its process learns at
//! once that it is over. Best effort: a kernel without `INET_DIAG_DESTROY` refuses, and nothing
//! depends on it. Lists and destroys a bounded number per turn.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

use crate::wire::sock_diag::{Connection, Family, Item, items, list};

/// The most datagrams that one turn reads.
const DATAGRAMS_PER_TURN_MAX: usize = 8;
/// The most connections that one turn destroys: each is a message, and may send a reset.
const DESTROYED_PER_TURN_MAX: usize = 64;
/// The most connections that are remembered; further ones are left to their timeouts.
const CONNECTIONS_MAX: usize = 65_536;
/// The kernel's datagrams of a list are at most this long.
const DATAGRAM_LEN_MAX: usize = 32 * 1024;

/// One round of destruction.
#[derive(Debug)]
pub struct Destroyer {
    socket: Socket,
    locals: BTreeSet<IpAddr>,
    step: Step,
    found: VecDeque<Connection>,
    buffer: Vec<u8>,
    /// How many the kernel destroyed.
    pub destroyed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    List(Family),
    Destroy,
    Over,
}

impl Destroyer {
    /// Begins to destroy the connections whose end on this host is one of `locals`.
    ///
    /// # Errors
    /// Those of the netlink socket.
    pub fn begin(locals: BTreeSet<IpAddr>) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        let destroyer = Self {
            socket,
            locals,
            step: Step::List(Family::V4),
            found: VecDeque::new(),
            buffer: Vec::with_capacity(DATAGRAM_LEN_MAX),
            destroyed: 0,
        };
        destroyer.send(&list(Family::V4))?;
        Ok(destroyer)
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket.send_to(message, &SocketAddr::new(0, 0), 0).map(|_sent| ())
    }

    /// Whether there is nothing left to do.
    pub fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// Does the share of one turn. The kernel answers while it is asked: silence ends it.
    ///
    /// # Errors
    /// Those of the netlink socket; it is over then.
    pub fn turn(&mut self) -> io::Result<()> {
        let result = self.advance();
        if result.is_err() {
            self.step = Step::Over;
        }
        result
    }

    fn advance(&mut self) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                Ok(_) => self.take_datagram()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.destroy_chunk();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_datagram(&mut self) -> io::Result<()> {
        let buffer = core::mem::take(&mut self.buffer);
        let mut has_ended = false;
        for item in items(&buffer) {
            match item {
                Item::Connection(connection) => {
                    let is_ours = self.locals.contains(&connection.local());
                    if is_ours && self.found.len() < CONNECTIONS_MAX {
                        self.found.push_back(connection);
                    }
                }
                Item::End => has_ended = true,
                Item::Status(0) => self.destroyed += 1,
                Item::Status(code) => {
                    // It ended by itself, or the kernel cannot; a list that is refused has ended.
                    log::debug!("a connection was not destroyed: error {code}");
                    has_ended = true;
                }
            }
        }
        self.buffer = buffer;
        match self.step {
            Step::List(Family::V4) if has_ended => {
                self.step = Step::List(Family::V6);
                self.send(&list(Family::V6))
            }
            Step::List(Family::V6) if has_ended => {
                self.step = Step::Destroy;
                Ok(())
            }
            Step::List(_) | Step::Destroy | Step::Over => Ok(()),
        }
    }

    /// Nothing is left to read: destroys the next ones.
    fn destroy_chunk(&mut self) -> io::Result<()> {
        if self.step != Step::Destroy || self.found.is_empty() {
            self.step = Step::Over;
            return Ok(());
        }
        for _ in 0..DESTROYED_PER_TURN_MAX {
            let Some(connection) = self.found.pop_front() else { break };
            self.send(&connection.destroy())?;
        }
        Ok(())
    }
}
