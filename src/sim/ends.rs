//! How the world of a seed ends: everything is mended, one takes over, and then one last thing
//! happens to a healthy pair, whose outcome and time are known.

use core::time::Duration;
use std::sync::Arc;

use super::World;
use super::check::LADDER_REST_MAX;
use super::device::Mode;
use super::machine::{Disk, Taking};
use super::plan::{Plan, ms};
use super::queue::Happening;
use super::seeds::{Trial, restart};
use crate::engine::event::FrozenCause;
use crate::engine::snapshot::DeviceView;
use crate::engine::{Answer, Input};
use crate::types::{Mac, PeerState, VipId};

/// Until one holds again after everything is mended: a frozen ladder's longest rest, a failed
/// takeover's longest rest, and a boot.
const HEALING_MAX: Duration = ms(70_000);
/// What a fence device may take for an order that was given before: the longest delay there is,
/// and what follows from it.
const LATE_CUTS: Duration = ms(1000);
/// What a takeover may take once everything is proven, or everybody was told: what is said arrives,
/// the term is written, the addresses are taken; devices that work answer meanwhile.
const TAKEOVER_MAX: Duration = ms(150);
/// Until a record that was refused is written.
const RECORD_MAX: Duration = ms(11_500);
/// Until a claim is repeated.
const CLAIMS_MAX: Duration = ms(2_500);
/// The first rest after a takeover that failed.
const FAILURE_REST: Duration = ms(1_000);

impl Trial {
    /// Stops the faults, mends everything, sees one take over, and a last thing happen.
    pub fn end(&mut self) {
        let timing = self.world.plan.timing;
        self.world.run(timing.deadtime * self.random.below(300) as u32 / 100);
        self.mend();
        // Orders that fence devices were carrying out when the faults stopped may yet cut
        // anybody's power: whoever is off then is switched on again.
        self.world.run(LATE_CUTS);
        self.mend();
        let mut took = self.world.run_until(HEALING_MAX, one_holds);
        if took.is_none() && self.is_frozen_by_a_contradiction() {
            // A device that lied is believed again when it has read on, and its host was cut down
            // before it could: a person who reads why they are frozen switches the host on.
            // And starts the daemon of one that was told to end.
            for machine in 0..self.world.machines.len() {
                self.world.power_on(machine);
                restart(&mut self.world, machine);
            }
            took = self.world.run_until(HEALING_MAX, one_holds);
        }
        self.world.expect(took.is_some(), "everything is well, and nobody holds");
        self.world.run(timing.initdead + timing.boot + timing.deadtime);
        self.world.expect(one_holds(&self.world), "everything is well, and not just one holds");
        let settled = (0..self.world.machines.len()).all(|machine| {
            let state = self.world.state(machine);
            matches!(state, None | Some(PeerState::Active | PeerState::Standby))
        });
        self.world
            .expect(settled, "everything is well, and somebody is neither active nor standby");
        self.world.check_views();
        if self.random.percent(3) {
            self.world.run(RECORD_MAX);
            self.world.check_records();
        }
        if self.random.percent(40) {
            self.have_a_last_thing_happen();
        }
    }

    fn is_frozen_by_a_contradiction(&self) -> bool {
        let awake = (0..self.world.machines.len()).filter(|m| self.world.machines[*m].is_awake());
        let views = awake.map(|machine| self.world.node(machine).snapshot());
        views.filter(|view| view.state == PeerState::Frozen).any(|view| {
            let mut causes = view.peers.iter().filter_map(|peer| peer.frozen_cause);
            causes.any(|cause| matches!(cause, FrozenCause::Contradicted | FrozenCause::NeverOn))
        })
    }

    /// A device that lied is believed again with the next check that reads on.
    fn wait_for_trust(&mut self) {
        let awake = (0..self.world.machines.len()).filter(|m| self.world.machines[*m].is_awake());
        let mut views = awake.map(|machine| self.world.node(machine).snapshot());
        let is_doubted = |d: &DeviceView| d.distrusted || (d.is_witness && !d.seen_on);
        if views.any(|view| view.devices.iter().any(is_doubted)) {
            let timing = self.world.plan.timing;
            self.world.run(timing.fence_check_interval + timing.level_timeout);
        }
    }

