//! Probes between the nodes over one service NIC: does anything pass between it and the peers'
//! NIC in the same network, both ways?
//!
//! Each node sends a small frame to each peer at a low rate and echoes what it heard of it last, so
//! that an echo of a number that we sent a moment ago proves that both ways pass, and no recording
//! can. No address is needed, and no answer of anybody's kernel: a daemon that is dead is not heard
//! here either. What follows from silence is not known here.

use core::num::NonZeroU32;
use core::ops::ControlFlow;
use core::time::Duration;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::SockFilter;

use super::packet::drain;
use super::ping::judge::{Judge, low_bits};
use crate::config::network;
use crate::sys::packet::{PacketReceiver, PacketSender};
use crate::types::{Incarnation, Instant, Mac, NicId, NodeId};
use crate::wire::auth::Keys;
use crate::wire::heartbeat::ClusterId;
use crate::wire::probe::{ETHER_TYPE, FRAME_LEN, MAGIC, Probe, VERSION};

/// The most frames that one turn reads; the rest is read in the next turn.
pub const FRAMES_PER_TURN_MAX: usize = 64;
/// What a node needs for being known to its peers, and for knowing them.
#[derive(Debug)]
pub struct Identity {
    /// This node.
    pub local: NodeId,
    /// The others.
    pub peers: Vec<NodeId>,
    /// The pair.
    pub cluster: ClusterId,
    /// This start of the daemon.
    pub incarnation: Incarnation,
    /// The key to send with, and those that are accepted, until there are others.
    pub keys: Keys,
}

/// The probes of one service NIC.
#[derive(Debug)]
pub struct Prober {
    identity: Rc<Identity>,
    keys: Keys,
    nic: NicId,
    interval: Duration,
    count: NonZeroU32,
    peers: Vec<Peer>,
    outlet: Option<Outlet>,
}

/// What is heard of one peer.
#[derive(Clone, Copy, Debug)]
struct Peer {
    node: NodeId,
    judge: Judge,
    /// How many probes were sent to it.
    sent: u64,
    /// Its probe that was heard last.
    heard: Option<(Incarnation, u64)>,
}

#[derive(Debug)]
struct Outlet {
    sender: PacketSender,
    receiver: PacketReceiver,
    token: Token,
    has_more: bool,
}

/// Probes to and from a peer began or ceased to pass, both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The peer.
    pub node: NodeId,
    /// Whether they pass.
    pub passes: bool,
}

impl Prober {
    /// The probes of that NIC in that rhythm.
    pub fn new(identity: Rc<Identity>, nic: NicId, plan: network::Probe, now: Instant) -> Self {
        let (interval, count) = (plan.interval, plan.count);
        let peer = |node: &NodeId| Peer {
            node: *node,
            judge: Judge::new(interval, count.get(), now),
            sent: 0,
            heard: None,
        };
        let peers = identity.peers.iter().map(peer).collect();
        let keys = identity.keys.clone();
        Self { identity, keys, nic, interval, count, peers, outlet: None }
    }

    /// Uses these keys from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Opens the sockets on the NIC, which has that number now, or closes them if it is missing.
    ///
    /// # Errors
    /// Those of the sockets and of the poll; nothing passes then.
    pub fn reopen(
        &mut self,
        index: Option<u32>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        if let Some(outlet) = self.outlet.take() {
            registry.deregister(&mut SourceFd(&outlet.receiver.as_raw_fd()))?;
        }
        let Some(index) = index else { return Ok(()) };
        let filter = filter(self.identity.local, self.identity.cluster);
        let receiver = PacketReceiver::new(index, ETHER_TYPE, &filter)?;
        registry.register(&mut SourceFd(&receiver.as_raw_fd()), token, Interest::READABLE)?;
        let sender = PacketSender::new(index)?;
        self.outlet = Some(Outlet { sender, receiver, token, has_more: true });
        Ok(())
    }

