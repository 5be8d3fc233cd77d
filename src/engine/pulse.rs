//! The pulse of the peers' kernels: is a silent peer a dead host, or a slow daemon?
//!
//! A kernel answers a question for its address within microseconds, whatever its daemon is doing.
//! So the peers' kernels are asked over every link that has them: at a slow rate while all is well,
//! to learn which of them answer at all; in quick rounds once a peer is late on all links. Who is
//! silent then for `dead-host-time` is lost without waiting for the deadtime.
//!
//! ```text
//!                late on all links      no answer for ROUNDS rounds and dead-host-time
//!   asked slowly ─────────────────► asked ──────────────────────────────────────────────► lost
//!        ▲                        quickly ── an answer ──► a slow daemon: its whole deadtime
//!        └──────── heard ───────────┘
//! ```
//!
//! Silence says something only of a kernel that answered while its daemon was heard, a moment
//! before; only where the questions really left this node; and only in a tick, when all that has
//! come was taken in. A mistake here costs an unneeded fence, never two holders: what follows is
//! the look at the VIPs and the fence, as ever. Why the rules are these: docs/adr/0007.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Event, Kernel};
use super::link::Link;
use super::node::Node;
use super::peer::{Peer, Presence};
use super::settings::Settings;
use crate::types::{Instant, LinkId, NodeId};

/// How many rounds of questions must go unanswered at least.
pub(super) const ROUNDS: u32 = 3;
/// Into how many pauses the time between lateness and verdict is divided: some more than must be,
/// so that a round that cannot leave does not cost the verdict.
const ROUNDS_WANTED: u32 = 6;
/// The shortest and the longest pause between two quick rounds.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Between two rounds while all is well.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// How old the last answer of a heard peer's kernel may be, counted back from its last heartbeat,
/// for its silence to say anything: two slow rounds may be lost.
pub const ANSWER_AGE_MAX: Duration = Duration::from_secs(6);
/// How many slow rounds in a row a heard peer's kernel may leave unanswered on all links before it
/// is told: it would not be found dead early.
const VAIN_ROUNDS: u32 = 5;
/// How many of its slowest round trips a kernel is given for an answer.
const ROUND_TRIPS: u32 = 2;

/// The rounds of questions, and by what the answers are judged. Nothing where it is not configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asking {
    dead_host_time: Duration,
    pause: Duration,
    next_round: Instant,
    /// When questions last left.
    asked_at: Option<Instant>,
    /// Whether none had left shortly before: an answer does not say which question it is for.
    is_lone: bool,
}

/// What is known of one peer's kernel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pulse {
    /// By link.
    beats: Vec<Beat>,
    /// The last heartbeat before the silence that is being judged, own stalls taken off; nothing
    /// while the peer is heard.
    silent_since: Option<Instant>,
    /// The same heartbeat by the moment of its receipt.
    received_at: Option<Instant>,
    /// Whether the kernel has answered in this silence.
    answers: bool,
    /// How many slow rounds it has left unanswered while its daemon was heard.
    in_vain: u32,
}

/// What is known of it by one link.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Beat {
    /// Its last answer while its daemon was heard.
    answered_at: Option<Instant>,
    /// Its slowest answer of late; nothing if none was to a question of which that is known.
    round_trip: Option<Duration>,
    /// How many rounds in a row have left in this silence; each answer ends them all.
    rounds: u32,
    /// When the one left that makes them enough.
    enough_at: Option<Instant>,
    /// Whether the questions of the last round did not leave: such a link says nothing.
    unasked: bool,
}

impl Asking {
    pub(super) fn new(settings: &Settings, now: Instant) -> Option<Self> {
        let dead_host_time = settings.dead_host_time?;
        let room = room(settings).unwrap_or(PAUSE_MAX);
        let pause = (room / ROUNDS_WANTED).clamp(PAUSE_MIN, PAUSE_MAX);
        Some(Self { dead_host_time, pause, next_round: now, asked_at: None, is_lone: false })
    }
}

