//! Two holders of one address: who gives way.
//!
//! Heartbeats settle it by terms. Where none arrive, the claim itself does: a peer that was last
//! known to hold nothing can only have taken over since, so its claim is the newer one.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Cause, Event, Verdict};
use super::node::Node;
use super::peer::Peer;
use super::role::Role;
use crate::types::{Instant, Mac, NodeId, PeerState, Term, VipId};

/// How often another MAC's claim of one of our VIPs is told and answered (RFC 5227 §2.4,
/// `DEFEND_INTERVAL`).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// How old our own takeover must be before a claim counts: the last holder's packets may still be
/// under way.
const CLAIM_SETTLE: Duration = Duration::from_secs(1);
/// Within what time an unheard peer's MAC must claim a VIP twice for us to give way: the second
/// one answers our own probe, so it is no stray packet.
const CLAIM_REPEAT: Duration = Duration::from_secs(2);

/// The claims of others that a holder has noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    /// When one was last told and answered.
    defended_at: Option<Instant>,
    /// When a peer that is not heard made the first one that counts.
    claimed_at: Option<Instant>,
    /// Whether another holder is heard that must give way: its announcements have misled clients.
    pub(super) rival: bool,
}

/// Another holder that is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rival {
    /// Whether it holds on, rather than giving up already.
    stays: bool,
    term: Term,
    node: NodeId,
}

impl Node {
    /// The heard peer that holds resources with the highest term; one that is not giving them up
    /// before one that is.
    pub(super) fn heard_rival(&self) -> Option<Rival> {
        self.peers
            .iter()
            .filter(|peer| peer.is_heard_holding())
            .filter_map(|peer| peer.said.as_ref())
            .map(|said| Rival {
                stays: said.state != PeerState::Releasing,
                term: said.held_term,
                node: said.from,
            })
            .max_by_key(|rival| (rival.stays, rival.term, core::cmp::Reverse(rival.node)))
    }

    /// Two actives meet: the lower term gives way at once, unless the other does already.
    pub(super) fn meet_rival(&mut self, rival: Rival, out: &mut Effects) {
        let Rival { stays, term: theirs, node } = rival;
        let ours = self.memory.held_term();
        let later = match theirs.cmp(&ours) {
            core::cmp::Ordering::Greater => true,
            core::cmp::Ordering::Less => false,
            core::cmp::Ordering::Equal => node < self.settings.local,
        };
        let verdict = match (stays, later) {
            (true, true) => Verdict::WeYield,
            (true, false) => Verdict::TheyMustYield,
            (false, _) => Verdict::TheyYield,
        };
        let yields = verdict == Verdict::WeYield;
        self.holding.claims.rival = !yields;
        if !yields && !self.may_tell_claim() {
            return;
        }
        out.push(Effect::Report(Event::TwoActives { node, term: theirs, verdict }));
        if yields {
            self.release(Cause::Collision(node), out);
        }
    }

    /// Whether a collision may be told and answered again; remembers it if so.
    fn may_tell_claim(&mut self) -> bool {
        let now = self.now;
        let may = self.holding.claims.defended_at.is_none_or(|at| now >= at + DEFEND_INTERVAL);
        if may {
            self.holding.claims.defended_at = Some(now);
        }
        may
    }

    /// Somebody else's MAC answered for or announced a VIP.
    pub(super) fn note_claim(&mut self, vip: VipId, mac: Mac, at: Instant, out: &mut Effects) {
        let at = at.min(self.now);
        if self.is_passive() {
            let is_known = self.peers.iter().any(|peer| peer.owns(mac));
            let is_its = |peer: &Peer| peer.owns(mac) || (!is_known && peer.may_own(mac));
            for peer in self.peers.iter_mut().filter(|peer| is_its(peer)) {
                peer.answered_at = Some(peer.answered_at.map_or(at, |before| before.max(at)));
                peer.silent = false;
            }
            return;
        }
        let Role::Active { acquired_at, doubt_until } = self.role.get() else { return };
        if at < *acquired_at + CLAIM_SETTLE {
            return;
        }
        let doubts = doubt_until.is_some();
        let owner = self.peers.iter().find(|peer| peer.owns(mac));
        let node = owner.map(Peer::node);
        // A peer that is heard settles it by terms. One that is not, and was last known to hold
        // nothing, can only have taken over since: its claim is newer than ours.
        let newer = owner.is_some_and(|peer| {
            let held = peer.last_role.is_some_and(|(state, _)| state.may_hold());
            !peer.is_heard() && !held
        });
        if self.may_tell_claim() {
            out.push(Effect::Report(Event::Collision { vip, mac, node }));
            // Who doubts itself announces nothing; it will once it has stopped doubting.
            if !newer && !doubts {
                out.push(Effect::Announce);
            }
        }
        if let (true, Some(node)) = (newer, node) {
            self.weigh_claim(node, at, out);
        }
    }

    fn weigh_claim(&mut self, node: NodeId, at: Instant, out: &mut Effects) {
        let first = self.holding.claims.claimed_at.filter(|first| at <= *first + CLAIM_REPEAT);
        match first {
            Some(first) if at > first => self.release(Cause::Collision(node), out),
            Some(_) => {}
            None => {
                self.holding.claims.claimed_at = Some(at);
                out.push(Effect::Probe);
            }
        }
    }
}
