//! One node: its state, and the one way in.
//!
//! [`Node::step`] takes one input in, then lets everything that follows from it happen, in a fixed
//! order: record the fact, run what time has brought (only for a [`Input::Tick`]: silence is judged
//! after the sockets are drained), decide, tell. The parts live in their own files; this one holds
//! them together and decides nothing.

use serde::{Deserialize, Serialize};

use super::devices::Devices;
use super::effect::{Effect, Effects};
use super::event::{Cause, Event, Life, Refusal};
use super::fence::Ops;
use super::freshness::Freshness;
use super::handover::Handover;
use super::health::Health;
use super::input::{Input, Outcome};
use super::look::Look;
use super::memory::Memory;
use super::path::Path;
use super::peer::{Hearing, Peer, Presence};
use super::pulse::{Asking, Pulse};
use super::purge::Purge;
use super::role::{Role, RoleCell};
use super::settings::{Record, Remembered, Settings};
use crate::types::heartbeat::NICS_MAX;
use crate::types::{Heartbeat, Instant, LinkId, Mac, OpId, PeerState, Seq, Term};
use core::time::Duration;
use std::sync::Arc;

/// How often one kind of refused heartbeat is told.
const REFUSAL_TOLD_INTERVAL: Duration = Duration::from_secs(1);

/// The deciding part of one node.
///
/// It can be copied and written down, so that what it did can be told again and what it could do
/// explored. A text of it, read back, is the same node as long as it had no unused proof
/// ([`Node::has_unused_proof`]): those are never read back ([`super::proof`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// Shared by all copies of this node.
    pub(super) settings: Arc<Settings>,
    /// The latest time that came in; never goes back.
    pub(super) now: Instant,
    pub(super) started: Instant,
    /// When a peer that was never heard counts as lost. Moves with our own stalls.
    pub(super) initdead_until: Instant,
    pub(super) role: RoleCell,
    pub(super) purge: Purge,
    pub(super) peers: Vec<Peer>,
    /// The highest term this node knows of, reserved ones included; told to the peers.
    pub(super) term: Term,
    /// The highest term known to have been held, asked for or granted: a release of an older one
    /// is a word from before a later takeover.
    pub(super) newest_claim: Term,
    /// The highest term granted to anybody: nothing up to it is taken by this node.
    pub(super) promised: Term,
    /// The term that this node asks its peers' grants for.
    pub(super) bid: Option<Term>,
    /// Whether this node gave up what it held in this life and has not asked for it since.
    pub(super) released: bool,
    /// Whether the end was asked for.
    pub(super) stopping: bool,
    /// Whether [`Effect::Exit`] was given.
    pub(super) exited: bool,
    pub(super) path: Path,
    pub(super) handover: Handover,
    /// The MACs of this node's service NICs, for the peers: by them they know its answers.
    pub(super) macs: [Mac; NICS_MAX],
    pub(super) look: Option<Look>,
    pub(super) asking: Option<Asking>,
    /// Whether this step may find a peer's VIPs silent: only a tick may.
    pub(super) may_judge: bool,
    /// Whether something waits for nothing but the next tick.
    pub(super) tick_wanted: bool,
    pub(super) memory: Memory,
    pub(super) devices: Devices,
    pub(super) health: Health,
    pub(super) holding: super::holder::Holding,
    pub(super) ops: Ops,
    pub(super) seq: Seq,
    /// The time that the last heartbeat told.
    pub(super) sent: Instant,
    refused: [Refused; Refusal::ALL.len()],
    late_answers: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Refused {
    count: u64,
    told_at: Option<Instant>,
}

