//! Last things that happen to the service paths of a pair that is well: what follows is known.

use core::time::Duration;

use super::World;
use super::machine::Taking;
use super::plan::ms;
use super::seeds::Trial;
use crate::engine::handover::Stay;
use crate::types::PeerState;

/// The longest rest that is waited for.
const REST_SEEN_MAX: Duration = ms(20_000);
/// The first rest after a takeover that failed, and what a former holder waits.
const BACK_MAX: Duration = ms(1_200);

impl Trial {
    /// Something happens to a service NIC.
    pub(super) fn harm_a_path(&mut self, active: usize) {
        match self.random.below(7) {
            0 | 1 => self.lose_a_path(active),
            2 => self.lose_both_paths(active),
            3 => self.give_in_vain(active),
            4 => self.give_to_one_that_fails(active),
            5 => self.stand_still_beside_a_loss(active),
            _ => self.part_the_pair(active),
        }
    }

    /// A service NIC of the active goes: a standby takes over without a fence, and nothing moves
    /// again, however often that NIC comes and goes.
    fn lose_a_path(&mut self, active: usize) {
        let nic = self.random.below(u64::from(self.world.plan.nics)) as usize;
        let deaf = self.world.plan.pings && self.random.percent(50);
        let timing = self.world.plan.timing;
        let world = &mut self.world;
        if deaf {
            world.set_deaf(active, nic, true);
            world.run(timing.sense + ms(1));
        } else {
            world.set_carrier(active, nic, false);
        }
        if !self.world.may_hand_over(active) {
            self.expect_nothing_moves(active, timing.path_hold * 4 + timing.deadtime);
            return;
        }
        if !self.rest_after_moves(active) {
            return;
        }
        let cuts = self.all_cuts();
        let limit = timing.path_hold + timing.keepalive + self.takeover();
        self.expect_failover(active, limit);
        self.world.expect(self.all_cuts() == cuts, "a power is cut for a bad path");
        self.world.run(self.takeover() + timing.keepalive);
        let now = self.world.holders();
        let term = self.world.node(now[0]).snapshot().term;
        let mut up = false;
        for _ in 0..7 {
            up = !up;
            if deaf {
                self.world.set_deaf(active, nic, !up);
            } else {
                self.world.set_carrier(active, nic, up);
            }
            let share = self.random.below(300) as u32;
            self.world.run(timing.path_hold * share / 100);
        }
        self.world.run(timing.path_hold * 3 + timing.path_rest.min(ms(5_000)) + timing.deadtime);
        self.world.expect(self.world.holders() == now, "a NIC that flaps moves the service");
        let same = self.world.node(now[0]).snapshot().term == term;
        self.world.expect(same, "a NIC that flaps moves the service there and back");
        self.world.check_views();
        if self.world.machines.len() == 2 && !deaf && self.random.percent(50) {
            self.move_back(now[0], active, nic);
        }
    }

    /// The former holder's NIC is mended, and that of the new one goes: it moves back, later.
    fn move_back(&mut self, from: usize, to: usize, nic: usize) {
        let timing = self.world.plan.timing;
        self.world.set_carrier(to, nic, true);
        self.world.run(timing.keepalive + self.world.link_delay);
        self.world.set_carrier(from, nic, false);
        if self.rest_after_moves(from) {
            self.expect_failover(from, timing.path_hold + timing.keepalive + self.takeover());
        }
    }

    /// Lets the time go by that an active rests after earlier moves; not if that is long.
    fn rest_after_moves(&mut self, active: usize) -> bool {
        if let Some(Stay::Resting(until)) = self.world.node(active).snapshot().stay {
            let rest = until.since(self.world.local(active));
            if rest > REST_SEEN_MAX {
                return false;
            }
            self.world.run(rest);
        }
        true
    }

