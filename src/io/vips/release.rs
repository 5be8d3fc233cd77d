//! The release of all VIPs: delete each, then look whether any is left.
//!
//! A deletion that the kernel acknowledged is not believed alone: the address may be there a second
//! time with another prefix or on another link, and a lost answer leaves it open. Only a list
//! without any VIP confirms the release: the kernel answers for an address of any link on all of
//! them (`arp_ignore` 0), so where it was planned to be does not matter.

use std::collections::BTreeSet;

use super::super::netlink::{Address, Fault};
use super::{Ask, chunk_len};
use crate::engine::{Outcome, Why};
use crate::types::{OpId, VipId};

/// How often what a list still shows is deleted before the release is refused.
pub(super) const ROUNDS_MAX: u8 = 3;

/// A release under way.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) op: OpId,
    step: Step,
    /// What is still to be deleted, and where; taken from the end, so that what was added first,
    /// and is the first address of its subnet, goes last.
    work: Vec<(VipId, Address)>,
    /// How many asks are not answered.
    waiting: usize,
    rounds_left: u8,
    /// The first thing that went wrong.
    trouble: Option<Why>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Deleting the first address of a subnet must not take an administrator's along.
    Promote,
    Delete,
    List,
}

impl Release {
    pub(super) fn new(op: OpId, work: Vec<(VipId, Address)>) -> Self {
        Self { op, step: Step::Promote, work, waiting: 0, rounds_left: ROUNDS_MAX, trouble: None }
    }

    pub(super) fn next_asks(&mut self) -> Vec<Ask> {
        if self.waiting > 0 || self.step == Step::List {
            return vec![];
        }
        let mut asks = vec![];
        if self.step == Step::Promote {
            self.step = Step::Delete;
            let is_ipv4 = |(_, address): &&(VipId, Address)| address.net.addr().is_ipv4();
            let links = self.work.iter().filter(is_ipv4).map(|(_, address)| address.index);
            asks.extend(links.collect::<BTreeSet<_>>().into_iter().map(Ask::Promote));
        }
        if asks.is_empty() {
            asks = self.deletions();
        }
        if asks.is_empty() {
            self.step = Step::List;
            asks.push(Ask::List);
        }
        self.waiting = asks.len();
        asks
    }

    /// The next chunk.
    fn deletions(&mut self) -> Vec<Ask> {
        let count = chunk_len(self.work.iter().rev().map(|(_, address)| address.net));
        let from = self.work.len().saturating_sub(count);
        let chunk = self.work.split_off(from);
        chunk.into_iter().rev().map(|(vip, address)| Ask::Delete(vip, address)).collect()
    }

    /// An ask was answered; `failure` if it was not done.
    pub(super) fn answered(&mut self, failure: Option<Outcome>) {
        self.waiting = self.waiting.saturating_sub(1);
        match failure {
            None | Some(Outcome::Confirmed) => {}
            Some(Outcome::Refused(why)) => {
                self.trouble.get_or_insert(why);
            }
            Some(Outcome::Unknown(why)) => {
                // The list will tell what has become of the others.
                self.work.clear();
                self.trouble.get_or_insert(why);
            }
        }
    }

    /// Which VIPs are left, on whatever link. The outcome, if it is decided.
    pub(super) fn listed(
        &mut self,
        left: Result<Vec<(VipId, Address)>, Fault>,
        still: impl Fn(&(VipId, Address)) -> Why,
    ) -> Option<Outcome> {
        self.waiting = 0;
        self.step = Step::Promote;
        if left.as_ref().is_ok_and(Vec::is_empty) {
            return Some(Outcome::Confirmed);
        }
        if let Some(rounds_left) = self.rounds_left.checked_sub(1) {
            self.rounds_left = rounds_left;
            self.work = left.unwrap_or_default();
            return None;
        }
        Some(match left {
            Ok(left) => {
                let seen = left.first().map(still);
                let why = self.trouble.take().or(seen);
                Outcome::Refused(why.unwrap_or_else(|| Why::new("a VIP is left")))
            }
            Err(_) => Outcome::Unknown(Why::new("the kernel does not list its addresses")),
        })
    }
}
