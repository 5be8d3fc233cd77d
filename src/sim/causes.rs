//! The faults that can be caused, and what people do.

use core::time::Duration;

use super::World;
use super::device::Mode;
use super::plan::{Plan, ms};
use super::queue::Happening;
use crate::engine::{Answer, Input, RequestId};
use crate::types::{Instant, Mac, NicId, PeerState, VipId};

impl World {
    /// The host alone loses its power.
    pub fn power_off(&mut self, machine: usize) {
        self.note_fault(|| format!("{} has no power any more", name(machine)));
        let entry = &mut self.machines[machine];
        entry.powered = false;
        entry.daemon = None;
        entry.kernel.clear();
        // Where /run outlives a boot, as it must not, an old mark is found.
        entry.mark = entry.mark.filter(|_| entry.keeps_mark);
        self.ledger.was_off.iter_mut().for_each(|hosts| hosts[machine] = true);
        self.note_paths();
        self.disturb(machine);
        self.check();
    }

    /// The feed is lost: the host, and the fence devices that share its power.
    pub fn lose_feed(&mut self, machine: usize) {
        self.power_off(machine);
        self.ledger.devices_changed_at = self.now;
        for device in self.devices.iter_mut().filter(|d| d.wired == machine) {
            device.has_power = !device.shares_power;
        }
    }

    /// Power returns, to devices and host; the daemon starts after the boot.
    pub fn power_on(&mut self, machine: usize) {
        for device in self.devices.iter_mut().filter(|d| d.wired == machine) {
            device.has_power = true;
            device.outlet_on = true;
        }
        self.ledger.devices_changed_at = self.now;
        self.boot_machine(machine);
    }

    /// A host that has no power is switched on; the daemon starts after the boot.
    pub(super) fn boot_machine(&mut self, machine: usize) {
        if self.machines[machine].powered {
            return;
        }
        let lead = self.random.below(1_000_000_000_000);
        let entry = &mut self.machines[machine];
        entry.powered = true;
        entry.boots += 1;
        entry.clock_lead = lead;
        self.ledger.returned_at[machine] = Some(self.now);
        let (boots, autostart) = (entry.boots, entry.autostart);
        self.note_fault(|| format!("{} has power again", name(machine)));
        self.note_paths();
        self.disturb(machine);
        if autostart {
            self.schedule(self.plan.timing.boot, Happening::Boot { machine, boots });
        }
    }

    /// SIGKILL: the kernel keeps everything, the mark stays.
    pub fn crash(&mut self, machine: usize) {
        self.note_fault(|| format!("the daemon of {} is killed", name(machine)));
        self.machines[machine].daemon = None;
        self.disturb(machine);
    }

    /// SIGSTOP, or a machine that stands still.
    pub fn pause(&mut self, machine: usize) {
        self.note_fault(|| format!("the daemon of {} is suspended", name(machine)));
        if let Some(daemon) = self.machines[machine].daemon_mut() {
            daemon.paused = true;
        }
        self.note_pause(machine);
    }

    /// A machine that stood still: what was sent to its paused daemon is lost.
    pub(super) fn lose_inbox(&mut self, machine: usize) {
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
        for input in core::mem::take(&mut daemon.inbox) {
            if let Input::Heard { heartbeat, .. } = &input {
                self.story.miss(heartbeat);
            } else if let Some(daemon) = self.machines[machine].daemon_mut() {
                daemon.inbox.push_back(input);
            }
        }
    }

    /// SIGCONT: first how late it is, then what came meanwhile, then the time.
    pub fn resume(&mut self, machine: usize) {
        let local = self.local(machine);
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
        if !daemon.paused {
            return;
        }
        daemon.paused = false;
        let due: Option<Instant> = [daemon.tick_at, daemon.inbox_since].into_iter().flatten().min();
        let late_by = due.map_or(Duration::ZERO, |due| local.since(due));
        daemon.inbox_since = None;
        let inbox = core::mem::take(&mut daemon.inbox);
        self.note_fault(|| format!("the daemon of {} goes on", name(machine)));
        self.note_resume(machine);
        // Nothing is done to others before all that has waited is taken in.
        self.ledger.draining = (!inbox.is_empty()).then_some(machine);
        if late_by > ms(1) {
            self.give(machine, Input::Stalled { late_by });
        }
        for input in inbox {
            self.give(machine, input);
        }
        self.ledger.draining = None;
        self.give(machine, Input::Tick);
    }

