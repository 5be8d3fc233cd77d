//! When each held VIP is announced, and announced again.
//!
//! A single lost announcement costs clients minutes: every VIP is announced [`ROUNDS`] times at
//! growing intervals, and from then on at a slow refresh if one is asked for. The first
//! announcement of every VIP leaves before any is repeated. This is the schedule alone; frames and
//! sockets are [`super::packet`]'s.
//!
//! ```text
//!  begin ─► round 0 ─20ms─► 1 ─50ms─► 2 ─200ms─► 3 ─500ms─► 4 ─1s─► 5 ─2s─► 6 ─4s─► 7 ─► (refresh)
//! ```

use core::cell::Cell;
use core::time::Duration;

use crate::types::{Instant, VipId};

/// Time from one announcement of a VIP to its next one.
pub const INTERVALS: [Duration; 7] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How often a VIP is announced, the refresh not counted.
pub const ROUNDS: usize = INTERVALS.len() + 1;
/// The most VIPs that are announced in one turn of the loop; the rest follows in the next turn, so
/// that heartbeats get their place between them.
pub const ANNOUNCE_PER_TURN_MAX: usize = 64;
/// When a VIP is tried again whose NIC had no room for the frame.
const RETRY_AFTER: Duration = Duration::from_millis(2);
/// How often one announcement is tried; then it counts as lost on the wire, and the next round is
/// the next chance. A stuck NIC must not keep the others from being taken over.
const ATTEMPTS_MAX: u8 = 25;

/// What became of an announcement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sending {
    /// It left, or never can (the NIC is down or gone): this round is over. A NIC that comes back
    /// is announced on again.
    Over,
    /// The NIC has no room now.
    Busy,
}

/// The announcements that are still to be made.
#[derive(Debug)]
pub struct Schedule {
    slots: Vec<Option<Slot>>,
    /// How many slots wait for their first announcement.
    firsts: usize,
    /// More VIPs are about to come: nothing is repeated until they are announced.
    is_filling: bool,
    refresh: Option<Duration>,
    /// Where the next turn goes on, so that none is passed over for ever.
    cursor: usize,
    /// The next deadline, until something changes.
    known: Cell<Option<Option<Instant>>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    round: usize,
    due: Instant,
    /// How often this round's announcement found no room.
    attempts: u8,
}

impl Schedule {
    /// Nothing to announce, for that many VIPs. With `refresh` every VIP is announced that often
    /// for ever, once its rounds are over.
    pub fn new(vips: usize, refresh: Option<Duration>) -> Self {
        Self {
            slots: vec![None; vips],
            firsts: 0,
            is_filling: false,
            refresh,
            cursor: 0,
            known: Cell::new(None),
        }
    }

    /// Announces the VIP now, and again.
    pub fn begin(&mut self, vip: VipId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(vip.index()) {
            if slot.is_none_or(|old| old.round > 0) {
                self.firsts += 1;
            }
            *slot = Some(Slot { round: 0, due: now, attempts: 0 });
            self.known.set(None);
        }
    }

    /// The VIP is no longer ours.
    pub fn end(&mut self, vip: VipId) {
        if let Some(slot) = self.slots.get_mut(vip.index()) {
            if slot.take().is_some_and(|old| old.round == 0) {
                self.firsts = self.firsts.saturating_sub(1);
            }
            self.known.set(None);
        }
    }

    /// No VIP is ours.
    pub fn clear(&mut self) {
        self.slots.fill(None);
        self.firsts = 0;
        self.is_filling = false;
        self.known.set(None);
    }

    /// Whether more VIPs are about to come: while it is so, nothing is repeated.
    pub fn set_filling(&mut self, is_filling: bool) {
        self.is_filling = is_filling;
        self.known.set(None);
    }

    /// Whether any VIP still waits for its first announcement.
    pub fn awaits_first(&self) -> bool {
        self.firsts > 0
    }

    /// Whether this VIP still waits for its first announcement.
    pub fn awaits_first_of(&self, vip: VipId) -> bool {
        let slot = self.slots.get(vip.index()).copied().flatten();
        slot.is_some_and(|slot| slot.round == 0)
    }

    /// Makes the announcements that are due, as many as one turn allows, with `send`.
    pub fn turn(&mut self, now: Instant, mut send: impl FnMut(VipId) -> Sending) {
        if self.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        self.known.set(None);
        let only_firsts = self.only_firsts();
        let total = self.slots.len();
        let mut left = ANNOUNCE_PER_TURN_MAX;
        for _ in 0..total {
            if left == 0 {
                break;
            }
            let position = self.cursor;
            self.cursor = if position + 1 >= total { 0 } else { position + 1 };
            let Some(Some(slot)) = self.slots.get_mut(position) else { continue };
            if slot.due > now || (only_firsts && slot.round > 0) {
                continue;
            }
            left -= 1;
            let Ok(number) = u16::try_from(position) else { continue };
            match send(VipId(number)) {
                Sending::Busy if slot.attempts + 1 < ATTEMPTS_MAX => {
                    slot.attempts += 1;
                    slot.due = now + RETRY_AFTER;
                }
                Sending::Busy | Sending::Over => self.advance(position, now),
            }
        }
    }

