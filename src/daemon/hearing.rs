//! What comes over the heartbeat links: taken from the sockets, checked, and handed to the engine.
//!
//! Every link gives a bounded share per turn. What is no authentic heartbeat ends here; what the
//! engine would refuse reaches it up to a share ([`super::flood`]). What the keys tell on the way
//! is kept for those who change them ([`super::keyring`], [`super::wrong_key`]).

use core::time::Duration;

use super::flood;
use super::keys::Refusals;
use super::shell::{INBOX_MAX, Shell};
use super::wrong_key;
use crate::config::{Plan, Transport};
use crate::engine::Input;
use crate::io::link::{Drained, Link};
use crate::io::udp::{KnownLife, Width};
use crate::types::{LinkId, NodeId};
use crate::wire::control::EventLevel;

/// A peer that was not heard on a flooded link for so many keepalives may have begun a new life:
/// nothing that could be its is dropped then.
const MISSED_KEEPALIVES: u32 = 3;

impl Shell {
    /// Takes what has arrived on every link that may have something.
    pub(super) fn drain_links(&mut self) {
        for index in 0..self.links.len() {
            let bit = 1u32 << index;
            if self.links_waiting & bit == 0 {
                continue;
            }
            if self.drain_link(index) == Drained::Empty {
                self.links_waiting &= !bit;
            }
        }
        if self.links_waiting == 0 {
            self.late_by = Duration::ZERO;
        }
    }

    /// Whether somebody has said or answered what this node has not taken in yet: heartbeats,
    /// claims of VIPs, answers of kernels. Nobody is to be called silent over them.
    pub(super) fn has_unheard(&self) -> bool {
        self.links_waiting != 0 || self.network.has_claims() || self.pulses.has_more()
    }

    fn drain_link(&mut self, index: usize) -> Drained {
        let now = self.now;
        let Ok(id) = u8::try_from(index).map(LinkId) else { return Drained::Empty };
        let Some(link) = self.links.get_mut(index) else { return Drained::Empty };
        let (codec, inbox, node) = (&mut self.codec, &mut self.inbox, &self.node);
        let (floods, wrong_keys) = (&mut self.floods, &mut self.wrong_keys);
        let mut refusals = None;
        let mut key = None;
        let (drained, change) =
            link.drain(now, self.late_by, |datagram| match codec.parse(datagram.bytes, id, now) {
                Ok(authentic) => {
                    let heartbeat = authentic.heartbeat;
                    key = wrong_keys.note_right(id, datagram.from, now).or(key);
                    let reason = node.would_refuse(id, &heartbeat);
                    // What is misdirected is no word of the peer, however authentic.
                    if reason.is_none() && node.believes(heartbeat.from, heartbeat.incarnation) {
                        codec.ring.note(&heartbeat, authentic.key, authentic.hint, datagram.at);
                    }
                    if reason.is_some_and(|reason| !floods.admit(id, reason, &heartbeat)) {
                        return;
                    }
                    if inbox.len() < INBOX_MAX {
                        inbox.push_back(Input::Heard { link: id, at: datagram.at, heartbeat });
                    }
                }
                Err((reason, told)) => {
                    refusals = told.or(refusals);
                    floods.note_refused(id);
                    if reason == crate::wire::heartbeat::Refusal::Tag {
                        key = wrong_keys.note_wrong(id, datagram.from, now).or(key);
                    }
                }
            });
        let noise = codec.note_noise(id, link.counters().dropped.count(), now);
        if let Some(Refusals { link, count, reason }) = refusals.or(noise) {
            let link = self.plan.names.link(link).to_owned();
            let text = format!("refused: {count} datagrams on link {link}, the last one {reason}");
            self.tell(EventLevel::Warning, "refused", &link, text);
        }
        self.tell_link_change(index, change);
        self.tell_wrong_key(key);
        self.run_inbox();
        drained
    }

    /// What the time alone brings about: a wrong key that is over, a link that is flooded or not
    /// any more.
    pub(super) fn judge_hearing(&mut self) {
        let now = self.now;
        self.codec.ring.expire(now);
        while let Some(change) = self.wrong_keys.expire(now) {
            self.tell_wrong_key(Some(change));
        }
        for index in 0..self.links.len() {
            let Ok(id) = u8::try_from(index).map(LinkId) else { continue };
            let Some(link) = self.links.get(index) else { continue };
            let counters = link.counters();
            let dropped = counters.by_kernel + counters.too_long + counters.strangers;
            if let Some(change) = self.floods.judge(id, dropped, now) {
                self.answer_flood(index, id, change);
            }
        }
    }

