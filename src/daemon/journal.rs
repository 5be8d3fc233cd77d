//! What happened, for people and programs: the log, the last events, the followers.
//!
//! What a network can bring about as often as it likes (a link that flaps, datagrams that are
//! refused) is told at most so often for each thing that it happens to; the next line that is told
//! says how many were not. What decides over the service is always told: roles, proofs, fences,
//! the frozen state.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use log::Level;

use super::remedy;
use crate::engine::Event;
use crate::engine::transcript::Severity;
use crate::sys::clock;
use crate::types::{Instant, Names};
use crate::wire::control::{EventLevel, EventLine};

/// How many events are kept for those who ask later.
pub const EVENTS_KEPT_MAX: usize = 500;

/// How many lines of one kind may come at once, and how long it takes until one more may.
#[derive(Clone, Copy, Debug)]
struct Limit {
    burst: u32,
    interval: Duration,
}

/// What flaps: some lines show it, more do not show more.
const FLAPPING: Limit = Limit { burst: 20, interval: Duration::from_secs(10) };
/// What strangers can bring about for ever must not fill the journal: the counters of the status
/// tell the rest.
const HOSTILE: Limit = Limit { burst: 5, interval: Duration::from_secs(600) };

/// The limit of a kind of event; nothing for what is always told.
fn limit_of(kind: &str) -> Option<Limit> {
    match kind {
        "link" | "link-socket" | "nic" | "peer-late" | "kernel-answers" | "stalled"
        | "vip-gone" | "vip-restored" => Some(FLAPPING),
        "refused" | "wrong-key" | "flood" => Some(HOSTILE),
        _ => None,
    }
}

/// What may still be told of one thing, and what was not.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Lines that may come at once.
    left: u32,
    /// Since when it fills up.
    filling_since: Instant,
    untold: u64,
}

impl Bucket {
    /// How many lines were not told before this one, if this one may be.
    fn take(&mut self, limit: Limit, now: Instant) -> Option<u64> {
        while self.left < limit.burst && now >= self.filling_since + limit.interval {
            self.left += 1;
            self.filling_since = self.filling_since + limit.interval;
        }
        if self.left == limit.burst {
            self.filling_since = now;
        }
        if self.left == 0 {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.left -= 1;
        Some(core::mem::take(&mut self.untold))
    }
}

/// The last events, numbered.
#[derive(Debug)]
pub struct Journal {
    names: Names,
    kept: VecDeque<EventLine>,
    seq: u64,
    /// By kind and subject: as many as the configuration has things that flap.
    buckets: BTreeMap<(String, String), Bucket>,
}

impl Journal {
    /// An empty journal that calls things by these names.
    pub fn new(names: Names) -> Self {
        let kept = VecDeque::with_capacity(EVENTS_KEPT_MAX);
        Self { names, kept, seq: 0, buckets: BTreeMap::new() }
    }

    /// Takes an event of the engine in, with what the shell knows of it beside; the line for the
    /// followers, if it is told.
    pub fn note(&mut self, now: Instant, event: &Event, detail: &str) -> Option<&EventLine> {
        let level = match event.severity() {
            Severity::Error => EventLevel::Alert,
            Severity::Warning => EventLevel::Warning,
            Severity::Info => EventLevel::Info,
        };
        let mut text = event.line(&self.names).to_string();
        if !detail.is_empty() {
            text.push_str(&format!(" ({detail})"));
        }
        if let Some(remedy) = remedy::of_event(event, &self.names) {
            text.push_str(&format!("; what to do: {remedy}"));
        }
        let subject = event.subject(&self.names).to_owned();
        self.keep(now, level, event.kind(), subject, text)
    }

    /// Takes in something that the shell itself has to tell; the line for the followers, if it is
    /// told.
    pub fn tell(
        &mut self,
        now: Instant,
        level: EventLevel,
        kind: &str,
        subject: &str,
        text: String,
    ) -> Option<&EventLine> {
        self.keep(now, level, kind, subject.to_owned(), text)
    }

