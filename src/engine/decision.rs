//! What a node that holds nothing does next: follow, wait, look, fence, ask, or take over.
//!
//! Asked after every input, from the facts alone; nothing here depends on how they came about.
//! The order of the questions is the order of the fears: nothing that a heard holder contradicts,
//! nothing on a bad service path, no fence before a look, no takeover without every proof.

use super::effect::{Effect, Effects};
use super::event::{Cause, Event};
use super::fence::{Ground, Ladder, Progress};
use super::look::{Look, Verdict};
use super::node::Node;
use super::peer::{Peer, Presence};
use super::proof::{Proof, Proofs};
use super::pulse;
use super::role::{Releasing, Role};
use super::snapshot::Waiting;
use crate::types::{FenceFault, Instant, NodeId, OpId, PeerState, Power, Term};
use core::time::Duration;

/// What the lost peers without a proof are, taken together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// There are none.
    Nobody,
    /// It is too early to say.
    Pending,
    /// This one's VIPs answer, and it is left serving.
    Serving(NodeId),
    /// They must be fenced; for this one, for this reason.
    ToFence(Cause),
}

impl Node {
    /// Decides what follows from all that is known.
    pub(super) fn decide(&mut self, out: &mut Effects) {
        self.answer_asks(out);
        if self.stopping {
            self.decide_stop(out);
            return;
        }
        if !self.is_passive() || self.is_purging() {
            self.look = None;
            // Only a node that holds nothing fences.
            self.drop_ladders(out);
            self.consider_handover(out);
            return;
        }
        self.update_yielding();
        self.look_after_late_peers(out);
        self.note_silence();
        if let Some(holder) = self.heard_holder() {
            self.follow(holder, out);
            return;
        }
        if self.must_listen() {
            return;
        }
        if !self.is_eligible() {
            self.stand_back(Cause::NotEligible, out);
            return;
        }
        if let Some(first) = self.first_of_the_heard() {
            self.stand_back(Cause::OtherFirst(first), out);
            return;
        }
        self.drop_needless_ladders(out);
        match self.judge_lost() {
            Lost::Pending => {
                self.climb_on(out);
                return;
            }
            Lost::Serving(node) => {
                self.leave_serving(node, out);
                return;
            }
            Lost::ToFence(cause) => self.climb(cause, out),
            Lost::Nobody => self.leave_fencing(out),
        }
        self.seek_proofs(out);
    }