impl Node {
    /// A node that has just been started. Its first input is [`Input::Start`].
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut peers: Vec<Peer> = settings
            .peers
            .iter()
            .map(|peer| Peer::new(peer.clone(), &settings.links, now))
            .collect();
        let asking = Asking::new(&settings, now);
        if asking.is_some() {
            peers.iter_mut().for_each(|peer| peer.pulse = Pulse::new(settings.links.len()));
        }
        let devices = Devices::new(&settings, now);
        let mut node = Self {
            now,
            started: now,
            initdead_until: now + settings.initdead,
            role: RoleCell::new(now),
            purge: Purge::Done,
            health: Health::default(),
            peers,
            term: Term::NONE,
            newest_claim: Term::NONE,
            promised: Term::NONE,
            bid: None,
            released: false,
            stopping: false,
            exited: false,
            path: Path::new(settings.nics),
            handover: Handover::default(),
            macs: settings.macs,
            look: None,
            asking,
            may_judge: false,
            tick_wanted: false,
            memory: Memory::new(Record::default()),
            devices,
            holding: super::holder::Holding::default(),
            ops: Ops::default(),
            seq: Seq::default(),
            sent: Instant::ZERO,
            refused: [Refused::default(); Refusal::ALL.len()],
            late_answers: 0,
            settings: Arc::new(settings),
        };
        node.health = Health::new(&node);
        node
    }

    /// Takes one input in at `now` and adds what has to be done to `out`. Time that goes back is
    /// held at the latest that was seen.
    pub fn step(&mut self, now: Instant, input: Input, out: &mut Effects) {
        self.now = self.now.max(now);
        // Silence is judged only once everything that has arrived was taken in.
        self.may_judge = matches!(input, Input::Tick);
        self.tick_wanted = false;
        match input {
            Input::Start(remembered) => self.start(remembered, out),
            Input::Tick => self.tick(out),
            Input::Stalled { late_by } => self.note_stall(late_by, out),
            Input::Heard { link, at, ref heartbeat } => self.hear(link, at, heartbeat, out),
            Input::Carrier { nic, up } => {
                if let Some(good) = self.path.note_carrier(nic, up, self.now) {
                    self.note_nic(nic, good, out);
                }
            }
            Input::Reach { nic, up } => {
                if let Some(good) = self.path.note_reach(nic, up, self.now) {
                    self.note_nic(nic, good, out);
                }
            }
            Input::Across { nic, node, passes } => self.note_across(nic, node, passes),
            Input::Probed { asked } => {
                if let Some(look) = &mut self.look {
                    look.note_probed(asked);
                }
            }
            Input::KernelsAsked { links } => self.note_asked(links, out),
            Input::KernelAnswered { link, node, at } => self.note_kernel(link, node, at, out),
            Input::Mac { nic, mac } => self.note_mac(nic, mac),
            Input::Claim { vip, mac, at } => self.note_claim(vip, mac, at, out),
            Input::VipGone { vip } => self.note_vip_gone(vip, out),
            Input::VipStray { vip } => self.note_vip_stray(vip, out),
            Input::Done { op, outcome } => self.note_done(op, &outcome, out),
            Input::Reading { op, reading } => self.note_reading(op, reading, out),
            Input::Identity { device, machine } => {
                self.devices.note_machine(device, machine);
                self.judge_devices();
            }
            Input::ConfirmOff { request, node, force } => {
                self.confirm_off(request, node, force, out);
            }
            Input::Stop => self.stopping = true,
        }
        self.decide(out);
        self.tend_powers(out);
        self.memory.write(self.now, &mut self.ops, out);
        self.report_health(out);
        self.speak(out);
        self.exit_if_ended(out);
    }

    /// When [`Input::Tick`] is wanted next. Never at or before the time of the last tick.
    pub fn next_deadline(&self) -> Option<Instant> {
        let mut next = self.tick_wanted.then_some(self.now);
        let mut note = |at: Option<Instant>| next = Instant::soonest(next, at);
        for peer in &self.peers {
            for link in &peer.links {
                note(link.judge_at(self.started));
                note(Some(link.send_at));
            }
            note((peer.presence == Presence::Unheard).then_some(self.initdead_until));
            let ladder = peer.ladder.as_ref().and_then(super::fence::Ladder::next_deadline);
            note(ladder.filter(|at| *at > self.now));
            if self.role.get().state() == PeerState::Isolated {
                // One that is over was judged already; that other peers matter more is no reason
                // to ask again and again.
                note(peer.grace_until.filter(|at| *at > self.now));
            }
        }
        note(self.look.map(|look| look.next_deadline()));
        note(self.pulse_deadline());
        note(self.memory.next_deadline(self.now));
        note(self.devices.next_deadline());
        note(self.role_deadline());
        note(self.handover_deadline());
        note(self.purge_deadline());
        note(self.power_on_deadline());
        next.map(|at| at.max(Instant::from_nanos(self.now.as_nanos().saturating_add(1))))
    }

    /// The role's state, as it is told to the peers.
    pub fn state(&self) -> PeerState {
        self.role.get().state()
    }

    /// Whether a peer was proven to hold nothing by a fence or by an operator, and that was not
    /// used yet. Such a node is not to be written down for reading it back: the proof would be
    /// lost.
    pub fn has_unused_proof(&self) -> bool {
        self.peers.iter().any(|peer| peer.proof.is_some())
    }

    /// This start's incarnation.
    pub fn incarnation(&self) -> crate::types::Incarnation {
        self.settings.incarnation
    }

    /// When it began to say goodbye; nothing while it goes on.
    pub fn goodbye_at(&self) -> Option<Instant> {
        match self.role.get() {
            Role::Stopped { since, .. } => Some(*since),
            Role::Joining
            | Role::Standby
            | Role::Isolated
            | Role::Fencing
            | Role::Frozen
            | Role::Acquiring(_)
            | Role::Active { .. }
            | Role::Releasing(_) => None,
        }
    }

    /// Whether any fence device read off when it was last read.
    pub fn reads_off(&self) -> bool {
        self.devices.reads_off()
    }

    /// What a heartbeat would be to the replay window of its link, and whether it would be the
    /// newest word of its sender; nothing if it is of another incarnation than the known one.
    pub fn freshness_of(&self, heartbeat: &Heartbeat) -> Option<(Freshness, bool)> {
        let peer = self.peers.iter().find(|peer| peer.node() == heartbeat.from)?;
        peer.freshness_of(heartbeat)
    }

    /// How many answers came for operations that nobody waits for any more.
    pub fn late_answers(&self) -> u64 {
        self.late_answers
    }

    /// How many authentic heartbeats were refused for `reason`.
    pub fn refused(&self, reason: Refusal) -> u64 {
        let index = Refusal::ALL.iter().position(|r| *r == reason);
        index.and_then(|index| self.refused.get(index)).map_or(0, |refused| refused.count)
    }

    fn start(&mut self, remembered: Remembered, out: &mut Effects) {
        let mark = remembered.mark;
        let mut record = remembered.record;
        let held = mark.filter(|mark| mark.holding && mark.boot == self.settings.boot);
        if let Some(mark) = mark {
            record.term = record.term.max(mark.term);
        }
        self.memory = Memory::new(record);
        self.term = record.term.max(record.held_term);
        self.newest_claim = record.held_term;
        match held {
            Some(mark) => self.adopt(mark, out),
            // Removed before anything is promised.
            None if remembered.leftovers => self.purge(out),
            None => {}
        }
    }

    fn tick(&mut self, out: &mut Effects) {
        for peer in &mut self.peers {
            peer.judge(self.now, self.started, self.initdead_until, out);
        }
        self.feel_pulses(out);
        self.check_devices(out);
        self.tick_role(out);
        self.tick_purge(out);
    }

    /// Own lateness is nobody's silence; after a gap as long as a deadtime, nothing that was
    /// believed of the peers is believed any more.
    fn note_stall(&mut self, late_by: Duration, out: &mut Effects) {
        let deadtime = self.deadtime_min();
        let warntime = self.settings.links.iter().map(|link| link.warntime).min();
        if warntime.is_some_and(|warntime| late_by >= warntime) {
            out.push(Effect::Report(Event::Stalled { late_by }));
        }
        self.initdead_until =
            (self.initdead_until + late_by).min(self.now + self.settings.initdead);
        for peer in &mut self.peers {
            peer.forgive(late_by, self.now);
        }
        if let Some(look) = self.look.as_mut() {
            look.forgive(late_by, self.now);
        }
        self.forgive_pulses(late_by);
        self.handover.forgive(late_by);
        if late_by < deadtime {
            return;
        }
        self.look = None;
        self.bid = None;
        self.drop_ladders(out);
        for index in 0..self.peers.len() {
            self.void_proof(index, out);
            if let Some(peer) = self.peers.get_mut(index) {
                peer.distrust();
            }
        }
        self.doubt_holding(out);
    }

    /// The shortest deadtime of any link: as long as this, a stall may have had consequences.
    pub(super) fn deadtime_min(&self) -> Duration {
        self.settings.links.iter().map(|link| link.deadtime).min().unwrap_or(Duration::ZERO)
    }

    /// The longest deadtime of any link: until then a living peer has been heard.
    pub(super) fn deadtime_max(&self) -> Duration {
        self.settings.links.iter().map(|link| link.deadtime).max().unwrap_or(Duration::ZERO)
    }

    fn hear(&mut self, link: LinkId, at: Instant, heartbeat: &Heartbeat, out: &mut Effects) {
        let at = at.min(self.now);
        let Some(index) = self.peers.iter().position(|p| p.node() == heartbeat.from) else {
            self.refuse(heartbeat, link, Refusal::Stranger, out);
            return;
        };
        if heartbeat.to != self.settings.local {
            self.refuse(heartbeat, link, Refusal::NotForUs, out);
            return;
        }
        if heartbeat.link != link {
            self.refuse(heartbeat, link, Refusal::OtherLink, out);
            return;
        }
        let told = [heartbeat.term, heartbeat.held_term, heartbeat.ask, heartbeat.grant];
        if told.iter().any(|term| *term > Term::BELIEVED_MAX) {
            self.refuse(heartbeat, link, Refusal::Term, out);
            return;
        }
        let (now, us) = (self.now, self.settings.incarnation);
        let Some(peer) = self.peers.get_mut(index) else { return };
        let (before, machine) = (peer.last_role, peer.machine);
        match peer.hear(heartbeat, at, now, us) {
            Hearing::Refused(reason) => self.refuse(heartbeat, link, reason, out),
            // Two links are not equally fast: nothing to tell anybody, but counted.
            Hearing::Early => {
                self.count_refusal(Refusal::Stale);
            }
            Hearing::Introduced => {
                // The first word of a peer that was never heard is how every life begins.
                let known = self.peers.get(index).is_some_and(|peer| {
                    peer.was_heard() || peer.has_introduced(heartbeat.incarnation)
                });
                let deadtime = self.deadtime_max();
                let peer = self.peers.get_mut(index);
                if peer.is_some_and(|peer| peer.note_introduction(now, deadtime)) {
                    self.refuse(heartbeat, link, Refusal::Unproven, out);
                } else if known {
                    self.count_refusal(Refusal::Unproven);
                }
                self.answer_introduction(index, heartbeat, out);
            }
            Hearing::Accepted(life) => {
                self.judge_heard_link(index, link, at, out);
                if self.peers.get(index).is_some_and(|peer| peer.machine != machine) {
                    self.judge_devices();
                }
                self.note_heard(index, at, heartbeat, life, before, out);
            }
        }
    }

    /// A link on which a fresh heartbeat has come is judged at once: only for the better.
    fn judge_heard_link(&mut self, index: usize, link: LinkId, at: Instant, out: &mut Effects) {
        let (now, started) = (self.now, self.started);
        let Some(peer) = self.peers.get_mut(index) else { return };
        let node = peer.node();
        let Some(entry) = peer.links.get_mut(link.index()) else { return };
        if now >= at + entry.warntime {
            return;
        }
        if let Some(state) = entry.judge(now, started) {
            out.push(Effect::Report(Event::Link { node, link, state }));
        }
    }

    fn note_heard(
        &mut self,
        index: usize,
        at: Instant,
        heartbeat: &Heartbeat,
        life: Option<Life>,
        before: Option<(PeerState, Term)>,
        out: &mut Effects,
    ) {
        let node = heartbeat.from;
        if let Some(life) = life {
            let incarnation = heartbeat.incarnation;
            if life != Life::Same
                && let Some(peer) = self.peers.get_mut(index)
            {
                peer.acquainted_at = self.now + self.settings.initdead;
            }
            out.push(Effect::Report(Event::PeerHeard { node, incarnation, life }));
        }
        // An older heartbeat that comes late is not what the peer says now.
        let told = self.peers.get(index).and_then(|peer| peer.last_role);
        if let Some((state, term)) = told
            && before.is_none_or(|(before, _)| before != state)
        {
            out.push(Effect::Report(Event::PeerRole { node, state, term }));
        }
        let contradicted = self
            .peers
            .get(index)
            .is_some_and(|peer| peer.proof.is_some() && (life.is_some() || at > peer.proof_at));
        if contradicted {
            self.void_proof(index, out);
        }
        let acquainted = self.peers.get(index).is_some_and(|peer| self.is_acquainted(peer));
        if let Some(peer) = self.peers.get_mut(index).filter(|_| acquainted) {
            peer.crossing.note_heard();
        }
        self.term = self.term.max(heartbeat.term);
        self.newest_claim = self.newest_claim.max(heartbeat.held_term).max(heartbeat.ask);
        self.memory.reserve(heartbeat.term);
        self.note_holder_heard(life, out);
    }

    /// A proof by fencing or by an operator is void: something contradicts it, or too much time
    /// went by unseen.
    pub(super) fn void_proof(&mut self, index: usize, out: &mut Effects) {
        let proof = self.peers.get_mut(index).and_then(|peer| peer.proof.take());
        if let Some(proof) = proof {
            let (node, by) = (proof.peer(), proof.kind());
            out.push(Effect::Report(Event::ProofVoid { node, by }));
        }
    }

    fn count_refusal(&mut self, reason: Refusal) -> Option<&mut Refused> {
        let index = Refusal::ALL.iter().position(|r| *r == reason)?;
        let refused = self.refused.get_mut(index)?;
        refused.count = refused.count.saturating_add(1);
        Some(refused)
    }

    fn refuse(&mut self, heartbeat: &Heartbeat, link: LinkId, reason: Refusal, out: &mut Effects) {
        let now = self.now;
        let node = heartbeat.from;
        let Some(refused) = self.count_refusal(reason) else { return };
        if refused.told_at.is_some_and(|at| now < at + REFUSAL_TOLD_INTERVAL) {
            return;
        }
        refused.told_at = Some(now);
        let count = refused.count;
        out.push(Effect::Report(Event::Refused { node, link, reason, count }));
    }

    fn note_done(&mut self, op: OpId, outcome: &Outcome, out: &mut Effects) {
        let ours = self.memory.done(op, outcome, self.now)
            || self.role_done(op, outcome, out)
            || self.purge_done(op, outcome, out)
            || self.restore_done(op, outcome, out);
        if !ours {
            self.late_answers = self.late_answers.saturating_add(1);
        }
    }

    fn note_reading(
        &mut self,
        op: OpId,
        reading: Result<crate::types::Power, crate::types::FenceFault>,
        out: &mut Effects,
    ) {
        let ours = self.ladder_reading(op, reading, out)
            || self.check_reading(op, reading, out)
            || self.power_on_reading(op, reading, out);
        if !ours {
            self.late_answers = self.late_answers.saturating_add(1);
        }
    }

    /// Whether this node holds nothing and takes nothing right now.
    pub(super) fn is_passive(&self) -> bool {
        match self.role.get() {
            Role::Joining | Role::Standby | Role::Isolated | Role::Fencing | Role::Frozen => true,
            Role::Acquiring(_)
            | Role::Active { .. }
            | Role::Releasing(_)
            | Role::Stopped { .. } => false,
        }
    }

    pub(super) fn change_role(&mut self, role: Role, cause: Cause, out: &mut Effects) {
        let holds = role.state().may_hold();
        let term = self.told_term(holds);
        self.role.change(role, cause, self.now, term, out);
    }

    /// The term for people: the one that is held, here or by the peer that is followed; otherwise
    /// the highest one known.
    pub(super) fn told_term(&self, holds: bool) -> Term {
        let followed = self.peers.iter().find(|peer| peer.is_heard_holding());
        match followed.and_then(|peer| peer.said.as_ref()) {
            _ if holds => self.memory.held_term(),
            Some(said) => said.held_term,
            None => self.term,
        }
    }
}
