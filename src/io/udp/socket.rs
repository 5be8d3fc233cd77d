//! A UDP socket made ready for heartbeats: bound to its NIC, in its group, stamped by the kernel.
//!
//! Straight-line work: every step either succeeds or says which one failed and why.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns, RxqOvfl};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, SockRef, Socket, Type};

use crate::config::link::UdpLinkConfig;
use crate::io::link::{OpenError, Step as _};

/// Room for some thousand heartbeats: what arrives while the daemon is starved is judged by its
/// kernel time afterwards, and must not be lost; neither must heartbeats among forgeries, of which
/// 50 ms bring 5000 at the most that a NIC of 1 Gbit/s can.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// What the kernel gives without CAP_NET_ADMIN, or less (`net.core.rmem_max`).
const RECEIVE_BUFFER_MODEST: usize = 256 * 1024;
/// CS6, network control (RFC 4594 §3.1), in the upper six bits of the byte.
const TRAFFIC_CLASS: u32 = 48 << 2;
/// The highest socket priority that needs no capability; picks the first band of the queue.
const PRIORITY: u32 = 6;

/// The number that the NIC has at present; nothing if there is none of that name.
pub(super) fn nic_index(nic: &str) -> Option<u32> {
    if_nametoindex(nic).ok()
}

/// Where a datagram to `addr` goes, over the NIC numbered `nic`.
pub(super) fn target(addr: IpAddr, port: u16, nic: u32) -> SocketAddr {
    match addr {
        IpAddr::V4(addr) => SocketAddrV4::new(addr, port).into(),
        IpAddr::V6(addr) => {
            let scope = if needs_scope(addr) { nic } else { 0 };
            SocketAddrV6::new(addr, port, 0, scope).into()
        }
    }
}

/// Whether the address means something only together with a NIC (RFC 4007 §6).
fn needs_scope(addr: Ipv6Addr) -> bool {
    addr.is_unicast_link_local() || addr.is_multicast()
}

/// A socket for this link, and the number of its NIC. The filter is in place before anything can
/// come.
///
/// # Errors
/// If the NIC is not there, or the kernel refuses any of the steps.
pub(super) fn open(
    config: &UdpLinkConfig,
    filter: Option<&[SockFilter]>,
) -> Result<(Socket, u32), OpenError> {
    let nic = if_nametoindex(config.nic.as_str()).step("find the NIC")?;
    let domain = if config.local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::UDP)).step("make a socket")?;
    socket.bind_device(Some(config.nic.as_bytes())).step("bind to the NIC")?;
    match (config.local, config.group) {
        (IpAddr::V4(local), group) => prepare_v4(&socket, local, group, nic)?,
        (IpAddr::V6(_), group) => prepare_v6(&socket, group, nic)?,
    }
    // After the traffic class, which sets a priority of its own.
    socket.set_priority(PRIORITY).step("set the priority")?;
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_MODEST).step("set the receive buffer")?;
    }
    setsockopt(&socket, ReceiveTimestampns, &true).step("ask for receive times")?;
    setsockopt(&socket, RxqOvfl, &1).step("ask for what is dropped")?;
    if let Some(filter) = filter {
        socket.attach_filter(filter).step("attach the filter")?;
    }
    let own = target(config.group.unwrap_or(config.local), config.port, nic);
    socket.bind(&own.into()).step("bind to the address")?;
    Ok((socket, nic))
}

/// Puts a filter in the place of the one before, in one moment.
///
/// # Errors
/// If the kernel does not take it.
pub(super) fn attach(socket: &mio::net::UdpSocket, filter: &[SockFilter]) -> Result<(), OpenError> {
    SockRef::from(socket).attach_filter(filter).step("attach the filter")
}

fn prepare_v4(
    socket: &Socket,
    local: Ipv4Addr,
    group: Option<IpAddr>,
    nic: u32,
) -> Result<(), OpenError> {
    socket.set_tos_v4(TRAFFIC_CLASS).step("set the traffic class")?;
    // The address may come later than the daemon; until then sending fails, and is told.
    socket.set_freebind_v4(true).step("allow an address that is not there yet")?;
    let group = match group {
        None => return Ok(()),
        Some(IpAddr::V4(group)) => group,
        Some(IpAddr::V6(_)) => return Err(families_differ()),
    };
    socket.set_multicast_ttl_v4(1).step("set the TTL")?;
    socket.set_multicast_loop_v4(false).step("turn the loop off")?;
    socket.set_multicast_all_v4(false).step("refuse other groups")?;
    socket.set_multicast_if_v4(&local).step("send the group's datagrams from the address")?;
    let at = InterfaceIndexOrAddress::Index(nic);
    socket.join_multicast_v4_n(&group, &at).step("join the group")
}

fn prepare_v6(socket: &Socket, group: Option<IpAddr>, nic: u32) -> Result<(), OpenError> {
    socket.set_only_v6(true).step("keep to IPv6")?;
    socket.set_tclass_v6(TRAFFIC_CLASS).step("set the traffic class")?;
    // As above; besides, an IPv6 address is not usable until it was found to be unique.
    socket.set_freebind_v6(true).step("allow an address that is not there yet")?;
    let group = match group {
        None => return Ok(()),
        Some(IpAddr::V6(group)) => group,
        Some(IpAddr::V4(_)) => return Err(families_differ()),
    };
    socket.set_multicast_hops_v6(1).step("set the hop limit")?;
    socket.set_multicast_loop_v6(false).step("turn the loop off")?;
    socket.set_multicast_all_v6(false).step("refuse other groups")?;
    socket.set_multicast_if_v6(nic).step("send the group's datagrams over the NIC")?;
    socket.join_multicast_v6(&group, nic).step("join the group")
}

fn families_differ() -> OpenError {
    OpenError { step: "join a group of another address family", errno: Errno::EAFNOSUPPORT }
}
