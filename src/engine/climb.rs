//! One attempt at one fence level: all its devices at once, until all read off or one has failed.
//!
//! How one device is told and read is in [`super::attempt`]. Where several devices make a level,
//! each one's off is of another moment, and somebody may switch an outlet on again meanwhile. So
//! once all have read off, all are read again: if they still read off, there was a moment, between
//! the two rounds of readings, at which all were off, and the host lost its power then at the
//! latest. (All of them, since the one that answers last is not the one that was read last: an
//! agent reads, logs out, and ends.)

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{Step, Try};
use super::devices::Doubt;
use super::effect::Effects;
use super::event::FrozenCause;
use super::fence::Ground;
use super::settings::Level;
use super::snapshot::Doing;
use crate::types::{DeviceId, FenceFault, Instant, OpId, Power};

/// How much longer than its level's timeout the engine waits for an answer of the shell, so that
/// the shell's own verdict, which knows the reason, comes first: every order is to be answered
/// within what is left of the timeout, and none is given when nothing is.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// How a device's command ended.
pub(super) type Ended = Result<(), FenceFault>;

/// An attempt under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Climb {
    tries: Vec<Try>,
    /// [`ANSWER_MARGIN`] after its timeout is over.
    deadline: Instant,
    /// The level's.
    timeout: Duration,
    /// When the next attempt at this level may begin at the earliest, if nobody answers.
    next_at: Instant,
    /// Whether all read off, and all are being read again.
    confirming: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// All devices read off, after those that cut were told.
    Off {
        /// Whether any was told; otherwise all are witnesses.
        is_cut: bool,
    },
    /// One that was not the host's is so now: the level may be attempted.
    Again,
    /// One did not.
    Failed {
        /// Which.
        device: DeviceId,
        /// Why.
        cause: FrozenCause,
        /// Whether nobody answered, so that nothing speaks against looking again soon: no device
        /// was told anything, and the one that failed gave no answer. A witness that took no
        /// offence at being asked counts as one.
        unanswered: bool,
    },
}

/// What an answer was, to whoever gave the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answered {
    pub(super) device: DeviceId,
    /// Whether it tells if the device gives readings.
    pub(super) tells: bool,
    /// How a command ended, if it was the answer to one.
    pub(super) commanded: Option<Ended>,
}

impl Climb {
    /// Begins: each device is told at once, or looked at first if this is not the `first` round.
    /// `before` tells how a device's command of an earlier round ended.
    pub(super) fn begin(
        ground: &mut Ground<'_>,
        level: &Level,
        first: bool,
        before: impl Fn(DeviceId) -> Option<Ended>,
    ) -> Self {
        let cuts = level.cutters().next().is_some();
        let tries = match in_vain(ground, level, cuts) {
            Some((device, Doubt::Stray(_))) => vec![Try::ask(ground, device, level.timeout)],
            Some((device, Doubt::Contradicted | Doubt::NeverOn)) => vec![Try::forgo(device)],
            None => {
                let begin = |device: &DeviceId| {
                    if level.witnesses.contains(device) {
                        return Try::watch(ground, *device, level.timeout, first, cuts);
                    }
                    Try::begin(ground, *device, level.timeout, first, before(*device))
                };
                level.devices.iter().map(begin).collect()
            }
        };
        Self {
            tries,
            deadline: ground.now + level.timeout + ANSWER_MARGIN,
            timeout: level.timeout,
            next_at: ground.now + level.pace,
            confirming: false,
        }
    }

    /// When the next attempt may begin at the earliest, if nobody answers this one.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// What is being done, for people.
    pub(super) fn doing(&self) -> Doing {
        let until =
            Instant::ZERO + self.deadline.since(Instant::ZERO).saturating_sub(ANSWER_MARGIN);
        if self.tries.iter().any(|t| matches!(t.step, Step::Commanding { .. })) {
            Doing::Cutting { until }
        } else if self.is_decisive() {
            Doing::Reading { until }
        } else {
            Doing::Looking { until }
        }
    }

    /// Whether any device was told, or says that it obeyed: its verdict is waited for.
    pub(super) fn is_decisive(&self) -> bool {
        self.tries.iter().filter(|t| !t.is_witness).any(|t| match t.step {
            Step::Commanding { .. } | Step::Reading { .. } | Step::Pausing { .. } | Step::Off => {
                true
            }
            Step::Looking { .. } | Step::Looked | Step::Failed => false,
        })
    }

