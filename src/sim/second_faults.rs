//! Last things that happen to a cluster that is well and are two: a fault that meets another one.

use core::time::Duration;
use std::sync::Arc;

use super::World;
use super::check::LADDER_REST_MAX;
use super::device::Mode;
use super::ends::one_holds;
use super::machine::Daemon;
use super::plan::ms;
use super::seeds::{Trial, restart};
use crate::engine::settings::AfterFence;
use crate::engine::snapshot::Doing;
use crate::types::{FenceFault, PeerState};

impl Trial {
    /// The active loses its power, and while its devices are still asked a standby does, too, which
    /// the remaining one cannot reach over the service networks: that one is left its grace, and
    /// what is known of the active by then is not lost over it.
    pub(super) fn lose_two(&mut self, active: usize) {
        let world = &mut self.world;
        if world.machines.len() != 3 {
            return;
        }
        let (timing, delays) = (world.plan.timing, world.plan.fence_delays);
        let step = 1 + self.random.below(2) as usize;
        let (second, last) = ((active + step) % 3, (active + step * 2) % 3);
        if world.plan.probes && self.random.percent(70) {
            world.set_parted(second, last, true);
            world.run(world.acquaintance() * 2 + timing.deadtime * 3 + timing.sense + ms(1));
        }
        // Three answers of a device, of which the last is to be off beside the others, and time to
        // spare. A witness beside them is read with pauses.
        let delay = timing.level_timeout * (20 + self.random.below(60) as u32) / 300;
        let pause = if world.plan.has_witness_beside() { ms(500) } else { Duration::ZERO };
        let own = world.devices.iter_mut().filter(|device| device.host == active);
        own.for_each(|device| device.delay = delay);
        let cuts = world.cuts_of(active);
        world.power_off(active);
        let share = self.random.below(300) as u32;
        world.run(delay * share / 100);
        world.power_off(second);
        world.ledger.powers_on[last][active] = None;
        let limit = self.detection() + self.takeover();
        let is_cut = |w: &World| w.cuts_of(active) > cuts;
        let took = self.world.run_until(limit, is_cut);
        if took.is_some() && self.world.is(last, PeerState::Fencing) {
            let proven = |w: &World| w.ledger.powers_on[last][active].is_some();
            let took = self.world.run_until(delay * 3 + pause + ms(20), proven);
            self.world.expect(took.is_some(), "what a fence device answers is left to grow old");
        }
        // Each has a look, a fence, and, if nobody reaches it, its grace; together they have one.
        let delays = delays[active].max(delays[second]);
        let limit = self.detection() * 2 + timing.grace + delays + timing.level_timeout;
        let limit = limit + self.takeover() * 2;
        // Where a node that was fenced is powered on again it may be the one.
        let took = self.world.run_until(limit, one_holds);
        self.world.expect(took.is_some(), "nobody takes over from two in time");
    }

    /// The daemon of the active dies while a third node has no power, which the standby has never
    /// heard: whose addresses answer is known, and they are not left to that third node.
    pub(super) fn lose_the_daemon_without_a_third(&mut self, active: usize) {
        let world = &mut self.world;
        // A witness beside the devices that cut proves nothing of one that was never heard.
        if world.machines.len() != 3 || world.plan.has_witness_beside() {
            return;
        }
        let timing = world.plan.timing;
        let (other, third) = ((active + 1) % 3, (active + 2) % 3);
        world.power_off(third);
        world.crash(other);
        restart(world, other);
        world.run(timing.initdead * 2 + timing.deadtime * 2 + world.acquaintance());
        if !world.is(other, PeerState::Standby) || !world.is(active, PeerState::Active) {
            return;
        }
        world.crash(active);
        let delays = world.plan.fence_delays[active].max(world.plan.fence_delays[third]);
        let limit = self.detection() + timing.grace * 2 + delays + self.takeover() * 2;
        self.expect_failover(active, limit);
    }

    /// The devices of the active let the fence down, and then their agents break, so that they end
    /// like such that read off: nobody believes that, whatever they were told before. (One that
    /// breaks between the command that it acknowledged and the reading of the same attempt cannot
    /// be told from one that works.) Mended, they are told again, and then believed.
    pub(super) fn break_the_agents(&mut self, active: usize) {
        let world = &mut self.world;
        let timing = world.plan.timing;
        world.set_modes_of_cutters(active, self.random.choose(&[Mode::Hangs, Mode::StaysOn]));
        world.crash(active);
        let levels = timing.level_timeout * (world.plan.levels.len() as u32 + 1);
        self.world.run(self.detection() + timing.grace + levels);
        let between = self.world.run_until(LADDER_REST_MAX + levels, nobody_is_told);
        self.world.expect(between.is_some(), "devices are told without a rest");
        self.world.set_modes_of_cutters(active, Mode::Refuses(FenceFault::AgentFailed));
        self.world.run((timing.grace + levels) * 2 + LADDER_REST_MAX);
        self.world.expect(self.world.holders() == [active], "agents that broke are believed");

        self.world.power_off(active);
        self.world.set_modes_of_cutters(active, Mode::Works);
        let own = self.world.devices.iter_mut().filter(|device| device.host == active);
        own.for_each(|device| device.has_power = true);
        self.expect_failover(active, LADDER_REST_MAX + levels * 2 + self.takeover());
    }

