//! From answered and unanswered rounds of pings to "reachable" or not.
//!
//! Rounds are counted, not time: a loop that was late has asked less often, and what it did not ask
//! nobody failed to answer.

use core::time::Duration;

use crate::types::Instant;

/// Judges one NIC.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    interval: Duration,
    count: u32,
    /// How many rounds were begun.
    rounds: u32,
    /// How many rounds in a row, the present one left out, nobody answered.
    missed: u32,
    was_answered: bool,
    next: Instant,
    told: Option<bool>,
}

impl Judge {
    /// Nobody was asked yet; the first round may begin at `now`.
    pub fn new(interval: Duration, count: u32, now: Instant) -> Self {
        Self { interval, count, rounds: 0, missed: 0, was_answered: false, next: now, told: None }
    }

    /// When the next round begins.
    pub fn next_round(&self) -> Instant {
        self.next
    }

    /// Begins a round, if it is time: judges the last one first. Tells the number of the round, and
    /// the verdict if it changed. Read all answers before.
    pub fn begin_round(&mut self, now: Instant) -> Option<(u32, Option<bool>)> {
        if now < self.next {
            return None;
        }
        if self.rounds > 0 {
            self.missed = if self.was_answered { 0 } else { self.missed.saturating_add(1) };
        }
        self.was_answered = false;
        let is_settled = self.rounds >= self.count;
        let verdict = if is_settled { self.tell(self.missed < self.count) } else { None };
        // A late round does not hurry the next one.
        let due = self.next + self.interval;
        self.next = if due > now { due } else { now + self.interval };
        self.rounds = self.rounds.wrapping_add(1).max(1);
        Some((self.rounds, verdict))
    }

    /// Somebody answered the question of that round, of which only the low bits travelled. Tells
    /// the verdict if it changed.
    pub fn answer(&mut self, seq: u16) -> Option<bool> {
        let age = low_bits(self.rounds).wrapping_sub(seq);
        if self.rounds == 0 || u32::from(age) >= self.count {
            return None;
        }
        self.was_answered = true;
        self.missed = 0;
        if self.told == Some(false) { self.tell(true) } else { None }
    }

    fn tell(&mut self, up: bool) -> Option<bool> {
        let changed = self.told != Some(up);
        self.told = Some(up);
        changed.then_some(up)
    }
}

/// The part of a round's number that travels.
pub fn low_bits(round: u32) -> u16 {
    let [.., high, low] = round.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// Begins one round a second; in each one listed somebody answers. What was told, and when.
    fn run(rounds: u64, answered: impl Fn(u64) -> bool) -> Vec<(u64, bool)> {
        let mut judge = Judge::new(SECOND, 3, at(0));
        let mut told = vec![];
        for second in 0..rounds {
            let (round, verdict) = judge.begin_round(at(second)).unwrap();
            told.extend(verdict.map(|up| (second, up)));
            if answered(second) {
                told.extend(judge.answer(low_bits(round)).map(|up| (second, up)));
            }
        }
        told
    }

    #[test]
    fn nothing_is_told_before_the_first_rounds_are_over() {
        assert_eq!(run(3, |_| true), []);
        assert_eq!(run(4, |_| true), [(3, true)]);
        assert_eq!(run(4, |_| false), [(3, false)]);
        assert_eq!(run(4, |second| second == 0), [(3, true)]);
    }

    #[test]
    fn silence_of_count_rounds_is_down_and_one_answer_is_up_at_once() {
        let told = run(20, |second| !(5..12).contains(&second));
        assert_eq!(told, [(3, true), (8, false), (12, true)]);
        assert_eq!(run(30, |second| second % 3 == 0), [(3, true)], "two misses are not three");
    }

    #[test]
    fn a_loop_that_slept_judges_one_round_only() {
        let mut judge = Judge::new(SECOND, 3, at(0));
        for second in 0..=5 {
            let (round, _) = judge.begin_round(at(second)).unwrap();
            judge.answer(low_bits(round));
        }
        assert_eq!(judge.begin_round(at(500)), Some((7, None)));
        assert_eq!(judge.next_round(), at(501), "and does not make up for the lost rounds");
        assert_eq!(judge.begin_round(at(500)), None);
    }

    #[test]
    fn answers_to_old_or_unasked_rounds_are_nobodys() {
        let mut judge = Judge::new(SECOND, 3, at(0));
        assert_eq!(judge.answer(0), None);
        for second in 0..4 {
            judge.begin_round(at(second));
        }
        // Down since round 4; 1 is too old, 5 is to come.
        for seq in [1, 5, 0xffff] {
            assert_eq!(judge.answer(seq), None, "{seq}");
        }
        assert_eq!(judge.answer(2), Some(true));
    }
}
