//! One heartbeat path to one peer: what was heard on it, when, and whether ours arrive.
//!
//! ```text
//!            heard            older than warntime      older than deadtime
//!   quiet ──────────► up ──────────────────────► late ────────────────────► down
//!     │ deadtime      ▲ │ unheard for a deadtime    │ heard                  │ heard
//!     ▼               │ ▼                           ▼                        ▼
//!    down           one-way                         up ◄─────────────────────┘
//! ```

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::LinkState;
use super::freshness::{Freshness, ReplayWindow};
use super::settings::LinkSettings;
use crate::types::{Hears, Heartbeat, Instant, LinkId, Seq, Session, Span};

/// What an answer needs to say about the last heartbeat on this link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Echo {
    /// The peer's `sent`.
    pub(super) sent: u64,
    /// When it was received.
    pub(super) at: Instant,
    /// The session the peer told.
    pub(super) session: Session,
}

/// One path to one peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) keepalive: Span,
    pub(super) warntime: Span,
    pub(super) deadtime: Span,
    state: LinkState,
    window: ReplayWindow,
    /// When the peer was last heard here, or would have been if the loop had not stalled.
    heard_at: Option<Instant>,
    echo: Option<Echo>,
    /// Since when the peer is heard here; while it is not, when that was judged last.
    alive_since: Instant,
    /// Since when the peer says that it does not hear us here.
    unheard_since: Option<Instant>,
    rtt: Option<Duration>,
    /// When the next heartbeat is due on this link.
    pub(super) send_at: Instant,
    /// Since when it has its state.
    since: Instant,
    /// How many heartbeats were heard on it.
    pub(super) heard_count: u64,
    /// How often it became late.
    pub(super) late_count: u64,
}

impl Link {
    pub(super) fn new(settings: LinkSettings, now: Instant) -> Self {
        Self {
            id: settings.id,
            keepalive: settings.keepalive.into(),
            warntime: settings.warntime.into(),
            deadtime: settings.deadtime.into(),
            state: LinkState::Quiet,
            window: ReplayWindow::default(),
            heard_at: None,
            echo: None,
            alive_since: now,
            unheard_since: None,
            rtt: None,
            send_at: now,
            since: now,
            heard_count: 0,
            late_count: 0,
        }
    }

    pub(super) fn state(&self) -> LinkState {
        self.state
    }

    /// Whether the peer is late here, or worse; not where it may yet be heard for the first time.
    pub(super) fn is_silent(&self) -> bool {
        match self.state {
            LinkState::Late | LinkState::Down => true,
            LinkState::Quiet | LinkState::Up | LinkState::OneWay => false,
        }
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.heard_at
    }

    pub(super) fn echo(&self) -> Option<Echo> {
        self.echo
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Another incarnation of the peer begins: its numbers and its clock are new.
    pub(super) fn reset(&mut self) {
        self.window = ReplayWindow::default();
        self.echo = None;
        self.unheard_since = None;
        self.rtt = None;
    }

    /// Whether `seq` is new on this link; remembered if so.
    pub(super) fn admit(&mut self, seq: Seq) -> Freshness {
        self.window.admit(seq)
    }

    /// What `seq` would be; nothing is remembered.
    pub(super) fn freshness_of(&self, seq: Seq) -> Freshness {
        let mut window = self.window;
        window.admit(seq)
    }

    /// Takes in an accepted heartbeat that the kernel received at `at`.
    pub(super) fn hear(&mut self, heartbeat: &Heartbeat, at: Instant) {
        self.heard_count = self.heard_count.saturating_add(1);
        self.heard_at = Some(self.heard_at.map_or(at, |before| before.max(at)));
        self.echo = Some(Echo { sent: heartbeat.sent, at, session: heartbeat.session });
        if heartbeat.echo_sent != 0 {
            let away = at.nanos_since(Instant::from_nanos(heartbeat.echo_sent));
            self.rtt = Some(Duration::from_nanos(away.saturating_sub(heartbeat.echo_held)));
        }
    }

    /// Takes in what the peer last said of its hearing on this link.
    pub(super) fn note_hearing(&mut self, hears: Hears, now: Instant) {
        match hears {
            Hears::Peer => self.unheard_since = None,
            Hears::Nothing | Hears::NoLink => {
                self.unheard_since.get_or_insert(now);
            }
        }
    }

    /// Whether it is time for the next heartbeat.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.send_at
    }

