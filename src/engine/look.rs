//! Looking before shooting: do the lost peer's VIPs still answer on the service networks?
//!
//! Begun as soon as a heartbeat is late, so that the verdict is there when the peer is lost.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::LinkSettings;
use crate::types::Instant;

/// How many rounds of probes must go unanswered before the VIPs count as silent.
pub(super) const ROUNDS: u32 = 3;
/// The shortest and the longest time between two rounds.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What the service networks say of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Too few rounds yet.
    Pending,
    /// Its VIPs answered within the last rounds.
    Answers,
    /// No VIP answered for as many rounds as it takes.
    Silent,
}

/// A look under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Look {
    started: Instant,
    /// How many rounds in a row were really asked.
    rounds: u32,
    next_round: Instant,
    pause: Duration,
    /// The pause once the verdict is there, and nobody waits for it any more.
    calm_pause: Duration,
    asked: Asked,
    /// When as many rounds as it takes have had the time to be answered.
    heard_out_at: Option<Instant>,
}

/// What became of the last round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Asked {
    /// Not known yet; or there was none.
    Pending,
    Yes,
    No,
}

impl Look {
    /// A look whose first round is due at once. The rounds fit between the warntime and the
    /// deadtime of the slowest link, and into `room` if a peer may be lost earlier.
    pub(super) fn new<'a>(
        now: Instant,
        links: impl Iterator<Item = &'a LinkSettings>,
        room: Option<Duration>,
    ) -> Self {
        let slowest = links.map(|link| link.deadtime.saturating_sub(link.warntime)).max();
        let pause = |room: Option<Duration>| {
            (room.unwrap_or(PAUSE_MAX) / ROUNDS).clamp(PAUSE_MIN, PAUSE_MAX)
        };
        Self {
            started: now,
            rounds: 0,
            next_round: now,
            pause: pause(slowest.into_iter().chain(room).min()),
            calm_pause: pause(slowest),
            asked: Asked::Pending,
            heard_out_at: None,
        }
    }

    /// A peer is left serving, or cannot be fenced: from now on it is looked at as calmly as if
    /// nothing but the deadtime could end its time, and its silence must last as long.
    pub(super) fn calm_down(&mut self) {
        self.pause = self.calm_pause;
    }

    /// When the next round is due.
    pub(super) fn next_deadline(&self) -> Instant {
        self.next_round
    }

    /// Whether a round is due; it counts when [`Look::note_probed`] says that it was asked.
    pub(super) fn begin_round(&mut self, now: Instant) -> bool {
        let due = now >= self.next_round;
        if due {
            self.asked = Asked::Pending;
            self.next_round = now + self.pause;
        }
        due
    }

    /// While the loop was late nobody was asked: the next round is not due earlier for it.
    pub(super) fn forgive(&mut self, late_by: Duration, now: Instant) {
        self.next_round = (self.next_round + late_by).min(now + self.pause);
    }

    /// Whether the questions of the round left. Where nobody was asked, nobody was silent.
    pub(super) fn note_probed(&mut self, asked: bool) {
        self.rounds = if asked { self.rounds.saturating_add(1) } else { 0 };
        self.asked = if asked { Asked::Yes } else { Asked::No };
        if self.rounds < ROUNDS {
            self.heard_out_at = None;
        } else {
            self.heard_out_at.get_or_insert(self.next_round);
        }
    }

    /// Whether the questions of the last round did not leave this node.
    pub(super) fn is_unasked(&self) -> bool {
        self.asked == Asked::No
    }

    /// How long an answer counts: as many rounds as must go unanswered, and the one it answered.
    pub(super) fn window(&self) -> Duration {
        self.pause * (ROUNDS + 1)
    }

    /// The verdict on a peer that last answered at `answered_at`.
    pub(super) fn verdict(&self, now: Instant, answered_at: Option<Instant>) -> Verdict {
        let window = self.window();
        let answered = answered_at.is_some_and(|at| at >= self.started && now < at + window);
        if answered {
            Verdict::Answers
        } else if self.heard_out_at.is_some_and(|at| now >= at) {
            Verdict::Silent
        } else {
            Verdict::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LinkId;

    fn look() -> Look {
        let link = LinkSettings {
            id: LinkId(0),
            keepalive: Duration::from_millis(10),
            warntime: Duration::from_millis(30),
            deadtime: Duration::from_millis(60),
        };
        Look::new(Instant::from_millis(100), [link].iter(), None)
    }

    #[test]
    fn three_unanswered_rounds_between_warntime_and_deadtime_are_silence() {
        let mut look = look();
        for ms in [100, 110, 120] {
            let now = Instant::from_millis(ms);
            assert!(look.begin_round(now), "a round is due at {ms}");
            assert!(!look.begin_round(now), "only one at a time");
            look.note_probed(true);
            assert_eq!(look.verdict(now, None), Verdict::Pending, "at {ms}");
        }
        assert_eq!(look.verdict(Instant::from_millis(130), None), Verdict::Silent);
    }

    #[test]
    fn rounds_that_nobody_was_asked_in_are_no_silence() {
        let mut look = look();
        for (ms, asked) in [(100, true), (110, true), (120, false), (130, true), (140, true)] {
            look.begin_round(Instant::from_millis(ms));
            look.note_probed(asked);
            assert_eq!(look.is_unasked(), !asked);
            assert_eq!(look.verdict(Instant::from_millis(ms + 10), None), Verdict::Pending);
        }
        look.begin_round(Instant::from_millis(150));
        look.note_probed(true);
        assert_eq!(look.verdict(Instant::from_millis(160), None), Verdict::Silent);
    }

    #[test]
    fn an_answer_counts_until_as_many_rounds_have_gone_unanswered() {
        let mut look = look();
        for ms in [100, 110, 120, 130] {
            look.begin_round(Instant::from_millis(ms));
            look.note_probed(true);
        }
        let answered = Some(Instant::from_millis(121));
        assert_eq!(look.verdict(Instant::from_millis(130), answered), Verdict::Answers);
        assert_eq!(look.verdict(Instant::from_millis(162), answered), Verdict::Silent);
    }

    #[test]
    fn a_look_that_had_to_be_quick_calms_down() {
        let link = LinkSettings {
            id: LinkId(0),
            keepalive: Duration::from_millis(10),
            warntime: Duration::from_millis(30),
            deadtime: Duration::from_millis(90),
        };
        let room = Some(Duration::from_millis(3));
        let mut look = Look::new(Instant::ZERO, [link].iter(), room);
        assert_eq!(look.window(), Duration::from_millis(4));
        look.calm_down();
        assert_eq!(look.window(), Duration::from_millis(80));
    }

    #[test]
    fn an_answer_from_before_the_look_does_not_count() {
        let look = look();
        let early = Some(Instant::from_millis(99));
        assert_eq!(look.verdict(Instant::from_millis(100), early), Verdict::Pending);
    }
}