    /// One fault, in a pair that is well: what follows is known, and when.
    fn have_a_last_thing_happen(&mut self) {
        self.wait_for_trust();
        let Self { world, random, .. } = self;
        let machines = world.machines.len();
        let Some(active) = (0..machines).find(|m| world.is(*m, PeerState::Active)) else { return };
        // A device that has lied is distrusted for a while, and a node that has failed rests.
        let ready = (0..machines).filter(|m| *m != active).all(|machine| {
            world.is(machine, PeerState::Standby) && world.node(machine).snapshot().eligible
        });
        if world.excused || world.ledger.contradicts || !ready {
            return;
        }
        world.forget();
        world.note_fault(|| "and a last thing happens".to_owned());
        let choice = random.below(23);
        let has_outlets = matches!(*world.plan.levels, [2 | 3]);
        match choice {
            0 => self.lose_the_active(active),
            1 => self.stop_the_active(active),
            2 => self.restart_the_active(active),
            3 => self.lose_the_daemon(active),
            4 => self.cut_the_pair(active),
            5 => self.lose_power_and_devices(active),
            6 => self.fail_to_take(active),
            7 => self.be_lied_to(active),
            8 => self.be_replaced(active),
            9 => self.cut_it_unclearly(active),
            10 => self.be_told_lies(active),
            11 => self.have_leftovers_released(active),
            12 => self.switch_an_outlet_on(active),
            13..=15 => self.harm_a_path(active),
            16 => self.lose_two(active),
            17 => self.stay_without_power(active),
            18 => self.lose_the_daemon_without_a_third(active),
            19 => self.break_the_agents(active),
            20..=22 if has_outlets => self.leave_one_dead(active),
            _ => self.live_with_a_fault(active),
        }
    }

    /// Somebody else holds within a time, and `active` does not.
    pub(super) fn expect_failover(&mut self, active: usize, limit: Duration) {
        let moved = |w: &World| one_holds(w) && !w.machines[active].holds();
        let took = self.world.run_until(limit, moved);
        self.world.expect(took.is_some(), "nobody takes over in time");
    }

    /// How long it takes to find that a peer is silent, and has no address that answers.
    pub(super) fn detection(&self) -> Duration {
        let timing = &self.world.plan.timing;
        timing.deadtime + timing.keepalive * 3 + self.world.link_delay
    }

    /// How long a takeover takes for which nothing but words and devices that work are wanted.
    pub(super) fn takeover(&self) -> Duration {
        TAKEOVER_MAX + self.world.link_delay * 8
    }

    fn lose_the_active(&mut self, active: usize) {
        // Only the last level works.
        let levels = self.world.plan.levels.clone();
        let mut detour = Duration::ZERO;
        if levels.len() > 1 && self.random.percent(50) {
            let last = usize::from(*levels.last().expect("there are levels"));
            let own = self.world.devices.iter_mut().filter(|d| d.host == active);
            let first = self.world.plan.cutters_per_host() - last;
            own.take(first).for_each(|device| device.mode = Mode::Dead);
            self.world.ledger.devices_changed_at = self.world.now;
            // Who is asked again until his time is over is not found dead before.
            let asked_again = self.world.plan.repeats.map_or(0, |_| levels.len() as u32 - 1);
            detour = ms(50) + self.world.plan.timing.level_timeout * asked_again;
        }
        self.world.power_off(active);
        if self.random.percent(30) {
            self.have_a_stranger_answer(active);
        }
        self.expect_failover(active, self.detection() + self.takeover() + detour);
    }

    /// Somebody else's host answers for an address: it is no sign of the one that is lost.
    fn have_a_stranger_answer(&mut self, lost: usize) {
        let until = self.detection() + self.takeover();
        let mut at = Duration::ZERO;
        while at < until {
            for to in (0..self.world.machines.len()).filter(|to| *to != lost) {
                let mac = Mac([2, 9, 9, 9, 9, 9]);
                self.world.schedule(at, Happening::Claim { to, vip: VipId(0), mac });
            }
            at += self.world.plan.timing.keepalive / 2;
        }
    }

    fn stop_the_active(&mut self, active: usize) {
        self.world.stop(active);
        self.expect_failover(active, self.takeover());
        let limit = self.world.plan.timing.keepalive * 2 + self.world.link_delay * 4;
        let ended = self.world.run_until(limit, |w| w.machines[active].exited);
        self.world.expect(ended.is_some(), "a daemon does not end in time");
    }