    /// The same NIC goes on both sides, one a little later: nobody's fault.
    fn lose_both_paths(&mut self, active: usize) {
        let nic = self.random.below(u64::from(self.world.plan.nics)) as usize;
        let timing = self.world.plan.timing;
        let others = (0..self.world.machines.len()).filter(|m| *m != active);
        if self.world.link_delay * 2 > timing.path_hold {
            return;
        }
        if self.world.plan.pings && self.random.percent(50) {
            self.world.set_dead_targets(nic, true);
        } else {
            self.world.set_carrier(active, nic, false);
            self.world.run(timing.path_hold / 4);
            others.for_each(|other| self.world.set_carrier(other, nic, false));
        }
        self.expect_nothing_moves(active, timing.path_hold * 4 + timing.deadtime * 2);
        self.world.check_views();
    }

    pub(super) fn expect_nothing_moves(&mut self, active: usize, lasts: Duration) {
        let term = self.world.node(active).snapshot().term;
        let cuts = self.all_cuts();
        self.world.run(lasts);
        let goes_on = self.world.is(active, PeerState::Active)
            && self.world.node(active).snapshot().term == term
            && self.world.holders() == [active];
        self.world.expect(goes_on, "something moves for a path that is no better elsewhere");
        self.world.expect(self.all_cuts() == cuts, "a power is cut for a bad path");
    }

    fn all_cuts(&self) -> u32 {
        (0..self.world.machines.len()).map(|host| self.world.cuts_of(host)).sum()
    }

    /// A NIC of several goes; while the service is handed over, the one that is to take it loses
    /// its power: it is taken back, with half a path.
    fn give_in_vain(&mut self, active: usize) {
        if !self.begin_to_give(active) {
            return;
        }
        let timing = self.world.plan.timing;
        self.world.power_off(1 - active);
        let delay = self.world.plan.fence_delays[1 - active];
        let fence = delay + timing.level_timeout;
        let limit = self.detection() + timing.grace + fence + self.takeover();
        let back = |w: &World| w.is(active, PeerState::Active) && w.holders() == [active];
        let took = self.world.run_until(limit, back);
        self.world.expect(took.is_some(), "what was given in vain is not taken back");
    }

    /// The same, and the one that is to take it cannot.
    fn give_to_one_that_fails(&mut self, active: usize) {
        if !self.begin_to_give(active) {
            return;
        }
        self.world.machines[1 - active].taking = Taking::FailsHalfWay;
        let back = |w: &World| w.is(active, PeerState::Active) && w.holders() == [active];
        let took = self.world.run_until(self.takeover() + BACK_MAX, back);
        self.world.expect(took.is_some(), "what nobody can take is not taken back");
    }

    /// One NIC of several goes; whether the service is being handed over now.
    fn begin_to_give(&mut self, active: usize) -> bool {
        let world = &mut self.world;
        if world.plan.nics < 2 || world.machines.len() > 2 || !world.may_hand_over(active) {
            return false;
        }
        world.set_carrier(active, 0, false);
        let limit = world.plan.timing.path_hold + world.plan.timing.keepalive * 2;
        world.run_until(limit, |w| w.is(active, PeerState::Releasing)).is_some()
    }

    /// The standby goes deaf with its carriers up, and has no ping targets: it cannot know. When it
    /// hears nobody any more, it does not shoot at once.
    fn part_the_pair(&mut self, active: usize) {
        let world = &mut self.world;
        if !world.plan.probes || world.plan.pings || world.machines.len() > 2 {
            return;
        }
        let (other, timing) = (1 - active, world.plan.timing);
        for nic in 0..usize::from(world.plan.nics) {
            world.set_deaf(other, nic, true);
        }
        world.run(world.acquaintance() * 2 + timing.deadtime * 3 + timing.sense + ms(1));
        world.check_views();
        world.cut_all(active, other, true);
        let cuts = world.cuts_of(active);
        world.run(timing.grace);
        let spared = world.cuts_of(active) == cuts && world.is(active, PeerState::Active);
        world.expect(spared, "a node that was deaf before shoots at once");
    }
}

impl World {
    /// Whether the configuration of another machine agrees, so that its NICs are the same.
    fn may_hand_over(&self, machine: usize) -> bool {
        let digest = |machine: usize| self.plan.config_digests[machine];
        (0..self.machines.len()).any(|of| of != machine && digest(of) == digest(machine))
    }
}
