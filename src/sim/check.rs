//! What must be true after every step, whatever happens: the fears of tandem's users as checks.
//!
//! They look at what *is* (kernels, power, what was really delivered), never at what an engine
//! believes, and so do not share its mistakes.

use core::time::Duration;

use super::World;
use super::device::Mode;
use super::plan::{MACHINES_MAX, Plan};
use crate::engine::event::FrozenCause;
use crate::engine::{Answer, Event, Input, Order, RequestId};
use crate::types::{FenceFault, Heartbeat, Incarnation, Instant, PeerState, Seq, Term};

/// How long two may hold after a wrong word of an operator, once nothing keeps them from seeing
/// each other: what a claim needs to count, to be repeated, and to be given way to.
const COLLISION_MAX: Duration = Duration::from_secs(15);

/// What the checks remember of a world.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By machine and peer: the newest heartbeat that answers to the daemon that runs now, and when
    /// it was given it, by the world's time. Later daemons have higher incarnations in a world.
    heard: [[Option<(Incarnation, Seq, Instant)>; MACHINES_MAX]; MACHINES_MAX],
    /// By machine: when something last disturbed it, its links or its networks.
    disturbed_at: [Instant; MACHINES_MAX],
    /// By machine: the highest term it ever took.
    held: [Term; MACHINES_MAX],
    /// By machine: whether its disk ever failed, so that it may forget.
    forgets: [bool; MACHINES_MAX],
    /// When a fence device last began to behave in another way.
    pub devices_changed_at: Instant,
    /// Since when two hold, though nothing keeps them from seeing each other.
    collided_at: Option<Instant>,
    /// The operator's request that was made last, and the answer to it.
    request: Option<(RequestId, Option<Answer>)>,
}

impl Ledger {
    /// The highest term that a machine ever took, and whether it may forget it.
    pub(super) fn held_by(&self, machine: usize) -> u64 {
        self.held[machine].0 << 1 | u64::from(self.forgets[machine])
    }
}