    /// Killed, and started again at once by its supervisor: no client notices.
    fn restart_the_active(&mut self, active: usize) {
        if !self.world.is_marked(active) {
            return;
        }
        let kernel = self.world.machines[active].kernel;
        self.world.crash(active);
        self.world.run(ms(self.random.below(5)));
        restart(&mut self.world, active);
        let changed = |w: &World| w.machines[active].kernel != kernel;
        let left = self.world.run_until(self.world.plan.timing.initdead * 2, changed);
        self.world.expect(left.is_none(), "addresses leave while a daemon is restarted");
        self.world.expect(self.world.is(active, PeerState::Active), "what was held is not adopted");
        self.world.check_views();
    }

    fn lose_the_daemon(&mut self, active: usize) {
        self.world.crash(active);
        let grace = self.world.plan.timing.grace;
        self.expect_failover(active, self.detection() + grace + self.takeover());
    }

    /// All links are cut: the standby takes over when the grace is over, and the one that was
    /// fenced boots into the same cut and leaves it serving.
    fn cut_the_pair(&mut self, active: usize) {
        if self.world.machines.len() > 2 {
            return;
        }
        let other = 1 - active;
        self.world.cut_all(active, other, true);
        let timing = self.world.plan.timing;
        let limit = self.detection() + timing.grace + self.takeover();
        let isolated = |w: &World| w.is(other, PeerState::Isolated);
        let left = self.world.run_until(self.detection(), isolated);
        if left.is_some() && self.random.percent(50) {
            self.be_silent_for_a_moment(active, other);
        }
        self.expect_failover(active, limit);
        self.world.power_on(active);
        let cuts = self.world.cuts_of(other);
        self.world.run(timing.boot + timing.initdead * 2 + timing.grace * 2);
        self.world.check_views();
        let stays = self.world.is(other, PeerState::Active) && self.world.cuts_of(other) == cuts;
        self.world.expect(stays, "one that serves is not left serving");
        self.world.expect(self.world.is(active, PeerState::Isolated), "it is not isolated");
    }

    /// One that is left serving is not cut because its network is silent for less time than it was
    /// found to be lost in.
    fn be_silent_for_a_moment(&mut self, active: usize, other: usize) {
        let timing = self.world.plan.timing;
        let round = ((timing.deadtime - timing.warntime) / 3).clamp(ms(1), ms(100));
        self.world.run(round * 4);
        let cuts = self.world.cuts_of(active);
        self.world.set_parted(active, other, true);
        self.world.run(round * 2);
        self.world.set_parted(active, other, false);
        self.world.run(round);
        let spared = self.world.cuts_of(active) == cuts || timing.grace < round * 8;
        self.world.expect(spared, "a short silence of one that serves is taken for its end");
    }

    /// Host and devices lose their power together: frozen, until the devices have power again; but
    /// not where witnesses that keep theirs make a level of their own.
    fn lose_power_and_devices(&mut self, active: usize) {
        let plan = Arc::clone(&self.world.plan);
        let witnessed = plan.witnesses > 0 && !plan.witnesses_beside && self.random.percent(70);
        let own = self.world.devices.iter_mut().filter(|d| d.host == active);
        own.for_each(|device| device.shares_power = !(witnessed && device.is_witness));
        self.world.lose_feed(active);
        let timing = plan.timing;
        if witnessed {
            // Nobody answers for as long as each level before it has.
            let before = timing.level_timeout * plan.levels.len() as u32 + ms(50);
            self.expect_failover(active, self.detection() + before + self.takeover());
            return;
        }
        let frozen_for = ms(self.random.below(8_000));
        self.world.run(timing.deadtime * 2 + timing.level_timeout * 4 + frozen_for);
        let frozen =
            (0..self.world.machines.len()).any(|machine| self.world.is(machine, PeerState::Frozen));
        self.world.expect(frozen, "nobody is frozen");
        self.world.expect(self.world.holders().is_empty(), "somebody holds without a proof");
        // Slow, but in time for a command and a reading.
        let is_slow = plan.levels.iter().all(|devices| *devices == 1)
            && !plan.has_witness_beside()
            && self.random.percent(30);
        let slow = if is_slow { timing.level_timeout * 2 / 5 } else { Duration::ZERO };
        for device in self.world.devices.iter_mut().filter(|d| d.host == active) {
            device.has_power = true;
            device.delay = device.delay.max(slow);
        }
        self.world.ledger.devices_changed_at = self.world.now;
        self.world.note_fault(|| "the fence devices have power again".to_owned());
        // Who does not answer is asked again as often as its pace allows.
        let repeats = self.world.plan.repeats.unwrap_or_default();
        let asked_within = timing.pace.max(ms(250)) + repeats;
        // A witness beside the devices that cut is read with pauses that have grown meanwhile.
        let pause = if plan.has_witness_beside() { ms(500) } else { Duration::ZERO };
        self.expect_failover(active, asked_within + pause + slow * 3 + self.takeover());
    }

