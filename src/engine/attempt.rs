//! One device of a fence level: told to cut the power, and read until it says off.
//!
//! ```text
//!   off command ──► reading ──► off
//!        ▲ │ fault        │ on: read again until the level's timeout is over
//!        │ ▼              ▼
//!     look failed       failed
//! ```
//!
//! From the second round on, and where an earlier ladder was dropped since the host was heard, each
//! device is looked at first: one that took the command already and reads neither on nor off is not
//! told again, so that a host whose device cannot tell off is not cut down again and again while it
//! boots, by which the pair would end its frozen state.
//!
//! A witness is never told anything: it is read from the beginning, again and again for as long as
//! its level has time, since a meter may lag behind; where nothing cuts beside it, only in the
//! first round: later ones are to come back soon to the devices that were dead.
//!
//! A command's success is never taken for off: only a reading after the command is. An "already
//! off" that a BMC treats as an error is no failure, since it is read all the same; an agent whose
//! command failed is not read: what broke it may break its reading into an off. For that reason a
//! look proves nothing either, whatever was told before: what reads off is told again, and read.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::devices::Doubt;
use super::effect::{Effect, Effects};
use super::event::{Event, FrozenCause};
use super::fence::Ground;
use super::input::Order;
use crate::types::{DeviceId, FenceFault, Instant, OpId, Power};

/// The first pause between two readings of one device; each is twice the one before.
const READ_PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause between two readings of one device.
const READ_PAUSE_MAX: Duration = Duration::from_millis(500);

/// One device of a level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Try {
    pub(super) device: DeviceId,
    /// Whether it is only read.
    pub(super) is_witness: bool,
    /// Whether it is read again when it does not read off.
    is_patient: bool,
    /// Whether it is only asked whose it is: what it reads is no proof.
    is_asked: bool,
    pub(super) step: Step,
    /// How the command ended, if it has.
    pub(super) command: Option<Result<(), FenceFault>>,
    /// What the device last said after the command.
    reading: Option<Result<Power, FenceFault>>,
    pause: Duration,
    /// Whether it was looked at in this round, and told then.
    pub(super) told: bool,
    /// Whether its answers are told: those of the first round are.
    loud: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Step {
    Looking {
        op: OpId,
    },
    /// It was looked at, and is to be told at the next tick.
    Looked,
    Commanding {
        op: OpId,
    },
    Reading {
        op: OpId,
    },
    Pausing {
        until: Instant,
    },
    Off,
    Failed,
}

impl Try {
    pub(super) fn begin(
        ground: &mut Ground<'_>,
        device: DeviceId,
        timeout: Duration,
        first: bool,
        before: Option<Result<(), FenceFault>>,
    ) -> Self {
        let step = if first {
            Step::Commanding { op: ground.order(device, Order::Off, timeout) }
        } else {
            Step::Looking { op: ground.order(device, Order::Read, timeout) }
        };
        Self {
            device,
            is_witness: false,
            is_patient: true,
            is_asked: false,
            step,
            command: before.filter(|_| !first),
            reading: None,
            pause: READ_PAUSE_MIN,
            told: false,
            loud: first,
        }
    }

    /// A witness; `beside_cuts` if other devices of its level cut.
    pub(super) fn watch(
        ground: &mut Ground<'_>,
        device: DeviceId,
        timeout: Duration,
        first: bool,
        beside_cuts: bool,
    ) -> Self {
        Self {
            device,
            is_witness: true,
            is_patient: first || beside_cuts,
            is_asked: false,
            step: Step::Reading { op: ground.order(device, Order::Read, timeout) },
            command: None,
            reading: None,
            pause: READ_PAUSE_MIN,
            told: false,
            loud: first,
        }
    }

    /// A device that was not the host's when it last told whose it is: whoever reads it learns that
    /// anew.
    pub(super) fn ask(ground: &mut Ground<'_>, device: DeviceId, timeout: Duration) -> Self {
        Self {
            device,
            is_witness: true,
            is_patient: false,
            is_asked: true,
            step: Step::Reading { op: ground.order(device, Order::Read, timeout) },
            command: None,
            reading: None,
            pause: READ_PAUSE_MIN,
            told: false,
            loud: false,
        }
    }

