//! What pings and probes tell of the service NICs: each daemon's shell, some time after something
//! has changed, and only what is news.

use super::World;
use super::plan::Plan;
use super::queue::Happening;
use crate::engine::Input;
use crate::types::NicId;
use crate::types::heartbeat::NICS_MAX;

impl World {
    /// Something has changed that pings or probes may tell of.
    pub(super) fn sense_later(&mut self) {
        if !self.plan.pings && !self.plan.probes {
            return;
        }
        for machine in 0..self.machines.len() {
            self.schedule(self.plan.timing.sense, Happening::Sense { machine });
        }
    }

    /// Lets a service NIC pass nothing though it has its carrier, or pass again.
    pub fn set_deaf(&mut self, machine: usize, nic: usize, deaf: bool) {
        self.note_fault(|| {
            let what = if deaf { "goes deaf" } else { "hears again" };
            format!("nic{nic} of {} {what}", char::from(b'a' + machine as u8))
        });
        self.machines[machine].deaf[nic] = deaf;
        self.disturb(machine);
    }

    /// The ping targets of a service network die, or come back.
    pub fn set_dead_targets(&mut self, nic: usize, dead: bool) {
        self.note_fault(|| format!("the ping targets of nic{nic} are dead: {dead}"));
        self.network.dead_targets[nic] = dead;
        self.disturb_all();
    }

    /// Tells a machine's daemon what its pings and probes have found.
    pub(super) fn sense(&mut self, machine: usize) {
        for nic in 0..usize::from(self.plan.nics) {
            if self.plan.pings {
                self.sense_reach(machine, nic);
            }
            if self.plan.probes {
                for other in (0..self.machines.len()).filter(|other| *other != machine) {
                    self.sense_across(machine, nic, other);
                }
            }
        }
    }

    fn sense_reach(&mut self, machine: usize, nic: usize) {
        let up = self.machines[machine].passes(nic) && !self.network.dead_targets[nic];
        let was_good = self.has_good_nics(machine);
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
        if daemon.reach[nic].replace(up) == Some(up) {
            return;
        }
        if was_good {
            self.ledger.path_bad_since[machine] = self.now;
        }
        self.give(machine, Input::Reach { nic: NicId(nic as u8), up });
    }

    fn sense_across(&mut self, machine: usize, nic: usize, other: usize) {
        let passes = self.joins(machine, other, nic) && self.machines[other].is_awake();
        let Some(daemon) = self.machines[machine].daemon_mut() else { return };
        // A suspended daemon neither sends nor hears.
        if daemon.paused || daemon.across[nic][other].replace(passes) == Some(passes) {
            return;
        }
        let (nic, node) = (NicId(nic as u8), Plan::node_id(other));
        self.give(machine, Input::Across { nic, node, passes });
    }

    /// Whether a service NIC has carrier, and its target was not told to be silent.
    pub(super) fn is_nic_good(&self, machine: usize, nic: usize) -> bool {
        let entry = &self.machines[machine];
        let reach = entry.daemon.as_ref().map_or([None; NICS_MAX], |daemon| daemon.reach);
        entry.carrier[nic] && reach[nic] != Some(false)
    }

    /// Whether all service NICs of a machine are good, as its daemon was told.
    pub(super) fn has_good_nics(&self, machine: usize) -> bool {
        (0..usize::from(self.plan.nics)).all(|nic| self.is_nic_good(machine, nic))
    }
}
