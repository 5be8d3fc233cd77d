//! What must be true after every step, whatever happens: the fears of tandem's users as checks.
//!
//! They look at what *is* (kernels, power, what was really delivered), never at what an engine
//! believes, and so do not share its mistakes.

use core::time::Duration;

use super::World;
use super::device::Mode;
use super::ledger::Word;
use super::plan::{MACHINES_MAX, Plan, ms};
use crate::engine::event::{Cause, Change, Kernel, Life, Verdict};
use crate::engine::{Answer, Event, Input, Order, Outcome, RequestId};
use crate::types::heartbeat::LINKS_MAX;
use crate::types::{Heartbeat, Instant, NodeId, PeerState, Power, Term};

/// How long two may hold after a wrong word of an operator, once nothing keeps them from seeing
/// each other: what a claim needs to count, to be repeated, and to be given way to.
const COLLISION_MAX: Duration = Duration::from_secs(15);

/// The longest rest of a frozen ladder.
pub(super) const LADDER_REST_MAX: Duration = Duration::from_secs(5);
/// How long one that has handed over waits at least for one that could take over.
const YIELD_MIN: Duration = Duration::from_secs(4);
/// What a disk says that refuses a record.
pub(super) const DISK_REFUSES: &str = "read-only file system";

impl World {
    /// Whether time is told, so that how long something takes says anything.
    pub(super) fn is_timed(&self) -> bool {
        self.now > Instant::ZERO
    }

    /// Fails with the whole story unless it is so.
    pub fn expect(&self, is_so: bool, otherwise: &str) {
        if !is_so {
            self.fail(otherwise);
        }
    }

    #[cold]
    fn fail(&self, what: &str) -> ! {
        panic!("{what}, at {} after {} steps:\n{}", self.now, self.steps, self.story());
    }

    /// Never two kernels with what only one may hold.
    pub(super) fn check(&mut self) {
        let mut holders = 0;
        for (machine, since) in self.machines.iter().zip(&mut self.ledger.holds_since) {
            if machine.holds() {
                holders += 1;
            } else {
                *since = self.now;
            }
        }
        if holders > 1 {
            self.check_collision();
        } else {
            self.ledger.collided_at = None;
        }
    }

    /// Two hold. That is excused by a lie, for as long as it takes to find it and to give way.
    #[cold]
    fn check_collision(&mut self) {
        self.expect(self.excused, "two hold");
        let holders = self.holders();
        let awake = holders.iter().all(|machine| {
            let entry = &self.machines[*machine];
            entry.is_awake() && !entry.release_fails && !entry.mute
        });
        let (one, other) = (holders[0], holders[1]);
        if !awake || !self.are_linked(one, other) || self.network.noise.is_any() {
            self.ledger.collided_at = None;
            return;
        }
        let since = *self.ledger.collided_at.get_or_insert(self.now);
        self.expect(self.now < since + COLLISION_MAX, "two hold, and nobody gives way");
    }

    /// Something has happened to a machine: what others see of it may lag behind.
    pub(super) fn disturb(&mut self, machine: usize) {
        self.ledger.disturbed_at[machine] = self.now;
        self.sense_later();
    }

    /// Something has happened to the networks.
    pub(super) fn disturb_all(&mut self) {
        self.ledger.disturbed_at = [self.now; MACHINES_MAX];
        self.sense_later();
    }

    /// A daemon starts: it has heard nobody yet, and must not have forgotten what it held.
    pub(super) fn note_start(&mut self, machine: usize) {
        self.disturb(machine);
        let now = self.now;
        let ledger = &mut self.ledger;
        if let Some(heard) = ledger.heard.get_mut(machine) {
            *heard = [None; MACHINES_MAX];
        }
        ledger.started_at[machine] = now;
        ledger.doubts_since[machine] = None;
        ledger.owes_since[machine] = None;
        ledger.rivals[machine] = false;
        ledger.refused_at[machine] = None;
        ledger.gave[machine] = false;
        ledger.moved_at[machine] = None;
        ledger.degraded[machine] = 0;
        ledger.powers_on[machine] = [None; MACHINES_MAX];
        ledger.told_held[machine] = None;
        ledger.hung[machine] = self.machines[machine].disk == super::Disk::Hangs;
        if self.ledger.forgets[machine] {
            return;
        }
        let record = self.machines[machine].record.term;
        self.expect(record >= self.ledger.held[machine], "a term that was held is forgotten");
    }

