//! Questions to the peers' kernels, over the heartbeat NICs: who has the link address of that peer?
//!
//! ARP for IPv4, neighbour discovery for IPv6: a kernel answers them without its daemon, and no
//! router can answer for it. They are broadcast on the NIC of the link, as a kernel's own are. What
//! follows from an answer, or from none, is the engine's ([`crate::engine::pulse`]); here it is
//! known only whether the questions have really left: through a NIC that is up and has its carrier.

use core::ops::ControlFlow;
use core::time::Duration;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::packet::{drain, filter};
use crate::config::Transport;
use crate::config::link::UdpLinkConfig;
use crate::sys::packet::{PacketReceiver, PacketSender, find_nic};
use crate::types::{Instant, LinkId, Mac, NodeId};
use crate::wire::arp::{self, Arp, Operation};
use crate::wire::ndp::{self, Message, Ndp};

/// The most frames that one turn reads from one socket; the rest is read in the next turn.
pub const FRAMES_PER_TURN_MAX: usize = 64;
/// For how long after a question each turn looks for answers, whatever readiness tells: the poll
/// may be older than the answer.
const EAGER: Duration = Duration::from_millis(200);
/// Longer than any frame that is understood; the rest of a longer one is cut off.
const FRAME_LEN_MAX: usize = 1514;

/// The questions on all links that go over a NIC.
#[derive(Debug)]
pub struct Pulses {
    askers: Vec<Asker>,
    asked_at: Option<Instant>,
}

/// The questions on one link.
#[derive(Debug)]
struct Asker {
    link: LinkId,
    config: UdpLinkConfig,
    token: Token,
    outlet: Option<Outlet>,
}

#[derive(Debug)]
struct Outlet {
    /// The NIC's number, by which it was opened.
    index: u32,
    sender: PacketSender,
    receiver: PacketReceiver,
    has_more: bool,
}

/// A peer's kernel has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat {
    /// For its address on this link.
    pub link: LinkId,
    /// The peer.
    pub node: NodeId,
}

impl Pulses {
    /// Asks on those of the `links` that go over a NIC, whose tokens begin with `first_token`.
    pub fn new<'a>(links: impl Iterator<Item = &'a Transport>, first_token: usize) -> Self {
        let askers = (0u8..).zip(links).filter_map(|(link, transport)| match transport {
            Transport::Udp(config) => Some(Asker {
                link: LinkId(link),
                config: config.clone(),
                token: Token(first_token + usize::from(link)),
                outlet: None,
            }),
            Transport::Serial(_) => None,
        });
        Self { askers: askers.collect(), asked_at: None }
    }

    /// Nobody is asked.
    pub fn none() -> Self {
        Self { askers: Vec::new(), asked_at: None }
    }

    /// Carries out [`crate::engine::Effect::AskKernels`]: the links on which a question left for
    /// every peer, one bit each.
    pub fn ask(&mut self, registry: &Registry, now: Instant) -> u16 {
        self.asked_at = Some(now);
        let mut asked = 0;
        for asker in &mut self.askers {
            match asker.ask(registry) {
                Ok(true) => asked |= 1u16.checked_shl(u32::from(asker.link.0)).unwrap_or(0),
                Ok(false) => {}
                Err(error) => {
                    log::debug!("no kernel was asked on {}: {error}", asker.config.nic);
                }
            }
        }
        asked
    }

    /// Notes that a token is ready; whether it is one of these.
    pub fn ready(&mut self, token: Token) -> bool {
        let asker = self.askers.iter_mut().find(|asker| asker.token == token);
        let outlet = asker.and_then(|asker| asker.outlet.as_mut());
        outlet.map(|outlet| outlet.has_more = true).is_some()
    }

    /// Whether answers may wait.
    pub fn has_more(&self) -> bool {
        let outlets = self.askers.iter().filter_map(|asker| asker.outlet.as_ref());
        outlets.into_iter().any(|outlet| outlet.has_more)
    }

    /// Reads what has come, as far as one turn allows.
    pub fn turn(&mut self, now: Instant, mut tell: impl FnMut(Beat)) {
        let is_eager = self.asked_at.is_some_and(|at| now < at + EAGER);
        for asker in &mut self.askers {
            let (link, config) = (asker.link, &asker.config);
            let Some(outlet) = &mut asker.outlet else { continue };
            if !(outlet.has_more || is_eager) {
                continue;
            }
            // All that is read in one turn is of one moment: a second answer says nothing more.
            let mut told = 0u16;
            outlet.drain(|frame| {
                let Some(node) = answers(config, frame) else { return };
                let bit = 1u16.checked_shl(u32::from(node.get())).unwrap_or(0);
                if told & bit == 0 {
                    told |= bit;
                    tell(Beat { link, node });
                }
            });
        }
    }
}

impl Asker {
    /// Asks every peer once. Not if the NIC is down, has no carrier, or is no Ethernet.
    fn ask(&mut self, registry: &Registry) -> io::Result<bool> {
        let Some(nic) = find_nic(&self.config.nic)? else {
            self.close(registry);
            return Ok(false);
        };
        if self.outlet.as_ref().is_some_and(|outlet| outlet.index != nic.index) {
            self.close(registry);
        }
        if self.outlet.is_none() {
            self.open(registry, nic.index)?;
        }
        let Some(outlet) = self.outlet.as_ref().filter(|_| nic.is_running) else {
            return Ok(false);
        };
        for (_, peer) in &self.config.peers {
            outlet.ask(Mac(nic.mac), self.config.local, *peer)?;
        }
        Ok(true)
    }

