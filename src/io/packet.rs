//! Frames of one service NIC: announcements and questions out, other hosts' claims in.
//!
//! Three packet sockets: one that only sends, one for ARP, one for neighbour advertisements. The
//! kernel lets through only frames that concern a VIP of the NIC ([`filter`]), and a turn reads a
//! bounded number of them. Whether a claim matters is not known here; only those of our own MACs
//! are left out.

pub(super) mod filter;

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::SockFilter;

use super::announce::Sending;
use crate::sys::packet::{PacketReceiver, PacketSender};
use crate::types::{Mac, VipId};
use crate::wire::arp::{self, Arp};
use crate::wire::ndp::{self, Ndp};

/// The most claims of VIPs that one turn reads from one socket; the rest is read in the next turn.
pub const CLAIMS_PER_TURN_MAX: usize = 64;
/// The most frames that one turn reads from one socket, those included that claim no VIP: a filter
/// with many VIPs is not exact.
pub const FRAMES_PER_TURN_MAX: usize = 1024;
/// Longer than any frame that is understood; the rest of a longer one is cut off.
const FRAME_LEN_MAX: usize = 1514;

/// The VIPs of one NIC by their addresses.
pub type VipsByAddress = BTreeMap<IpAddr, VipId>;

/// The sockets of one NIC.
#[derive(Debug)]
pub struct NicPackets {
    sender: PacketSender,
    arp: Inlet,
    ndp: Inlet,
    vips: VipsByAddress,
}

/// One receiving socket.
#[derive(Debug)]
struct Inlet {
    socket: PacketReceiver,
    token: Token,
    /// The last turn ended before the socket was empty.
    has_more: bool,
}

impl NicPackets {
    /// Opens the sockets on the NIC with that number and registers them.
    ///
    /// # Errors
    /// Those of the sockets and of the poll; `ENODEV` if the NIC is gone.
    pub fn open(
        index: u32,
        vips: VipsByAddress,
        registry: &Registry,
        arp: Token,
        ndp: Token,
    ) -> io::Result<Self> {
        let open = |ether_type, filter: &[SockFilter], token| -> io::Result<Inlet> {
            let socket = PacketReceiver::new(index, ether_type, filter)?;
            registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
            // Frames may have come before the registration.
            Ok(Inlet { socket, token, has_more: true })
        };
        Ok(Self {
            sender: PacketSender::new(index)?,
            arp: open(arp::ETHER_TYPE, &filter::for_arp(vips.keys()), arp)?,
            ndp: open(ndp::ETHER_TYPE, &filter::for_ndp(vips.keys()), ndp)?,
            vips,
        })
    }

    /// Announces that `vip` is at `mac`: for IPv4 as a request and as a reply, since some switches
    /// and hosts learn from one of them only.
    pub fn announce(&self, mac: Mac, vip: IpAddr, is_router: bool) -> Sending {
        match vip {
            IpAddr::V4(vip) => {
                let request = self.send_arp(&Arp::announce_by_request(mac, vip));
                match request {
                    Sending::Busy => Sending::Busy,
                    Sending::Over => self.send_arp(&Arp::announce_by_reply(mac, vip)),
                }
            }
            IpAddr::V6(vip) => self.send_ndp(&Ndp::announce(mac, vip, is_router)),
        }
    }

    /// Asks who has `vip`, from the host's address `own` if it has a suitable one.
    ///
    /// # Errors
    /// The question did not leave: there is no room now, or the NIC is down or gone.
    pub fn ask(&self, mac: Mac, own: Option<IpAddr>, vip: IpAddr) -> io::Result<()> {
        match vip {
            IpAddr::V4(vip) => {
                let own = own.and_then(|own| match own {
                    IpAddr::V4(own) => Some(own),
                    IpAddr::V6(_) => None,
                });
                self.sender.send(arp::ETHER_TYPE, &Arp::who_has(mac, own, vip).emit())
            }
            IpAddr::V6(vip) => {
                let own = own.and_then(|own| match own {
                    IpAddr::V6(own) => Some(own),
                    IpAddr::V4(_) => None,
                });
                let question = Ndp::who_has(mac, own, vip).emit();
                self.sender.send(ndp::ETHER_TYPE, question.as_bytes())
            }
        }
    }

    fn send_arp(&self, packet: &Arp) -> Sending {
        self.send(arp::ETHER_TYPE, &packet.emit())
    }

    fn send_ndp(&self, packet: &Ndp) -> Sending {
        self.send(ndp::ETHER_TYPE, packet.emit().as_bytes())
    }

    fn send(&self, ether_type: u16, frame: &[u8]) -> Sending {
        match self.sender.send(ether_type, frame) {
            Ok(()) => Sending::Over,
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR) => Sending::Busy,
                Some(_) | None => {
                    log::debug!("a frame was not sent: {error}");
                    Sending::Over
                }
            },
        }
    }

    /// Notes that a token is ready; whether it is one of this NIC's.
    pub fn ready(&mut self, token: Token) -> bool {
        let mut inlets = [&mut self.arp, &mut self.ndp].into_iter();
        let inlet = inlets.find(|inlet| inlet.token == token);
        inlet.map(|inlet| inlet.has_more = true).is_some()
    }

    /// Whether there is something to read.
    pub fn has_more(&self) -> bool {
        self.arp.has_more || self.ndp.has_more
    }

    /// Reads what there is, as far as one turn allows, and tells every claim of a VIP.
    pub fn turn(&mut self, mut claim: impl FnMut(VipId, Mac)) {
        let vips = &self.vips;
        self.arp.drain(|frame| {
            let claimed = Arp::parse(frame).and_then(|arp| arp.claim());
            let vip = claimed.and_then(|(addr, mac)| Some((*vips.get(&IpAddr::V4(addr))?, mac)));
            vip.map(|(vip, mac)| claim(vip, mac)).is_some()
        });
        self.ndp.drain(|frame| {
            let claimed = Ndp::parse(frame).and_then(|ndp| ndp.claim());
            let vip = claimed.and_then(|(addr, mac)| Some((*vips.get(&IpAddr::V6(addr))?, mac)));
            vip.map(|(vip, mac)| claim(vip, mac)).is_some()
        });
    }

    /// Takes the sockets out of the poll.
    pub fn close(self, registry: &Registry) {
        for fd in [self.arp.socket.as_raw_fd(), self.ndp.socket.as_raw_fd()] {
            if let Err(error) = registry.deregister(&mut SourceFd(&fd)) {
                log::debug!("a packet socket was not deregistered: {error}");
            }
        }
    }
}

impl Inlet {
    /// Reads what there is, as far as one turn allows; `take` tells whether a frame claims a VIP.
    fn drain(&mut self, mut take: impl FnMut(&[u8]) -> bool) {
        if !self.has_more {
            return;
        }
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut claims = 0;
        self.has_more = drain(&self.socket, &mut buffer, FRAMES_PER_TURN_MAX, |frame| {
            claims += usize::from(take(frame));
            if claims < CLAIMS_PER_TURN_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }
}

/// Hands the frames that wait to `take`, `frames_max` at most, until it has enough; whether more
/// may wait. What of a frame does not fit into `buffer` is cut off.
pub(super) fn drain(
    receiver: &PacketReceiver,
    buffer: &mut [u8],
    frames_max: usize,
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> bool {
    for _ in 0..frames_max {
        match receiver.receive(buffer) {
            Ok(len) => {
                if take(buffer.get(..len).unwrap_or_default()).is_break() {
                    return true;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // An interrupted call, or the one notice that the NIC went down.
            Err(_) => {}
        }
    }
    true
}