    /// A daemon is suspended.
    pub(super) fn note_pause(&mut self, machine: usize) {
        self.disturb(machine);
        self.ledger.suspended_at[machine] = self.now;
    }

    /// A daemon goes on: after a long time it must ask itself whether it was replaced.
    pub(super) fn note_resume(&mut self, machine: usize) {
        self.disturb(machine);
        self.ledger.resumed_at[machine] = self.now;
        let suspended_for = self.now.since(self.ledger.suspended_at[machine]);
        if suspended_for > self.plan.timing.deadtime * 2 {
            self.ledger.doubts_since[machine] = Some(self.now);
        }
    }

    /// An input goes into an engine.
    pub(super) fn note_input(&mut self, machine: usize, input: &Input) {
        if let Input::Done { outcome: Outcome::Refused(why), .. } = input
            && why.as_str() == DISK_REFUSES
        {
            self.ledger.refused_at[machine].get_or_insert(self.now);
        }
        let Input::Heard { heartbeat, at, .. } = input else { return };
        let node = self.machines[machine].daemon.as_ref().map(|daemon| &daemon.node);
        let answers = node.is_some_and(|node| node.incarnation() == heartbeat.echo_incarnation);
        let at = at.as_nanos().saturating_sub(self.machines[machine].clock_lead);
        let (at, deadtime) = (Instant::from_nanos(at), self.plan.timing.deadtime);
        let from = usize::from(heartbeat.from.get()) - 1;
        let heard = self.ledger.heard.get_mut(machine);
        let Some(newest) = heard.and_then(|heard| heard.get_mut(from)) else { return };
        let (life, seq) = (heartbeat.incarnation, heartbeat.seq);
        // A life that has answered once is known, and heard by whatever it says.
        let is_known = newest.is_some_and(|word| word.life == life);
        let is_new = newest.is_none_or(|word| (life, seq) > (word.life, word.seq));
        if let Some(word) = newest.as_mut().filter(|_| is_known) {
            word.heard_at = at;
        }
        if is_new && (answers || is_known) {
            self.ledger.gave[machine] &= !heartbeat.state.may_hold();
            self.ledger.declined[machine] |= !heartbeat.flags.eligible;
            let same = newest.filter(|word| word.life == life);
            let before = same.filter(|word| at < word.at + deadtime);
            let mut at_on = same.map_or([Instant::ZERO; LINKS_MAX], |word| word.at_on);
            at_on[heartbeat.link.index()] = at;
            *newest = Some(Word {
                life,
                seq,
                at,
                since: before.map_or(at, |word| word.since),
                heard_at: at,
                at_on,
                state: heartbeat.state,
                held_term: heartbeat.held_term,
                eligible: heartbeat.flags.eligible,
                released: heartbeat.flags.released,
                good_nics: heartbeat.good_nics,
            });
        }
    }

    /// What a machine says of its holdings is true.
    pub(super) fn check_word(&mut self, machine: usize, heartbeat: &Heartbeat) {
        if !heartbeat.state.may_hold() {
            self.ledger.told_held[machine] = Some(heartbeat.held_term);
        }
        let entry = &self.machines[machine];
        let harmless = !heartbeat.state.may_hold() && !heartbeat.flags.purging;
        self.expect(!(harmless && entry.holds()), "it says that it holds nothing while it does");
        let granted = heartbeat.grant != Term::NONE;
        self.expect(!granted || entry.kernel.is_empty(), "a holder grants");
        self.expect(!granted || !heartbeat.state.may_hold(), "who may hold grants");
        self.expect(
            !(heartbeat.flags.released && heartbeat.state.may_hold()),
            "who may hold says that it has released",
        );
        // From before the takeover until after the release, whatever daemon it is that runs.
        let marked = entry
            .mark
            .is_some_and(|mark| mark.holding && mark.boot == Plan::boot_id(machine, entry.boots));
        self.expect(
            !marked || heartbeat.state.may_hold(),
            "it says that it holds nothing, and its mark says that it does",
        );
        let told = heartbeat.state != PeerState::Active
            || heartbeat.held_term == self.ledger.held[machine];
        self.expect(told, "it does not tell the term that it holds");
    }

