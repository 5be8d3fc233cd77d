//! What the engines believe and tell, held against what is so.
//!
//! Looked at now and then, and only where nothing has changed for so long that it must be known.

use core::time::Duration;

use super::World;
use super::device::{Device, Mode};
use super::machine::{Disk, Taking};
use super::plan::{Plan, ms};
use crate::engine::Snapshot;
use crate::engine::event::Degradation;
use crate::engine::snapshot::PeerView;
use crate::types::{FenceFault, Instant, LinkId, NicId, PeerState};

/// How long a repair that failed may take, and a doubt beside it.
const REPAIR_MAX: Duration = ms(2500);

impl World {
    /// Fails unless every engine that runs believes and tells what is so.
    pub fn check_views(&mut self) {
        for machine in 0..self.machines.len() {
            if self.ledger.rivals[machine] && self.has_rival(machine) {
                self.ledger.owes_since[machine] = Some(self.now);
            }
            if self.machines[machine].is_awake() {
                self.check_view(machine, &self.node(machine).snapshot());
            }
        }
    }

    fn check_view(&self, machine: usize, view: &Snapshot) {
        let told = self.ledger.degraded[machine];
        self.expect(told == view.degraded.len() as i32, "it tells other troubles than it has");
        if self.now == self.ledger.started_at[machine] {
            return;
        }
        self.expect_trouble(view, Degradation::PathBad, !self.has_good_nics(machine));
        let refuses = self.ledger.refused_at[machine].is_some_and(|at| at < self.now);
        if refuses && self.machines[machine].disk == Disk::Fails {
            self.expect_trouble(view, Degradation::Record, true);
        }
        for peer in &view.peers {
            self.check_presence(machine, view, peer);
            self.check_links(machine, view, peer);
            self.check_devices(machine, view, peer);
            self.check_crossing(machine, view, peer);
        }
        if view.state == PeerState::Active {
            self.check_upkeep(machine);
        }
    }

    fn expect_trouble(&self, view: &Snapshot, what: Degradation, is_so: bool) {
        let told = has(view, what);
        if told != is_so {
            let node = self.plan.names().node(view.node).to_owned();
            let how = if told { "tells" } else { "does not tell" };
            self.expect(false, &format!("{node} {how} {what:?}, and it is {is_so}"));
        }
    }

    /// For how long nothing has disturbed the two, their links or their networks.
    fn quiet_for(&self, one: usize, other: usize) -> Duration {
        let ledger = &self.ledger;
        self.now.since(ledger.disturbed_at[one].max(ledger.disturbed_at[other]))
    }

    /// Whether a link passes both ways between the two: one that was never answered is not heard.
    pub(super) fn are_linked(&self, one: usize, other: usize) -> bool {
        (0..usize::from(self.plan.links)).any(|link| {
            !self.network.is_cut(link, one, other) && !self.network.is_cut(link, other, one)
        })
    }

    /// Whether a link passes from the one to the other: who was answered before is heard on it.
    pub(super) fn passes(&self, from: usize, to: usize) -> bool {
        (0..usize::from(self.plan.links)).any(|link| !self.network.is_cut(link, from, to))
    }

    /// Who is silent is not heard, and who speaks is.
    fn check_presence(&self, machine: usize, view: &Snapshot, peer: &PeerView) {
        let of = usize::from(peer.node.get()) - 1;
        let timing = &self.plan.timing;
        let quiet_for = self.quiet_for(machine, of);
        let speaks = self.machines[of].is_awake();
        let arrives =
            (0..self.plan.links).any(|link| !self.network.is_cut(usize::from(link), of, machine));
        let missing = Degradation::PeerMissing(peer.node);
        let is_active = view.state == PeerState::Active;
        // What is late is late by three deadtimes at most, and believed for another one.
        let forgotten = self.acquaintance() + timing.deadtime * 3;
        if !(speaks && arrives) && quiet_for > forgotten {
            self.expect(!peer.heard, "it hears one that is silent");
            self.expect_trouble(view, missing, is_active);
        }
        let known = self.acquaintance();
        let linked = speaks && self.are_linked(machine, of) && !self.network.noise.is_any();
        if linked && quiet_for > known {
            self.expect(peer.heard, "it does not hear one that speaks");
            if !self.is(of, PeerState::Stopped) {
                self.expect_trouble(view, missing, false);
            }
        }
    }

    /// A link that passes nothing, or one way only, is told as long as another one works.
    fn check_links(&self, machine: usize, view: &Snapshot, peer: &PeerView) {
        let of = usize::from(peer.node.get()) - 1;
        let timing = &self.plan.timing;
        let known = self.acquaintance() + timing.deadtime * 3 + timing.keepalive * 2;
        let speaks = self.machines[of].is_awake()
            && !self.is(of, PeerState::Stopped)
            && self.are_linked(machine, of);
        if !speaks || self.network.noise.is_any() || self.quiet_for(machine, of) <= known {
            return;
        }
        for link in 0..self.plan.links {
            let cut = |from, to| self.network.is_cut(usize::from(link), from, to);
            let is_bad = cut(machine, of) || cut(of, machine);
            self.expect_trouble(view, Degradation::LinkDown(peer.node, LinkId(link)), is_bad);
        }
    }