    /// What this node tells the peer of its hearing here.
    pub(super) fn hears(&self) -> Hears {
        match self.state {
            LinkState::Up | LinkState::Late | LinkState::OneWay => Hears::Peer,
            LinkState::Quiet | LinkState::Down => Hears::Nothing,
        }
    }

    /// Own lateness is not the peer's silence: what was heard ages as if the stall had not been.
    /// After a stall as long as the deadtime, the silence is counted anew from `now`. What was down
    /// before stays down.
    pub(super) fn forgive(&mut self, late_by: Duration, now: Instant) {
        // Short ones cost nothing: what came meanwhile waits in the socket with the time of its
        // receipt, and forgiving each would let a dead peer age slower on a busy host.
        let late_by = Span::from(late_by);
        if self.state == LinkState::Down || late_by < self.keepalive {
            return;
        }
        if let Some(heard_at) = self.heard_at.as_mut() {
            let forgiven = if late_by >= self.deadtime { now } else { *heard_at + late_by };
            *heard_at = forgiven.min(now).max(*heard_at);
        }
    }

    /// When the peer's silence here reaches the deadtime; nothing if it was never heard.
    pub(super) fn dead_at(&self) -> Option<Instant> {
        self.heard_at.map(|at| at + self.deadtime)
    }

    /// When the peer's silence here reaches the warntime; nothing if it was never heard.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.heard_at.map(|at| at + self.warntime)
    }

    /// Judges the link at `now`; `started` is when the listening began. The new state, if it is
    /// another one.
    pub(super) fn judge(&mut self, now: Instant, started: Instant) -> Option<LinkState> {
        if matches!(self.state, LinkState::Quiet | LinkState::Down) {
            self.alive_since = now;
        }
        let state = match (self.dead_at(), self.late_at()) {
            (Some(dead_at), _) if now >= dead_at => LinkState::Down,
            (_, Some(late_at)) if now >= late_at => LinkState::Late,
            (Some(_), _) if self.one_way_at().is_some_and(|at| now >= at) => LinkState::OneWay,
            (Some(_), _) => LinkState::Up,
            (None, _) if now >= started + self.deadtime => LinkState::Down,
            (None, _) => LinkState::Quiet,
        };
        if state == self.state {
            return None;
        }
        self.state = state;
        self.since = now;
        self.late_count += u64::from(state == LinkState::Late);
        Some(state)
    }

    /// The next moment at which [`Link::judge`] may come to another result.
    pub(super) fn judge_at(&self, started: Instant) -> Option<Instant> {
        match self.state {
            LinkState::Quiet => Some(started + self.deadtime),
            LinkState::Up | LinkState::OneWay => {
                let one_way_at = match self.state {
                    LinkState::Up => self.one_way_at(),
                    LinkState::OneWay | LinkState::Quiet | LinkState::Late | LinkState::Down => {
                        None
                    }
                };
                Instant::soonest(self.late_at(), one_way_at)
            }
            LinkState::Late => self.dead_at(),
            LinkState::Down => None,
        }
    }

    /// Whether the peer said last that it does not hear us here.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard_since.is_some()
    }

    /// When the link is one-way, unless the peer hears us before: on a link that works again it
    /// needs its time to hear us and to say so.
    fn one_way_at(&self) -> Option<Instant> {
        let since = self.unheard_since?.max(self.alive_since);
        Some(since + self.deadtime)
    }
}