    /// A disk has changed: what is not written now may be forgotten.
    pub(super) fn note_disk(&mut self, machine: usize) {
        self.ledger.refused_at[machine] = None;
        self.ledger.hung[machine] |= self.machines[machine].disk == super::Disk::Hangs;
        self.note_forgetting(machine);
    }

    fn note_forgetting(&mut self, machine: usize) {
        if self.machines[machine].disk != super::Disk::Works {
            self.ledger.forgets[machine] = true;
        }
    }

    /// A takeover begins: nobody else holds anything, and the term is a new one.
    pub(super) fn check_acquire(&mut self, machine: usize, term: Term) {
        let adopts = self.machines[machine].mark.is_some_and(|mark| {
            mark.holding && mark.term == term && self.ledger.held[machine] == term
        });
        let others = (0..self.machines.len()).filter(|other| *other != machine);
        for other in others {
            let entry = &self.machines[other];
            let taking = entry.daemon.as_ref().is_some_and(|daemon| daemon.acquiring.is_some());
            let holds = entry.holds() || taking;
            self.expect(self.excused || !holds, "it takes over while another one holds");
            // Nothing excuses who hears it.
            let since = self.ledger.holds_since[other].max(self.ledger.disturbed_at[other]);
            let quiet_for = self.now.since(since.max(self.ledger.disturbed_at[machine]));
            let speaks = entry.is_awake() && self.are_linked(machine, other);
            let is_known = speaks
                && !self.network.noise.is_any()
                && quiet_for > self.acquaintance()
                && !adopts;
            self.expect(
                !(holds && is_known),
                "it takes over while it hears that another one holds",
            );
        }
        let newer = term > self.ledger.held[machine];
        let known = adopts || newer || self.ledger.forgets[machine];
        self.expect(known, "it takes a term that it had before");
        let entry = &self.machines[machine];
        let boot = Plan::boot_id(machine, entry.boots);
        let marked = entry.mark.is_some_and(|m| m.holding && m.term == term && m.boot == boot);
        self.expect(marked || entry.mark_fails, "it takes what its mark does not say it holds");
        if !adopts {
            self.check_precedence(machine);
        }
        self.note_taken(machine);
        self.ledger.held[machine] = term;
        self.ledger.gave[machine] = false;
        self.ledger.owes_since[machine] = None;
        self.ledger.rivals[machine] = false;
        self.note_forgetting(machine);
    }

    /// Nobody is passed over who is heard, could take over, and has more good service NICs; then
    /// newer data; then the preferred node, then the lower number.
    fn check_precedence(&self, machine: usize) {
        let Some(told) = self.ledger.told_held[machine].filter(|_| self.is_timed()) else { return };
        let rank = |good: u32, held: Term, of: usize| {
            let preferred = self.plan.preferred == Some(Plan::node_id(of).get());
            (good, held, preferred, core::cmp::Reverse(of))
        };
        let node = self.node(machine).snapshot();
        let good = node.nics.iter().filter(|nic| nic.good).count() as u32;
        for peer in &node.peers {
            let of = usize::from(peer.node.get()) - 1;
            let Some(word) = self.ledger.word(machine, of) else { continue };
            let is_heard =
                self.now < self.lost_at(machine, of, &word) && peer.incarnation == Some(word.life);
            let could = word.eligible && word.state != PeerState::Stopped;
            // Who stands still meanwhile trusts nothing, and then stops waiting.
            let waits = self.ledger.gave[machine]
                && !self.ledger.declined[machine]
                && self.ledger.resumed_at[machine] < self.ledger.gave_at[machine]
                && word.since < self.ledger.gave_at[machine]
                && self.now < self.ledger.gave_at[machine] + YIELD_MIN;
            self.expect(!(is_heard && could && waits), "it takes back what it has just given");
            let theirs = rank(word.good_nics.count_ones(), word.held_term, of);
            // Where configurations differ only what both sides see alike counts.
            let digests = self.plan.config_digests.iter().take(self.machines.len());
            let alike = digests.clone().min() == digests.max();
            let plain = |held: Term, of: usize| (held, core::cmp::Reverse(of));
            // On a line that says things in turns it is not known at once that they do.
            let is_told = !self.plan.in_turns;
            let agreed = alike || (is_told && plain(word.held_term, of) > plain(told, machine));
            let goes_first = theirs > rank(good, told, machine) && agreed;
            self.expect(!(is_heard && could && goes_first), "it passes over one that goes first");
        }
    }