    /// A witness that proves nothing, beside devices that would be told in vain.
    pub(super) fn forgo(device: DeviceId) -> Self {
        Self {
            device,
            is_witness: true,
            is_patient: false,
            is_asked: false,
            step: Step::Failed,
            command: None,
            reading: Some(Ok(Power::Off)),
            pause: READ_PAUSE_MIN,
            told: false,
            loud: false,
        }
    }

    /// Whether it was asked whose it is, and is its host's now.
    pub(super) fn is_its_hosts_again(&self, ground: &Ground<'_>) -> bool {
        self.is_asked && !matches!((ground.doubt)(self.device), Some(Doubt::Stray(_)))
    }

    /// Takes in what the device says before it is told anything in this round.
    pub(super) fn note_look(&mut self, ground: &Ground<'_>, reading: Result<Power, FenceFault>) {
        self.reading = Some(reading);
        let acknowledged = self.command == Some(Ok(()));
        self.step = match reading {
            // No off of it would prove anything.
            _ if (ground.doubt)(self.device).is_some() => {
                self.reading = Some(Ok(Power::Off));
                Step::Failed
            }
            Ok(Power::Unknown) | Err(_) if acknowledged => Step::Failed,
            // Nor is one told that gave no reading in the whole time: none would follow.
            Err(fault) if is_untold(fault) || fault == FenceFault::Timeout => {
                self.command = None;
                Step::Failed
            }
            Ok(_) | Err(_) => {
                self.command = None;
                self.reading = None;
                Step::Looked
            }
        };
    }

    pub(super) fn note_command(
        &mut self,
        ground: &mut Ground<'_>,
        reading: Result<Power, FenceFault>,
        left: Duration,
    ) {
        self.command = Some(reading.map(|_acknowledged| ()));
        self.step = match reading {
            // An agent that could not even be told has no word to give: it is told again in the
            // next round.
            Err(fault) if is_untold(fault) => Step::Failed,
            Ok(_) | Err(_) => self.read(ground, left),
        };
        // Where no reading follows, this is the device's last word.
        if matches!(self.step, Step::Failed) {
            self.report(ground, reading);
        }
    }

    pub(super) fn note_reading(
        &mut self,
        ground: &mut Ground<'_>,
        reading: Result<Power, FenceFault>,
        left: Duration,
    ) {
        let trusted = (ground.doubt)(self.device).is_none();
        let news = self.reading != Some(reading);
        self.reading = Some(reading);
        self.step = match (reading, self.command) {
            _ if self.is_asked => Step::Failed,
            (Ok(Power::Off), _) if trusted => Step::Off,
            // While its host is not heard, nothing makes a witness trusted.
            (Ok(Power::Off), _) if self.is_witness => Step::Failed,
            _ if !self.is_patient => Step::Failed,
            // What was refused will not come true by waiting.
            (_, Some(Err(_))) => Step::Failed,
            (Ok(_) | Err(_), _) => self.next_pause(ground.now, left),
        };
        if news {
            self.report(ground, reading);
        }
    }

    /// It is read again, a little later.
    pub(super) fn pause(&mut self, now: Instant, left: Duration) {
        self.step = self.next_pause(now, left);
    }

    /// Read or not, it is over when the time of the level is.
    fn next_pause(&mut self, now: Instant, left: Duration) -> Step {
        let until = now + self.pause.min(left);
        self.pause = self.pause.saturating_mul(2).min(READ_PAUSE_MAX);
        Step::Pausing { until }
    }

