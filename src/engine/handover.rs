//! Whose service path is better: who may become active, who goes first, and when a holder hands
//! over because a service NIC is bad here and good at a peer.
//!
//! ```text
//!   serving ── a peer is better off, for path-hold ──► releasing ──► standby, yields ──► follows
//!      ▲         and nothing keeps it here                               │
//!      └─────────── nobody took over: by asking, or by a fence ──────────┘
//! ```
//!
//! A peer is better off if a NIC is good there and bad here, and none the other way round. What is
//! bad on both sides is nobody's fault and moves nothing. After each such move the nodes that took
//! part in it rest, each time twice as long, so that a NIC that comes and goes cannot make the
//! service do so too. `docs/adr/0004-path-handover.md` tells what else was thought of.

use core::cmp::Reverse;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Cause, Event};
use super::node::Node;
use super::peer::{Peer, Presence};
use super::role::Role;
use crate::types::{Instant, NodeId, PeerState, Term};

/// How long a former holder lets others go first, as long as one is heard that could take over.
const YIELD_MAX: Duration = Duration::from_secs(5);
/// How often the rest after a move is doubled at most.
const DOUBLINGS_MAX: u32 = 6;
/// After as many rests without a move, the next one is the first again.
const CALM_RESTS: u32 = 4;
/// How often the reason for staying is told when it changes.
const STAY_TOLD_INTERVAL: Duration = Duration::from_secs(1);

/// Why a holder with a bad service path stays. The later ones are nearer to a move.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Stay {
    /// That peer is not heard, or has not answered to this node.
    Unheard(NodeId),
    /// That peer's service path is not better.
    NotBetter(NodeId),
    /// That peer's configuration differs: its NICs may be others.
    ConfigDiffers(NodeId),
    /// That peer could not take over now.
    NotReady(NodeId),
    /// That peer's daemon has just started: its pings have not told yet what they find.
    JustStarted(NodeId),
    /// This node doubts what it holds.
    Doubting,
    /// The last move for a bad path is too recent.
    Resting(Instant),
    /// The path has not been bad for long enough.
    Waiting(Instant),
}

impl Stay {
    /// The peer it is about, if it is about one.
    pub fn node(self) -> Option<NodeId> {
        match self {
            Self::Unheard(node)
            | Self::NotBetter(node)
            | Self::ConfigDiffers(node)
            | Self::NotReady(node)
            | Self::JustStarted(node) => Some(node),
            Self::Doubting | Self::Resting(_) | Self::Waiting(_) => None,
        }
    }
}

/// What is remembered of moves for a bad path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Handover {
    /// Until when a peer must be better off before this holder hands over.
    hold_until: Option<Instant>,
    /// Until when no further move is begun by this node.
    rest_until: Option<Instant>,
    /// When the next move is the first again.
    calm_at: Option<Instant>,
    /// How many moves came in a row.
    moves: u32,
    /// Whether this node is giving its service away, or has, and nobody is known to have taken it.
    given: bool,
    /// Until when whoever took it, unheard, is left alone.
    spared_until: Option<Instant>,
    /// Until when this node goes last.
    yields_until: Option<Instant>,
    /// The reason for staying that was told last, and when.
    told: Option<(Stay, Instant)>,
}

impl Handover {
    /// A move for a bad path, from here or to here: rests after it.
    fn note_move(&mut self, now: Instant, rest: Duration) {
        if self.calm_at.is_none_or(|at| now >= at) {
            self.moves = 0;
        }
        let rest = rest.saturating_mul(1 << self.moves.min(DOUBLINGS_MAX));
        self.moves = self.moves.saturating_add(1).min(DOUBLINGS_MAX + 1);
        self.rest_until = Some(now + rest);
        self.calm_at = Some(now + rest.saturating_mul(CALM_RESTS));
    }

    /// Somebody holds the service: it was not given in vain.
    fn note_taken(&mut self) {
        self.given = false;
        self.spared_until = None;
        self.yields_until = None;
    }

    /// What was not seen while the loop was late has not lasted.
    pub(super) fn forgive(&mut self, late_by: Duration) {
        self.hold_until = self.hold_until.map(|until| until + late_by);
        self.spared_until = self.spared_until.map(|until| until + late_by);
    }
}

/// What counts when several could take over: the number of good NICs, then the higher term that it
/// held itself, then being preferred, then the lower number.
type Rank = (u32, Term, bool, Reverse<NodeId>);

impl Node {
    /// Whether this node could become active now.
    pub(super) fn is_eligible(&self) -> bool {
        self.is_path_good()
            && !self.stopping
            && !self.is_purging()
            && !self.holding.is_resting(self.now)
            && !self.is_yielding()
    }

