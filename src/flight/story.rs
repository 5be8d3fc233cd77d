//! What a replayed engine was given and what it did, as text for people.
//!
//! What is a matter of course is counted; everything else is a line for the input and one,
//! indented, for each effect.

use core::fmt::Write as _;

use super::{Header, Step};
use crate::engine::transcript::Severity;
use crate::engine::{Effect, Event, Input};
use crate::types::{Instant, Names};

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
        let _infallible = write!(text, "{}", step.input.line(names));
        if let Input::Heard { at, .. } = step.input
            && step.at > at
        {
            let micros = step.at.since(at).as_micros();
            let _infallible = write!(text, " (received {micros} us before)");
        }
        text.push('\n');
        for effect in &step.effects {
            let _infallible = writeln!(text, "    {}", effect.line(names));
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