/// How much time there is between a peer's lateness and the earliest verdict; nothing where there
/// is none but the deadtime's.
pub(super) fn room(settings: &Settings) -> Option<Duration> {
    let warntime = settings.links.iter().map(|link| link.warntime).min().unwrap_or_default();
    settings.dead_host_time.map(|time| time.saturating_sub(warntime))
}

impl Pulse {
    pub(super) fn new(links: usize) -> Self {
        Self { beats: vec![Beat::default(); links], ..Self::default() }
    }

    /// The peer is late on all links since that heartbeat: what was asked before counts no more.
    fn begin_silence(&mut self, heard_at: Option<Instant>, received_at: Option<Instant>) {
        // An own stall moves the first moment alone: what the kernel has answered since stays.
        self.answers &= self.received_at == received_at;
        (self.silent_since, self.received_at) = (heard_at, received_at);
        self.count_anew();
    }

    /// Own lateness: what was not heard meanwhile is not the kernel's silence.
    pub(super) fn count_anew(&mut self) {
        for beat in &mut self.beats {
            (beat.rounds, beat.enough_at, beat.unasked) = (0, None, false);
        }
    }

    /// Believes nothing any more of what it has answered: too much went by unseen, or it is the
    /// kernel of another boot.
    pub(super) fn distrust(&mut self) {
        self.beats.fill(Beat::default());
        (self.silent_since, self.in_vain) = (None, 0);
    }

    /// A round of questions left on `links`, one bit each. Where nobody was asked, nobody was
    /// silent.
    fn note_asked(&mut self, links: u16, now: Instant) {
        for (link, beat) in (0u32..).zip(&mut self.beats) {
            let is_asked = links.checked_shr(link).unwrap_or(0) & 1 == 1;
            beat.unasked = !is_asked;
            beat.rounds = if beat.unasked { 0 } else { beat.rounds.saturating_add(1) };
            if beat.rounds < ROUNDS {
                beat.enough_at = None;
            } else {
                beat.enough_at.get_or_insert(now);
            }
        }
    }

    /// An answer of a kernel whose daemon is heard.
    fn note_beat(&mut self, link: LinkId, at: Instant, asking: &Asking) {
        let Some(beat) = self.beats.get_mut(link.index()) else { return };
        if let Some(asked_at) = asking.asked_at.filter(|_| asking.is_lone)
            && beat.answered_at.is_none_or(|before| before < asked_at)
        {
            let before = beat.round_trip.unwrap_or_default() / 4 * 3;
            beat.round_trip = Some(at.since(asked_at).max(before));
        }
        beat.answered_at = beat.answered_at.max(Some(at));
        self.in_vain = 0;
    }

    /// When this silence will have been that of a dead host, as far as it is known by now; nothing
    /// if it may be that of a daemon. And how many questions the host has left unanswered.
    fn dead_at(&self, asking: &Asking) -> Option<(Instant, u32)> {
        let silent_since = self.silent_since.filter(|_| !self.answers)?;
        let mut verdict = None;
        for beat in &self.beats {
            let answered = beat.answered_at.is_some_and(|at| at + ANSWER_AGE_MAX >= silent_since);
            let Some(round_trip) = beat.round_trip.filter(|_| answered && !beat.unasked) else {
                continue;
            };
            let patience = asking.pause.max(round_trip.saturating_mul(ROUND_TRIPS));
            let heard_out = beat.enough_at? + patience;
            let (at, rounds) =
                verdict.unwrap_or((silent_since + asking.dead_host_time, beat.rounds));
            verdict = Some((at.max(heard_out), rounds.min(beat.rounds)));
        }
        verdict
    }
}

impl Peer {
    /// Whether the kernel of a peer like this one is asked quickly: its silence is one of all
    /// links, and nobody expects it.
    fn is_asked_quickly(&self) -> bool {
        self.presence == Presence::Late && !self.said_goodbye()
    }

    fn begin_silence(&mut self) -> bool {
        let (heard_at, received_at) = (self.heard_at(), self.received_at());
        let begins = self.is_asked_quickly() && self.pulse.silent_since != heard_at;
        if begins {
            self.pulse.begin_silence(heard_at, received_at);
        }
        begins
    }

