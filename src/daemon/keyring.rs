//! The heartbeat keys at work: which are accepted here, which the peers accept, and whether others
//! may take their place.
//!
//! A step of a change is taken only if no peer is cut by it: nothing is sent with a key before
//! every peer has told that it accepts it, and none is forgotten while a peer sends with it, or
//! could begin to because it was told that it may. So before a key goes, it is *withdrawn*: still
//! accepted, but not told any more, for as long as an older word could be under way.
//!
//! ```text
//! accepted ──prepare──► withdrawn ──wait_time──► may be taken ──take──► gone
//!     ▲                     │ nobody asks for LAPSE, or a peer sends with it
//!     └─────────────────────┘
//! ```

use core::time::Duration;

use crate::types::{Heartbeat, Incarnation, Instant, Names, NodeId, Seq};
use crate::wire::auth::{KeyDigest, KeyUsed, Keys, TOLD_MIN};

/// The shortest time for which a peer's word counts as its present one.
const FRESH_MIN: Duration = Duration::from_secs(1);
/// How many heartbeats may be lost until its word counts no more.
const FRESH_KEEPALIVES: u32 = 4;
/// How long after the last question a key that was withdrawn is told again.
const LAPSE: Duration = Duration::from_secs(5);

/// The keys, and what is known of the peers'.
#[derive(Debug)]
pub struct Keyring {
    keys: Keys,
    peers: Vec<PeerKeys>,
    withdrawal: Option<Withdrawal>,
    /// How old a peer's word may be.
    fresh: Duration,
}

/// What one peer's heartbeats tell.
#[derive(Clone, Copy, Debug)]
struct PeerKeys {
    node: NodeId,
    incarnation: Incarnation,
    newest: Seq,
    /// The key it sends with, and when it last did.
    sends: Option<(KeyDigest, Instant)>,
    /// Which bytes of the digest of our sending key it has told in a row, one bit each.
    told_sending: u16,
    /// The same of our other key.
    told_other: u16,
    /// How many heartbeats in a row have told neither.
    told_neither: u32,
}

/// A key that is about to go.
#[derive(Clone, Copy, Debug)]
struct Withdrawal {
    key: KeyDigest,
    since: Instant,
    asked_at: Instant,
}

/// What a peer is known to have, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// The peer.
    pub node: NodeId,
    /// The key that it sends with; nothing if it is not heard.
    pub sends: Option<KeyDigest>,
    /// Whether it accepts the other key of this node.
    pub accepts_other: bool,
    /// Whether it accepts a key that this node has not.
    pub accepts_unknown: bool,
}

/// Why other keys are not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// A peer is not heard: what it accepts is not known. An operator may overrule this.
    Unheard(NodeId),
    /// A peer sends with the key that would go.
    PeerSends(NodeId, KeyDigest),
    /// A peer has not told that it accepts the key that would be sent with.
    NotAccepted(NodeId, KeyDigest),
    /// This node itself sends with the key that would go.
    SendsHere(KeyDigest),
    /// The key is withdrawn, but a peer may not know that yet: ask again until this is over.
    Wait(Duration),
}

impl Keyring {
    /// These keys, and peers of which nothing is known yet. `keepalive` is the longest of any link.
    pub fn new(keys: Keys, peers: impl Iterator<Item = NodeId>, keepalive: Duration) -> Self {
        let unknown = |node| PeerKeys {
            node,
            incarnation: Incarnation::NONE,
            newest: Seq::default(),
            sends: None,
            told_sending: 0,
            told_other: 0,
            told_neither: 0,
        };
        Self {
            keys,
            peers: peers.map(unknown).collect(),
            withdrawal: None,
            fresh: keepalive.saturating_mul(FRESH_KEEPALIVES).max(FRESH_MIN),
        }
    }

    /// How long it takes until all that a peer accepts is told, and until a key that is withdrawn
    /// may go.
    pub fn settle_time(&self) -> Duration {
        self.fresh.saturating_mul(2)
    }