    /// All start cold, and `fails` cannot take the resources.
    fn start_cold(&mut self, fails: usize) {
        for machine in 0..self.world.machines.len() {
            self.world.crash(machine);
            self.world.machines[machine].mark = None;
            self.world.machines[machine].kernel.clear();
        }
        self.world.machines[fails].taking = Taking::FailsHalfWay;
        for machine in 0..self.world.machines.len() {
            restart(&mut self.world, machine);
        }
    }

    /// All start cold, and the one that goes first cannot take the resources: another one does.
    fn fail_to_take(&mut self, active: usize) {
        let timing = self.world.plan.timing;
        self.start_cold(active);
        self.expect_failover(active, timing.initdead * 2 + self.takeover() + FAILURE_REST / 2);
    }

    /// The devices of the active read off while it is heard; then it is heard no longer, and serves
    /// on. Nobody believes them.
    fn be_lied_to(&mut self, active: usize) {
        let timing = self.world.plan.timing;
        self.world.set_modes(active, Mode::ReadsOff);
        self.world.run(timing.fence_check_interval + timing.level_timeout * 2 + ms(2500));
        self.world.crash(active);
        let tried = timing.grace + timing.level_timeout * 6 + timing.deadtime;
        self.world.ledger.contradicts = true;
        self.world.run(self.detection() + tried);
        self.world.expect(self.world.holders() == [active], "devices that lied are believed");
    }

    /// The active is suspended, and a false word lets another one take over. When it goes on it
    /// asks itself whether that has happened, and gives way: also where it hears nobody.
    fn be_replaced(&mut self, active: usize) {
        let timing = self.world.plan.timing;
        let other = (active + 1) % self.world.machines.len();
        self.world.set_modes(active, Mode::Dead);
        self.world.pause(active);
        self.world.run(self.detection());
        if !self.world.is_passive(other) || self.world.machines.len() > 2 {
            return;
        }
        // Where nothing is heard, the service networks tell.
        let cut = self.random.percent(60);
        if cut {
            self.world.cut_all(active, other, true);
        }
        self.world.excused = true;
        self.world.confirm_off(other, active, true);
        let taken = |w: &World| w.is(other, PeerState::Active);
        let took = self.world.run_until(self.takeover(), taken);
        self.world.expect(took.is_some(), "nobody takes over on a word");
        // Who has just taken over waits for a while before it counts what others claim.
        self.world.run(ms(1_000) + timing.deadtime * self.random.below(200) as u32 / 100);
        self.world.resume(active);
        let gives_way = |w: &World| w.holders() != [0, 1];
        let took = self.world.run_until(timing.deadtime * 2 + CLAIMS_MAX, gives_way);
        self.world.run(self.world.link_delay * 2 + ms(10));
        self.world.expect(self.world.holders() == [other], "the newer one does not stay alone");
        self.world.expect(took.is_some(), "one that was replaced does not give way");
    }

    /// Somebody switches one outlet of the active on again while the other one is being cut: each
    /// is off at a time, and the host never.
    fn switch_an_outlet_on(&mut self, active: usize) {
        let timing = self.world.plan.timing;
        let mut others = 0;
        for device in self.world.devices.iter_mut().filter(|device| device.host == active) {
            (device.mode, device.delay) = match (device.outlet, others) {
                (false, _) if device.is_witness => (Mode::Works, ms(2)),
                (false, _) => (Mode::Dead, ms(2)),
                (true, 0) => (Mode::Returns, ms(2)),
                (true, _) => (Mode::Works, ms(30)),
            };
            others += u32::from(device.outlet);
        }
        if others < 2 {
            return;
        }
        self.world.ledger.devices_changed_at = self.world.now;
        self.world.crash(active);
        let rounds = (timing.level_timeout * 4 + LADDER_REST_MAX) * 3;
        self.expect_failover(active, self.detection() + timing.grace * 3 + rounds);
    }