    fn open(&mut self, registry: &Registry, index: u32) -> io::Result<()> {
        let addresses = || self.config.peers.iter().map(|(_, addr)| addr);
        let (ether_type, filter) = match self.config.local {
            IpAddr::V4(_) => (arp::ETHER_TYPE, filter::for_arp(addresses())),
            IpAddr::V6(_) => (ndp::ETHER_TYPE, filter::for_ndp(addresses())),
        };
        let receiver = PacketReceiver::new(index, ether_type, &filter)?;
        registry.register(&mut SourceFd(&receiver.as_raw_fd()), self.token, Interest::READABLE)?;
        let sender = PacketSender::new(index)?;
        self.outlet = Some(Outlet { index, sender, receiver, has_more: true });
        Ok(())
    }

    fn close(&mut self, registry: &Registry) {
        let Some(outlet) = self.outlet.take() else { return };
        if let Err(error) = registry.deregister(&mut SourceFd(&outlet.receiver.as_raw_fd())) {
            log::debug!("a packet socket was not deregistered: {error}");
        }
    }
}

impl Outlet {
    fn ask(&self, mac: Mac, own: IpAddr, peer: IpAddr) -> io::Result<()> {
        match (own, peer) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                self.sender.send(arp::ETHER_TYPE, &Arp::who_has(mac, Some(own), peer).emit())
            }
            (IpAddr::V6(own), IpAddr::V6(peer)) => {
                let question = Ndp::who_has(mac, Some(own), peer).emit();
                self.sender.send(ndp::ETHER_TYPE, question.as_bytes())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(io::ErrorKind::InvalidInput.into())
            }
        }
    }

    fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; FRAME_LEN_MAX];
        self.has_more = drain(&self.receiver, &mut buffer, FRAMES_PER_TURN_MAX, |frame| {
            take(frame);
            ControlFlow::Continue(())
        });
    }
}

/// Which peer's kernel has answered us with `frame`; nobody's if it is anything else. What it says
/// by itself, or to others, is no answer: only who answers when asked can be missed.
fn answers(config: &UdpLinkConfig, frame: &[u8]) -> Option<NodeId> {
    let address = match config.local {
        IpAddr::V4(own) => {
            let arp = Arp::parse(frame)?;
            let is_answer = arp.operation == Operation::Reply && arp.target_ip == own;
            is_answer.then_some(IpAddr::V4(arp.sender_ip))?
        }
        IpAddr::V6(own) => {
            let ndp = Ndp::parse(frame)?;
            let is_answer = matches!(ndp.message, Message::Advertisement { solicited: true, .. })
                && ndp.destination == own;
            is_answer.then_some(IpAddr::V6(ndp.target))?
        }
    };
    config.peers.iter().find(|(_, peer)| *peer == address).map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEM: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn config(local: &str, peer: &str) -> UdpLinkConfig {
        UdpLinkConfig {
            nic: "hb0".to_owned(),
            local: local.parse().unwrap(),
            peers: vec![(NodeId::new(2).unwrap(), peer.parse().unwrap())],
            group: None,
            port: 694,
        }
    }

    #[test]
    fn only_a_reply_to_us_is_an_answer() {
        let config = config("10.88.0.1", "10.88.0.2");
        let (own, peer) = (Ipv4Addr::new(10, 88, 0, 1), Ipv4Addr::new(10, 88, 0, 2));
        let reply = Arp {
            source: THEM,
            destination: US,
            operation: Operation::Reply,
            sender_mac: THEM,
            sender_ip: peer,
            target_mac: US,
            target_ip: own,
        };
        assert_eq!(answers(&config, &reply.emit()), NodeId::new(2));
        let other = Ipv4Addr::new(10, 88, 0, 3);
        for no_answer in [
            Arp { operation: Operation::Request, ..reply },
            Arp { sender_ip: other, ..reply },
            Arp { target_ip: other, ..reply },
            Arp::announce_by_reply(THEM, peer),
            Arp::who_has(US, Some(own), peer),
        ] {
            assert_eq!(answers(&config, &no_answer.emit()), None, "{no_answer:?}");
        }
        assert_eq!(answers(&config, &[]), None);
    }

    #[test]
    fn only_a_solicited_advertisement_to_us_is_an_answer() {
        let config = config("fe80::1", "fe80::2");
        let [own, peer]: [Ipv6Addr; 2] = ["fe80::1", "fe80::2"].map(|a| a.parse().unwrap());
        let says = |solicited| Message::Advertisement {
            router: false,
            solicited,
            overrides: true,
            target_mac: Some(THEM),
        };
        let reply = Ndp {
            source_mac: THEM,
            destination_mac: US,
            source: peer,
            destination: own,
            target: peer,
            message: says(true),
        };
        assert_eq!(answers(&config, reply.emit().as_bytes()), NodeId::new(2));
        for no_answer in [
            Ndp { message: says(false), ..reply },
            Ndp { target: own, ..reply },
            Ndp { destination: peer, ..reply },
            Ndp::announce(THEM, peer, false),
            Ndp::who_has(US, Some(own), peer),
        ] {
            assert_eq!(answers(&config, no_answer.emit().as_bytes()), None, "{no_answer:?}");
        }
    }

    #[test]
    fn a_nic_that_is_not_there_asks_nobody() {
        let poll = mio::Poll::new().unwrap();
        let transport = Transport::Udp(UdpLinkConfig {
            nic: "tandem-none".to_owned(),
            ..config("10.88.0.1", "10.88.0.2")
        });
        let mut pulses = Pulses::new([transport].iter(), 7);
        assert_eq!(pulses.ask(poll.registry(), Instant::from_millis(1)), 0);
        assert!(!pulses.has_more());
        assert!(!pulses.ready(Token(7)), "nothing is open");
    }
}