    /// Notes that a token is ready; whether it is this NIC's.
    pub fn ready(&mut self, token: Token) -> bool {
        let outlet = self.outlet.as_mut().filter(|outlet| outlet.token == token);
        outlet.map(|outlet| outlet.has_more = true).is_some()
    }

    /// Whether there is something to read.
    pub fn has_more(&self) -> bool {
        self.outlet.as_ref().is_some_and(|outlet| outlet.has_more)
    }

    /// When the next probes are due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.peers.iter().map(|peer| peer.judge.next_round()).min()
    }

    /// Reads what has come, as far as one turn allows, then sends the probes that are due from the
    /// NIC's MAC. Tells each verdict that changed.
    pub fn turn(&mut self, now: Instant, mac: Option<Mac>, mut tell: impl FnMut(Verdict)) {
        let (identity, nic, count) = (&self.identity, self.nic, u64::from(self.count.get()));
        let (peers, keys) = (&mut self.peers, &self.keys);
        if let Some(outlet) = &mut self.outlet {
            outlet.drain(|frame| {
                let probe = Probe::parse(frame, identity.cluster, keys);
                let Some(probe) = probe.filter(|p| p.to == identity.local && p.nic == nic) else {
                    return;
                };
                if let Some(peer) = peers.iter_mut().find(|peer| peer.node == probe.from)
                    && let Some(passes) = peer.hear(&probe, identity.incarnation, count)
                {
                    tell(Verdict { node: peer.node, passes });
                }
            });
        }
        // What is unread may be the answer that a verdict needs.
        if self.has_more() {
            return;
        }
        for peer in &mut self.peers {
            let Some((_, judged)) = peer.judge.begin_round(now) else { continue };
            peer.sent = peer.sent.saturating_add(1);
            let probe = peer.probe(identity, nic);
            if let (Some(outlet), Some(mac)) = (&self.outlet, mac) {
                let frame = probe.emit(mac, identity.cluster, keys);
                // One that finds no room, or no carrier, is lost, as on the wire.
                if let Err(error) = outlet.sender.send(ETHER_TYPE, &frame) {
                    log::debug!("a probe of service NIC {} was not sent: {error}", nic.0);
                }
            }
            if let Some(passes) = judged {
                tell(Verdict { node: peer.node, passes });
            }
        }
    }

    /// How long it takes at most until silence is told.
    pub fn patience(&self) -> Duration {
        self.interval.saturating_mul(self.count.get().saturating_add(1))
    }
}

impl Peer {
    /// Takes an authentic probe in. Only an echo of a number that we have just sent is news from
    /// now: anything else may be a recording, and is echoed at most.
    fn hear(&mut self, probe: &Probe, us: Incarnation, count: u64) -> Option<bool> {
        let is_newer = self
            .heard
            .is_none_or(|(life, number)| life != probe.incarnation || probe.number > number);
        if is_newer {
            self.heard = Some((probe.incarnation, probe.number));
        }
        let age = self.sent.checked_sub(probe.echo_number)?;
        let is_fresh = probe.echo_incarnation == us && probe.echo_number > 0 && age < count;
        let number = u32::try_from(probe.echo_number & u64::from(u32::MAX)).unwrap_or(0);
        if is_fresh { self.judge.answer(low_bits(number)) } else { None }
    }

    fn probe(&self, identity: &Identity, nic: NicId) -> Probe {
        let (echo_incarnation, echo_number) = self.heard.unwrap_or((Incarnation::NONE, 0));
        Probe {
            from: identity.local,
            to: self.node,
            nic,
            incarnation: identity.incarnation,
            number: self.sent,
            echo_incarnation,
            echo_number,
        }
    }
}

impl Outlet {
    fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.has_more {
            return;
        }
        let mut buffer = [0; FRAME_LEN];
        self.has_more = drain(&self.receiver, &mut buffer, FRAMES_PER_TURN_MAX, |frame| {
            take(frame);
            ControlFlow::Continue(())
        });
    }
}

