//! What carries the effects out: the shell of each daemon, the devices, the networks; and the
//! faults a test can cause.

use std::collections::VecDeque;
use std::time::Duration;

use tandem::engine::{Answer, Effect, Input, Order, Outcome, RequestId, Why};
use tandem::types::{FenceFault, Heartbeat, Instant, Mac, NicId, OpId, PeerState, Power, VipId};

use crate::machine::{Disk, Mode, Taking};
use crate::world::{BOOT_TIME, Happening, LEVEL_TIMEOUT, Work, World, ms};
use crate::written::rewritten;

/// More effects in one step than this are not bounded by what there is to do.
const EFFECTS_BOUND: usize = 64;
/// What a paused daemon's sockets hold; the kernel drops the rest.
const INBOX_MAX: usize = 600;
const VIP_TIME: Duration = Duration::from_micros(100);
const RELEASE_TIME: Duration = Duration::from_micros(300);
const PROBE_TIME: Duration = Duration::from_micros(100);
const DISK_TIME: Duration = Duration::from_millis(3);

/// xorshift64*: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn percent(&mut self, share: u64) -> bool {
        share > 0 && self.below(100) < share
    }
}

impl World {
    /// Gives an input to a machine's daemon, or to its queue while it is paused.
    pub fn give(&mut self, machine: usize, input: Input) {
        let local = self.local(machine);
        let Some(daemon) = self.machines[machine].daemon.as_mut() else { return };
        if daemon.paused {
            if daemon.inbox.len() < INBOX_MAX || !matches!(input, Input::Heard { .. }) {
                daemon.inbox.push_back(input);
                daemon.inbox_since.get_or_insert(local);
            }
            return;
        }
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let local = self.local(machine);
            let Some(daemon) = self.machines[machine].daemon.as_mut() else { return };
            if self.rewrite_every != 0 && self.steps.is_multiple_of(self.rewrite_every) {
                daemon.node = rewritten(&daemon.node);
            }
            daemon.node.step(local, input, &mut self.effects);
            daemon.tick_at = daemon.node.next_deadline();
            self.steps += 1;
            let effects: Vec<Effect> = self.effects.drain().collect();
            self.peak_effects = self.peak_effects.max(effects.len());
            assert!(effects.len() <= EFFECTS_BOUND, "{} effects: {effects:?}", effects.len());
            for effect in effects {
                self.carry_out(machine, effect, &mut inputs);
            }
            self.check();
        }
    }

    fn carry_out(&mut self, machine: usize, effect: Effect, answers: &mut VecDeque<Input>) {
        match effect {
            Effect::Send(heartbeat) => self.send(machine, heartbeat),
            Effect::Probe => {
                let asked = !self.machines[machine].mute;
                if asked {
                    self.probe(machine);
                }
                answers.push_front(Input::Probed { asked });
            }
            Effect::Acquire { op, .. } => self.acquire(machine, op),
            Effect::Release { op } => self.release(machine, op, answers),
            Effect::Announce => {
                self.announced += 1;
                for vip in self.machines[machine].kernel.clone() {
                    self.announce(machine, vip);
                }
            }
            Effect::Restore { op, vip } => {
                self.begin(machine, op, VIP_TIME, Work::Restored(vip.0));
            }
            Effect::Mark { op, mark } => {
                let entry = &mut self.machines[machine];
                let outcome = if entry.mark_fails {
                    Outcome::Refused(Why::new("no space left on device"))
                } else {
                    entry.mark = Some(mark);
                    Outcome::Confirmed
                };
                answers.push_front(Input::Done { op, outcome });
            }
            Effect::Store { op, record } => match self.machines[machine].disk {
                Disk::Works => self.begin(machine, op, DISK_TIME, Work::Stored(record)),
                Disk::Fails => self.begin(machine, op, DISK_TIME, Work::StoreRefused),
                Disk::Hangs => self.pend(machine, op),
            },
            Effect::Power { op, device, order, timeout } => {
                self.order_device(machine, op, device.index(), order, timeout);
            }
            Effect::Cancel { op } => {
                let daemon = self.machines[machine].daemon.as_mut().unwrap();
                if daemon.pending.remove(&op) {
                    let reading = Err(FenceFault::Cancelled);
                    answers.push_back(Input::Reading { op, reading });
                }
            }
            Effect::Answer { request, answer } => self.answers.push((request, answer)),
            Effect::Report(event) => self.events.push((self.now, machine, event)),
            Effect::Exit => {
                let entry = &mut self.machines[machine];
                assert!(entry.kernel.is_empty(), "it ends while it holds");
                entry.daemon = None;
                entry.exited = true;
            }
        }
    }

    fn pend(&mut self, machine: usize, op: OpId) {
        let daemon = self.machines[machine].daemon.as_mut().unwrap();
        assert!(daemon.pending.insert(op), "an operation number was used twice");
    }

    fn begin(&mut self, machine: usize, op: OpId, after: Duration, work: Work) {
        self.pend(machine, op);
        self.go_on(machine, op, after, work);
    }

    fn go_on(&mut self, machine: usize, op: OpId, after: Duration, work: Work) {
        let uid = self.machines[machine].daemon.as_ref().unwrap().uid;
        self.schedule(after, Happening::Shell { machine, uid, op, work });
    }

    fn send(&mut self, machine: usize, heartbeat: Heartbeat) {
        let harmless = !heartbeat.state.may_hold() && !heartbeat.flags.purging;
        assert!(
            !(harmless && self.machines[machine].holds()),
            "node {} says {:?} while its kernel holds:\n{}",
            machine + 1,
            heartbeat.state,
            self.story()
        );
        let granted = heartbeat.grant.0 > 0;
        assert!(!granted || self.machines[machine].kernel.is_empty(), "a holder grants");
        assert!(!granted || !heartbeat.state.may_hold(), "who may hold grants");
        if self.keep_sent {
            self.sent.push(heartbeat);
        }
        let to = usize::from(heartbeat.to.get()) - 1;
        let noise = self.noise;
        let lost = self.cuts.contains(&(heartbeat.link.0, machine, to));
        if lost || self.random.percent(noise.loss) {
            return;
        }
        let copies = if self.random.percent(noise.double) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.random.percent(noise.late);
            let more = if late { ms(self.random.below(150)) } else { Duration::ZERO };
            self.schedule(self.link_delay + more, Happening::Deliver { to, heartbeat });
        }
    }

    /// Whether the service network of `nic` joins the two machines.
    fn joins(&self, one: usize, other: usize, nic: usize) -> bool {
        let pair = (one.min(other), one.max(other));
        self.machines[one].passes(nic)
            && self.machines[other].passes(nic)
            && !self.parted.contains(&pair)
    }

    fn nic_of(&self, vip: u16) -> usize {
        usize::from(vip) % usize::from(self.plan.nics.max(1))
    }

    fn probe(&mut self, machine: usize) {
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            for vip in self.machines[other].kernel.clone() {
                let nic = self.nic_of(vip);
                if self.machines[other].powered && self.joins(machine, other, nic) {
                    let (vip, mac) = (VipId(vip), Self::mac(other, nic));
                    self.schedule(PROBE_TIME, Happening::Claim { to: machine, vip, mac });
                }
            }
        }
    }

    fn announce(&mut self, machine: usize, vip: u16) {
        let nic = self.nic_of(vip);
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            if self.joins(machine, other, nic) {
                let (vip, mac) = (VipId(vip), Self::mac(machine, nic));
                self.schedule(PROBE_TIME, Happening::Claim { to: other, vip, mac });
            }
        }
    }

    fn acquire(&mut self, machine: usize, op: OpId) {
        self.pend(machine, op);
        self.machines[machine].daemon.as_mut().unwrap().acquiring = Some(op);
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
        let daemon = self.machines[machine].daemon.as_mut().unwrap();
        if let Some(acquire) = daemon.acquiring.take()
            && daemon.pending.remove(&acquire)
        {
            let outcome = Outcome::Unknown(Why::new("overtaken by the release"));
            answers.push_back(Input::Done { op: acquire, outcome });
        }
        let fails = self.machines[machine].release_fails;
        let work = if fails { Work::ReleaseRefused } else { Work::Released };
        self.begin(machine, op, RELEASE_TIME, work);
    }

    fn order_device(
        &mut self,
        machine: usize,
        op: OpId,
        device: usize,
        order: Order,
        timeout: Duration,
    ) {
        assert!(timeout <= LEVEL_TIMEOUT + ms(250), "more time than the level has");
        self.devices[device].orders += 1;
        let entry = &self.devices[device];
        if entry.mode == Mode::Hangs || entry.delay > timeout {
            if entry.mode != Mode::Hangs && order == Order::Off {
                self.schedule(entry.delay, Happening::Cut { device });
            }
            self.begin(machine, op, timeout, Work::TimedOut);
            return;
        }
        let delay = entry.delay;
        if order == Order::Off {
            self.schedule(delay / 2, Happening::Cut { device });
            self.begin(machine, op, delay, Work::Commanded(device));
        } else {
            self.begin(machine, op, delay, Work::Read(device));
        }
    }

    pub fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, heartbeat } => {
                if self.machines[to].powered {
                    let at = self.local(to);
                    self.give(to, Input::Heard { link: heartbeat.link, at, heartbeat });
                }
            }
            Happening::Claim { to, vip, mac } => {
                let at = self.local(to);
                self.give(to, Input::Claim { vip, mac, at });
            }
            Happening::Shell { machine, uid, op, work } => self.work(machine, uid, op, work),
            Happening::Cut { device } => self.cut(device),
            Happening::Boot { machine, boots } => {
                let entry = &self.machines[machine];
                if entry.powered && entry.boots == boots && entry.daemon.is_none() {
                    self.start_daemon(machine);
                }
            }
        }
        self.check();
    }

    /// A paused daemon's shell does nothing, but what it asked of others goes on.
    fn work(&mut self, machine: usize, uid: u64, op: OpId, work: Work) {
        let Some(daemon) = self.machines[machine].daemon.as_mut() else { return };
        if daemon.uid != uid || !daemon.pending.contains(&op) {
            return;
        }
        if daemon.paused && matches!(work, Work::AddVip(_) | Work::Acquired | Work::Released) {
            self.go_on(machine, op, ms(5), work);
            return;
        }
        if let Work::AddVip(vip) = work {
            self.machines[machine].kernel.insert(vip);
            self.check();
            self.announce(machine, vip);
            return;
        }
        daemon.pending.remove(&op);
        if daemon.acquiring == Some(op) {
            daemon.acquiring = None;
        }
        let refused = |why| Input::Done { op, outcome: Outcome::Refused(Why::new(why)) };
        let done = Input::Done { op, outcome: Outcome::Confirmed };
        let input = match work {
            Work::AddVip(_) => return,
            Work::Acquired => done,
            Work::AcquireRefused => refused("no such device nic1"),
            Work::Released => {
                self.machines[machine].kernel.clear();
                done
            }
            Work::ReleaseRefused => refused("the kernel refuses"),
            Work::Restored(vip) => {
                self.machines[machine].kernel.insert(vip);
                self.announce(machine, vip);
                done
            }
            Work::Stored(record) => {
                self.machines[machine].record = record;
                done
            }
            Work::StoreRefused => refused("read-only file system"),
            Work::Commanded(device) => Input::Reading { op, reading: self.command_result(device) },
            Work::Read(device) => Input::Reading { op, reading: self.read(device) },
            Work::TimedOut => Input::Reading { op, reading: Err(FenceFault::Timeout) },
        };
        self.give(machine, input);
    }

    fn command_result(&self, device: usize) -> Result<Power, FenceFault> {
        let entry = &self.devices[device];
        match entry.mode {
            _ if !entry.has_power => Err(FenceFault::Unreachable),
            Mode::Dead => Err(FenceFault::Unreachable),
            Mode::Refuses(fault) => Err(fault),
            _ if entry.refuses_when_off && !self.machines[entry.host].powered => {
                Err(FenceFault::Refused)
            }
            Mode::Works | Mode::StaysOn | Mode::Hangs | Mode::Unclear | Mode::ReadsOff => {
                Ok(Power::Unknown)
            }
        }
    }

    fn read(&self, device: usize) -> Result<Power, FenceFault> {
        let entry = &self.devices[device];
        let host = self.machines[entry.host].powered;
        let on = if entry.outlet { entry.outlet_on } else { host };
        match entry.mode {
            _ if !entry.has_power => Err(FenceFault::Unreachable),
            Mode::Dead => Err(FenceFault::Unreachable),
            Mode::Refuses(FenceFault::Credentials) => Err(FenceFault::Credentials),
            // An agent that ends with 2 whatever it is told.
            Mode::Refuses(FenceFault::AgentFailed) => Ok(Power::Off),
            Mode::Unclear => Ok(Power::Unknown),
            Mode::ReadsOff => Ok(Power::Off),
            Mode::Works | Mode::StaysOn | Mode::Hangs | Mode::Refuses(_) => {
                Ok(if on { Power::On } else { Power::Off })
            }
        }
    }

    fn cut(&mut self, device: usize) {
        let entry = &mut self.devices[device];
        let obeys = matches!(entry.mode, Mode::Works | Mode::Unclear) && entry.has_power;
        if !obeys {
            return;
        }
        entry.cuts += 1;
        entry.outlet_on = false;
        let (host, outlet) = (entry.host, entry.outlet);
        let fed = self.devices.iter().any(|d| d.host == host && d.outlet && d.outlet_on);
        if !outlet || !fed {
            self.power_off(host);
        }
    }

    // Faults that a test causes.

    /// The host alone loses its power.
    pub fn power_off(&mut self, machine: usize) {
        let entry = &mut self.machines[machine];
        entry.powered = false;
        entry.daemon = None;
        entry.kernel.clear();
        entry.mark = None;
        self.check();
    }

    /// The feed is lost: the host, and the fence devices that share its power.
    pub fn lose_feed(&mut self, machine: usize) {
        self.power_off(machine);
        for device in self.devices.iter_mut().filter(|d| d.host == machine) {
            device.has_power = !device.shares_power;
        }
    }

    /// Power returns, to devices and host; the daemon starts after the boot.
    pub fn power_on(&mut self, machine: usize) {
        for device in self.devices.iter_mut().filter(|d| d.host == machine) {
            device.has_power = true;
            device.outlet_on = true;
        }
        let lead = self.random.below(1_000_000_000_000);
        let entry = &mut self.machines[machine];
        if entry.powered {
            return;
        }
        entry.powered = true;
        entry.boots += 1;
        entry.clock_lead = lead;
        let boots = entry.boots;
        if entry.autostart {
            self.schedule(BOOT_TIME, Happening::Boot { machine, boots });
        }
    }

    /// Whether a boot is under way, at the end of which the daemon is started.
    pub fn is_booting(&self, machine: usize) -> bool {
        let now = self.machines[machine].boots;
        self.queue.values().any(|happening| {
            let boots_now = |m: usize, boots: u32| m == machine && boots == now;
            matches!(happening, Happening::Boot { machine, boots } if boots_now(*machine, *boots))
        })
    }

    /// SIGKILL: the kernel keeps everything, the mark stays.
    pub fn crash(&mut self, machine: usize) {
        self.machines[machine].daemon = None;
    }

    pub fn pause(&mut self, machine: usize) {
        if let Some(daemon) = self.machines[machine].daemon.as_mut() {
            daemon.paused = true;
        }
    }

    /// SIGCONT: first how late it is, then what came meanwhile, then the time.
    pub fn resume(&mut self, machine: usize) {
        let local = self.local(machine);
        let Some(daemon) = self.machines[machine].daemon.as_mut() else { return };
        if !daemon.paused {
            return;
        }
        daemon.paused = false;
        let due: Option<Instant> = [daemon.tick_at, daemon.inbox_since].into_iter().flatten().min();
        let late_by = due.map_or(Duration::ZERO, |due| local.since(due));
        daemon.inbox_since = None;
        let inbox = std::mem::take(&mut daemon.inbox);
        if late_by > ms(1) {
            self.give(machine, Input::Stalled { late_by });
        }
        for input in inbox {
            self.give(machine, input);
        }
        self.give(machine, Input::Tick);
    }

    /// Cuts or mends one direction of one link.
    pub fn set_cut(&mut self, link: u8, from: usize, to: usize, cut: bool) {
        if cut {
            self.cuts.insert((link, from, to));
        } else {
            self.cuts.remove(&(link, from, to));
        }
    }

    /// Cuts or mends all links between two machines.
    pub fn cut_all(&mut self, one: usize, other: usize, cut: bool) {
        for link in 0..self.plan.links {
            self.set_cut(link, one, other, cut);
            self.set_cut(link, other, one, cut);
        }
    }

    pub fn set_carrier(&mut self, machine: usize, nic: usize, up: bool) {
        self.machines[machine].carrier[nic] = up;
        self.give(machine, Input::Carrier { nic: NicId(nic as u8), up });
    }

    pub fn set_modes(&mut self, host: usize, mode: Mode) {
        for device in self.devices.iter_mut().filter(|d| d.host == host) {
            device.mode = mode;
        }
    }

    /// An operator's word at `machine` about `of`, and the answer to it.
    pub fn confirm_off(&mut self, machine: usize, of: usize, force: bool) -> Answer {
        self.serial += 1;
        let request = RequestId(self.serial);
        let node = Self::node_id(of);
        self.give(machine, Input::ConfirmOff { request, node, force });
        let answered: Vec<_> = self.answers.iter().filter(|(r, _)| *r == request).collect();
        assert_eq!(answered.len(), 1, "exactly one answer");
        answered[0].1.clone()
    }

    pub fn stop(&mut self, machine: usize) {
        self.give(machine, Input::Stop);
    }

    /// Somebody else's packet on the service network.
    pub fn claim(&mut self, to: usize, vip: u16, mac: Mac) {
        let at = self.local(to);
        self.give(to, Input::Claim { vip: VipId(vip), mac, at });
    }

    pub fn is_passive(&self, machine: usize) -> bool {
        self.state(machine).is_some_and(|s: PeerState| !s.may_hold())
    }
}