    /// The keys that are used now.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes in what a heartbeat tells of its sender's keys. It must be authentic and of the
    /// incarnation that is believed; one that is not newer than all before says nothing.
    pub fn note(&mut self, heartbeat: &Heartbeat, used: KeyUsed, hint: u8, at: Instant) {
        let (sent, sending, other) = (self.keys.used(used), self.keys.sending(), self.keys.other());
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.node == heartbeat.from) else {
            return;
        };
        if peer.incarnation != heartbeat.incarnation {
            *peer = PeerKeys {
                node: peer.node,
                incarnation: heartbeat.incarnation,
                newest: Seq::default(),
                sends: None,
                told_sending: 0,
                told_other: 0,
                told_neither: 0,
            };
        }
        if heartbeat.seq <= peer.newest {
            return;
        }
        peer.newest = heartbeat.seq;
        peer.sends = Some((sent, at));
        let next = |told: u16, key: KeyDigest| {
            let (byte, place) = key.told_by(heartbeat.seq.0);
            if byte == hint { told | place } else { 0 }
        };
        peer.told_sending = next(peer.told_sending, sending);
        peer.told_other = other.map_or(0, |other| next(peer.told_other, other));
        let is_known = peer.told_sending != 0 || peer.told_other != 0;
        peer.told_neither = if is_known { 0 } else { peer.told_neither.saturating_add(1) };
    }

    /// The number of a peer's newest heartbeat of its life.
    pub fn newest_of(&self, node: NodeId) -> Option<(Incarnation, Seq)> {
        let peer = self.peers.iter().find(|peer| peer.node == node)?;
        (peer.incarnation != Incarnation::NONE).then_some((peer.incarnation, peer.newest))
    }

    /// Whether `new` may be taken now. A key that would go is withdrawn at once; the answer is
    /// [`Denial::Wait`] until it is certain that no peer goes on believing in it.
    ///
    /// # Errors
    /// Why not.
    pub fn prepare(&mut self, new: &Keys, force: bool, now: Instant) -> Result<(), Denial> {
        if let Err(denial) = self.judge(new, force, now) {
            self.end_withdrawal();
            return Err(denial);
        }
        let Some(going) = self.keys.other().filter(|other| !has(new, *other)) else {
            self.end_withdrawal();
            return Ok(());
        };
        let before = self.withdrawal.filter(|withdrawal| withdrawal.key == going);
        let since = before.map_or(now, |withdrawal| withdrawal.since);
        self.withdrawal = Some(Withdrawal { key: going, since, asked_at: now });
        self.keys.withdraw(true);
        // A word as old as can be may be acted on once more; what that sends must have come.
        let over = since + self.settle_time();
        if now < over { Err(Denial::Wait(over.since(now))) } else { Ok(()) }
    }

    /// Takes `new`, if that may be.
    ///
    /// # Errors
    /// Why not.
    pub fn take(&mut self, new: Keys, force: bool, now: Instant) -> Result<(), Denial> {
        self.prepare(&new, force, now)?;
        let old = core::mem::replace(&mut self.keys, new);
        self.withdrawal = None;
        let digests = (self.keys.sending(), self.keys.other());
        for peer in &mut self.peers {
            let known = [(Some(old.sending()), peer.told_sending), (old.other(), peer.told_other)];
            let told_of = |key: Option<KeyDigest>| {
                let found = known.iter().find(|(known, _)| key.is_some() && *known == key);
                found.map_or(0, |(_, told)| *told)
            };
            peer.told_sending = told_of(Some(digests.0));
            peer.told_other = told_of(digests.1);
            peer.told_neither = 0;
        }
        Ok(())
    }

    /// Tells a key again that was withdrawn and is not asked for any more.
    pub fn expire(&mut self, now: Instant) {
        if self.withdrawal.is_some_and(|withdrawal| now >= withdrawal.asked_at + LAPSE) {
            self.end_withdrawal();
        }
    }

    /// What is known of each peer.
    pub fn peers(&self, now: Instant) -> impl Iterator<Item = PeerView> + '_ {
        self.peers.iter().map(move |peer| {
            let sends = self.sends(peer, now);
            let accepts = |key, told: u16| sends == Some(key) || told.count_ones() >= TOLD_MIN;
            let other = self.keys.other().filter(|_| sends.is_some());
            PeerView {
                node: peer.node,
                sends,
                accepts_other: other.is_some_and(|key| accepts(key, peer.told_other)),
                accepts_unknown: sends.is_some() && peer.told_neither >= TOLD_MIN,
            }
        })
    }

    fn end_withdrawal(&mut self) {
        self.withdrawal = None;
        self.keys.withdraw(false);
    }

    /// The key that a peer sends with, if it was heard lately.
    fn sends(&self, peer: &PeerKeys, now: Instant) -> Option<KeyDigest> {
        peer.sends.filter(|(_, at)| now < *at + self.fresh).map(|(key, _)| key)
    }

    /// Whether a peer would be cut, or could be, if `new` were taken.
    fn judge(&self, new: &Keys, force: bool, now: Instant) -> Result<(), Denial> {
        let (sending, other) = (self.keys.sending(), self.keys.other());
        let goes = |key: KeyDigest| !has(new, key);
        let is_change = goes(sending) || other.is_some_and(goes) || new.sending() != sending;
        if !is_change {
            return Ok(());
        }
        for view in self.peers(now) {
            let Some(sends) = view.sends else {
                if force {
                    continue;
                }
                return Err(Denial::Unheard(view.node));
            };
            if goes(sends) {
                return Err(Denial::PeerSends(view.node, sends));
            }
            if goes(sending) {
                return Err(Denial::SendsHere(sending));
            }
            let accepts = Some(new.sending()) == other && view.accepts_other;
            if new.sending() != sending && !accepts {
                return Err(Denial::NotAccepted(view.node, new.sending()));
            }
        }
        Ok(())
    }
}

fn has(keys: &Keys, key: KeyDigest) -> bool {
    keys.sending() == key || keys.other() == Some(key)
}

impl Denial {
    /// What is wrong and what to do, for people.
    pub fn explain(self, names: &Names) -> (String, String) {
        match self {
            Self::Unheard(node) => {
                let name = names.node(node);
                (
                    format!("{name} is not heard: which keys it accepts is not known"),
                    format!(
                        "bring {name} back first; if it is gone for good, or if the keys are the \
                         very reason, add --force"
                    ),
                )
            }
            Self::PeerSends(node, key) => {
                let name = names.node(node);
                (
                    format!("{name} still sends with the key {key}: it would be cut off"),
                    format!("first let {name} send with the other key: tandem key use, there"),
                )
            }
            Self::NotAccepted(node, key) => {
                let name = names.node(node);
                (
                    format!("{name} has not told that it accepts the key {key}"),
                    format!(
                        "add it there: tandem key add FILE; if that was done just now, ask again \
                         in a moment (tandem key, here and on {name})"
                    ),
                )
            }
            Self::SendsHere(key) => (
                format!("this node sends with the key {key}, which would go"),
                "one step at a time: tandem key add, then use, then drop".to_owned(),
            ),
            Self::Wait(left) => (
                format!("the key is being withdrawn, for another {} ms", left.as_millis()),
                "ask again in a moment".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