    /// A service network in which nothing passes between two NICs that both call good is told.
    fn check_crossing(&self, machine: usize, view: &Snapshot, peer: &PeerView) {
        let of = usize::from(peer.node.get()) - 1;
        let timing = &self.plan.timing;
        let settled = self.acquaintance() * 2 + timing.deadtime * 3 + timing.sense;
        let speaks = self.machines[of].is_awake()
            && !self.is(of, PeerState::Stopped)
            && self.are_linked(machine, of);
        let quiet_for = self.quiet_for(machine, of).min(self.now.since(self.ledger.started_at[of]));
        if !speaks || self.network.noise.is_any() || quiet_for <= settled {
            return;
        }
        for nic in 0..usize::from(self.plan.nics) {
            let good = self.is_nic_good(machine, nic) && self.is_nic_good(of, nic);
            let parted = self.plan.probes && good && !self.joins(machine, of, nic);
            self.expect_trouble(view, Degradation::Parted(peer.node, NicId(nic as u8)), parted);
        }
    }

    /// A fence device that gives no reading is told before it is needed.
    fn check_devices(&self, machine: usize, view: &Snapshot, peer: &PeerView) {
        let of = usize::from(peer.node.get()) - 1;
        let timing = &self.plan.timing;
        let fences = matches!(view.state, PeerState::Fencing | PeerState::Frozen);
        let checked = timing.fence_check_interval * 2 + timing.level_timeout * 2 + ms(500);
        let ledger = &self.ledger;
        // While a ladder is climbed, or rests, its devices are not checked.
        let settled_at = view.since.as_nanos().saturating_sub(self.machines[machine].clock_lead);
        let settled_at = Instant::from_nanos(settled_at);
        let changed_at = ledger.devices_changed_at.max(ledger.disturbed_at[machine]);
        let since = changed_at.max(settled_at);
        if fences || peer.ladder_next.is_some() || self.now.since(since) <= checked {
            return;
        }
        for device in view.devices.iter().filter(|device| device.node == peer.node) {
            let entry = &self.devices[device.id.index()];
            if entry.fenced_at.is_some_and(|at| self.now.since(at) <= checked) {
                continue;
            }
            let what = Degradation::FenceDevice(device.id);
            match self.is_readable(entry, of) {
                Some(true) if !device.distrusted => self.expect_trouble(view, what, false),
                Some(false) => self.expect_trouble(view, what, true),
                Some(true) | None => {}
            }
        }
    }

    /// Whether a device gives a reading; nothing where it depends.
    fn is_readable(&self, device: &Device, host: usize) -> Option<bool> {
        if device.mode == Mode::Hangs {
            return Some(false);
        }
        // A fence leaves a slow one more time than a check.
        let is_slow = device.delay > self.plan.timing.level_timeout;
        if is_slow || device.mode == Mode::Refuses(FenceFault::AgentFailed) {
            return None;
        }
        let reading = device.reads(self.machines[host].powered);
        Some(!matches!(reading, Err(_) | Ok(crate::types::Power::Unknown)))
    }

    /// What is held is complete, and everybody was told who has it.
    fn check_upkeep(&self, machine: usize) {
        let ledger = &self.ledger;
        let entry = &self.machines[machine];
        let timing = &self.plan.timing;
        let quiet_for = self.now.since(ledger.disturbed_at[machine]);
        let doubts = self.acquaintance() + timing.deadtime;
        if quiet_for <= doubts {
            return;
        }
        let repaired = self.now.since(ledger.deleted_at[machine]) > doubts + REPAIR_MAX;
        let is_whole = entry.kernel.len() == usize::from(self.plan.vips);
        let is_repairable = repaired && entry.taking == Taking::Works;
        self.expect(is_whole || !is_repairable, "an address is missing for long");
        let owes = ledger.owes_since[machine].is_some_and(|at| self.now.since(at) > doubts);
        self.expect(!owes, "nobody was told again who has the addresses");
    }

    /// Whether a machine's mark says that it holds, in this boot of it.
    pub(super) fn is_marked(&self, machine: usize) -> bool {
        let entry = &self.machines[machine];
        let boot = Plan::boot_id(machine, entry.boots);
        entry.mark.is_some_and(|mark| mark.holding && mark.boot == boot)
    }

    /// Something was done to the addresses of a machine: they may be incomplete for a while.
    pub fn note_deletion(&mut self, machine: usize) {
        self.ledger.deleted_at[machine] = self.now;
    }

    /// The records of all machines whose disks have worked for long say what was held.
    pub fn check_records(&self) {
        for (machine, entry) in self.machines.iter().enumerate() {
            let Some(daemon) = entry.daemon.as_ref() else { continue };
            let view = daemon.node.snapshot();
            let is_written = entry.record.held_term >= view.held_term || self.ledger.hung[machine];
            self.expect(is_written, "a record is not written");
            if daemon.node.state() == PeerState::Active {
                let untold = !self.is_marked(machine) && !has(&view, Degradation::Mark);
                self.expect(!untold, "a holder has no mark, and does not tell it");
            }
        }
    }
}

/// Whether that is among what is degraded.
fn has(view: &Snapshot, what: Degradation) -> bool {
    view.degraded.iter().any(|(degradation, _)| *degradation == what)
}
