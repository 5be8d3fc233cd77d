//! What arrives: heartbeats, claims, the ends of operations, cut power, ended boots.

use super::World;
use super::device::Mode;
use super::plan::{OUTSIDER, Plan, ms};
use super::queue::{Happening, Work};
use crate::engine::{Input, Outcome, Why};
use crate::types::{DeviceId, FenceFault, Heartbeat, OpId, Power};

/// What a device answers.
type Reading = Result<Power, FenceFault>;

impl World {
    /// Lets what lies at a place of the queue happen, now.
    pub fn happen_at(&mut self, place: usize) {
        let Happening::Deliver { to, heartbeat } = self.queue.at(place) else {
            let happening = self.queue.take(place);
            self.happen(happening);
            return;
        };
        // Most of what happens is this, and it is large: it is read where it lies.
        let (to, heartbeat) = (*to, *heartbeat);
        self.queue.forget(place);
        self.deliver(to, heartbeat);
    }

    fn deliver(&mut self, to: usize, heartbeat: Heartbeat) {
        if self.machines[to].powered {
            let at = self.local(to);
            self.give(to, Input::Heard { link: heartbeat.link, at, heartbeat });
        }
    }

    /// Lets one thing happen, now.
    pub fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, heartbeat } => self.deliver(to, heartbeat),
            Happening::Claim { to, vip, mac } => {
                let at = self.local(to);
                self.give(to, Input::Claim { vip, mac, at });
            }
            Happening::Answer { to, of, link } => {
                let (node, at) = (Plan::node_id(of), self.local(to));
                self.give(to, Input::KernelAnswered { link, node, at });
            }
            Happening::Shell { machine, uid, op, work } => self.work(machine, uid, op, work),
            Happening::Cut { device } => self.cut(device),
            Happening::Sense { machine } => self.sense(machine),
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
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
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
        if let Work::Looked(device, ends) = work {
            let reading = self.devices[device].reads(self.is_fed(device));
            self.go_on(machine, op, ends, Work::Told(device, reading));
            return;
        }
        if let Work::Repeated { device, order, until } = work {
            self.ask_device(machine, op, device, order, until);
            return;
        }
        daemon.finish(op);
        if daemon.acquiring == Some(op) {
            daemon.acquiring = None;
        }
        if let Some(reading) = self.answer_of_device(machine, &work) {
            self.give(machine, Input::Reading { op, reading });
            return;
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
            Work::StoreRefused => refused(super::check::DISK_REFUSES),
            Work::Commanded(_)
            | Work::SwitchedOn(_)
            | Work::Read(_)
            | Work::Looked(..)
            | Work::Told(..)
            | Work::Checked(_)
            | Work::Spared(_)
            | Work::Repeated { .. }
            | Work::Unanswered
            | Work::TimedOut => return,
        };
        self.give(machine, input);
    }

    /// What a machine's shell is answered by a fence device, if that is what has happened.
    fn answer_of_device(&mut self, machine: usize, work: &Work) -> Option<Reading> {
        let (device, reading) = match *work {
            Work::Commanded(device) => {
                let reading = self.devices[device].acknowledges(self.is_fed(device));
                self.note_obeyed(machine, device, reading.is_ok());
                (device, reading)
            }
            Work::Read(device) | Work::Checked(device) => {
                (device, self.devices[device].reads(self.is_fed(device)))
            }
            Work::Told(device, reading) => (device, reading),
            Work::Spared(device) => (device, Err(FenceFault::WrongMachine)),
            Work::SwitchedOn(device) => {
                self.switch_on(device);
                return Some(self.devices[device].acknowledges(self.is_fed(device)));
            }
            Work::Unanswered => return Some(Err(FenceFault::Unreachable)),
            Work::TimedOut => return Some(Err(FenceFault::Timeout)),
            Work::AddVip(_)
            | Work::Acquired
            | Work::AcquireRefused
            | Work::Released
            | Work::ReleaseRefused
            | Work::Restored(_)
            | Work::Stored(_)
            | Work::StoreRefused
            | Work::Looked(..)
            | Work::Repeated { .. } => return None,
        };
        self.tell_identity(machine, device, reading);
        let is_read = matches!(work, Work::Read(_) | Work::Told(..));
        Some(if is_read { self.as_passed_on(machine, device, reading) } else { reading })
    }

    /// What a shell knows of an agent's last command.
    pub(super) fn note_obeyed(&mut self, machine: usize, device: usize, has_obeyed: bool) {
        if self.plan.agents
            && let Some(daemon) = self.machines[machine].daemon_mut()
        {
            daemon.obeyed.remove(&device);
            daemon.obeyed.extend(has_obeyed.then_some(device));
        }
    }

    /// What the shell makes of a reading: the off of an agent that did not carry out the last
    /// command that this daemon gave it is none.
    fn as_passed_on(&self, machine: usize, device: usize, read: Reading) -> Reading {
        let daemon = self.machines[machine].daemon.as_ref();
        let has_obeyed = daemon.is_some_and(|daemon| daemon.obeyed.contains(&device));
        let is_told = self.plan.agents && !self.devices[device].is_witness;
        match read {
            Ok(Power::Off) if is_told && !has_obeyed => Ok(Power::Unknown),
            Ok(_) | Err(_) => read,
        }
    }

    /// Whether the machine that a device is wired to has power.
    pub(super) fn is_fed(&self, device: usize) -> bool {
        let entry = &self.devices[device];
        let machine = self.machines.get(entry.wired);
        machine.map_or(entry.outsider_on, |machine| machine.powered)
    }

    /// Whoever answers tells whose it is.
    fn tell_identity(&mut self, machine: usize, device: usize, reading: Reading) {
        if self.plan.identities && reading != Err(FenceFault::Unreachable) {
            let said = Plan::machine_id(self.devices[device].wired);
            let device = DeviceId(device as u8);
            self.give(machine, Input::Identity { device, machine: said });
        }
    }

    fn switch_on(&mut self, device: usize) {
        if !self.devices[device].obeys() {
            return;
        }
        self.devices[device].outlet_on = true;
        let wired = self.devices[device].wired;
        if wired == OUTSIDER {
            self.devices[device].outsider_on = true;
            return;
        }
        self.boot_machine(wired);
    }

    fn cut(&mut self, device: usize) {
        if !self.devices[device].obeys() {
            return;
        }
        let entry = &mut self.devices[device];
        entry.cuts += 1;
        let was_on = core::mem::replace(&mut entry.outlet_on, false);
        let (host, outlet) = (entry.wired, entry.outlet);
        if host == OUTSIDER {
            entry.outsider_on = false;
            return;
        }
        let others = self.devices.iter_mut().enumerate().filter(|(other, _)| *other != device);
        let returns = |d: &super::Device| was_on && d.host == host && d.mode == Mode::Returns;
        for (_, other) in others.filter(|(_, d)| returns(d)) {
            other.outlet_on |= other.has_power;
        }
        let fed = self.devices.iter().any(|d| d.host == host && d.outlet && d.outlet_on);
        if !outlet || !fed {
            self.power_off(host);
        }
    }
}