    /// When its host is to be called dead; nothing as long as nobody can say so.
    fn host_dead_at(&self, asking: &Asking) -> Option<(Instant, u32)> {
        // One that may yet be heard for the first time is no silent one.
        let is_silent = self.is_asked_quickly() && self.links.iter().all(Link::is_silent);
        self.pulse.dead_at(asking).filter(|_| is_silent)
    }
}

impl Node {
    /// Judges the late peers by their kernels, and asks these when it is time. Called in ticks.
    pub(super) fn feel_pulses(&mut self, out: &mut Effects) {
        let (now, started) = (self.now, self.started);
        let Some(asking) = self.asking.as_mut() else { return };
        for peer in &mut self.peers {
            if peer.begin_silence() {
                asking.next_round = now;
            }
            let dead = peer.host_dead_at(asking).filter(|(at, _)| now >= *at);
            if let Some((_, questions)) = dead {
                let (node, verdict) = (peer.node(), Kernel::Silent { questions });
                out.push(Effect::Report(Event::Kernel { node, verdict }));
                peer.lose(now, started, out);
            }
        }
        if now < asking.next_round {
            return;
        }
        // One answer tells all that there is to know of a silence.
        let is_open = |peer: &Peer| peer.is_asked_quickly() && !peer.pulse.answers;
        let pause = if self.peers.iter().any(is_open) {
            asking.pause
        } else if self.peers.iter().any(Peer::is_heard) {
            INTERVAL
        } else {
            return;
        };
        asking.next_round = now + pause;
        out.push(Effect::AskKernels);
    }

    /// Takes in on which links the questions of the last round left this node.
    pub(super) fn note_asked(&mut self, links: u16, out: &mut Effects) {
        let now = self.now;
        let Some(asking) = self.asking.as_mut() else { return };
        let before = asking.asked_at.replace(now);
        asking.is_lone = before.is_none_or(|before| now >= before + INTERVAL / 2);
        for peer in &mut self.peers {
            if peer.is_asked_quickly() {
                peer.pulse.note_asked(links, now);
            } else if peer.presence == Presence::Heard && asking.is_lone {
                peer.pulse.in_vain = peer.pulse.in_vain.saturating_add(1);
                if peer.pulse.in_vain == VAIN_ROUNDS {
                    let (node, verdict) = (peer.node(), Kernel::Mute);
                    out.push(Effect::Report(Event::Kernel { node, verdict }));
                }
            }
        }
    }

    /// Takes in an answer of a peer's kernel.
    pub(super) fn note_kernel(
        &mut self,
        link: LinkId,
        node: NodeId,
        at: Instant,
        out: &mut Effects,
    ) {
        let at = at.min(self.now);
        let Some(asking) = &self.asking else { return };
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.node() == node) else { return };
        match peer.presence {
            Presence::Heard => peer.pulse.note_beat(link, at, asking),
            Presence::Late => {
                peer.begin_silence();
                if !core::mem::replace(&mut peer.pulse.answers, true) {
                    let verdict = Kernel::Answers;
                    out.push(Effect::Report(Event::Kernel { node, verdict }));
                }
            }
            Presence::Unheard | Presence::Lost => {}
        }
    }

    /// An own stall as long as a pause: no round of it counts.
    pub(super) fn forgive_pulses(&mut self, late_by: Duration) {
        if self.asking.as_ref().is_some_and(|asking| late_by >= asking.pause) {
            self.peers.iter_mut().for_each(|peer| peer.pulse.count_anew());
        }
    }

    /// When the next round is due, or a verdict.
    pub(super) fn pulse_deadline(&self) -> Option<Instant> {
        let asking = self.asking.as_ref()?;
        let mut next = None;
        for peer in self.peers.iter().filter(|peer| peer.is_heard()) {
            next = Instant::soonest(next, Some(asking.next_round));
            let dead_at = peer.host_dead_at(asking).map(|(at, _)| at);
            next = Instant::soonest(next, dead_at.filter(|at| *at > self.now));
        }
        next
    }
}