    /// An order to a fence device: what a healthy pair never does, and a deaf node neither.
    pub(super) fn check_order(&mut self, machine: usize, device: usize, order: Order) {
        if order == Order::Check {
            return;
        }
        if order == Order::On || self.is_powering_on(machine, device) {
            return self.check_power_on(machine, device, order);
        }
        let host = self.devices[device].host;
        let recent = self.plan.timing.level_timeout + ms(300);
        let goes_on = self.devices.iter().any(|device| {
            device.host == host && device.fenced_at.is_some_and(|at| self.now < at + recent)
        });
        self.devices[device].fenced_at = Some(self.now);
        if order != Order::Off {
            return;
        }
        self.ledger.was_off[machine][host] = !self.machines[host].powered;
        self.expect(!self.devices[device].is_witness, "it tells a witness to cut a power");
        let view = self.node(machine).snapshot();
        let mut views = view.devices.iter().filter(|view| view.id.index() == device);
        let is_stray = views.any(|view| view.stray.is_some());
        self.expect(!is_stray, "it tells another machine's device to cut a power");
        self.expect(host != machine, "it cuts its own power");
        let drained = self.ledger.draining != Some(machine);
        self.expect(drained, "it cuts a power before it has taken in what has arrived");
        self.expect(self.machines[machine].kernel.is_empty(), "a holder cuts another's power");
        let path = (0..usize::from(self.plan.nics)).any(|nic| self.is_nic_good(machine, nic));
        self.expect(path || self.plan.nics == 0, "a deaf node cuts another's power");
        self.check_patience(machine, host);
        if self.network.noise.is_any() || !self.machines[host].is_awake() {
            return;
        }
        let ledger = &self.ledger;
        let disturbed = ledger.disturbed_at[machine].max(ledger.disturbed_at[host]);
        let quiet_for = self.now.since(disturbed);
        let linked = self.are_linked(host, machine);
        let settled = quiet_for > self.acquaintance();
        self.expect(!(linked && settled), "it cuts the power of one that it hears");
        // Once a command may be on its way, the host's last answers no longer call it back.
        if !goes_on {
            self.check_looked(machine, host, quiet_for);
        }
    }

    /// After how long two that are linked hear each other for certain.
    pub(super) fn acquaintance(&self) -> Duration {
        let timing = &self.plan.timing;
        timing.deadtime + timing.initdead + timing.keepalive * 2 + self.link_delay * 4
    }

    /// It has listened for as long as it must, and waited for as long as it was told to.
    fn check_patience(&self, machine: usize, host: usize) {
        let timing = &self.plan.timing;
        let node = self.node(machine).snapshot();
        let view = node.peers.iter().find(|peer| peer.node == Plan::node_id(host));
        let word = self.ledger.word(machine, host);
        let known = word.map(|word| word.life) == view.and_then(|view| view.incarnation);
        if !known || !self.is_timed() {
            return;
        }
        let lost_at = match word {
            Some(word) => self.lost_at(machine, host, &word),
            None => self.ledger.started_at[machine] + timing.initdead,
        };
        let listened = self.now >= lost_at;
        self.expect(listened, "it cuts the power of one that it has not listened for");
        let silent_for = word.map_or(Duration::ZERO, |word| self.now.since(word.at));
        let mut bad =
            (0..usize::from(self.plan.nics)).filter(|nic| !self.is_nic_good(machine, *nic));
        let worse = word.is_some_and(|word| bad.any(|nic| word.good_nics >> nic & 1 == 1));
        // One that gave its service away in vain serves with half a path rather than not at all.
        let in_vain = self.ledger.gave[machine] && silent_for >= timing.grace;
        let told = "it cuts a power though its path is worse than its victim's was";
        self.expect(!worse || in_vain, told);
        let held = word.is_some_and(|word| word.state.may_hold());
        let delay = if held { Duration::ZERO } else { self.plan.fence_delays[host] };
        self.expect(self.now >= lost_at + delay, "it cuts a power sooner than it is told to");
    }