    /// Of several devices that must all cut, one is dead: whatever the others were told meanwhile,
    /// and was given up because of it, they are told again when it works.
    pub(super) fn leave_one_dead(&mut self, active: usize) {
        // That is found a little before or after the others have answered.
        let (dead, delay) = (self.random.below(2) as usize, ms(1 + self.random.below(4)));
        let own = self.world.devices.iter_mut().filter(|d| d.host == active && !d.is_witness);
        for device in own.skip(dead).take(1) {
            device.mode = Mode::Dead;
            device.delay = delay;
        }
        self.world.ledger.devices_changed_at = self.world.now;
        self.world.note_fault(|| "one of its fence devices is dead".to_owned());
        self.world.crash(active);
        // Its kernel has panicked, or it answers on: then nothing is told anything for a grace.
        if self.random.percent(70) {
            self.world.machines[active].kernel.clear();
        }
        let timing = self.world.plan.timing;
        let rounds = timing.level_timeout * (2 + self.random.below(5) as u32);
        self.world.run(self.detection() + timing.grace + rounds);
        self.world.set_modes_of_cutters(active, Mode::Works);
        // One whose addresses answer on has its grace once more when a fence has failed.
        let limit = LADDER_REST_MAX + timing.grace + timing.level_timeout * 4 + self.takeover();
        self.expect_failover(active, limit);
    }

    /// A fenced node is to be powered on again, and its devices fail right after the cut: it is
    /// tried a few times, for minutes, and then left to people.
    pub(super) fn stay_without_power(&mut self, active: usize) {
        if self.world.plan.after_fence != AfterFence::PowersOn || self.world.machines.len() > 2 {
            return;
        }
        let timing = self.world.plan.timing;
        self.world.crash(active);
        self.expect_failover(active, self.detection() + timing.grace + self.takeover());
        let modes = [
            Mode::Dead,
            Mode::Hangs,
            Mode::StaysOn,
            Mode::Mute,
            Mode::Refuses(FenceFault::Privilege),
        ];
        self.world.set_modes(active, self.random.choose(&modes));
        if self.world.machines[active].powered {
            return;
        }
        // The rests between as many attempts as there are, and one more.
        self.world.run(ms(1000) * (5 + 10 + 20 + 40 + 80) + timing.level_timeout * 8 + ms(5000));
        let other = 1 - active;
        self.world.expect(self.world.holders() == [other], "a serving node does not go on");
        let told = self.world.devices.iter().filter(|device| device.host == active);
        let tried = told.map(|device| device.power_ons).max().unwrap_or_default();
        self.world.expect(tried > 1, "a node that cannot be powered on is given up at once");
    }

    /// A NIC of several goes when the standby has just lost its power, and the active stands still
    /// before it finds that: nothing is given to one that was last heard too long ago.
    pub(super) fn stand_still_beside_a_loss(&mut self, active: usize) {
        let world = &mut self.world;
        if world.plan.nics < 2 || world.machines.len() > 2 {
            return;
        }
        let timing = world.plan.timing;
        world.power_off(1 - active);
        world.run(world.link_delay);
        world.set_carrier(active, 0, false);
        world.pause(active);
        // The tick that is due meanwhile is late by less: it need not doubt what it holds.
        world.run(timing.deadtime);
        world.resume(active);
        self.expect_nothing_moves(active, timing.path_hold * 4 + timing.deadtime * 2);
    }
}

/// Whether no device is being told to cut, or read because it was.
fn nobody_is_told(world: &World) -> bool {
    let daemons = world.machines.iter().filter_map(|machine| machine.daemon.as_ref());
    let told = |doing| matches!(doing, Doing::Cutting { .. } | Doing::Reading { .. });
    let peers = |daemon: &Arc<Daemon>| daemon.node.snapshot().peers;
    let mut levels = daemons.flat_map(peers).flat_map(|peer| peer.levels);
    !levels.any(|level| told(level.doing))
}