    pub(super) fn advance(&mut self, ground: &mut Ground<'_>, left: Duration, over: bool) {
        match self.step {
            Step::Off | Step::Failed => {}
            Step::Looked if matches!((ground.doubt)(self.device), Some(Doubt::Stray(_))) => {
                self.reading = Some(Ok(Power::Off));
                self.step = Step::Failed;
            }
            // Whatever makes this node unfit to shoot has been taken in by then.
            Step::Looked if ground.may_judge && !over => {
                let order = ground.order_in_time(self.device, Order::Off, left);
                self.told |= order.is_some();
                self.step = order.map_or(Step::Failed, |op| Step::Commanding { op });
            }
            Step::Looking { .. }
            | Step::Looked
            | Step::Commanding { .. }
            | Step::Reading { .. }
            | Step::Pausing { .. }
                if over =>
            {
                self.cancel(ground.out);
                self.step = Step::Failed;
            }
            Step::Pausing { until } if ground.now >= until => self.step = self.read(ground, left),
            Step::Looking { .. }
            | Step::Looked
            | Step::Commanding { .. }
            | Step::Reading { .. }
            | Step::Pausing { .. } => {}
        }
    }

    pub(super) fn read(&self, ground: &mut Ground<'_>, left: Duration) -> Step {
        let order = ground.order_in_time(self.device, Order::Read, left);
        order.map_or(Step::Failed, |op| Step::Reading { op })
    }

    pub(super) fn cancel(&self, out: &mut Effects) {
        match self.step {
            Step::Looking { op } | Step::Commanding { op } | Step::Reading { op } => {
                out.push(Effect::Cancel { op })
            }
            Step::Looked | Step::Pausing { .. } | Step::Off | Step::Failed => {}
        }
    }

    /// Why this device did not report off.
    pub(super) fn cause(&self, ground: &Ground<'_>) -> FrozenCause {
        let doubt = (ground.doubt)(self.device);
        if let Some(stray @ Doubt::Stray(_)) = doubt {
            return stray.cause();
        }
        match (self.command, self.reading) {
            (_, Some(Ok(Power::On))) if self.is_witness => FrozenCause::WitnessOn,
            (Some(Err(fault)), _) | (_, Some(Err(fault))) => fault_cause(fault),
            (_, None) | (None, Some(Ok(Power::On))) => FrozenCause::Failed(FenceFault::Timeout),
            (Some(Ok(())), Some(Ok(Power::On))) => FrozenCause::StaysOn,
            (_, Some(Ok(Power::Off))) if self.is_witness && doubt.is_none() && ground.answers => {
                FrozenCause::Answers
            }
            // Off once; it did not say so again in time.
            (_, Some(Ok(Power::Off))) => {
                doubt.map_or(FrozenCause::Failed(FenceFault::Timeout), Doubt::cause)
            }
            (_, Some(Ok(Power::Unknown))) => FrozenCause::Unclear,
        }
    }

    pub(super) fn report(&self, ground: &mut Ground<'_>, reading: Result<Power, FenceFault>) {
        if self.loud {
            ground.out.push(Effect::Report(Event::FenceDevice { device: self.device, reading }));
        }
    }
}

/// Whether a device that fails so was not even asked: nothing of it can be read either.
fn is_untold(fault: FenceFault) -> bool {
    match fault {
        FenceFault::Unreachable
        | FenceFault::Credentials
        | FenceFault::Certificate
        | FenceFault::WrongMachine
        | FenceFault::AgentFailed
        | FenceFault::Cancelled => true,
        FenceFault::Privilege
        | FenceFault::Refused
        | FenceFault::Unsupported
        | FenceFault::Exhausted
        | FenceFault::Garbled
        | FenceFault::Timeout => false,
    }
}

fn fault_cause(fault: FenceFault) -> FrozenCause {
    match fault {
        FenceFault::Unreachable => FrozenCause::Unreachable,
        FenceFault::WrongMachine => FrozenCause::OtherMachine,
        FenceFault::Credentials
        | FenceFault::Certificate
        | FenceFault::Privilege
        | FenceFault::Refused
        | FenceFault::Unsupported
        | FenceFault::Exhausted => FrozenCause::Refuses(fault),
        FenceFault::Garbled
        | FenceFault::Timeout
        | FenceFault::AgentFailed
        | FenceFault::Cancelled => FrozenCause::Failed(fault),
    }
}