    /// The host serves, and the service networks say so: it is left its grace, and for ever by one
    /// that never heard it. That a switch port passes nothing yet is no excuse.
    fn check_looked(&self, machine: usize, host: usize, quiet_for: Duration) {
        let timing = &self.plan.timing;
        let learns = self.ledger.learning == Some(machine);
        let quiet_for =
            if learns { self.now.since(self.ledger.disturbed_at[host]) } else { quiet_for };
        if !self.serves_before(host, machine, learns) {
            return;
        }
        if quiet_for < timing.deadtime + timing.initdead {
            return;
        }
        // A life that recorded words have introduced is heard, and not believed.
        let node = self.node(machine).snapshot();
        let view = node.peers.iter().find(|peer| peer.node == Plan::node_id(host));
        let word = self.ledger.word(machine, host);
        if word.is_some() && word.map(|word| word.life) != view.and_then(|view| view.incarnation) {
            return;
        }
        let served = "it cuts the power of one that serves, and that it never heard";
        self.expect(word.is_some(), served);
        let unheard_for = word.map_or(Duration::ZERO, |word| self.now.since(word.at));
        let stood_still = self.now < self.ledger.resumed_at[machine] + timing.grace;
        let is_patient = stood_still || unheard_for >= timing.grace;
        self.expect(is_patient, "it cuts the power of one that serves");
    }

    /// Whether a host serves, and a machine can see it: at once, or when its port has `learnt`.
    pub(super) fn serves_before(&self, host: usize, machine: usize, learnt: bool) -> bool {
        let sees = |vip: u16| {
            let nic = self.plan.nic_of(vip);
            let learns = learnt
                && self.machines[machine].carrier[nic]
                && self.machines[host].passes(nic)
                && !self.network.is_parted(machine, host);
            learns || self.joins(machine, host, nic)
        };
        self.is(host, PeerState::Active) && self.machines[host].kernel.iter().any(sees)
    }

    /// The networks are told who has the addresses: not by one that was replaced while it was
    /// suspended, as long as it must doubt itself.
    pub(super) fn note_announce(&mut self, machine: usize) {
        let others = (0..self.machines.len()).filter(|other| *other != machine);
        let doubts_since = self.ledger.doubts_since[machine]
            .filter(|since| self.now < *since + self.plan.timing.deadtime);
        let replaced = others.into_iter().any(|other| {
            self.machines[other].holds()
                && self.ledger.held[other] > self.ledger.held[machine]
                && doubts_since.is_some_and(|since| self.ledger.holds_since[other] <= since)
        });
        self.expect(!replaced, "it announces what another one took while it was suspended");
        if self.ledger.rivals[machine] && self.has_rival(machine) {
            return;
        }
        self.ledger.rivals[machine] = false;
        self.ledger.owes_since[machine] = None;
    }

    /// What is told is true.
    pub(super) fn check_event(&mut self, machine: usize, event: &Event) {
        self.note_proof(machine, event);
        if let Event::Frozen { node, cause, .. } = event {
            self.check_frozen(machine, *node, *cause);
        } else if let Event::Proven { node, by } = event {
            self.check_proof_of_power(machine, *node, *by);
        } else if let Event::Kernel { node, verdict: Kernel::Silent { .. } } = event {
            self.check_host_dead(machine, *node);
        } else if let Event::PeerLost { node, was_heard: true, .. } = event {
            self.check_lost(machine, *node);
        } else if let Event::Role { cause: Cause::PathWorse(node), .. } = event {
            self.check_handover(machine, *node);
        } else if let Event::Degraded { change, .. } = event {
            self.ledger.degraded[machine] += if *change == Change::Begun { 1 } else { -1 };
        } else if let Event::PeerHeard { node, life, .. } = event {
            if *life != Life::Same {
                self.ledger.begin_life(machine, usize::from(node.get()) - 1, self.now);
            }
            // A cut has healed: whoever holds tells it, but not before another holder gives way.
            self.owe(machine);
            let word = self.ledger.word(machine, usize::from(node.get()) - 1);
            let is_rival = word.is_some_and(|word| word.state.may_hold());
            self.ledger.rivals[machine] |= is_rival && self.is(machine, PeerState::Active);
        } else if matches!(event, Event::Nic { good: true, .. }) {
            self.owe(machine);
        } else if matches!(event, Event::TwoActives { verdict, .. } if *verdict != Verdict::WeYield)
        {
            // And once another holder has given way.
            self.owe(machine);
            self.ledger.rivals[machine] = self.is(machine, PeerState::Active);
        }
    }

