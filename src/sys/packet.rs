//! Packet sockets (`packet(7)`): whole Ethernet frames on one NIC.
//!
//! A socket for sending is bound to no protocol, so that it never receives; one for receiving is
//! bound to one NIC and one Ethernet type and sees only what its filter lets through. What the
//! frames say is not known here.
#![allow(unsafe_code, reason = "link-layer socket addresses have no safe constructor")]

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// A socket that sends frames through one NIC and receives nothing.
#[derive(Debug)]
pub struct PacketSender {
    socket: Socket,
    index: u32,
}

impl PacketSender {
    /// A socket for sending through the NIC with that index.
    ///
    /// # Errors
    /// Those of `socket(2)`; an index that no NIC has shows at the first frame.
    pub fn new(index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
        Ok(Self { socket, index })
    }

    /// Sends one frame of that Ethernet type, its Ethernet header included.
    ///
    /// # Errors
    /// Those of `sendto(2)`: `EAGAIN` or `ENOBUFS` if the NIC has no room now, `ENETDOWN` or
    /// `ENXIO` if it is down or gone.
    pub fn send(&self, ether_type: u16, frame: &[u8]) -> io::Result<()> {
        let address = link_address(self.index, ether_type)?;
        self.socket.send_to(frame, &address).map(|_sent| ())
    }
}

/// A socket that receives frames of one Ethernet type from one NIC.
#[derive(Debug)]
pub struct PacketReceiver {
    socket: Socket,
}

impl PacketReceiver {
    /// A socket for frames of that Ethernet type from the NIC with that index, and of these only
    /// what `filter` accepts. The filter is in place before the first frame comes. What the host
    /// itself sends is not received.
    ///
    /// # Errors
    /// Those of `socket(2)`, `setsockopt(2)` and `bind(2)`: `ENODEV` if there is no such NIC.
    pub fn new(index: u32, ether_type: u16, filter: &[SockFilter]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
        socket.attach_filter(filter)?;
        socket.bind(&link_address(index, ether_type)?)?;
        Ok(Self { socket })
    }

    /// Receives one frame into `buffer`; what does not fit is cut off. Returns its length.
    ///
    /// # Errors
    /// Those of `recv(2)`: `EAGAIN` if there is none, `ENETDOWN` once when the NIC went down.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // `Read` for `&Socket` is `recv(2)` into initialised memory.
        io::Read::read(&mut &self.socket, buffer)
    }
}

impl AsRawFd for PacketReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Where a packet socket is bound to, or a frame is sent through.
fn link_address(index: u32, ether_type: u16) -> io::Result<SockAddr> {
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of this system's `sockaddr_*` types and smaller than the
    // storage, as `view_as` demands.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = family;
    link.sll_protocol = ether_type.to_be();
    link.sll_ifindex = index;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>());
    let length = length.map_err(io::Error::other)?;
    // SAFETY: the storage holds a `sockaddr_ll` of exactly that length, its family set.
    Ok(unsafe { SockAddr::new(storage, length) })
}
