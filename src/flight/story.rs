//! What a replayed engine was given and what it did, as text for people.
//!
//! What is a matter of course is counted; everything else is a line for the input and one,
//! indented, for each effect.

use core::fmt::{self, Write as _};

use super::{Header, Step};
use crate::engine::effect::Answer;
use crate::engine::transcript::{Severity, state_word};
use crate::engine::{Effect, Event, Input, Order, Outcome};
use crate::types::{FenceFault, Heartbeat, Instant, Names, Power, Term};

/// An event, and when it was told.
#[derive(Clone, Debug)]
pub struct TimedEvent {
    /// When, by the boot clock.
    pub at: Instant,
    /// How loud it is.
    pub severity: Severity,
    /// The kind of event, one word.
    pub kind: &'static str,
    /// As the log and `tandem events` have it.
    pub text: String,
}

/// What the steps since the last one that was told have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Story {
    heartbeats: u64,
    ticks: u64,
}

impl Story {
    /// Takes a step in; its lines, if it is to be told. Each begins with what `time` makes of its
    /// moment.
    pub fn tell(
        &mut self,
        step: &Step,
        header: &Header,
        time: &dyn Fn(Instant) -> String,
    ) -> String {
        let mut text = String::new();
        if step.is_routine {
            if step.input == Input::Tick {
                self.ticks += 1;
            } else {
                self.heartbeats += 1;
            }
            return text;
        }
        text.push_str(&self.take_count());
        let names = &header.names;
        text.push_str(&time(step.at));
        text.push_str("  ");
        // Writing to a string cannot fail.
        let _infallible = fmt_input(&mut text, &step.input, step.at, names);
        text.push('\n');
        for effect in &step.effects {
            text.push_str("    ");
            let _infallible = fmt_effect(&mut text, effect, names);
            text.push('\n');
        }
        text
    }

    /// The line that tells how many steps were not told since the last one that was; empty if there
    /// are none.
    pub fn take_count(&mut self) -> String {
        let Self { heartbeats, ticks } = core::mem::take(self);
        if heartbeats + ticks == 0 {
            return String::new();
        }
        let counted = |count: u64, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        let (heartbeats, ticks) = (counted(heartbeats, "heartbeat"), counted(ticks, "tick"));
        format!("    ... {heartbeats} and {ticks}, nothing new\n")
    }

    /// The events of a step.
    pub fn events(step: &Step, names: &Names) -> Vec<TimedEvent> {
        let timed = |event: &Event| TimedEvent {
            at: step.at,
            severity: event.severity(),
            kind: event.kind(),
            text: event.line(names).to_string(),
        };
        let mut events = Vec::new();
        for effect in &step.effects {
            if let Effect::Report(event) = effect {
                events.push(timed(event));
            }
        }
        events
    }
}

fn fmt_input(f: &mut String, input: &Input, now: Instant, names: &Names) -> fmt::Result {
    let up = |up: bool| if up { "up" } else { "down" };
    match input {
        Input::Start(remembered) => {
            let (record, leftovers) = (remembered.record, remembered.leftovers);
            write!(f, "start: record term={} held-term={}", record.term, record.held_term)?;
            if let Some(mark) = remembered.mark {
                write!(f, ", mark term={} holding={}", mark.term, mark.holding)?;
            }
            write!(f, "{}", if leftovers { ", VIPs left in the kernel" } else { "" })
        }
        Input::Tick => write!(f, "tick"),
        Input::Stalled { late_by } => write!(f, "woke {} us late", late_by.as_micros()),
        Input::Heard { link, at, heartbeat } => {
            let (from, link) = (names.node(heartbeat.from), names.link(*link));
            write!(f, "heard {from} on {link}")?;
            if *at != now {
                write!(f, ", received {} us before", now.since(*at).as_micros())?;
            }
            write!(f, ": ")?;
            fmt_heartbeat(f, heartbeat)
        }
        Input::Carrier { nic, up: is_up } => {
            write!(f, "carrier of {} is {}", names.nic(*nic), up(*is_up))
        }
        Input::Reach { nic, up: is_up } => {
            write!(f, "ping targets of {} are {}", names.nic(*nic), up(*is_up))
        }
        Input::Probed { asked: true } => write!(f, "the questions left"),
        Input::Probed { asked: false } => write!(f, "the questions did not leave"),
        Input::Mac { nic, mac } => write!(f, "{} has the MAC {mac}", names.nic(*nic)),
        Input::Claim { vip, mac, .. } => write!(f, "{mac} claims {}", names.vip(*vip)),
        Input::VipGone { vip } => write!(f, "{} vanished from the kernel", names.vip(*vip)),
        Input::VipStray { vip } => write!(f, "{} appeared in the kernel", names.vip(*vip)),
        Input::Done { op, outcome } => match outcome {
            Outcome::Confirmed => write!(f, "operation {} is done", op.0),
            Outcome::Refused(why) => write!(f, "operation {} was refused: {}", op.0, why.as_str()),
            Outcome::Unknown(why) => {
                write!(f, "operation {} may be done or not: {}", op.0, why.as_str())
            }
        },
        Input::Reading { op, reading } => {
            write!(f, "operation {} reads: ", op.0)?;
            fmt_reading(f, *reading)
        }
        Input::ConfirmOff { node, force, .. } => {
            let forced = if *force { " --force" } else { "" };
            write!(f, "an operator: confirm-off {}{forced}", names.node(*node))
        }
        Input::Stop => write!(f, "told to stop"),
    }
}