    fn answer_flood(&mut self, index: usize, id: LinkId, change: flood::Change) {
        let name = self.plan.names.link(id).to_owned();
        let width = match change {
            flood::Change::Began(_) | flood::Change::GoesOn(_) => self.width_for(id),
            flood::Change::Ended(_) => Width::Wide,
        };
        let set = self.links.get_mut(index).map_or(Ok(()), |link| link.set_width(width));
        let (level, text) = match (change, set) {
            (flood::Change::Began(_), Ok(())) => (
                EventLevel::Warning,
                format!(
                    "link {name}: flooded: somebody sends thousands of datagrams a second that are \
                     no heartbeats; what can be none is dropped by the kernel"
                ),
            ),
            (flood::Change::Ended(_), Ok(())) => {
                (EventLevel::Info, format!("link {name}: not flooded any more"))
            }
            (flood::Change::GoesOn(_), Ok(())) => return,
            (_, Err(error)) => (EventLevel::Warning, format!("link {name}: flooded: {error}")),
        };
        self.tell(level, "flood", &name, text);
    }

    /// How narrow a flooded link can be: as long as its peers are heard on it, nothing but what
    /// continues their lives.
    fn width_for(&self, id: LinkId) -> Width {
        let Some(link) = self.plan.links.get(id.index()) else { return Width::Wide };
        let patience = link.settings.keepalive.saturating_mul(MISSED_KEEPALIVES);
        let Transport::Udp(udp) = &link.transport else { return Width::Wide };
        let mut lives = Vec::new();
        for (node, _) in &udp.peers {
            let address = udp.group.is_none().then_some(*node);
            let heard_at = self.wrong_keys.right_at(id, address);
            if heard_at.is_none_or(|at| self.now >= at + patience) {
                return Width::Wide;
            }
            let newest = self.codec.ring.newest_of(*node);
            let Some((incarnation, newest)) = newest else { return Width::Wide };
            if !self.node.believes(*node, incarnation) {
                return Width::Wide;
            }
            lives.push(KnownLife { node: *node, incarnation, newest });
        }
        if lives.is_empty() {
            return Width::Wide;
        }
        Width::Narrow { local: self.node.snapshot().incarnation, lives }
    }

    fn tell_wrong_key(&mut self, change: Option<wrong_key::Change>) {
        let Some(change) = change else { return };
        let (wrong_key::Change::Began(wrong)
        | wrong_key::Change::Mended(wrong)
        | wrong_key::Change::Silent(wrong)) = change;
        let name = self.plan.names.link(wrong.link).to_owned();
        let what = path_of(&self.plan, wrong.link, wrong.peer);
        let (level, text) = match change {
            wrong_key::Change::Began(_) => (
                EventLevel::Warning,
                format!(
                    "{what}, but not with our key: is the key file the same on both nodes? \
                     Fingerprint here: {}",
                    self.codec.ring.keys().sending()
                ),
            ),
            wrong_key::Change::Mended(_) => {
                (EventLevel::Info, format!("{what}, and with our key again"))
            }
            wrong_key::Change::Silent(_) => (
                EventLevel::Info,
                format!("link {name}: no heartbeats with another key arrive any more"),
            ),
        };
        self.tell(level, "wrong-key", &name, text);
    }
}

/// `heartbeats arrive on eth6 from 192.0.2.2 (b, link hb0)`
pub(super) fn path_of(plan: &Plan, link: LinkId, peer: Option<NodeId>) -> String {
    let name = plan.names.link(link);
    let Some(Transport::Udp(udp)) = plan.links.get(link.index()).map(|link| &link.transport) else {
        return format!("heartbeats arrive on link {name}");
    };
    let addr = udp.peers.iter().find(|(node, _)| Some(*node) == peer);
    match addr {
        Some((node, addr)) => {
            let node = plan.names.node(*node);
            format!("heartbeats arrive on {} from {addr} ({node}, link {name})", udp.nic)
        }
        None => format!("heartbeats arrive on {} (link {name})", udp.nic),
    }
}

/// What is watched for wrong keys: every link, with the peers that have addresses on it.
pub(super) fn watch_keys(plan: &Plan) -> wrong_key::WrongKeys {
    wrong_key::WrongKeys::new(plan.links.iter().map(|link| {
        let peers = match &link.transport {
            Transport::Udp(udp) if udp.group.is_some() => vec![None],
            Transport::Udp(udp) => udp.peers.iter().map(|(node, _)| Some(*node)).collect(),
            Transport::Serial(serial) => vec![Some(serial.peer)],
        };
        (link.settings.id, link.settings.deadtime, peers)
    }))
}

/// The kernel drops what cannot be a heartbeat of this cluster.
pub(super) fn guard(mut link: Link, cluster: u64) -> Link {
    link.guard(cluster);
    link
}