    /// The events that are kept, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &EventLine> {
        self.kept.iter()
    }

    fn keep(
        &mut self,
        now: Instant,
        level: EventLevel,
        kind: &str,
        subject: String,
        mut text: String,
    ) -> Option<&EventLine> {
        match self.count_untold(now, kind, &subject) {
            None => {
                log::debug!("{text}");
                return None;
            }
            Some(0) => {}
            Some(untold) => text.push_str(&format!(" (and {untold} more like this before it)")),
        }
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
        self.kept.back()
    }

    /// How many lines of the kind were not told of the subject before this one; nothing if this
    /// one is not told either.
    fn count_untold(&mut self, now: Instant, kind: &str, subject: &str) -> Option<u64> {
        let Some(limit) = limit_of(kind) else { return Some(0) };
        let full = Bucket { left: limit.burst, filling_since: now, untold: 0 };
        let key = (kind.to_owned(), subject.to_owned());
        self.buckets.entry(key).or_insert(full).take(limit, now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::types::{LinkId, NodeId};

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1_000_000 + seconds * 1000)
    }

    fn told(journal: &mut Journal, seconds: u64, kind: &str, subject: &str) -> Option<String> {
        let line = journal.tell(at(seconds), EventLevel::Info, kind, subject, "it".to_owned());
        line.map(|line| line.text.clone())
    }

    #[test]
    fn what_flaps_is_told_some_times_then_seldom_and_counted() {
        let mut journal = Journal::new(Names::default());
        let count = (0..1000).filter(|_| told(&mut journal, 0, "link", "hb0").is_some()).count();
        assert_eq!(count, 20);
        assert_eq!(told(&mut journal, 9, "link", "hb0"), None);
        let text = "it (and 981 more like this before it)";
        assert_eq!(told(&mut journal, 10, "link", "hb0").unwrap(), text);
        assert_eq!(told(&mut journal, 10, "link", "hb0"), None);
        // Another link, and another kind, have lines of their own.
        assert_eq!(told(&mut journal, 10, "link", "hb1").unwrap(), "it");
        assert_eq!(told(&mut journal, 10, "nic", "hb0").unwrap(), "it");
        // Quiet for long enough, all may come at once again.
        assert_eq!(
            told(&mut journal, 500, "link", "hb0").unwrap(),
            "it (and 1 more like this \
                                                                     before it)"
        );
        let count = (0..1000).filter(|_| told(&mut journal, 500, "link", "hb0").is_some()).count();
        assert_eq!(count, 19);
    }

    /// A stranger who sends for a day must leave room for what happened.
    #[test]
    fn a_day_of_refused_datagrams_leaves_the_journal_to_others() {
        let mut journal = Journal::new(Names::default());
        told(&mut journal, 0, "role", "");
        for second in 0..86_400 {
            told(&mut journal, second, "refused", "hb0");
        }
        assert!(journal.kept().count() < 160, "{}", journal.kept().count());
        assert_eq!(journal.kept().next().unwrap().event, "role");
    }

    #[test]
    fn what_decides_is_always_told() {
        let mut journal = Journal::new(Names::default());
        let node = NodeId::new(2).unwrap();
        let lost = Event::PeerLost { node, silent: Duration::from_secs(1), was_heard: true };
        for kind in ["role", "frozen", "proven", "fence-level", "fence-device", "two-actives"] {
            let count = (0..100).filter(|_| told(&mut journal, 0, kind, "b").is_some()).count();
            assert_eq!(count, 100, "{kind}");
        }
        assert!((0..100).all(|_| journal.note(at(0), &lost, "").is_some()));
        let state = crate::engine::event::LinkState::Up;
        let up = Event::Link { node, link: LinkId(0), state };
        assert!(!(0..100).all(|_| journal.note(at(0), &up, "").is_some()));
    }
}