    /// Whether it goes on as soon as that may be judged.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let waits = |t: &Try| matches!(t.step, Step::Looked | Step::Failed);
        let off = |t: &Try| t.is_witness && matches!(t.step, Step::Off);
        now >= self.deadline || self.tries.iter().any(waits) || self.tries.iter().all(off)
    }

    /// When it wants to be advanced next.
    pub(super) fn next_deadline(&self) -> Instant {
        let pauses = self.tries.iter().filter_map(|t| match t.step {
            Step::Pausing { until } => Some(until),
            Step::Looking { .. }
            | Step::Looked
            | Step::Commanding { .. }
            | Step::Reading { .. }
            | Step::Off
            | Step::Failed => None,
        });
        pauses.min().map_or(self.deadline, |until| until.min(self.deadline))
    }

    /// Takes a device's answer in, if it was one to an order of this attempt. That of a command
    /// tells of the device's readings only if no reading follows it.
    pub(super) fn answer(
        &mut self,
        ground: &mut Ground<'_>,
        op: OpId,
        reading: Result<Power, FenceFault>,
    ) -> Option<Answered> {
        let left = self.left(ground.now);
        for attempt in &mut self.tries {
            let device = attempt.device;
            match attempt.step {
                Step::Looking { op: ours } if ours == op => {
                    attempt.note_look(ground, reading);
                    return Some(Answered { device, tells: true, commanded: None });
                }
                Step::Commanding { op: ours } if ours == op => {
                    attempt.note_command(ground, reading, left);
                    let tells = matches!(attempt.step, Step::Failed);
                    return Some(Answered { device, tells, commanded: attempt.command });
                }
                Step::Reading { op: ours } if ours == op => {
                    attempt.note_reading(ground, reading, left);
                    self.confirming &= matches!(attempt.step, Step::Off);
                    return Some(Answered { device, tells: true, commanded: None });
                }
                Step::Looking { .. }
                | Step::Looked
                | Step::Commanding { .. }
                | Step::Reading { .. }
                | Step::Pausing { .. }
                | Step::Off
                | Step::Failed => {}
            }
        }
        None
    }

    /// Goes as far as it can at this moment.
    pub(super) fn advance(&mut self, ground: &mut Ground<'_>) -> Option<End> {
        let over = ground.may_judge && ground.now >= self.deadline;
        self.begin_to_tell(ground, over);
        let left = self.left(ground.now);
        let Self { tries, confirming, .. } = self;
        for attempt in tries.iter_mut() {
            attempt.advance(ground, left, over);
        }
        if tries.iter().all(|t| matches!(t.step, Step::Off)) {
            if tries.len() == 1 || *confirming {
                return self.conclude(ground);
            }
            *confirming = true;
            for attempt in tries.iter_mut() {
                attempt.step = attempt.read(ground, left);
            }
        }
        let failed = tries.iter().find(|t| matches!(t.step, Step::Failed))?;
        if failed.is_its_hosts_again(ground) {
            return Some(End::Again);
        }
        let (device, cause) = (failed.device, failed.cause(ground));
        let silent =
            matches!(cause, FrozenCause::Unreachable | FrozenCause::Failed(FenceFault::Timeout));
        let is_read = tries.iter().all(|t| t.is_witness);
        let is_patient = is_read && !matches!(cause, FrozenCause::Refuses(_));
        let unanswered = (silent || is_patient) && !tries.iter().any(|t| t.told);
        self.cancel(ground.out);
        Some(End::Failed { device, cause, unanswered })
    }

    /// When the first of the devices that were looked at is told, there is the level's whole time
    /// for that, as there was in the first round: a slow device would never do in later ones.
    fn begin_to_tell(&mut self, ground: &Ground<'_>, over: bool) {
        let begins = ground.may_judge
            && !over
            && self.tries.iter().any(|t| matches!(t.step, Step::Looked))
            && !self.tries.iter().any(|t| t.told);
        if begins {
            self.deadline = ground.now + self.timeout + ANSWER_MARGIN;
        }
    }

    /// All devices read off. Where nobody cut anything, they are read again as long as a VIP
    /// answers.
    fn conclude(&mut self, ground: &Ground<'_>) -> Option<End> {
        let is_cut = !self.tries.iter().all(|t| t.is_witness);
        if !is_cut && !ground.may_judge {
            return None;
        }
        if !is_cut && ground.answers {
            let left = self.left(ground.now);
            self.tries.iter_mut().for_each(|attempt| attempt.pause(ground.now, left));
            self.confirming = false;
            return None;
        }
        Some(End::Off { is_cut })
    }

    /// Gives up every answer that is still open.
    pub(super) fn cancel(&self, out: &mut Effects) {
        for attempt in &self.tries {
            attempt.cancel(out);
        }
    }

    /// What is left of the level's timeout.
    fn left(&self, now: Instant) -> Duration {
        self.deadline.since(now).saturating_sub(ANSWER_MARGIN)
    }
}

/// For which device, and why, those of a level would be told in vain: one that is not the host's;
/// or a witness beside those that cut that proves nothing, and does not begin to as long as the
/// host is not heard.
fn in_vain(ground: &Ground<'_>, level: &Level, cuts: bool) -> Option<(DeviceId, Doubt)> {
    let mut doubted = level.devices.iter().filter_map(|id| Some((*id, (ground.doubt)(*id)?)));
    let forbids = |id: &DeviceId, doubt: &Doubt| {
        matches!(doubt, Doubt::Stray(_)) || (cuts && level.witnesses.contains(id))
    };
    doubted.find(|(id, doubt)| forbids(id, doubt))
}
