//! The holder of the VIPs: what to ask the kernel for, in which order, and when an operation is
//! answered.
//!
//! ```text
//!            acquire                     all up, each announced once ─► Confirmed
//!  idle ───────────────► acquiring ──┬─► one denied ─► Refused      ─► idle
//!    │  restore: one VIP, as acquire │
//!    │                               ▼ overtaken: Unknown
//!    └─ release ──────► releasing: keep secondaries, delete all, list ─► none left ─► Confirmed
//!                                            ▲                  └─ some left ─┐
//!                                            └──────── at most 3 times ───────┘─► Refused
//! ```
//!
//! Large sets go in chunks; a chunk is announced before the next is asked for. It performs nothing
//! itself: the asks that it hands out are carried out by [`super::network`], and answered to it.

mod release;

use std::collections::VecDeque;

use super::announce::{Schedule, Sending};
use super::netlink::{Address, Fault};
use super::nic::NicTable;
use crate::config::network::Vip;
use crate::engine::{Outcome, Why};
use crate::types::{Instant, IpNet, NicId, OpId, VipId};
use release::Release;

/// How much one chunk may cost, counted in additions of an IPv4 address (about 10 µs).
pub const CHUNK_COST_MAX: usize = 32;
/// What an IPv6 address costs: with a thousand on a link, the kernel needs milliseconds for one.
const IPV6_COST: usize = 8;
/// The most restorations that wait; a further one is refused.
pub const RESTORES_MAX: usize = 8192;

/// One thing to ask the kernel for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Have the link with that number keep other addresses when the first one of a subnet is
    /// deleted.
    Promote(u32),
    /// Put the VIP on its NIC.
    Add(VipId),
    /// Take the VIP off the link that it is on, where it has that prefix.
    Delete(VipId, Address),
    /// List all addresses.
    List,
}

/// An ask with the life of the operation it belongs to, handed back with its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// What is asked for.
    pub ask: Ask,
    generation: u64,
}

/// What came of the VIPs, for the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VipNews {
    /// An operation ended.
    Done(OpId, Outcome),
    /// A VIP vanished without our asking.
    Gone(VipId),
    /// A VIP that is not ours to have is on the link with that number.
    Stray(VipId, u32),
    /// All VIPs were taken off; follows the end of that operation.
    Released,
}

/// Whether a VIP is on its NIC because we put it there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    Out,
    /// Acknowledged when that many lists had been asked for.
    Held {
        lists: u64,
    },
}

#[derive(Debug)]
enum Task {
    Idle,
    Acquiring(Acquire),
    Releasing(Release),
}

