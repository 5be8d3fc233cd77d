//! What happened, for people and programs: the log, the last events, the followers.

use std::collections::VecDeque;

use log::Level;

use crate::engine::Event;
use crate::engine::transcript::Severity;
use crate::sys::clock;
use crate::types::Names;
use crate::wire::control::{EventLevel, EventLine};

/// How many events are kept for those who ask later.
pub const EVENTS_KEPT_MAX: usize = 500;

/// The last events, numbered.
#[derive(Debug)]
pub struct Journal {
    names: Names,
    kept: VecDeque<EventLine>,
    seq: u64,
}

impl Journal {
    /// An empty journal that calls things by these names.
    pub fn new(names: Names) -> Self {
        Self { names, kept: VecDeque::with_capacity(EVENTS_KEPT_MAX), seq: 0 }
    }

    /// Takes an event of the engine in.
    pub fn note(&mut self, event: &Event) -> &EventLine {
        let level = match event.severity() {
            Severity::Error => EventLevel::Alert,
            Severity::Warning => EventLevel::Warning,
            Severity::Info => EventLevel::Info,
        };
        let text = event.line(&self.names).to_string();
        let subject = event.subject(&self.names).to_owned();
        self.keep(level, event.kind(), subject, text)
    }

    /// Takes in something that the shell itself has to tell.
    pub fn tell(
        &mut self,
        level: EventLevel,
        kind: &str,
        subject: &str,
        text: String,
    ) -> &EventLine {
        self.keep(level, kind, subject.to_owned(), text)
    }

    /// The events that are kept, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &EventLine> {
        self.kept.iter()
    }

    fn keep(&mut self, level: EventLevel, kind: &str, subject: String, text: String) -> &EventLine {
        let loudness = match level {
            EventLevel::Alert => Level::Error,
            EventLevel::Warning => Level::Warn,
            EventLevel::Info => Level::Info,
        };
        log::log!(loudness, "{text}");
        self.seq = self.seq.saturating_add(1);
        let line = EventLine {
            seq: self.seq,
            time_unix_ms: clock::wall_unix_ms(),
            level,
            event: kind.to_owned(),
            text,
            subject,
        };
        if self.kept.len() >= EVENTS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
        // Just pushed: the last one is there.
        self.kept.back().unwrap_or_else(|| unreachable!("an event was just kept"))
    }
}