/// Lets probes of this version and cluster for this node through.
fn filter(local: NodeId, cluster: ClusterId) -> [SockFilter; 12] {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const MAGIC_AT: u32 = 14;
    const VERSION_AT: u32 = 16;
    const TO_AT: u32 = 19;
    const CLUSTER_AT: u32 = 22;
    let [a, b, c, d, e, f, g, h] = cluster.0.to_be_bytes();
    let words = [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])];
    let [high, low] = words;
    let load = |code, at| SockFilter::new(code, 0, 0, at);
    // How many instructions lie between it and the last one, which rejects.
    let demand = |value, rest| SockFilter::new(JUMP_IF_EQUAL, 0, rest, value);
    [
        load(LOAD_HALF, MAGIC_AT),
        demand(u32::from(u16::from_be_bytes(MAGIC)), 9),
        load(LOAD_BYTE, VERSION_AT),
        demand(u32::from(VERSION), 7),
        load(LOAD_BYTE, TO_AT),
        demand(u32::from(local.get()), 5),
        load(LOAD_WORD, CLUSTER_AT),
        demand(high, 3),
        load(LOAD_WORD, CLUSTER_AT + 4),
        demand(low, 1),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const US: Incarnation = Incarnation(1);
    const THEM: Incarnation = Incarnation(2);

    fn peer() -> Peer {
        let judge = Judge::new(SECOND, 4, Instant::ZERO);
        Peer { node: NodeId::new(2).unwrap(), judge, sent: 0, heard: None }
    }

    fn probe(number: u64, echo: (Incarnation, u64)) -> Probe {
        Probe {
            from: NodeId::new(2).unwrap(),
            to: NodeId::new(1).unwrap(),
            nic: NicId(0),
            incarnation: THEM,
            number,
            echo_incarnation: echo.0,
            echo_number: echo.1,
        }
    }

    /// Runs rounds of a second each; `hears` is what comes in each. What was told, and when.
    fn run(rounds: u64, hears: impl Fn(u64) -> Option<Probe>) -> Vec<(u64, bool)> {
        let mut peer = peer();
        let mut told = vec![];
        for round in 1..=rounds {
            let (_, judged) = peer.judge.begin_round(Instant::from_millis(round * 1000)).unwrap();
            peer.sent += 1;
            told.extend(judged.map(|passes| (round, passes)));
            let heard = hears(round).and_then(|probe| peer.hear(&probe, US, 4));
            told.extend(heard.map(|passes| (round, passes)));
        }
        told
    }

    #[test]
    fn an_echo_of_what_was_just_sent_passes_and_silence_is_told_after_its_count() {
        let told = run(20, |round| (round < 9).then(|| probe(round, (US, round - 1))));
        assert_eq!(told, [(5, true), (13, false)]);
    }

    #[test]
    fn one_that_hears_nothing_of_us_does_not_pass() {
        assert_eq!(run(9, |round| Some(probe(round, (Incarnation::NONE, 0)))), [(5, false)]);
        assert_eq!(run(9, |round| Some(probe(round, (THEM, round)))), [(5, false)], "another life");
    }

    #[test]
    fn a_recording_keeps_nothing_alive() {
        // Everything that was said until the tenth round is said again and again.
        let told = run(40, |round| {
            let number = if round <= 10 { round } else { 1 + round % 10 };
            Some(probe(number, (US, number - 1)))
        });
        assert_eq!(told, [(5, true), (15, false)]);
        assert_eq!(run(9, |round| Some(probe(round, (US, round + 1)))), [(5, false)], "the future");
    }

    #[test]
    fn what_is_echoed_is_the_newest_that_was_heard() {
        let mut peer = peer();
        peer.sent = 3;
        for number in [4, 6, 5] {
            peer.hear(&probe(number, (US, 2)), US, 4);
        }
        assert_eq!(peer.heard, Some((THEM, 6)));
    }
}
