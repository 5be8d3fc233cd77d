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

/// What the kernel has under the name of a NIC, by `netdevice(7)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NicFacts {
    /// Its number.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Whether it is up and has its carrier.
    pub is_running: bool,
}

/// The NIC with that name; nothing if there is none, or it is no Ethernet.
///
/// # Errors
/// Those of `socket(2)` and `ioctl(2)` but `ENODEV`.
pub fn find_nic(name: &str) -> io::Result<Option<NicFacts>> {
    // SAFETY: an `ifreq` is plain data, for which all bytes zero is a value.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    let room = request.ifr_name.len().saturating_sub(1);
    if name.len() > room {
        return Ok(None);
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = core::ffi::c_char::from_ne_bytes([byte]);
    }
    let socket = Socket::new(Domain::UNIX, Type::DGRAM.cloexec(), None)?;
    let ask = |what| -> io::Result<Option<libc::ifreq>> {
        let mut asked = request;
        // SAFETY: the socket is open, and each of the requests given here reads the name of an
        // `ifreq` and writes into that `ifreq` alone.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut asked) };
        if result == 0 {
            return Ok(Some(asked));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENODEV) { Ok(None) } else { Err(error) }
    };
    let Some(numbered) = ask(libc::SIOCGIFINDEX)? else { return Ok(None) };
    let Some(addressed) = ask(libc::SIOCGIFHWADDR)? else { return Ok(None) };
    let Some(flagged) = ask(libc::SIOCGIFFLAGS)? else { return Ok(None) };
    // SAFETY: the kernel has filled in the number.
    let index = unsafe { numbered.ifr_ifru.ifru_ifindex };
    // SAFETY: the kernel has filled in the hardware address.
    let address = unsafe { addressed.ifr_ifru.ifru_hwaddr };
    // SAFETY: the kernel has filled in the flags.
    let flags = i32::from(unsafe { flagged.ifr_ifru.ifru_flags });
    if address.sa_family != libc::ARPHRD_ETHER {
        return Ok(None);
    }
    let mut mac = [0; 6];
    for (place, byte) in mac.iter_mut().zip(address.sa_data) {
        let [byte] = byte.to_ne_bytes();
        *place = byte;
    }
    let running = libc::IFF_UP | libc::IFF_RUNNING;
    let is_running = flags & running == running;
    let index = u32::try_from(index).map_err(io::Error::other)?;
    Ok(Some(NicFacts { index, mac, is_running }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_no_ethernet_nic_is_not_found() {
        assert_eq!(find_nic("lo").unwrap(), None, "it has no hardware address");
        assert_eq!(find_nic("tandem-none").unwrap(), None);
        assert_eq!(find_nic("a-name-that-no-nic-can-have").unwrap(), None);
        assert_eq!(find_nic("").unwrap(), None);
    }
}
