//! The proofs that a peer holds nothing, and nothing else can make one.
//!
//! Each constructor takes the evidence itself and checks it; the fields are private, so no other
//! module can put a proof together. The takeover consumes one for every peer, by value, as
//! [`Proofs`]. `docs/ARCHITECTURE.md` tells why two nodes can never have each other's at once.

use serde::Serialize;

use super::event::ProofKind;
use super::fence::LevelOff;
use super::operator::Confirmation;
use crate::types::{Heartbeat, Incarnation, NodeId, PeerState, Term};

/// Certainty that one peer holds nothing.
///
/// It is copied only with the whole node that has it, by whoever explores what that node could do
/// next: two proofs of one node are never made of one. It can be written down, and not be read
/// back: a text is no evidence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Proof {
    peer: NodeId,
    kind: ProofKind,
}

impl Proof {
    /// The peer says, to this incarnation, that it holds nothing and takes no term up to `bid`.
    pub(super) fn from_grant(said: &Heartbeat, us: Incarnation, bid: Term) -> Option<Self> {
        let granted = said.grant == bid && bid != Term::NONE;
        (granted && holds_nothing(said, us))
            .then_some(Self { peer: said.from, kind: ProofKind::Granted })
    }

    /// The peer says, to this incarnation, goodbye; or that it gave up the term it held and takes
    /// nothing again without asking. That term must be no older than any that we know to have been
    /// held, asked for or granted (`newest`): a word from before a later takeover proves nothing.
    pub(super) fn from_release(said: &Heartbeat, us: Incarnation, newest: Term) -> Option<Self> {
        let goodbye = said.state == PeerState::Stopped;
        let handed_over = said.flags.released && said.ask == Term::NONE && said.held_term >= newest;
        ((goodbye || handed_over) && holds_nothing(said, us))
            .then_some(Self { peer: said.from, kind: ProofKind::Released })
    }

    /// All devices of one level were told to cut the power and read off afterwards.
    pub(super) fn from_fence(level: LevelOff) -> Self {
        Self { peer: level.node(), kind: ProofKind::Fenced }
    }

    /// An operator said so, and nothing contradicted it or was overruled.
    pub(super) fn from_operator(confirmation: Confirmation) -> Self {
        Self { peer: confirmation.node(), kind: ProofKind::Confirmed }
    }

    /// Whom it is about.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// How it was had.
    pub fn kind(&self) -> ProofKind {
        self.kind
    }
}

/// What a peer says of its holdings counts only if it answers to our current incarnation.
fn holds_nothing(said: &Heartbeat, us: Incarnation) -> bool {
    said.echo_incarnation == us
        && us != Incarnation::NONE
        && !said.state.may_hold()
        && !said.flags.purging
}

/// One proof for every peer: what a takeover costs.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Proofs {
    list: Vec<Proof>,
}

impl Proofs {
    /// All proofs, if there is one for each of `peers` and none for anybody else.
    pub(super) fn complete(
        list: Vec<Proof>,
        mut peers: impl Iterator<Item = NodeId>,
    ) -> Option<Self> {
        let complete = peers.all(|node| list.iter().any(|proof| proof.peer == node));
        complete.then_some(Self { list })
    }

    /// Whether the proof of `node` is that its power was cut.
    pub(super) fn is_fenced(&self, node: NodeId) -> bool {
        self.list.iter().any(|proof| proof.peer == node && proof.kind == ProofKind::Fenced)
    }

    /// The kind that decided: the strongest cut there was, for the log.
    pub(super) fn decisive(&self) -> ProofKind {
        let kinds = || self.list.iter().map(Proof::kind);
        for kind in [ProofKind::Confirmed, ProofKind::Fenced, ProofKind::Released] {
            if kinds().any(|k| k == kind) {
                return kind;
            }
        }
        ProofKind::Granted
    }
}