    /// The devices of the active do what they are told, and cannot tell: frozen. The host is
    /// switched on again, and left alone until it is heard.
    fn cut_it_unclearly(&mut self, active: usize) {
        let timing = self.world.plan.timing;
        self.world.set_modes(active, Mode::Unclear);
        self.world.crash(active);
        let cut = |w: &World| !w.machines[active].powered;
        let took = self.world.run_until(self.detection() + timing.grace + self.takeover(), cut);
        self.world.expect(took.is_some(), "a power is not cut in time");
        // What answered until then is taken for a sign of life once.
        let frozen =
            |w: &World| (0..w.machines.len()).all(|m| m == active || w.is(m, PeerState::Frozen));
        let limit = (timing.level_timeout + ms(300)) * 4 + timing.grace * 2 + timing.deadtime * 2;
        if self.world.run_until(limit, frozen).is_none() {
            return;
        }
        self.world.run(timing.level_timeout);
        let cuts = self.world.cuts_of(active);
        self.world.power_on(active);
        let mut limit = timing.boot + self.world.acquaintance() + LADDER_REST_MAX;
        if self.random.percent(50) {
            limit += self.stall_the_others(active);
        }
        self.world.run(limit);
        self.world.expect(self.world.cuts_of(active) == cuts, "a host is cut down while it boots");
        self.world
            .expect(one_holds(&self.world), "a host that is back does not end the frozen state");
    }

    /// All but one stand still while that one boots; for how long.
    fn stall_the_others(&mut self, booting: usize) -> Duration {
        let timing = self.world.plan.timing;
        let others = (0..self.world.machines.len()).filter(|other| *other != booting);
        self.world.run(timing.boot * self.random.below(60) as u32 / 100);
        others.clone().for_each(|other| self.world.pause(other));
        let stall = timing.deadtime * (100 + self.random.below(100) as u32) / 100;
        self.world.run(stall);
        others.for_each(|other| self.world.resume(other));
        stall
    }

    /// An operator says of the active that it is off, while something shows that it is not: it is
    /// heard, its addresses answer or nobody can ask for them, its devices read on.
    fn be_told_lies(&mut self, active: usize) {
        let timing = self.world.plan.timing;
        let other = (active + 1) % self.world.machines.len();
        let (parted, mute) = (self.random.percent(40), self.random.percent(30));
        self.world.set_modes(active, if parted { Mode::StaysOn } else { Mode::Dead });
        self.world.machines[other].mute = mute;
        self.world.run(timing.fence_check_interval + timing.level_timeout);
        self.expect_denied(other, active, true);
        self.world.cut_all(active, other, true);
        self.world.set_parted(active, other, parted);
        for _ in 0..6 {
            self.world.run(timing.deadtime * self.random.below(70) as u32 / 100);
            self.expect_denied(other, active, false);
        }
    }

    /// One that has released has an address in its kernel again, which does not go away: its word
    /// of the release is none any more.
    fn have_leftovers_released(&mut self, active: usize) {
        if self.world.machines.len() > 2 {
            return;
        }
        let timing = self.world.plan.timing;
        let other = 1 - active;
        self.set_carriers(other, false);
        self.world.run(timing.keepalive * 2 + self.world.link_delay * 2);
        self.start_cold(active);
        let released = |w: &World| w.is(active, PeerState::Releasing);
        let fails = self.world.run_until(timing.initdead * 2 + self.takeover(), released);
        self.world.expect(fails.is_some(), "nobody tries to take the resources");
        self.world.run(timing.keepalive + self.world.link_delay);
        self.world.machines[active].release_fails = true;
        self.world.machines[active].kernel.insert(0);
        self.world.give(active, Input::VipStray { vip: VipId(0) });
        self.world.run(timing.keepalive + self.world.link_delay);
        self.set_carriers(other, true);
        self.world.run(timing.deadtime * 4 + timing.initdead * 2);
        self.world.expect(!self.world.machines[other].holds(), "it takes what is not released");
    }

    fn set_carriers(&mut self, machine: usize, up: bool) {
        for nic in 0..usize::from(self.world.plan.nics) {
            self.world.set_carrier(machine, nic, up);
        }
    }

