//! A non-blocking netlink socket behind `netlink_proto`'s trait, without any async runtime.
//!
//! The protocol machine polls it with a waker that does nothing; the loop polls the machine when
//! the descriptor is ready. It hands out a bounded number of datagrams per turn, so that a flood of
//! events cannot keep the loop from its heartbeats.

use core::cell::Cell;
use core::task::{Context, Poll};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use bytes::BufMut;
use netlink_proto::sys::AsyncSocket;
use netlink_sys::{Socket, SocketAddr};

/// The most datagrams that one turn reads from one socket; the rest is read in the next turn.
pub const DATAGRAMS_PER_TURN_MAX: u32 = 64;

/// A netlink socket that never blocks.
#[derive(Debug)]
pub struct NetlinkSocket {
    socket: Socket,
    /// Datagrams that may still be read in this turn.
    allowance: Cell<u32>,
}

impl NetlinkSocket {
    /// A new turn begins.
    pub fn begin_turn(&self) {
        self.allowance.set(DATAGRAMS_PER_TURN_MAX);
    }

    /// Whether the turn ended before the socket was empty. No readiness event will tell again.
    pub fn has_more(&self) -> bool {
        self.allowance.get() == 0
    }

    /// One receiving call: pending if there is nothing, or the turn has had its share.
    fn receive<T>(&self, mut call: impl FnMut(&Socket) -> io::Result<T>) -> Poll<io::Result<T>> {
        let Some(rest) = self.allowance.get().checked_sub(1) else { return Poll::Pending };
        let polled = retry(|| call(&self.socket));
        if polled.is_ready() {
            self.allowance.set(rest);
        }
        polled
    }
}

/// Makes the call until a signal does not interrupt it; "would block" is pending.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

impl AsRawFd for NetlinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsyncSocket for NetlinkSocket {
    fn socket_ref(&self) -> &Socket {
        &self.socket
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    fn new(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, allowance: Cell::new(DATAGRAMS_PER_TURN_MAX) })
    }

    fn poll_send(&self, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        retry(|| self.socket.send(buf, 0))
    }

    fn poll_send_to(
        &self,
        _cx: &mut Context<'_>,
        buf: &[u8],
        addr: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        retry(|| self.socket.send_to(buf, addr, 0))
    }

    fn poll_recv<B: BufMut>(&self, _cx: &mut Context<'_>, buf: &mut B) -> Poll<io::Result<()>> {
        self.receive(|socket| socket.recv(buf, 0).map(|_len| ()))
    }

    fn poll_recv_from<B: BufMut>(
        &self,
        _cx: &mut Context<'_>,
        buf: &mut B,
    ) -> Poll<io::Result<SocketAddr>> {
        self.receive(|socket| socket.recv_from(buf, 0).map(|(_len, addr)| addr))
    }

    fn poll_recv_from_full(
        &self,
        _cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        self.receive(Socket::recv_from_full)
    }
}
