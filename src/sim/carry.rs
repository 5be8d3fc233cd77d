//! What carries an engine's effects out: each daemon's shell, and the networks around it.

use core::time::Duration;
use std::collections::VecDeque;

use super::World;
use super::device::Mode;
use super::machine::{Disk, Taking};
use super::plan::{Plan, ms};
use super::queue::{Happening, Work};
use crate::engine::settings::Record;
use crate::engine::{Effect, Effects, Input, Order, Outcome, Why};
use crate::types::{DeviceId, FenceFault, Heartbeat, Instant, OpId, VipId};

/// More effects in one step than this are not bounded by what there is to do.
const EFFECTS_BOUND: usize = 64;
/// What a paused daemon's sockets hold; the kernel drops the rest.
const INBOX_MAX: usize = 600;
const VIP_TIME: Duration = Duration::from_micros(100);
const RELEASE_TIME: Duration = Duration::from_micros(300);
const PROBE_TIME: Duration = Duration::from_micros(100);
const DISK_TIME: Duration = ms(3);
/// How late a heartbeat can be that is late, in deadtimes.
const LATENESS_MAX: u64 = 3;

impl World {
    /// Gives an input to a machine's daemon, or to its queue while it is paused.
    pub fn give(&mut self, machine: usize, input: Input) {
        let Some(daemon) = self.machines[machine].daemon.as_ref() else { return };
        if daemon.paused {
            self.keep_waiting(machine, input);
            return;
        }
        let mut effects = core::mem::replace(&mut self.effects.0, Effects::empty());
        let mut answers = VecDeque::new();
        self.step(machine, input, &mut effects, &mut answers);
        while let Some(answer) = answers.pop_front() {
            self.step(machine, answer, &mut effects, &mut answers);
        }
        self.effects.0 = effects;
    }

    #[cold]
    fn keep_waiting(&mut self, machine: usize, input: Input) {
        let local = self.local(machine);
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
        if daemon.inbox.len() < INBOX_MAX || !matches!(input, Input::Heard { .. }) {
            daemon.inbox.push_back(input);
            daemon.inbox_since.get_or_insert(local);
        }
    }

    /// One input, and all its effects. What must be answered at once is added to `answers`.
    fn step(
        &mut self,
        machine: usize,
        input: Input,
        effects: &mut Effects,
        answers: &mut VecDeque<Input>,
    ) {
        let local = self.local(machine);
        self.note_input(machine, &input);
        let kept = self.story.keep_steps.then(|| input.clone());
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
        if matches!(input, Input::Tick) {
            daemon.note_tick(local);
        }
        daemon.node.step(local, input, effects);
        daemon.tick_at = daemon.node.next_deadline();
        self.steps += 1;
        if let Some(input) = kept {
            self.note_step(machine, input, effects);
        }
        self.expect(effects.len() <= EFFECTS_BOUND, "a step has more effects than it can need");
        // Read where they lie: most are heartbeats, and large.
        for effect in effects.iter() {
            self.carry_out(machine, effect, answers);
        }
        effects.clear();
        self.check();
    }

    fn carry_out(&mut self, machine: usize, effect: &Effect, answers: &mut VecDeque<Input>) {
        match *effect {
            Effect::Send(ref heartbeat) => self.send(machine, heartbeat),
            Effect::Probe => {
                let asked = !self.machines[machine].mute;
                if asked {
                    self.probe(machine);
                }
                answers.push_front(Input::Probed { asked });
            }
            Effect::AskKernels => {
                let links = self.ask_kernels(machine);
                answers.push_front(Input::KernelsAsked { links });
            }
            Effect::Acquire { op, term } => {
                self.check_acquire(machine, term);
                self.acquire(machine, op);
            }
            Effect::Release { op } => self.release(machine, op, answers),
            Effect::Announce => {
                self.story.announced += 1;
                self.note_announce(machine);
                for vip in self.machines[machine].kernel.iter() {
                    self.announce(machine, vip);
                }
            }
            Effect::Restore { op, vip } => {
                let works = self.machines[machine].taking == Taking::Works;
                let work = if works { Work::Restored(vip.0) } else { Work::AcquireRefused };
                self.begin(machine, op, VIP_TIME, work);
            }
            Effect::Mark { op, mark } => {
                self.note_op(machine, op);
                let entry = &mut self.machines[machine];
                let outcome = if entry.mark_fails {
                    Outcome::Refused(Why::new("no space left on device"))
                } else {
                    entry.mark = Some(mark);
                    Outcome::Confirmed
                };
                answers.push_front(Input::Done { op, outcome });
            }
            Effect::Store { op, record } => self.store(machine, op, record),
            Effect::Power { op, device, order, timeout } => {
                self.order_device(machine, op, device.index(), order, timeout);
            }
            Effect::Cancel { op } => {
                let daemon = self.machines[machine].daemon_mut().expect("it has just stepped");
                if daemon.finish(op) {
                    let reading = Err(FenceFault::Cancelled);
                    answers.push_back(Input::Reading { op, reading });
                }
            }
            Effect::Answer { request, ref answer } => self.note_answer(request, answer.clone()),
            Effect::Report(ref event) => {
                self.check_event(machine, event);
                if self.story.kept {
                    self.story.events.push((self.now, machine, event.clone()));
                }
            }
            Effect::Exit => {
                self.expect(self.machines[machine].kernel.is_empty(), "it ends while it holds");
                let entry = &mut self.machines[machine];
                entry.daemon = None;
                entry.exited = true;
                self.disturb(machine);
            }
        }
    }