    /// Whether this node's own service path is good enough for serving, and for judging those that
    /// are not heard: no worse than that of any peer that holds, or that cannot say that it does
    /// not. Of those that are heard to hold nothing, the better one goes first.
    pub(super) fn is_path_good(&self) -> bool {
        let no_worse = |peer: &Peer| self.path.is_good_against(peer.good_nics());
        self.path.is_good_against(0)
            && self.peers.iter().all(|peer| {
                no_worse(peer) || self.is_harmless(peer) || self.has_given_in_vain(peer)
            })
    }

    /// Whether a peer is heard to hold nothing, or proven to.
    fn is_harmless(&self, peer: &Peer) -> bool {
        let says_so = peer.said.as_ref().is_some_and(|said| !said.state.may_hold());
        (peer.is_heard() && says_so) || self.is_proven(peer)
    }

    /// Whether this node gave its service away for its path, and nobody was heard to take it until
    /// that peer fell silent: then half a path is better than nobody, once it was left its grace.
    fn has_given_in_vain(&self, peer: &Peer) -> bool {
        self.handover.given
            && peer.presence == Presence::Lost
            && self.handover.spared_until.is_some_and(|until| self.now >= until)
    }

    /// Whether this node gave its service away for its path, and lets others go first.
    pub(super) fn is_yielding(&self) -> bool {
        self.handover.yields_until.is_some_and(|until| self.now < until)
    }

    /// A heard peer that could take over and goes before us. Who that is must not be two at once:
    /// where configurations differ, only what both sides see alike counts.
    pub(super) fn first_of_the_heard(&self) -> Option<NodeId> {
        let alike = self.is_configured_alike();
        let good = |mask: u8| if alike { self.path.of_mine(mask).count_ones() } else { 0 };
        let preferred = |node: NodeId| alike && self.settings.preferred == Some(node);
        let local = self.settings.local;
        let held = self.memory.held_term();
        let ours: Rank = (good(self.path.good_mask()), held, preferred(local), Reverse(local));
        self.peers
            .iter()
            .filter(|peer| peer.is_heard())
            .filter_map(|peer| peer.said.as_ref())
            .filter(|said| said.flags.eligible && said.state != PeerState::Stopped)
            .map(|said| -> Rank {
                let (good, node) = (good(said.good_nics), said.from);
                (good, said.held_term, preferred(node), Reverse(node))
            })
            .filter(|theirs| *theirs > ours)
            .max()
            .map(|(_, _, _, Reverse(node))| node)
    }

    /// Whether no peer that is heard has told another configuration.
    fn is_configured_alike(&self) -> bool {
        let ours = self.settings.config_digest;
        let heard = self.peers.iter().filter(|peer| peer.is_heard());
        heard.filter_map(|peer| peer.config_digest).all(|theirs| theirs == ours)
    }

    /// The resources are taken. That one which lives gave them up is a move as well: this node is
    /// in no hurry to give them back.
    pub(super) fn note_taking(&mut self) {
        let moved = |peer: &Peer| {
            let said = peer.said.as_ref().filter(|_| peer.is_heard());
            said.is_some_and(|said| said.flags.released && said.state != PeerState::Stopped)
        };
        if self.peers.iter().any(moved) {
            self.handover.note_move(self.now, self.settings.path_rest);
        }
        self.handover.note_taken();
    }

    /// A release begins, for whatever reason.
    pub(super) fn note_releasing(&mut self) {
        self.handover.hold_until = None;
    }

    /// The release is done: whoever is better off goes first now.
    pub(super) fn note_given(&mut self) {
        if self.handover.given {
            self.handover.yields_until = Some(self.now + YIELD_MAX);
        }
    }

    /// What follows for a node that holds nothing from who is heard.
    pub(super) fn update_yielding(&mut self) {
        if self.peers.iter().any(Peer::is_heard_holding) {
            self.handover.note_taken();
            return;
        }
        if !self.handover.given {
            return;
        }
        let heard = || self.peers.iter().filter(|peer| peer.is_heard());
        if heard().next().is_some() {
            self.handover.spared_until = Some(self.now + self.settings.isolated_grace);
        }
        let could = |peer: &Peer| {
            let said = peer.said.as_ref();
            said.is_some_and(|said| said.flags.eligible && said.state != PeerState::Stopped)
        };
        // Once it has stopped waiting it does not begin again: two that wait for each other would
        // tell each other so without end.
        if !heard().any(could) {
            self.handover.yields_until = None;
        }
    }

    /// Hands over if a service NIC has been bad here for long enough that is good at a peer which
    /// could take over. Only a tick may: what has arrived is taken in before.
    pub(super) fn consider_handover(&mut self, out: &mut Effects) {
        let serves = matches!(self.role.get(), Role::Active { .. });
        if !serves || self.path.is_good_against(u8::MAX) {
            self.handover.hold_until = None;
            self.tell_stay(None, out);
            return;
        }
        let judged = self.peers.iter().map(|peer| self.judge_successor(peer)).max_by_key(rank_of);
        let stay = match judged {
            None => None,
            Some(Err(stay)) => {
                self.handover.hold_until = None;
                Some(stay)
            }
            Some(Ok(node)) => {
                let hold = self.settings.path_hold;
                let until = *self.handover.hold_until.get_or_insert(self.now + hold);
                match self.delay_until(until) {
                    Some(stay) => Some(stay),
                    None if !self.may_judge => return,
                    None => {
                        self.hand_over(node, out);
                        None
                    }
                }
            }
        };
        self.tell_stay(stay, out);
    }