#[derive(Debug)]
struct Acquire {
    op: OpId,
    /// The VIPs that are not yet asked for, and those that were lost since.
    todo: VecDeque<VipId>,
    /// How many were asked for and are not answered.
    waiting: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Restore {
    op: OpId,
    vip: VipId,
    step: RestoreStep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RestoreStep {
    Queued,
    Asked,
    Announcing,
}

/// The VIPs and the operations on them.
#[derive(Debug)]
pub struct Vips {
    plan: Vec<Vip>,
    holds: Vec<Hold>,
    task: Task,
    restores: VecDeque<Restore>,
    schedule: Schedule,
    /// One up with each operation that overtakes another: late answers are told by it.
    generation: u64,
    /// How many lists have been asked for.
    lists: u64,
    /// What is held must be compared with a list.
    must_check: bool,
    is_checking: bool,
    /// All VIPs were acquired, and not released since.
    is_holder: bool,
    news: VecDeque<VipNews>,
}

impl Vips {
    /// None held.
    pub fn new(plan: Vec<Vip>, schedule: Schedule) -> Self {
        Self {
            holds: vec![Hold::Out; plan.len()],
            plan,
            task: Task::Idle,
            restores: VecDeque::new(),
            schedule,
            generation: 0,
            lists: 0,
            must_check: false,
            is_checking: false,
            is_holder: false,
            news: VecDeque::new(),
        }
    }

    /// The VIP's plan.
    pub fn get(&self, vip: VipId) -> Option<&Vip> {
        self.plan.get(vip.index())
    }

    /// All VIPs by number.
    pub fn ids(&self) -> impl Iterator<Item = VipId> + use<> {
        (0..u16::try_from(self.plan.len()).unwrap_or(u16::MAX)).map(VipId)
    }

    /// Whether the VIP is on its NIC because we put it there.
    pub fn is_held(&self, vip: VipId) -> bool {
        self.holds.get(vip.index()).is_some_and(|hold| *hold != Hold::Out)
    }

    /// Puts every VIP on its NIC. Refused at once, with nothing added, if a NIC is missing.
    pub fn acquire(&mut self, op: OpId, nics: &NicTable) {
        match &self.task {
            Task::Idle => {}
            Task::Acquiring(old) => {
                let (old, why) = (old.op, Why::new("overtaken by another acquisition"));
                self.finish(old, Outcome::Unknown(why));
            }
            Task::Releasing(_) => {
                self.finish(op, Outcome::Refused(Why::new("a release is still running")));
                return;
            }
        }
        self.begin_generation();
        self.task = Task::Idle;
        if let Some(why) = self.ids().find_map(|vip| self.missing_nic(vip, nics)) {
            self.schedule.set_filling(false);
            self.finish(op, Outcome::Refused(why));
            return;
        }
        self.schedule.set_filling(true);
        self.task = Task::Acquiring(Acquire { op, todo: self.ids().collect(), waiting: 0 });
    }

    /// Takes every VIP off its NIC, and off whatever other link a list then shows it on. Whatever
    /// else runs is answered with `Unknown` first.
    pub fn release(&mut self, op: OpId, nics: &NicTable) {
        let overtaken = Outcome::Unknown(Why::new("overtaken by a release"));
        match &self.task {
            Task::Idle => {}
            Task::Acquiring(Acquire { op: old, .. }) | Task::Releasing(Release { op: old, .. }) => {
                self.finish(*old, overtaken.clone());
            }
        }
        while let Some(restore) = self.restores.pop_front() {
            self.finish(restore.op, overtaken.clone());
        }
        self.begin_generation();
        self.schedule.clear();
        self.is_holder = false;
        self.must_check = false;
        self.holds.fill(Hold::Out);
        let planned = self.ids().zip(&self.plan).filter_map(|(vip, plan)| {
            Some((vip, Address { index: nics.index(plan.nic)?, net: plan.net }))
        });
        self.task = Task::Releasing(Release::new(op, planned.collect()));
    }

    /// Puts one VIP back.
    pub fn restore(&mut self, op: OpId, vip: VipId) {
        let refusal = if matches!(self.task, Task::Releasing(_)) {
            Some("a release is still running")
        } else if self.get(vip).is_none() {
            Some("there is no such VIP")
        } else if self.restores.len() >= RESTORES_MAX {
            Some("too many VIPs wait to be restored")
        } else {
            None
        };
        match refusal {
            Some(why) => self.finish(op, Outcome::Refused(Why::new(why))),
            None => self.restores.push_back(Restore { op, vip, step: RestoreStep::Queued }),
        }
    }

    /// Announces all held VIPs, with repetitions.
    pub fn announce(&mut self, now: Instant) {
        self.announce_where(now, |_| true);
    }

    /// Announces the held VIPs of one NIC, with repetitions: it has carrier again, or another MAC.
    pub fn announce_on(&mut self, now: Instant, nic: NicId) {
        self.announce_where(now, |vip| vip.nic == nic);
    }

    fn announce_where(&mut self, now: Instant, wanted: impl Fn(&Vip) -> bool) {
        for vip in self.ids() {
            if self.is_held(vip) && self.get(vip).is_some_and(&wanted) {
                self.schedule.begin(vip, now);
            }
        }
    }

    /// The NIC disappeared, or is another one with the same name: what was held on it is gone. It
    /// appeared: what this node should have on it, and has not, can now be put back.
    pub fn nic_moved(&mut self, nic: NicId, is_present: bool) {
        // An answer that is on its way may be about the old one: the list tells what is.
        self.must_check = true;
        for vip in self.ids() {
            if self.get(vip).is_none_or(|plan| plan.nic != nic) {
                continue;
            }
            if let Task::Acquiring(acquire) = &mut self.task {
                if self.holds.get(vip.index()).is_some_and(|hold| *hold != Hold::Out) {
                    // Not complete without it: it is asked for again, or there is no NIC for it.
                    acquire.todo.push_back(vip);
                    self.let_go(vip);
                }
                continue;
            }
            let is_coming = self.restores.iter().any(|restore| restore.vip == vip);
            if self.is_held(vip) || (is_present && self.is_holder && !is_coming) {
                self.lose(vip);
            }
        }
    }

    fn lose(&mut self, vip: VipId) {
        self.let_go(vip);
        self.news.push_back(VipNews::Gone(vip));
    }

    fn let_go(&mut self, vip: VipId) {
        if let Some(hold) = self.holds.get_mut(vip.index()) {
            *hold = Hold::Out;
        }
        self.schedule.end(vip);
    }

    /// Whether the VIPs are to be in the kernel. Otherwise whoever adds one is to be noticed.
    pub fn is_wanting(&self) -> bool {
        self.is_holder || matches!(self.task, Task::Acquiring(_))
    }

    /// An address was added or deleted by somebody, or news were lost: compare what is held with a
    /// list.
    pub fn check(&mut self) {
        self.must_check = true;
    }

    /// Whether the deletion of that address may be one of a VIP that is held.
    pub fn is_held_address(&self, gone: &Address, nics: &NicTable) -> bool {
        self.ids().any(|vip| self.is_held(vip) && self.is_on(vip, gone, nics))
    }

    fn is_on(&self, vip: VipId, address: &Address, nics: &NicTable) -> bool {
        self.get(vip).is_some_and(|plan| {
            plan.net.addr() == address.net.addr() && nics.index(plan.nic) == Some(address.index)
        })
    }

    /// Which VIPs a list of addresses has on whatever link, and how.
    pub fn find_in(&self, addresses: &[Address]) -> Vec<(VipId, Address)> {
        let mut found = vec![];
        let mut listed: Vec<_> = addresses.iter().map(|a| (a.net.addr(), *a)).collect();
        listed.sort_unstable_by_key(|(addr, address)| (*addr, address.index, address.net));
        for vip in self.ids() {
            let Some(plan) = self.get(vip) else { continue };
            let from = listed.partition_point(|(addr, _)| *addr < plan.net.addr());
            let same = listed.iter().skip(from).take_while(|(a, _)| *a == plan.net.addr());
            found.extend(same.map(|(_, address)| (vip, *address)));
        }
        found
    }

    /// The next chunk to ask for: nothing while the last one is not answered and announced.
    pub fn next_asks(&mut self, nics: &NicTable) -> Vec<Asked> {
        let asks = match &mut self.task {
            Task::Idle => self.idle_asks(nics),
            Task::Acquiring(_) => self.acquire_asks(nics),
            Task::Releasing(release) => release.next_asks(),
        };
        self.lists += u64::from(asks.contains(&Ask::List));
        let generation = self.generation;
        asks.into_iter().map(|ask| Asked { ask, generation }).collect()
    }

    fn acquire_asks(&mut self, nics: &NicTable) -> Vec<Ask> {
        let Task::Acquiring(acquire) = &mut self.task else { return vec![] };
        if acquire.waiting > 0 || self.schedule.awaits_first() {
            return vec![];
        }
        let plan = &self.plan;
        let rest = acquire.todo.iter().filter_map(|vip| plan.get(vip.index()));
        let count = chunk_len(rest.map(|vip| vip.net));
        if count == 0 {
            let op = acquire.op;
            self.task = Task::Idle;
            self.is_holder = true;
            self.schedule.set_filling(false);
            self.finish(op, Outcome::Confirmed);
            // What came meanwhile has waited for this.
            return self.idle_asks(nics);
        }
        acquire.waiting = count;
        let vips: Vec<VipId> = acquire.todo.drain(..count).collect();
        if let Some(why) = vips.iter().find_map(|vip| self.missing_nic(*vip, nics)) {
            self.fail_acquire(Outcome::Refused(why));
            return self.idle_asks(nics);
        }
        vips.into_iter().map(Ask::Add).collect()
    }

    /// Restorations first, then the comparison with what the kernel has.
    fn idle_asks(&mut self, nics: &NicTable) -> Vec<Ask> {
        self.finish_announced_restores();
        let is_restoring = self.restores.iter().any(|r| r.step != RestoreStep::Queued);
        if !is_restoring {
            let asks = self.restore_asks(nics);
            if !asks.is_empty() {
                return asks;
            }
        }
        if !self.must_check || self.is_checking {
            return vec![];
        }
        self.must_check = false;
        self.is_checking = true;
        vec![Ask::List]
    }

    /// The next chunk of restorations. Those whose NIC is missing are refused on the way.
    fn restore_asks(&mut self, nics: &NicTable) -> Vec<Ask> {
        let nets = self.restores.iter().filter_map(|r| self.get(r.vip)).map(|vip| vip.net);
        let mut left = chunk_len(nets);
        let mut asks = vec![];
        while left > 0 {
            let is_queued = |r: &Restore| r.step == RestoreStep::Queued;
            if !self.restores.front().is_some_and(is_queued) {
                break;
            }
            let Some(restore) = self.restores.pop_front() else { break };
            match self.missing_nic(restore.vip, nics) {
                Some(why) => self.finish(restore.op, Outcome::Refused(why)),
                None => {
                    left -= 1;
                    asks.push(Ask::Add(restore.vip));
                    self.restores.push_back(Restore { step: RestoreStep::Asked, ..restore });
                }
            }
        }
        asks
    }

    fn finish_announced_restores(&mut self) {
        let schedule = &self.schedule;
        let is_over =
            |r: &Restore| r.step == RestoreStep::Announcing && !schedule.awaits_first_of(r.vip);
        let (over, rest): (VecDeque<_>, VecDeque<_>) =
            self.restores.iter().copied().partition(is_over);
        self.restores = rest;
        over.iter().for_each(|restore| self.finish(restore.op, Outcome::Confirmed));
    }

    /// The kernel's answer to an ask other than [`Ask::List`].
    pub fn answered(
        &mut self,
        now: Instant,
        asked: &Asked,
        result: Result<(), Fault>,
        nics: &NicTable,
    ) {
        let is_current = asked.generation == self.generation;
        let outcome = result.err().map(|fault| self.failure(&asked.ask, fault, nics));
        match &mut self.task {
            Task::Releasing(release) if is_current => release.answered(outcome),
            // An addition that the release overtook: its deletion is asked for behind it.
            Task::Releasing(_) => {}
            Task::Acquiring(acquire) if is_current => {
                acquire.waiting = acquire.waiting.saturating_sub(1);
                match outcome {
                    Some(outcome) => self.fail_acquire(outcome),
                    None => self.hold(now, &asked.ask, true),
                }
            }
            Task::Acquiring(_) | Task::Idle => self.restore_answered(now, &asked.ask, outcome),
        }
    }

    /// The answer to [`Ask::List`].
    pub fn listed(&mut self, asked: &Asked, list: Result<&[Address], Fault>, nics: &NicTable) {
        if asked.generation != self.generation {
            return;
        }
        let found = list.map(|addresses| self.find_in(addresses));
        if let Task::Releasing(release) = &mut self.task {
            let still = |(_, address): &(VipId, Address)| -> Why {
                let link = nics.link_name(address.index);
                Why::new(&format!("VIP {} is still on {link}", address.net))
            };
            if let Some(outcome) = release.listed(found, still) {
                let op = release.op;
                self.task = Task::Idle;
                let is_confirmed = outcome == Outcome::Confirmed;
                self.finish(op, outcome);
                self.news.extend(is_confirmed.then_some(VipNews::Released));
            }
            return;
        }
        self.is_checking = false;
        let Ok(mut found) = found else {
            self.must_check = true;
            return;
        };
        if !self.is_wanting() {
            found.dedup_by_key(|(vip, _)| *vip);
            let strays = found.iter().map(|(vip, at)| VipNews::Stray(*vip, at.index));
            self.news.extend(strays);
            return;
        }
        for vip in self.ids() {
            let is_judged = self.holds.get(vip.index()).is_some_and(|hold| match hold {
                Hold::Out => false,
                // One that was acknowledged behind the question may be missing in the answer.
                Hold::Held { lists } => *lists < self.lists,
            });
            let is_there = |(present, address): &(VipId, Address)| {
                *present == vip && self.is_on(vip, address, nics)
            };
            if is_judged && !found.iter().any(is_there) {
                self.lose(vip);
            }
        }
    }

    /// Makes the announcements that are due.
    pub fn announce_turn(&mut self, now: Instant, mut send: impl FnMut(VipId, &Vip) -> Sending) {
        let plan = &self.plan;
        self.schedule.turn(now, |vip| {
            plan.get(vip.index()).map_or(Sending::Over, |planned| send(vip, planned))
        });
    }

    /// What came of it, in order.
    pub fn next_news(&mut self) -> Option<VipNews> {
        self.news.pop_front()
    }

    /// When an announcement is due. Everything else waits for the kernel.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.schedule.next_deadline()
    }

    /// A VIP is on its NIC; it is announced if an operation that still stands wanted it.
    fn hold(&mut self, now: Instant, ask: &Ask, is_wanted: bool) {
        let Ask::Add(vip) = ask else { return };
        if let Some(hold) = self.holds.get_mut(vip.index()) {
            *hold = Hold::Held { lists: self.lists };
        }
        if is_wanted {
            self.schedule.begin(*vip, now);
        }
    }

    fn fail_acquire(&mut self, outcome: Outcome) {
        let Task::Acquiring(acquire) = &self.task else { return };
        let op = acquire.op;
        self.begin_generation();
        self.task = Task::Idle;
        self.schedule.clear();
        self.finish(op, outcome);
    }

    fn restore_answered(&mut self, now: Instant, ask: &Ask, outcome: Option<Outcome>) {
        let Ask::Add(vip) = ask else { return };
        let is_it = |r: &Restore| r.vip == *vip && r.step == RestoreStep::Asked;
        let position = self.restores.iter().position(is_it);
        if outcome.is_none() {
            self.hold(now, ask, position.is_some());
        }
        let Some(position) = position else { return };
        if let Some(outcome) = outcome {
            if let Some(restore) = self.restores.remove(position) {
                self.finish(restore.op, outcome);
            }
        } else if let Some(restore) = self.restores.get_mut(position) {
            restore.step = RestoreStep::Announcing;
        }
    }

    /// From now on, answers to earlier asks are late.
    fn begin_generation(&mut self) {
        self.generation += 1;
        self.must_check |= core::mem::take(&mut self.is_checking);
    }

    fn finish(&mut self, op: OpId, outcome: Outcome) {
        self.news.push_back(VipNews::Done(op, outcome));
    }

    fn missing_nic(&self, vip: VipId, nics: &NicTable) -> Option<Why> {
        let plan = self.get(vip)?;
        let is_missing = nics.index(plan.nic).is_none();
        is_missing.then(|| {
            Why::new(&format!("VIP {}: there is no NIC {}", plan.net, nics.name(plan.nic)))
        })
    }

    /// What it means that an ask failed, in words that name VIP and NIC.
    fn failure(&self, ask: &Ask, fault: Fault, nics: &NicTable) -> Outcome {
        let plan = |vip: &VipId| self.get(*vip);
        let (what, link) = match ask {
            Ask::Promote(index) => ("keeping other addresses".to_owned(), nics.link_name(*index)),
            Ask::Add(vip) => {
                let what = plan(vip).map_or_else(String::new, |plan| format!("VIP {}", plan.net));
                (what, plan(vip).map_or("?", |plan| nics.name(plan.nic)))
            }
            Ask::Delete(_, address) => {
                (format!("VIP {}", address.net), nics.link_name(address.index))
            }
            Ask::List => ("the list of addresses".to_owned(), "the host"),
        };
        match fault {
            Fault::Denied(errno) => {
                Outcome::Refused(Why::new(&format!("{what} on {link}: {}", errno.desc())))
            }
            Fault::Unanswered => {
                Outcome::Unknown(Why::new(&format!("{what} on {link}: the kernel did not answer")))
            }
        }
    }
}

/// How many of these addresses make one chunk.
fn chunk_len(nets: impl Iterator<Item = IpNet>) -> usize {
    let mut cost = 0;
    nets.take_while(|net| {
        cost += if net.addr().is_ipv6() { IPV6_COST } else { 1 };
        cost <= CHUNK_COST_MAX
    })
    .count()
}

#[cfg(test)]
mod tests;