    /// Every operation has a number of its own.
    fn note_op(&mut self, machine: usize, op: OpId) {
        let daemon = self.machines[machine].daemon_mut().expect("it has just stepped");
        let is_new = op > daemon.last_op;
        daemon.last_op = op;
        self.expect(is_new, "an operation number was used twice");
    }

    fn pend(&mut self, machine: usize, op: OpId) {
        self.note_op(machine, op);
        let daemon = self.machines[machine].daemon_mut().expect("it has just stepped");
        daemon.pending.push(op);
    }

    fn begin(&mut self, machine: usize, op: OpId, after: Duration, work: Work) {
        self.pend(machine, op);
        self.go_on(machine, op, after, work);
    }

    pub(super) fn go_on(&mut self, machine: usize, op: OpId, after: Duration, work: Work) {
        let uid = self.machines[machine].daemon.as_ref().expect("it has just stepped").uid;
        self.schedule(after, Happening::Shell { machine, uid, op, work });
    }

    fn send(&mut self, machine: usize, heartbeat: &Heartbeat) {
        self.check_word(machine, heartbeat);
        if self.story.keep_sent {
            self.story.sent.push(*heartbeat);
        }
        let to = usize::from(heartbeat.to.get()) - 1;
        let noise = self.network.noise;
        let lost = self.network.is_cut(heartbeat.link.index(), machine, to)
            || self.random.percent(noise.loss);
        let heartbeat = self.plan.as_said(heartbeat);
        self.story.record(&heartbeat, !lost && self.machines[to].is_awake());
        if lost {
            return;
        }
        let copies = if self.random.percent(noise.double) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.random.percent(noise.late);
            let more = if late { self.lateness() } else { Duration::ZERO };
            let at = self.now + (self.link_delay + more);
            self.queue.add(at, Happening::Deliver { to, heartbeat });
        }
    }

    fn lateness(&mut self) -> Duration {
        let micros = self.plan.timing.deadtime.as_micros() as u64;
        Duration::from_micros(self.random.below(LATENESS_MAX * micros))
    }

    fn probe(&mut self, machine: usize) {
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            for vip in self.machines[other].kernel.iter() {
                let nic = self.plan.nic_of(vip);
                if self.joins(machine, other, nic) {
                    let (vip, mac) = (VipId(vip), Plan::mac(other, nic));
                    self.schedule(PROBE_TIME, Happening::Claim { to: machine, vip, mac });
                }
            }
        }
    }

    /// Tells all others on the VIP's network who has it.
    pub(super) fn announce(&mut self, machine: usize, vip: u16) {
        let nic = self.plan.nic_of(vip);
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            if self.joins(machine, other, nic) {
                let (vip, mac) = (VipId(vip), Plan::mac(machine, nic));
                self.schedule(PROBE_TIME, Happening::Claim { to: other, vip, mac });
            }
        }
    }

    fn acquire(&mut self, machine: usize, op: OpId) {
        self.pend(machine, op);
        let daemon = self.machines[machine].daemon_mut().expect("it has just stepped");
        daemon.acquiring = Some(op);
        let taking = self.machines[machine].taking;
        let count = match taking {
            Taking::Works => self.plan.vips,
            Taking::FailsHalfWay | Taking::Hangs => self.plan.vips.div_ceil(2),
        };
        for vip in 0..count {
            self.go_on(machine, op, VIP_TIME * u32::from(vip + 1), Work::AddVip(vip));
        }
        let after = VIP_TIME * u32::from(count + 1);
        match taking {
            Taking::Works => self.go_on(machine, op, after, Work::Acquired),
            Taking::FailsHalfWay => self.go_on(machine, op, after, Work::AcquireRefused),
            Taking::Hangs => {}
        }
    }

    fn release(&mut self, machine: usize, op: OpId, answers: &mut VecDeque<Input>) {
        let daemon = self.machines[machine].daemon_mut().expect("it has just stepped");
        if let Some(acquire) = daemon.acquiring.take()
            && daemon.finish(acquire)
        {
            let outcome = Outcome::Unknown(Why::new("overtaken by the release"));
            answers.push_back(Input::Done { op: acquire, outcome });
        }
        let fails = self.machines[machine].release_fails;
        let work = if fails { Work::ReleaseRefused } else { Work::Released };
        self.begin(machine, op, RELEASE_TIME, work);
    }

    fn store(&mut self, machine: usize, op: OpId, record: Record) {
        match self.machines[machine].disk {
            Disk::Works => self.begin(machine, op, DISK_TIME, Work::Stored(record)),
            Disk::Fails => self.begin(machine, op, DISK_TIME, Work::StoreRefused),
            Disk::Hangs => self.pend(machine, op),
        }
    }

    fn order_device(
        &mut self,
        machine: usize,
        op: OpId,
        device: usize,
        order: Order,
        timeout: Duration,
    ) {
        let limit = self.plan.timing.level_timeout + ms(250);
        self.expect(timeout <= limit, "a device is given more time than its level has");
        self.check_order(machine, device, order);
        if matches!(order, Order::Off | Order::On) {
            self.note_obeyed(machine, device, false);
        }
        let entry = &mut self.devices[device];
        entry.orders += 1;
        let (mode, delay) = (entry.mode, entry.delay);
        let spared = matches!(order, Order::Off | Order::On) && self.is_spared(machine, device);
        if order == Order::Off && !spared && mode != Mode::Hangs && delay > timeout {
            // It is carried out all the same, when nobody waits for it any more.
            self.schedule(delay, Happening::Cut { device });
        }
        self.pend(machine, op);
        self.ask_device(machine, op, device, order, self.now + timeout);
    }

    /// An order reaches a device, which may not answer.
    pub(super) fn ask_device(
        &mut self,
        machine: usize,
        op: OpId,
        device: usize,
        order: Order,
        until: Instant,
    ) {
        let entry = &self.devices[device];
        let (delay, left) = (entry.delay, until.since(self.now));
        match entry.repeats.filter(|_| entry.is_silent()) {
            Some(repeats) if repeats < left => {
                self.go_on(machine, op, repeats, Work::Repeated { device, order, until });
                return;
            }
            Some(_) => return self.go_on(machine, op, left, Work::Unanswered),
            None => {}
        }
        if entry.mode == Mode::Hangs || delay > left {
            return self.go_on(machine, op, left, Work::TimedOut);
        }
        let spared = matches!(order, Order::Off | Order::On) && self.is_spared(machine, device);
        let work = match order {
            _ if spared => Work::Spared(device),
            Order::Off => {
                self.schedule(delay / 2, Happening::Cut { device });
                Work::Commanded(device)
            }
            Order::On => Work::SwitchedOn(device),
            Order::Read if self.plan.agents => {
                let ends = delay - delay / 4;
                return self.go_on(machine, op, delay / 4, Work::Looked(device, ends));
            }
            Order::Read => Work::Read(device),
            Order::Check => Work::Checked(device),
        };
        self.go_on(machine, op, delay, work);
    }

    /// Whether the shell finds, before it gives the command, that the device is not the host's.
    fn is_spared(&self, machine: usize, device: usize) -> bool {
        let wired = self.devices[device].wired;
        let owner = self.node(machine).owner_of(DeviceId(device as u8));
        self.plan.identities && owner.judge(&Plan::machine_id(wired)).is_some()
    }
}