    /// Whether a peer is better off and could take over; or why not.
    fn judge_successor(&self, peer: &Peer) -> Result<NodeId, Stay> {
        let node = peer.node();
        // After a stall of our own it may have fallen silent while nobody listened.
        let received = peer.received_at().is_some_and(|at| self.now < at + self.deadtime_max());
        let is_heard = peer.presence == Presence::Heard && received;
        let said = peer.said.as_ref().filter(|_| is_heard).ok_or(Stay::Unheard(node))?;
        if said.echo_incarnation != self.settings.incarnation {
            return Err(Stay::Unheard(node));
        }
        if !self.path.is_worse_than(said.good_nics) {
            return Err(Stay::NotBetter(node));
        }
        // Over a serial line it is told in its turn: until then nothing can be compared.
        let digest = peer.config_digest.ok_or(Stay::NotReady(node))?;
        if digest != self.settings.config_digest {
            return Err(Stay::ConfigDiffers(node));
        }
        if said.state != PeerState::Standby || !said.flags.eligible || said.flags.purging {
            return Err(Stay::NotReady(node));
        }
        if !self.is_acquainted(peer) {
            return Err(Stay::JustStarted(node));
        }
        Ok(node)
    }

    /// What delays a move to a peer that is better off.
    fn delay_until(&self, hold_until: Instant) -> Option<Stay> {
        if matches!(self.role.get(), Role::Active { doubt_until: Some(_), .. }) {
            return Some(Stay::Doubting);
        }
        if let Some(until) = self.handover.rest_until.filter(|until| self.now < *until) {
            return Some(Stay::Resting(until));
        }
        (self.now < hold_until).then_some(Stay::Waiting(hold_until))
    }

    fn hand_over(&mut self, node: NodeId, out: &mut Effects) {
        self.handover.note_move(self.now, self.settings.path_rest);
        self.handover.given = true;
        self.handover.spared_until = Some(self.now + self.settings.isolated_grace);
        self.release(Cause::PathWorse(node), out);
    }

    /// Tells why the service stays, when that changes, but for what is over soon.
    fn tell_stay(&mut self, stay: Option<Stay>, out: &mut Effects) {
        let lasting = stay.filter(|stay| match stay {
            Stay::Waiting(_) | Stay::Doubting => false,
            Stay::Unheard(_)
            | Stay::NotBetter(_)
            | Stay::ConfigDiffers(_)
            | Stay::NotReady(_)
            | Stay::JustStarted(_)
            | Stay::Resting(_) => true,
        });
        let Some(stay) = lasting else {
            if stay.is_none() && self.path.is_good_against(u8::MAX) {
                self.handover.told = None;
            }
            return;
        };
        let recent = |at: Instant| self.now < at + STAY_TOLD_INTERVAL;
        if self.handover.told.is_some_and(|(told, at)| told == stay || recent(at)) {
            return;
        }
        self.handover.told = Some((stay, self.now));
        out.push(Effect::Report(Event::Stays { why: stay }));
    }

    /// Why this holder stays although its service path is bad; nothing if it is not, or holds
    /// nothing.
    pub(super) fn stay(&self) -> Option<Stay> {
        let serves = matches!(self.role.get(), Role::Active { .. });
        if !serves || self.path.is_good_against(u8::MAX) {
            return None;
        }
        let judged =
            self.peers.iter().map(|peer| self.judge_successor(peer)).max_by_key(rank_of)?;
        match judged {
            Err(stay) => Some(stay),
            Ok(_) => {
                let until = self.handover.hold_until.unwrap_or(self.now + self.settings.path_hold);
                Some(self.delay_until(until).unwrap_or(Stay::Waiting(until)))
            }
        }
    }

    /// When a move wants a tick.
    pub(super) fn handover_deadline(&self) -> Option<Instant> {
        let hold = self.handover.hold_until.map(|until| {
            self.handover.rest_until.map_or(until, |rest_until| until.max(rest_until))
        });
        let may_move = matches!(self.role.get(), Role::Active { doubt_until: None, .. });
        let hold = hold.filter(|_| may_move);
        let waits = [self.handover.yields_until, self.handover.spared_until];
        let passive = self.is_passive() && self.handover.given;
        let waits = waits.into_iter().flatten().filter(|until| passive && *until > self.now);
        Instant::soonest(hold, waits.min())
    }
}

/// A peer that can take over before one that cannot; and of these, the one nearest to it.
fn rank_of(judged: &Result<NodeId, Stay>) -> (bool, Option<Stay>) {
    match judged {
        Ok(_) => (true, None),
        Err(stay) => (false, Some(*stay)),
    }
}