    fn advance(&mut self, position: usize, now: Instant) {
        let Some(place) = self.slots.get_mut(position) else { return };
        let Some(slot) = *place else { return };
        if slot.round == 0 {
            self.firsts = self.firsts.saturating_sub(1);
        }
        let interval = INTERVALS.get(slot.round).copied().or(self.refresh);
        *place = interval.map(|interval| Slot {
            round: (slot.round + 1).min(INTERVALS.len()),
            due: now + interval,
            attempts: 0,
        });
    }

    fn only_firsts(&self) -> bool {
        self.firsts > 0 || self.is_filling
    }

    /// When [`Self::turn`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        if let Some(known) = self.known.get() {
            return known;
        }
        let only_firsts = self.only_firsts();
        let slots = self.slots.iter().flatten();
        let next = slots.filter(|s| !only_firsts || s.round == 0).map(|slot| slot.due).min();
        self.known.set(Some(next));
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Runs the schedule until it has nothing to do or `until` has come; what was sent, and when.
    fn run(schedule: &mut Schedule, until: Instant) -> Vec<(Instant, u16)> {
        let mut sent = vec![];
        while let Some(now) = schedule.next_deadline().filter(|at| *at <= until) {
            schedule.turn(now, |vip| {
                sent.push((now, vip.0));
                Sending::Over
            });
        }
        sent
    }

    #[test]
    fn one_vip_is_announced_at_growing_intervals_and_then_no_more() {
        let mut schedule = Schedule::new(1, None);
        schedule.begin(VipId(0), at(1000));
        let times: Vec<_> = run(&mut schedule, at(100_000)).into_iter().map(|s| s.0).collect();
        let expected = [1000, 1020, 1070, 1270, 1770, 2770, 4770, 8770].map(at);
        assert_eq!(times, expected);
        assert_eq!(times.len(), ROUNDS);
        assert_eq!(schedule.next_deadline(), None);
    }

    #[test]
    fn with_a_refresh_it_never_ends() {
        let mut schedule = Schedule::new(1, Some(Duration::from_secs(60)));
        schedule.begin(VipId(0), at(0));
        let sent = run(&mut schedule, at(7_770 + 180_000));
        assert_eq!(sent.len(), ROUNDS + 3);
        assert_eq!(sent[ROUNDS + 2].0, at(7_770 + 180_000));
    }

    #[test]
    fn every_first_announcement_leaves_before_any_repeat() {
        let mut schedule = Schedule::new(300, None);
        schedule.set_filling(true);
        for vip in 0..100 {
            schedule.begin(VipId(vip), at(0));
        }
        let early = run(&mut schedule, at(500));
        assert_eq!(early.len(), 100, "nothing is repeated while more are to come");
        for vip in 100..300 {
            schedule.begin(VipId(vip), at(500));
        }
        schedule.set_filling(false);
        let late = run(&mut schedule, at(510));
        let firsts: Vec<_> = late[..200].iter().map(|(_, vip)| *vip).collect();
        assert!(firsts.iter().all(|vip| *vip >= 100), "{firsts:?}");
        assert!(late[200..].iter().all(|(_, vip)| *vip < 100));
    }

    #[test]
    fn a_turn_announces_no_more_than_its_share_and_the_next_goes_on() {
        let mut schedule = Schedule::new(150, None);
        (0..150).for_each(|vip| schedule.begin(VipId(vip), at(0)));
        let mut seen = vec![];
        for expected in [64, 64, 22] {
            let before = seen.len();
            assert_eq!(schedule.next_deadline(), Some(at(0)));
            schedule.turn(at(0), |vip| {
                seen.push(vip.0);
                Sending::Over
            });
            assert_eq!(seen.len() - before, expected);
        }
        assert!(!schedule.awaits_first());
        assert_eq!(seen, (0..150).collect::<Vec<_>>());
    }

    #[test]
    fn a_busy_nic_is_tried_again_and_counts_as_not_announced() {
        let mut schedule = Schedule::new(1, None);
        schedule.begin(VipId(0), at(0));
        schedule.turn(at(0), |_| Sending::Busy);
        assert!(schedule.awaits_first_of(VipId(0)));
        assert_eq!(schedule.next_deadline(), Some(at(2)));
        schedule.turn(at(2), |_| Sending::Over);
        assert!(!schedule.awaits_first_of(VipId(0)));
    }

    #[test]
    fn a_stuck_nic_does_not_hold_up_the_rest_for_ever() {
        let mut schedule = Schedule::new(1, None);
        schedule.begin(VipId(0), at(0));
        let mut tries = 0;
        while schedule.awaits_first() {
            let now = schedule.next_deadline().unwrap_or_default();
            schedule.turn(now, |_| Sending::Busy);
            tries += 1;
            assert!(now <= at(50), "it goes on for ever");
        }
        assert_eq!(tries, ATTEMPTS_MAX);
    }

    #[test]
    fn what_is_ended_is_not_announced() {
        let mut schedule = Schedule::new(2, None);
        schedule.begin(VipId(0), at(0));
        schedule.begin(VipId(1), at(0));
        schedule.end(VipId(0));
        let sent = run(&mut schedule, at(0));
        assert_eq!(sent, [(at(0), 1)]);
        schedule.clear();
        assert_eq!(schedule.next_deadline(), None);
        assert!(!schedule.awaits_first());
    }
}