    /// Cuts or mends one direction of one link.
    pub fn set_cut(&mut self, link: u8, from: usize, to: usize, cut: bool) {
        self.note_fault(|| {
            let what = if cut { "cut" } else { "mended" };
            format!("link{link} from {} to {} is {what}", name(from), name(to))
        });
        self.network.set_cut(usize::from(link), from, to, cut);
        self.note_paths();
        self.disturb_all();
    }

    /// Cuts or mends all links between two machines.
    pub fn cut_all(&mut self, one: usize, other: usize, cut: bool) {
        for link in 0..self.plan.links {
            self.set_cut(link, one, other, cut);
            self.set_cut(link, other, one, cut);
        }
    }

    /// Parts or joins the service networks of two machines.
    pub fn set_parted(&mut self, one: usize, other: usize, parted: bool) {
        self.note_fault(|| {
            let what = if parted { "parted" } else { "joined" };
            format!("the service networks of {} and {} are {what}", name(one), name(other))
        });
        self.network.set_parted(one, other, parted);
        self.disturb_all();
    }

    /// A service NIC gains or loses its carrier.
    pub fn set_carrier(&mut self, machine: usize, nic: usize, up: bool) {
        self.note_fault(|| {
            let what = if up { "gains" } else { "loses" };
            format!("nic{nic} of {} {what} its carrier", name(machine))
        });
        if self.has_good_nics(machine) {
            self.ledger.path_bad_since[machine] = self.now;
        }
        self.machines[machine].carrier[nic] = up;
        self.disturb(machine);
        self.give(machine, Input::Carrier { nic: NicId(nic as u8), up });
    }

    /// All fence devices of a machine behave so from now on.
    pub fn set_modes(&mut self, host: usize, mode: Mode) {
        self.note_fault(|| format!("the fence devices of {}: {mode:?}", name(host)));
        for device in self.devices.iter_mut().filter(|d| d.host == host) {
            device.mode = mode;
            device.since = self.now;
        }
        self.ledger.devices_changed_at = self.now;
    }

    /// All fence devices of a machine but its witnesses behave so from now on.
    pub fn set_modes_of_cutters(&mut self, host: usize, mode: Mode) {
        let kept: Vec<Mode> = self.devices.iter().map(|device| device.mode).collect();
        self.set_modes(host, mode);
        for (device, kept) in self.devices.iter_mut().zip(kept) {
            if device.is_witness {
                device.mode = kept;
            }
        }
    }

    /// An operator's word at `machine` about `of`, and the answer to it.
    pub fn confirm_off(&mut self, machine: usize, of: usize, force: bool) -> Answer {
        self.note_fault(|| {
            let how = if force { " by force" } else { "" };
            format!("an operator at {} confirms{how} that {} is off", name(machine), name(of))
        });
        self.serial += 1;
        let request = RequestId(self.serial);
        let node = Plan::node_id(of);
        self.expect_answer(request);
        let held = self.state(machine).is_some_and(PeerState::may_hold);
        self.give(machine, Input::ConfirmOff { request, node, force });
        let answer = self.answer_to(request);
        let taken = answer == Answer::Accepted;
        self.expect(!(held && taken), "a holder takes an operator's word");
        self.check_confirmation(machine, of, force, &answer);
        answer
    }

    /// SIGTERM.
    pub fn stop(&mut self, machine: usize) {
        self.note_fault(|| format!("the daemon of {} is told to end", name(machine)));
        self.give(machine, Input::Stop);
    }

    /// Somebody else's packet on the service network.
    pub fn claim(&mut self, to: usize, vip: u16, mac: Mac) {
        let at = self.local(to);
        self.give(to, Input::Claim { vip: VipId(vip), mac, at });
    }
}

fn name(machine: usize) -> char {
    char::from(b'a' + machine as u8)
}