    fn expect_denied(&mut self, at: usize, of: usize, force: bool) {
        let answer = self.world.confirm_off(at, of, force);
        self.world.expect(answer != Answer::Accepted, "an operator's lie is believed");
    }

    /// Something fails that a serving node can live with: it goes on, and everybody is told.
    fn live_with_a_fault(&mut self, active: usize) {
        let Self { world, random, .. } = self;
        let count = world.machines.len();
        let other = (active + 1) % count;
        let timing = world.plan.timing;
        let mut lasts = world.acquaintance() + timing.deadtime * 4 + timing.keepalive * 4;
        let term = world.node(active).snapshot().term;
        match random.below(9) {
            0 => {
                let host = random.choose(&[active, other]);
                let modes = [Mode::Dead, Mode::Hangs, Mode::Unclear, Mode::Mute];
                world.set_modes(host, random.choose(&modes));
                lasts += timing.fence_check_interval * 2 + timing.level_timeout * 2 + ms(500);
            }
            1 if world.plan.links > 1 => {
                let (one, two) = if random.percent(50) { (active, other) } else { (other, active) };
                world.set_cut(random.below(2) as u8, one, two, true);
            }
            2 => world.set_carrier(other, 0, false),
            3 => world.power_off(other),
            4 => world.pause(other),
            5 => {
                // Its goodbye does not arrive.
                (0..world.plan.links).for_each(|link| world.set_cut(link, other, active, true));
                world.stop(other);
            }
            6 => {
                // Stray packets of one that is heard.
                world.run(ms(1_000));
                for _ in 0..3 {
                    world.claim(active, 0, Plan::mac(other, 0));
                    world.run(ms(200));
                }
            }
            7 => {
                // One of one that is not.
                world.power_off(other);
                world.run(timing.deadtime * 2 + ms(1_000));
                world.claim(active, 0, Plan::mac(other, 0));
                world.run(ms(10));
            }
            _ => {
                world.machines[active].disk = Disk::Fails;
                world.note_disk(active);
                world.stop(other);
            }
        }
        world.run(lasts);
        world.check_views();
        let goes_on =
            world.is(active, PeerState::Active) && world.node(active).snapshot().term == term;
        world.expect(goes_on, "a serving node does not go on");
        let told = world.machines[other].daemon.is_none() || !world.is(other, PeerState::Stopped);
        world.expect(told, "a daemon whose goodbye nobody hears does not end");
        world.expect(one_holds(world), "not just one holds");
    }

    /// The faults stop, and everything is repaired that a person would repair.
    fn mend(&mut self) {
        let world = &mut self.world;
        world.note_fault(|| "everything is mended".to_owned());
        world.network.mend();
        world.note_paths();
        world.disturb_all();
        for device in &mut world.devices {
            device.mode = Mode::Works;
            device.wired = device.host;
            device.since = world.now;
            device.delay = ms(2);
            device.has_power = true;
            device.refuses_when_off = false;
        }
        world.ledger.devices_changed_at = world.now;
        for machine in 0..world.machines.len() {
            let entry = &mut world.machines[machine];
            entry.disk = Disk::Works;
            entry.mark_fails = false;
            entry.release_fails = false;
            entry.mute = false;
            entry.unplugged = Default::default();
            entry.unanswering = false;
            entry.deaf = Default::default();
            // A kernel that never answers is for the watchdog.
            let hangs = entry.daemon.as_ref().is_some_and(|daemon| daemon.acquiring.is_some());
            if hangs {
                world.crash(machine);
            }
            world.machines[machine].taking = Taking::Works;
            world.note_disk(machine);
            world.note_deletion(machine);
            world.resume(machine);
            for nic in 0..usize::from(world.plan.nics) {
                world.set_carrier(machine, nic, true);
            }
            // One that boots starts its daemon by itself.
            if world.machines[machine].powered && !world.is_booting(machine) {
                restart(world, machine);
            }
            world.power_on(machine);
        }
    }
}

/// Whether one machine is active, and nobody else has anything in its kernel.
pub(super) fn one_holds(world: &World) -> bool {
    let machines = 0..world.machines.len();
    let actives = machines.filter(|machine| world.is(*machine, PeerState::Active)).count();
    actives == 1 && world.machines.iter().filter(|machine| machine.holds()).count() == 1
}