    /// Own lateness is not a peer's silence.
    fn check_lost(&self, machine: usize, node: NodeId) {
        let of = usize::from(node.get()) - 1;
        let timing = &self.plan.timing;
        let patience = self.patience().saturating_sub(timing.keepalive * 2 + self.link_delay);
        let quiet_for = self.now.since(self.ledger.disturbed_at[of]);
        let speaks = self.machines[of].is_awake()
            && self.are_linked(machine, of)
            && !self.network.noise.is_any()
            && quiet_for > self.acquaintance();
        let late = self.now < self.ledger.resumed_at[machine] + patience;
        // One that was never heard had its time before the lateness.
        let known = self.ledger.word(machine, of).is_some();
        self.expect(!(known && speaks && late), "it counts its own lateness as a peer's silence");
    }

    fn owe(&mut self, machine: usize) {
        if self.is(machine, PeerState::Active) {
            self.ledger.owes_since[machine].get_or_insert(self.now);
        }
    }

    /// Whether any other machine tells a machine that it may hold something.
    pub(super) fn has_rival(&self, machine: usize) -> bool {
        let others = (0..self.machines.len()).filter(|other| *other != machine);
        others.into_iter().any(|other| {
            let may_hold = self.state(other).is_some_and(PeerState::may_hold);
            may_hold && self.machines[other].is_awake() && self.passes(other, machine)
        })
    }

    /// What an operator is answered at `machine` about `of` is what the world says.
    pub(super) fn check_confirmation(&self, machine: usize, of: usize, force: bool, said: &Answer) {
        if *said != Answer::Accepted {
            return;
        }
        let timing = &self.plan.timing;
        let ledger = &self.ledger;
        let changed = ledger.disturbed_at[of];
        let settle = self.acquaintance();
        let quiet_for = self.now.since(changed.max(ledger.disturbed_at[machine]));
        let is_heard = self.are_linked(machine, of)
            && self.machines[of].is_awake()
            && !self.network.noise.is_any();
        self.expect(!(is_heard && quiet_for > settle), "an operator's word against a heard node");
        if force {
            return;
        }
        let serves = self.serves_before(of, machine, false) && self.now.since(changed) > settle;
        self.expect(!serves, "an operator's word against addresses that answer");
        // A ladder that has failed rests, and no device of it is checked meanwhile.
        let rests =
            if self.is(machine, PeerState::Frozen) { LADDER_REST_MAX } else { Duration::ZERO };
        let checked = timing.fence_check_interval * 2 + timing.level_timeout * 4 + rests;
        let known =
            self.now.since(ledger.devices_changed_at.max(changed)) > checked && quiet_for > checked;
        let reads_on = self.devices.iter().filter(|device| device.host == of).any(|device| {
            let is_own = device.wired == of;
            let on = is_own && device.reads(self.machines[of].powered) == Ok(Power::On);
            // Where the ladder is climbed it must answer a command, and be read, in one timeout.
            let is_quick = device.delay * 3 < timing.level_timeout && device.mode != Mode::Hangs;
            let idle = device.fenced_at.is_none_or(|at| self.now.since(at) > checked);
            on && is_quick && idle
        });
        self.expect(!(known && reads_on), "an operator's word against a device that reads on");
    }

    /// An operator asks.
    pub(super) fn expect_answer(&mut self, request: RequestId) {
        self.ledger.request = Some((request, None));
    }

    /// An operator is answered: once.
    pub(super) fn note_answer(&mut self, request: RequestId, answer: Answer) {
        if self.story.kept {
            self.story.answers.push((request, answer.clone()));
        }
        let asked = self.ledger.request.take_if(|(asked, _)| *asked == request);
        self.expect(asked.is_some_and(|(_, answer)| answer.is_none()), "an answer to no question");
        self.ledger.request = Some((request, Some(answer)));
    }

    /// What an operator was answered.
    pub(super) fn answer_to(&mut self, request: RequestId) -> Answer {
        let answered = self.ledger.request.take().filter(|(asked, _)| *asked == request);
        let Some((_, Some(answer))) = answered else { self.fail("an operator is not answered") };
        answer
    }

    /// The name of a machine.
    pub fn name_of(&self, machine: usize) -> String {
        self.plan.names().node(Plan::node_id(machine)).to_owned()
    }
}
