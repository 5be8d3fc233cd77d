//! What a heartbeat would be, without taking it in.
//!
//! Whoever replays or misdirects authentic heartbeats at the full rate of a wire must not have
//! each of them decided on, and written into the flight recording: the shell asks here first, and
//! hands only a share of those on that the engine would refuse (`docs/THREAT_MODEL.md`).

use super::event::Refusal;
use super::freshness::Freshness;
use super::node::Node;
use crate::types::{Heartbeat, Incarnation, LinkId, NodeId};

impl Node {
    /// Whether that incarnation is the life of that peer that is believed.
    pub fn believes(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let peer = self.peers.iter().find(|peer| peer.node() == node);
        peer.and_then(|peer| peer.identity).is_some_and(|id| id.incarnation == incarnation)
    }

    /// Why an authentic heartbeat that came over `link` would be refused, or be taken for no more
    /// than an introduction ([`Refusal::Unproven`]); nothing if it may be accepted.
    pub fn would_refuse(&self, link: LinkId, heartbeat: &Heartbeat) -> Option<Refusal> {
        let Some(peer) = self.peers.iter().find(|peer| peer.node() == heartbeat.from) else {
            return Some(Refusal::Stranger);
        };
        if heartbeat.to != self.settings.local {
            return Some(Refusal::NotForUs);
        }
        if heartbeat.link != link {
            return Some(Refusal::OtherLink);
        }
        if self.believes(heartbeat.from, heartbeat.incarnation) {
            if peer.is_early(heartbeat.seq) {
                return Some(Refusal::Stale);
            }
            let (freshness, _) = peer.freshness_of(heartbeat)?;
            return match freshness {
                Freshness::New => None,
                Freshness::Replayed => Some(Refusal::Replayed),
                Freshness::Stale => Some(Refusal::Stale),
            };
        }
        let answers_us = heartbeat.echo_incarnation == self.settings.incarnation
            && heartbeat.echo_session == peer.session;
        if answers_us { None } else { Some(Refusal::Unproven) }
    }
}
