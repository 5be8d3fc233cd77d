//! Questions to kernels, over the links: whoever has power answers, whatever its daemon is doing.

use core::time::Duration;

use super::World;
use super::ledger::Word;
use super::queue::Happening;
use crate::engine::pulse::{ANSWER_AGE_MAX, INTERVAL};
use crate::types::{Instant, LinkId, NodeId};

impl World {
    /// A machine asks the kernels of all others on each link that has any; on which ones the
    /// questions have left it, one bit each.
    pub(super) fn ask_kernels(&mut self, machine: usize) -> u16 {
        let mut asked = 0;
        for link in 0..self.plan.links {
            if !self.may_ask(machine, link) {
                continue;
            }
            asked |= 1 << link;
            for of in (0..self.machines.len()).filter(|of| *of != machine) {
                self.ask_kernel(machine, of, link);
            }
        }
        asked
    }

    fn ask_kernel(&mut self, machine: usize, of: usize, link: u8) {
        let (index, noise) = (usize::from(link), self.network.noise);
        let cut =
            self.network.is_cut(index, machine, of) || self.network.is_cut(index, of, machine);
        let lost = self.random.percent(noise.loss) | self.random.percent(noise.loss);
        if cut || lost || !self.machines[of].powered || self.machines[of].unanswering {
            return;
        }
        let late = if self.random.percent(noise.late) { 2 } else { 0 };
        let after = self.link_delay * 2 + self.plan.timing.keepalive * late;
        self.schedule(after, Happening::Answer { to: machine, of, link: LinkId(link) });
    }

    /// A serial line has no kernel at its other end; and what leaves by no NIC asks nobody.
    fn may_ask(&self, machine: usize, link: u8) -> bool {
        let is_line = self.plan.in_turns && link + 1 == self.plan.links;
        let entry = &self.machines[machine];
        !is_line && !entry.mute && !entry.unplugged[usize::from(link)]
    }

    /// The cable of a link is pulled out of a machine, whose NIC loses its carrier, or put back.
    pub fn set_unplugged(&mut self, machine: usize, link: u8, unplugged: bool) {
        self.machines[machine].unplugged[usize::from(link)] = unplugged;
        for other in (0..self.machines.len()).filter(|other| *other != machine) {
            self.set_cut(link, machine, other, unplugged);
            self.set_cut(link, other, machine, unplugged);
        }
    }

    /// A kernel ceases to answer, or answers again.
    pub fn set_unanswering(&mut self, machine: usize, unanswering: bool) {
        self.note_fault(|| {
            let name = char::from(b'a' + machine as u8);
            format!("the kernel of {name} answers nobody: {unanswering}")
        });
        self.machines[machine].unanswering = unanswering;
        self.ledger.muzzled_at[machine] = self.now;
        self.note_paths();
    }

    /// How long a peer may be silent at least.
    pub(super) fn patience(&self) -> Duration {
        self.plan.timing.dead_host.unwrap_or(self.plan.timing.deadtime)
    }

    /// What a host could have answered by has changed just now.
    pub(super) fn note_paths(&mut self) {
        self.ledger.paths_changed_at = self.now;
    }

    /// When a machine that was last told that may hold the sender for lost: once it has called its
    /// host dead since, and all links are late, it need not wait for the deadtimes.
    pub(super) fn lost_at(&self, machine: usize, of: usize, word: &Word) -> Instant {
        let timing = &self.plan.timing;
        let dead_at = word.dead_at(&self.plan);
        let links = (0..self.plan.links).zip(word.at_on);
        let heard_at = links.clone().map(|(_, at)| at).max().unwrap_or_default();
        let called = self.ledger.called_dead_at[machine][of].is_some_and(|at| at >= heard_at);
        let Some(time) = timing.dead_host.filter(|_| called) else { return dead_at };
        let late_at = links.map(|(link, at)| at + self.plan.warntime_on(link)).max();
        dead_at.min(late_at.unwrap_or_default().max(heard_at + time))
    }

    /// A host is called dead: its kernel was asked, and had no way to answer.
    pub(super) fn check_host_dead(&mut self, machine: usize, node: NodeId) {
        let of = usize::from(node.get()) - 1;
        self.ledger.called_dead_at[machine][of] = Some(self.now);
        let mut links = (0..self.plan.links).filter(|link| self.may_ask(machine, *link));
        let Some(since) =
            self.plan.timing.dead_host.map(|time| self.ledger.paths_changed_at + time)
        else {
            self.expect(false, "a host is called dead though no kernel is asked");
            return;
        };
        self.expect(
            links.clone().next().is_some() || self.now < since,
            "a host is called dead by a node whose questions do not leave it",
        );
        let passes = |link: u8| {
            let link = usize::from(link);
            !self.network.is_cut(link, machine, of) && !self.network.is_cut(link, of, machine)
        };
        // One that has not answered for long is not expected to.
        let unexpected = self.machines[of].unanswering
            && self.now < self.ledger.muzzled_at[of] + ANSWER_AGE_MAX + INTERVAL + self.patience();
        let could_answer = self.machines[of].powered
            && !unexpected
            && !self.network.noise.is_any()
            && links.any(passes);
        self.expect(
            !could_answer || self.now < since,
            "a host is called dead whose kernel answers",
        );
    }
}