impl World {
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
        let holders = self.machines.iter().filter(|machine| machine.holds()).count();
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
    }

    /// Something has happened to the networks.
    pub(super) fn disturb_all(&mut self) {
        self.ledger.disturbed_at = [self.now; MACHINES_MAX];
    }

    /// A daemon starts: it has heard nobody yet, and must not have forgotten what it held.
    pub(super) fn note_start(&mut self, machine: usize) {
        self.disturb(machine);
        self.ledger.heard[machine] = [None; MACHINES_MAX];
        if self.ledger.forgets[machine] {
            return;
        }
        let record = self.machines[machine].record.term;
        self.expect(record >= self.ledger.held[machine], "a term that was held is forgotten");
    }

    /// An input goes into an engine.
    pub(super) fn note_input(&mut self, machine: usize, input: &Input) {
        let Input::Heard { heartbeat, .. } = input else { return };
        let node = self.machines[machine].daemon.as_ref().map(|daemon| &daemon.node);
        if node.is_some_and(|node| node.incarnation() == heartbeat.echo_incarnation) {
            let from = usize::from(heartbeat.from.get()) - 1;
            let Some(newest) = self.ledger.heard[machine].get_mut(from) else { return };
            let told = (heartbeat.incarnation, heartbeat.seq);
            if newest.is_none_or(|(life, seq, _)| told > (life, seq)) {
                *newest = Some((heartbeat.incarnation, heartbeat.seq, self.now));
            }
        }
    }

    /// What a machine says of its holdings is true.
    pub(super) fn check_word(&self, machine: usize, heartbeat: &Heartbeat) {
        let entry = &self.machines[machine];
        let harmless = !heartbeat.state.may_hold() && !heartbeat.flags.purging;
        self.expect(!(harmless && entry.holds()), "it says that it holds nothing while it does");
        let granted = heartbeat.grant != Term::NONE;
        self.expect(!granted || entry.kernel.is_empty(), "a holder grants");
        self.expect(!granted || !heartbeat.state.may_hold(), "who may hold grants");
    }

    /// A disk has changed: what is not written now may be forgotten.
    pub(super) fn note_disk(&mut self, machine: usize) {
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
        }
        let newer = term > self.ledger.held[machine];
        let known = adopts || newer || self.ledger.forgets[machine];
        self.expect(known, "it takes a term that it had before");
        self.ledger.held[machine] = self.ledger.held[machine].max(term);
        self.note_disk(machine);
    }

    /// An order to a fence device: what a healthy pair never does, and a deaf node neither.
    pub(super) fn check_order(&self, machine: usize, device: usize, order: Order) {
        if order != Order::Off {
            return;
        }
        let host = self.devices[device].host;
        self.expect(host != machine, "it cuts its own power");
        self.expect(self.machines[machine].kernel.is_empty(), "a holder cuts another's power");
        let path = (0..usize::from(self.plan.nics)).any(|nic| self.machines[machine].carrier[nic]);
        self.expect(path || self.plan.nics == 0, "a deaf node cuts another's power");
        if self.network.noise.is_any() || !self.machines[host].is_awake() {
            return;
        }
        let ledger = &self.ledger;
        let timing = &self.plan.timing;
        let disturbed = ledger.disturbed_at[machine].max(ledger.disturbed_at[host]);
        let quiet_for = self.now.since(disturbed);
        let linked = self.are_linked(host, machine);
        let settled = quiet_for > timing.deadtime + timing.initdead + timing.keepalive * 2;
        self.expect(!(linked && settled), "it cuts the power of one that it hears");
        self.check_looked(machine, host, quiet_for);
    }

    /// Whether a link passes both ways between the two: one that was never answered is not heard.
    fn are_linked(&self, one: usize, other: usize) -> bool {
        (0..usize::from(self.plan.links)).any(|link| {
            !self.network.is_cut(link, one, other) && !self.network.is_cut(link, other, one)
        })
    }

    /// The host serves, and the service networks say so: it is left its grace, and for ever by one
    /// that never heard it.
    fn check_looked(&self, machine: usize, host: usize, quiet_for: Duration) {
        let timing = &self.plan.timing;
        let serves = self.is(host, PeerState::Active)
            && self.machines[host]
                .kernel
                .iter()
                .any(|vip| self.joins(machine, host, self.plan.nic_of(vip)));
        let asks = !self.machines[machine].mute;
        if !serves || !asks || quiet_for < timing.deadtime + timing.initdead {
            return;
        }
        let heard_at = self.ledger.heard[machine][host].map(|(_, _, at)| at);
        self.expect(
            heard_at.is_some(),
            "it cuts the power of one that serves, and that it never heard",
        );
        let unheard_for = heard_at.map_or(Duration::ZERO, |at| self.now.since(at));
        self.expect(unheard_for >= timing.grace, "it cuts the power of one that serves");
    }

    /// What is told is true.
    pub(super) fn check_event(&self, machine: usize, event: &Event) {
        let Event::Frozen { node, cause, .. } = event else { return };
        let host = usize::from(node.get()) - 1;
        let settle = self.plan.timing.level_timeout * 4;
        let changed_at = self.ledger.devices_changed_at.max(self.ledger.disturbed_at[machine]);
        if self.now.since(changed_at) < settle {
            return;
        }
        let is_true = self.devices.iter().filter(|d| d.host == host).any(|device| match cause {
            FrozenCause::NoDevice => false,
            FrozenCause::Unreachable => !device.has_power || device.mode == Mode::Dead,
            FrozenCause::Refuses(fault) => {
                device.mode == Mode::Refuses(*fault)
                    || (*fault == FenceFault::Refused && device.refuses_when_off)
            }
            FrozenCause::StaysOn => device.mode == Mode::StaysOn || device.outlet,
            FrozenCause::Unclear => device.mode == Mode::Unclear,
            // What lied once is not believed until it has read on.
            FrozenCause::Contradicted => self.excused,
            FrozenCause::Failed(_) => {
                matches!(device.mode, Mode::Hangs | Mode::Refuses(_))
                    || device.delay * 3 > self.plan.timing.level_timeout
            }
        });
        let none = self.devices.iter().all(|device| device.host != host);
        self.expect(
            is_true || (none && *cause == FrozenCause::NoDevice),
            "a cause that is not true",
        );
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