    /// What keeps this node from becoming active, if it holds nothing and follows nobody.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        if let Role::Releasing(Releasing { told: true, .. }) = self.role.get() {
            return Some(Waiting::CannotRelease);
        }
        if !self.is_passive() || self.heard_holder().is_some() {
            None
        } else if self.is_purging() {
            Some(Waiting::Purging)
        } else if self.must_listen() {
            Some(Waiting::Listening(self.initdead_until))
        } else if let Some(until) = self.holding.resting_until(self.now) {
            Some(Waiting::Resting(until))
        } else if !self.is_path_good() {
            Some(Waiting::PathBad)
        } else if self.is_yielding() {
            Some(Waiting::Yielding)
        } else if let Some(first) = self.first_of_the_heard() {
            Some(Waiting::OtherFirst(first))
        } else {
            let pending = |peer: &Peer| {
                peer.presence == Presence::Lost
                    && !self.is_proven(peer)
                    && self.look_verdict(peer) == Verdict::Pending
            };
            let is_pending = self.peers.iter().any(pending);
            if is_pending && self.look.is_some_and(|look| look.is_unasked()) {
                return Some(Waiting::Unasked);
            }
            let settling = self.settling_until().filter(|_| is_pending).map(Waiting::Settling);
            settling.or_else(|| self.parted_until().map(Waiting::Parted))
        }
    }

    /// What the service networks say of a peer; pending while nobody looks.
    pub(super) fn look_verdict(&self, peer: &Peer) -> Verdict {
        match (self.settings.vips, self.look) {
            (0, _) => Verdict::Silent,
            (_, Some(look)) => match look.verdict(self.now, peer.answered_at) {
                Verdict::Silent if self.settling_until().is_some() => Verdict::Pending,
                // What has arrived may not be taken in yet: only a tick may find silence.
                Verdict::Silent if !(self.may_judge || peer.silent) => Verdict::Pending,
                verdict @ (Verdict::Silent | Verdict::Answers | Verdict::Pending) => verdict,
            },
            (_, None) => Verdict::Pending,
        }
    }

    /// Until when silence on the service networks proves nothing, because a service NIC of this
    /// node has only just recovered: what was asked while it was deaf was heard by nobody, and its
    /// switch port may still pass nothing. As at start, `initdead` is what a network may take; then
    /// as many rounds as ever must go unanswered.
    fn settling_until(&self) -> Option<Instant> {
        let rounds = self.look.map_or(Duration::ZERO, |look| look.window());
        let until = self.path.recovered_at()? + self.settings.initdead + rounds;
        (self.now < until).then_some(until)
    }

    /// Until when a lost peer is left alone because the silence of its VIPs says little.
    fn parted_until(&self) -> Option<Instant> {
        let lost = |peer: &&Peer| peer.presence == Presence::Lost && !self.is_proven(peer);
        let parted = self.peers.iter().filter(lost).filter(|peer| self.is_parted_from(peer));
        parted.filter_map(|peer| peer.grace_until).filter(|until| self.now < *until).max()
    }

    /// The proof that a peer's own words are, if they are one.
    pub(super) fn derived_proof(&self, peer: &Peer) -> Option<Proof> {
        let said = peer.said.as_ref()?;
        let us = self.settings.incarnation;
        let bid = self.bid.filter(|_| self.is_bid_usable()).unwrap_or(Term::NONE);
        Proof::from_grant(said, us, bid)
            .or_else(|| Proof::from_release(said, us, self.newest_claim))
    }

    pub(super) fn is_proven(&self, peer: &Peer) -> bool {
        peer.proof.is_some() || self.derived_proof(peer).is_some()
    }

    fn heard_holder(&self) -> Option<NodeId> {
        self.peers.iter().find(|peer| peer.is_heard_holding()).map(Peer::node)
    }

    /// A holder is heard: whatever was prepared against it is dropped.
    fn follow(&mut self, holder: NodeId, out: &mut Effects) {
        for index in 0..self.peers.len() {
            self.void_proof(index, out);
        }
        self.stand_back(Cause::ActiveHeard(holder), out);
        // The term of the takeover that may come is written before it is needed.
        self.memory.reserve(self.term.next());
    }

    /// Back to standby, with nothing under way.
    fn stand_back(&mut self, cause: Cause, out: &mut Effects) {
        self.bid = None;
        self.drop_ladders(out);
        for peer in &mut self.peers {
            if peer.is_heard() {
                peer.grace_until = None;
            }
        }
        if self.role.get().state() != PeerState::Standby {
            self.change_role(Role::Standby, cause, out);
        }
    }

    pub(super) fn drop_ladders(&mut self, out: &mut Effects) {
        self.peers.iter_mut().for_each(|peer| peer.drop_ladder(out));
    }

    /// Who is heard again, or proven by its own late word, is not fenced on: with three nodes the
    /// ladder of another may still be climbed.
    fn drop_needless_ladders(&mut self, out: &mut Effects) {
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            if peer.presence == Presence::Lost && !self.is_proven(peer) {
                continue;
            }
            if let Some(peer) = self.peers.get_mut(index) {
                peer.drop_ladder(out);
            }
        }
    }

    /// While somebody may yet be heard for the first time, a joining node listens.
    fn must_listen(&self) -> bool {
        matches!(self.role.get(), Role::Joining)
            && self.peers.iter().any(|peer| peer.presence == Presence::Unheard)
    }

    /// Looks at the service networks while any peer is late or lost and not proven harmless.
    fn look_after_late_peers(&mut self, out: &mut Effects) {
        let needed = self.peers.iter().any(|peer| {
            matches!(peer.presence, Presence::Late | Presence::Lost) && !self.is_proven(peer)
        });
        if !needed {
            self.look = None;
            return;
        }
        let now = self.now;
        let settings = &self.settings;
        let begin = || Look::new(now, settings.links.iter(), pulse::room(settings));
        let look = self.look.get_or_insert_with(begin);
        if look.begin_round(now) && self.settings.vips > 0 {
            out.push(Effect::Probe);
        }
    }

    /// Keeps what a tick found of the peers' VIPs, for the steps until the next one.
    fn note_silence(&mut self) {
        if !self.may_judge {
            return;
        }
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            let silent = self.look_verdict(peer) == Verdict::Silent;
            if let Some(peer) = self.peers.get_mut(index) {
                peer.silent = silent;
            }
        }
    }

    fn judge_lost(&mut self) -> Lost {
        let mut judged = Lost::Nobody;
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            if peer.presence != Presence::Lost || self.is_proven(peer) {
                continue;
            }
            let one = self.judge_lost_peer(index);
            judged = match (judged, one) {
                (Lost::Serving(node), _) | (_, Lost::Serving(node)) => Lost::Serving(node),
                (Lost::Pending, _) | (_, Lost::Pending) => Lost::Pending,
                (Lost::ToFence(cause), _) | (Lost::Nobody, Lost::ToFence(cause)) => {
                    Lost::ToFence(cause)
                }
                (Lost::Nobody, Lost::Nobody) => Lost::Nobody,
            };
        }
        judged
    }

    fn judge_lost_peer(&mut self, index: usize) -> Lost {
        let (now, grace) = (self.now, self.settings.isolated_grace);
        let Some(verdict) = self.peers.get(index).map(|peer| self.look_verdict(peer)) else {
            return Lost::Nobody;
        };
        let parted = self.peers.get(index).is_some_and(|peer| self.is_parted_from(peer));
        let Some(peer) = self.peers.get_mut(index) else { return Lost::Nobody };
        let node = peer.node();
        // Once a command may be on its way, the peer's last answers no longer call it back.
        if peer.ladder.as_ref().is_some_and(Ladder::is_under_way) {
            return Lost::ToFence(Cause::VipsSilent(node));
        }
        match verdict {
            Verdict::Pending => Lost::Pending,
            // Silence behind a port that may have been dead before says little: as long as one
            // that answers is left serving, so is one that cannot be asked.
            Verdict::Silent if parted => {
                let until = peer.presence_since + grace;
                peer.grace_until = Some(until);
                if now < until { Lost::Pending } else { Lost::ToFence(Cause::VipsSilent(node)) }
            }
            Verdict::Silent => {
                peer.grace_until = None;
                Lost::ToFence(Cause::VipsSilent(node))
            }
            // A node that has never heard this peer has no right to be impatient: it may be the
            // one that was fenced, booting into the same cut.
            Verdict::Answers if !peer.was_heard() => Lost::Serving(node),
            Verdict::Answers => {
                let until = *peer.grace_until.get_or_insert(now + grace);
                let over = now >= until;
                if over { Lost::ToFence(Cause::GraceOver(node)) } else { Lost::Serving(node) }
            }
        }
    }

    fn leave_serving(&mut self, node: NodeId, out: &mut Effects) {
        self.bid = None;
        self.look.iter_mut().for_each(Look::calm_down);
        self.drop_ladders(out);
        if self.role.get().state() != PeerState::Isolated {
            self.change_role(Role::Isolated, Cause::VipsAnswer(node), out);
        }
    }

    /// All that were lost are heard or proven: nothing is to be fenced any more.
    fn leave_fencing(&mut self, out: &mut Effects) {
        self.drop_ladders(out);
        let back = match self.role.get() {
            Role::Isolated | Role::Fencing | Role::Frozen => true,
            Role::Joining
            | Role::Standby
            | Role::Acquiring(_)
            | Role::Active { .. }
            | Role::Releasing(_)
            | Role::Stopped { .. } => false,
        };
        let heard = self.peers.iter().find(|peer| peer.is_heard()).map(Peer::node);
        if let (true, Some(node)) = (back, heard) {
            self.change_role(Role::Standby, Cause::PeerHeard(node), out);
        }
    }

    /// Climbs the ladder of every lost peer without a proof.
    fn climb(&mut self, cause: Cause, out: &mut Effects) {
        match self.role.get() {
            Role::Fencing | Role::Frozen => {}
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Acquiring(_)
            | Role::Active { .. }
            | Role::Releasing(_)
            | Role::Stopped { .. } => self.change_role(Role::Fencing, cause, out),
        }
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            if peer.presence != Presence::Lost || self.is_proven(peer) {
                continue;
            }
            self.climb_one(index, out);
        }
    }

    /// Goes on with what is under way: that another peer has yet to be judged is no reason to let
    /// what the devices of this one have answered grow old.
    fn climb_on(&mut self, out: &mut Effects) {
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            let under_way = peer.ladder.as_ref().is_some_and(Ladder::is_under_way);
            if under_way && peer.presence == Presence::Lost && !self.is_proven(peer) {
                self.climb_one(index, out);
            }
        }
    }

    fn climb_one(&mut self, index: usize, out: &mut Effects) {
        let (now, may_judge) = (self.now, self.may_judge);
        self.stop_checks_of(index, out);
        let answers =
            self.peers.get(index).is_some_and(|p| self.look_verdict(p) == Verdict::Answers);
        if let Some(peer) = self.peers.get_mut(index)
            && peer.ladder.is_none()
        {
            let commanded = core::mem::take(&mut peer.commanded);
            peer.ladder = Some(Ladder::new(now, fence_delay(peer), commanded));
        }
        let Some(peer) = self.peers.get_mut(index) else { return };
        let Some(ladder) = peer.ladder.as_mut() else { return };
        let devices = &self.devices;
        let mut ground = Ground {
            now,
            may_judge,
            peer: &peer.settings,
            answers,
            doubt: &|device| devices.doubt(device),
            ops: &mut self.ops,
            out,
            commanded: Vec::new(),
        };
        let node = peer.settings.node;
        let progress = ladder.advance(&mut ground);
        self.tick_wanted |= !may_judge && ladder.is_due(now);
        match progress {
            Progress::Working => {}
            Progress::Off(level) => {
                if level.is_cut() {
                    peer.note_fenced_at(level.index());
                }
                let proof = Proof::from_fence(level);
                let by = proof.kind();
                peer.proof = Some(proof);
                peer.proof_at = now;
                peer.ladder = None;
                out.push(Effect::Report(Event::Proven { node, by }));
            }
            Progress::Exhausted { cause, retry_in, first } => {
                if first {
                    out.push(Effect::Report(Event::Frozen { node, cause, retry_in }));
                }
                self.freeze(index, out);
            }
        }
    }

    /// The ladder has failed. A peer that is seen to serve is not frozen but isolated: it gets its
    /// grace anew, and the service goes on.
    fn freeze(&mut self, index: usize, out: &mut Effects) {
        let (now, grace) = (self.now, self.settings.isolated_grace);
        self.look.iter_mut().for_each(Look::calm_down);
        let peer = self.peers.get(index);
        let answers = peer.is_some_and(|peer| self.look_verdict(peer) == Verdict::Answers);
        let Some(peer) = self.peers.get_mut(index) else { return };
        let node = peer.node();
        if answers {
            peer.drop_ladder(out);
            peer.grace_until = Some(now + grace);
            self.change_role(Role::Isolated, Cause::FenceFailed(node), out);
        } else if self.role.get().state() != PeerState::Frozen {
            self.change_role(Role::Frozen, Cause::FenceFailed(node), out);
        }
    }

    /// Asks the heard peers that are not proven to hold nothing, and takes over once all are.
    fn seek_proofs(&mut self, out: &mut Effects) {
        if self.peers.iter().all(|peer| self.is_proven(peer)) {
            self.try_take_over(out);
            return;
        }
        // Whoever has not said anything since it may be believed again is not asked either.
        let unasked = self
            .peers
            .iter()
            .any(|peer| peer.is_heard() && peer.said.is_some() && !self.is_proven(peer));
        if unasked && !self.is_bid_usable() {
            let bid = self.term.max(self.promised).next();
            self.bid = Some(bid);
            self.term = bid;
            self.newest_claim = self.newest_claim.max(bid);
            self.memory.reserve(bid);
            self.released = false;
        }
    }

    /// A bid counts while nothing higher is known to be held, asked for or granted.
    fn is_bid_usable(&self) -> bool {
        self.bid.is_some_and(|bid| bid >= self.term && bid > self.promised)
    }

    fn try_take_over(&mut self, out: &mut Effects) {
        let bid = self.bid.filter(|_| self.is_bid_usable());
        let term = bid.unwrap_or_else(|| self.term.max(self.promised).next());
        assert!(term > self.promised, "a term that was granted to another is never taken");
        self.memory.reserve(term);
        if !self.memory.is_reserved(term, self.now) {
            return;
        }
        let proofs: Vec<Proof> = (0..self.peers.len())
            .filter_map(|index| {
                let peer = self.peers.get(index)?;
                let derived = self.derived_proof(peer);
                derived.or_else(|| self.peers.get_mut(index)?.proof.take())
            })
            .collect();
        let members = self.peers.iter().map(Peer::node);
        if let Some(proofs) = Proofs::complete(proofs, members) {
            self.take_over(proofs, term, out);
        }
    }

    /// Answers the asks of heard peers. Whoever promises starts from nothing: its own bid and all
    /// that was proven to it are dropped, so that no two nodes act on each other's words.
    fn answer_asks(&mut self, out: &mut Effects) {
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            let Some(said) = peer.said.as_ref() else { continue };
            if said.ask == Term::NONE || said.ask == peer.granted || !peer.is_heard() {
                continue;
            }
            if said.echo_incarnation != self.settings.incarnation {
                continue;
            }
            let ask = said.ask;
            if self.may_grant(peer, ask) {
                self.grant(index, ask, out);
            } else if self.is_passive() && ask <= self.promised {
                // Promised to another already, it can never be granted: by our higher term the
                // asker learns that it must ask for a later one.
                self.term = self.term.max(self.promised.next());
            }
        }
    }

    fn may_grant(&self, asker: &Peer, term: Term) -> bool {
        if !self.is_passive() || self.is_purging() {
            return false;
        }
        let other_holder =
            self.peers.iter().any(|peer| peer.node() != asker.node() && peer.is_heard_holding());
        let fence_under_way = asker.ladder.as_ref().is_some_and(Ladder::is_under_way);
        let asker_first = self.first_of_the_heard().is_some() || !self.is_eligible();
        let outbid = self.bid.is_none() || asker_first;
        term > self.promised && term >= self.term && !other_holder && !fence_under_way && outbid
    }

    fn grant(&mut self, index: usize, term: Term, out: &mut Effects) {
        self.promised = term;
        self.term = self.term.max(term);
        self.newest_claim = self.newest_claim.max(term);
        self.memory.reserve(term);
        self.bid = None;
        for other in 0..self.peers.len() {
            self.void_proof(other, out);
        }
        if let Some(peer) = self.peers.get_mut(index) {
            peer.granted = term;
            let node = peer.node();
            out.push(Effect::Report(Event::Granted { node, term }));
        }
    }

    /// Takes the answer to a ladder's order in; whether it was one.
    pub(super) fn ladder_reading(
        &mut self,
        op: OpId,
        reading: Result<Power, FenceFault>,
        out: &mut Effects,
    ) -> bool {
        let (now, may_judge) = (self.now, self.may_judge);
        let devices = &self.devices;
        for peer in &mut self.peers {
            let Some(ladder) = peer.ladder.as_mut() else { continue };
            let mut ground = Ground {
                now,
                may_judge,
                peer: &peer.settings,
                // Nothing is concluded from an answer before the ladder goes on.
                answers: false,
                doubt: &|device| devices.doubt(device),
                ops: &mut self.ops,
                out,
                commanded: Vec::new(),
            };
            if let Some((device, tells)) = ladder.answer(&mut ground, op, reading) {
                if tells {
                    self.devices.note_fence(device, reading, now);
                }
                return true;
            }
        }
        false
    }
}

/// A lost holder is fenced at once. When neither node is known to hold anything, both may be about
/// to fence each other, and the configured delay settles who is first.
fn fence_delay(peer: &Peer) -> Duration {
    let held = peer.last_role.is_some_and(|(state, _)| state.may_hold());
    if held { Duration::ZERO } else { peer.settings.fence_delay }
}