fn fmt_effect(f: &mut String, effect: &Effect, names: &Names) -> fmt::Result {
    match effect {
        Effect::Send(heartbeat) => {
            let (to, link) = (names.node(heartbeat.to), names.link(heartbeat.link));
            write!(f, "says to {to} on {link}: ")?;
            fmt_heartbeat(f, heartbeat)
        }
        Effect::Probe => write!(f, "asks the service networks who has the VIPs"),
        Effect::Acquire { op, term } => write!(f, "acquires the VIPs term={term} ({})", op.0),
        Effect::Release { op } => write!(f, "releases the VIPs ({})", op.0),
        Effect::Announce => write!(f, "announces the VIPs"),
        Effect::Restore { op, vip } => write!(f, "puts {} back ({})", names.vip(*vip), op.0),
        Effect::Mark { op, mark } => {
            write!(f, "marks term={} holding={} ({})", mark.term, mark.holding, op.0)
        }
        Effect::Store { op, record } => {
            write!(f, "records term={} held-term={} ({})", record.term, record.held_term, op.0)
        }
        Effect::Power { op, device, order, timeout } => {
            let order = match order {
                Order::Off => "cut the power",
                Order::Read => "read the power",
                Order::Check => "check",
            };
            let (device, timeout) = (names.device(*device), timeout.as_millis());
            write!(f, "orders {device}: {order} within {timeout} ms ({})", op.0)
        }
        Effect::Cancel { op } => write!(f, "cancels operation {}", op.0),
        Effect::Answer { answer, .. } => match answer {
            Answer::Accepted => write!(f, "answers the operator: accepted"),
            Answer::Denied(denial) => write!(f, "answers the operator: denied: {denial:?}"),
        },
        Effect::Report(event) => write!(f, "event: {}", event.line(names)),
        Effect::Exit => write!(f, "ends"),
    }
}

fn fmt_heartbeat(f: &mut String, heartbeat: &Heartbeat) -> fmt::Result {
    let Heartbeat { state, term, held_term, .. } = *heartbeat;
    write!(f, "{} term={term} held-term={held_term}", state_word(state))?;
    for (word, value) in [("ask", heartbeat.ask), ("grant", heartbeat.grant)] {
        if value != Term::NONE {
            write!(f, " {word}={value}")?;
        }
    }
    let flags = heartbeat.flags;
    let words = [
        ("eligible", flags.eligible),
        ("released", flags.released),
        ("purging", flags.purging),
        ("held", flags.held),
    ];
    for (word, _) in words.iter().filter(|(_, on)| *on) {
        write!(f, " {word}")?;
    }
    Ok(())
}

fn fmt_reading(f: &mut String, reading: Result<Power, FenceFault>) -> fmt::Result {
    match reading {
        Ok(power) => write!(f, "power {power}"),
        Err(fault) => write!(f, "{fault}"),
    }
}
