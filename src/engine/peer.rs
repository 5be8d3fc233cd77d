//! What is believed of one peer, from all its links together.
//!
//! A message of the incarnation that is known is judged by its link's replay window. A message of
//! another one is an *introduction*: it changes nothing until a message of that incarnation
//! answers to ours and to the session we told, which no recorded message can.

use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::climb::Ended;
use super::crossing::Crossing;
use super::effect::{Effect, Effects};
use super::event::{Event, Life, LinkState, Refusal};
use super::fence::Ladder;
use super::freshness::Freshness;
use super::link::Link;
use super::power_on::PowerOn;
use super::proof::Proof;
use super::pulse::Pulse;
use super::settings::{AfterFence, LinkSettings, PeerSettings};
use super::speech::Told;
use crate::types::heartbeat::NICS_MAX;
use crate::types::{
    BootId, DeviceId, Heartbeat, Incarnation, Instant, Mac, MachineId, NodeId, PeerState, Seq,
    Session, Span, Term,
};

/// Which life of the peer is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) incarnation: Incarnation,
    pub(super) boot: BootId,
    /// The session it told last.
    pub(super) session: Session,
}

/// Whether the peer is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Presence {
    /// Not heard since our start, and it is too early to judge.
    Unheard,
    /// Heard on at least one link.
    Heard,
    /// Late on all links.
    Late,
    /// Silent on all links for their deadtimes, or never heard until the end of `initdead`.
    Lost,
}

/// What became of a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hearing {
    /// It is the peer's; the life is given if it is not the one that was heard just before.
    Accepted(Option<Life>),
    /// It is of an incarnation that has not answered to ours yet.
    Introduced,
    /// It was sent before its incarnation was believed: old news, or somebody's recording.
    Early,
    /// It is refused.
    Refused(Refusal),
}

/// One other member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Peer {
    node: NodeId,
    /// Shared by all copies of this node.
    pub(super) settings: Arc<PeerSettings>,
    pub(super) links: Vec<Link>,
    pub(super) presence: Presence,
    /// Since when it has that presence.
    pub(super) presence_since: Instant,
    pub(super) identity: Option<Identity>,
    /// How many incarnations of it were accepted; it echoes this.
    pub(super) session: Session,
    /// From when on this life of it is known for as long as a network may take at a start.
    pub(super) acquainted_at: Instant,
    /// The newest accepted heartbeat, if it may still be believed.
    pub(super) said: Option<Heartbeat>,
    /// The number of the heartbeat that made this life believed. No window knows which ones before
    /// it have come already.
    first_seq: Seq,
    /// The number of the newest heartbeat that was ever believed of this life: an older one that
    /// comes late says nothing, whatever is believed meanwhile.
    newest_seq: Seq,
    /// The role and term it last told, believed or not; for judging its claims and for people.
    pub(super) last_role: Option<(PeerState, Term)>,
    /// Since when it has told that role.
    pub(super) role_since: Instant,
    /// Which of its service NICs are good, as it told last; all, if it never did.
    good_nics: u8,
    /// The MACs of its service NICs, as it told them last, in whatever life.
    pub(super) macs: [Mac; NICS_MAX],
    /// Which of them it has told in this life, one bit each.
    macs_told: u8,
    /// The digest of its configuration, as it told it last in this life.
    pub(super) config_digest: Option<u64>,
    /// What it reads of its own machine, as it told it last, in whatever life.
    pub(super) machine: MachineId,
    /// What the probes to and from it over the service NICs tell.
    pub(super) crossing: Crossing,
    /// A proof by fencing or by an operator, not yet used. Grants and releases are in `said`.
    /// Never read back from a text: only evidence makes one.
    #[serde(skip_deserializing)]
    pub(super) proof: Option<Proof>,
    /// When that proof was had: what was sent later contradicts it.
    pub(super) proof_at: Instant,
    /// Up to which term this node granted it to take over; [`Term::NONE`] if not.
    pub(super) granted: Term,
    pub(super) ladder: Option<Ladder>,
    /// What the devices of a ladder that was dropped may have carried out since it was heard.
    pub(super) commanded: Vec<(DeviceId, Ended)>,
    /// What its kernel answers; nothing where kernels are not asked.
    pub(super) pulse: Pulse,
    /// The level that cut its power, if it is to be powered on again after the takeover.
    pub(super) fenced_at: Option<usize>,
    /// How far that has come.
    pub(super) power_on: Option<PowerOn>,
    /// When one of its MACs last answered for a VIP.
    pub(super) answered_at: Option<Instant>,
    /// Whether the last tick found its VIPs silent.
    pub(super) silent: bool,
    /// Until when it is left serving unheard; nothing while it is not isolated from us.
    pub(super) grace_until: Option<Instant>,
    /// The introduction that was answered last, and when.
    pub(super) introduced: Option<(Incarnation, Instant)>,
    /// Since when introductions come that lead to nothing, and when the last one came.
    introducing: Option<(Instant, Instant)>,
    /// What it was told last: when that changes, it is told at once.
    pub(super) told: Told,
}

impl Peer {
    pub(super) fn new(settings: PeerSettings, links: &[LinkSettings], now: Instant) -> Self {
        Self {
            node: settings.node,
            settings: Arc::new(settings),
            links: links.iter().map(|link| Link::new(*link, now)).collect(),
            presence: Presence::Unheard,
            presence_since: now,
            identity: None,
            session: Session::default(),
            acquainted_at: now,
            said: None,
            first_seq: Seq::default(),
            newest_seq: Seq::default(),
            last_role: None,
            role_since: now,
            good_nics: u8::MAX,
            macs: [Mac::NONE; NICS_MAX],
            macs_told: 0,
            config_digest: None,
            machine: MachineId::UNKNOWN,
            crossing: Crossing::default(),
            proof: None,
            proof_at: now,
            granted: Term::NONE,
            ladder: None,
            commanded: Vec::new(),
            pulse: Pulse::default(),
            fenced_at: None,
            power_on: None,
            answered_at: None,
            silent: false,
            grace_until: None,
            introduced: None,
            introducing: None,
            told: Told::default(),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Its power was cut at this level, counted from 0.
    pub(super) fn note_fenced_at(&mut self, level: usize) {
        let powers_on = self.settings.after_fence == AfterFence::PowersOn;
        self.fenced_at = powers_on.then_some(level);
    }

    /// Whether it is heard, be it late.
    pub(super) fn is_heard(&self) -> bool {
        match self.presence {
            Presence::Heard | Presence::Late => true,
            Presence::Unheard | Presence::Lost => false,
        }
    }

    /// Whether it is heard and says that it may hold resources.
    pub(super) fn is_heard_holding(&self) -> bool {
        self.is_heard() && self.said.as_ref().is_some_and(|said| said.state.may_hold())
    }

    /// Whether the last that it told is that its daemon ends: its silence is expected.
    pub(super) fn said_goodbye(&self) -> bool {
        self.last_role.is_some_and(|(state, _)| state == PeerState::Stopped)
    }

    /// Whether it ever was heard in this life of ours.
    pub(super) fn was_heard(&self) -> bool {
        self.identity.is_some()
    }

    /// Gives its ladder up. What the devices were told is kept, as long as it is not heard, so that
    /// whoever switched it on meanwhile is not thwarted.
    pub(super) fn drop_ladder(&mut self, out: &mut Effects) {
        let Some(mut ladder) = self.ladder.take() else { return };
        ladder.cancel(out);
        self.commanded = if self.is_heard() { Vec::new() } else { ladder.into_commanded() };
    }

    /// Whether that incarnation's word was the last one that it could not be believed by.
    pub(super) fn has_introduced(&self, incarnation: Incarnation) -> bool {
        self.introduced.is_some_and(|(introduced, _)| introduced == incarnation)
    }

    /// Takes an introduction in; whether they have gone on for longer than `deadtime`, without a
    /// gap as long as that. A daemon that has just started is accepted within a round trip.
    pub(super) fn note_introduction(&mut self, now: Instant, deadtime: Duration) -> bool {
        let before = self.introducing.filter(|(_, last)| now < *last + deadtime);
        let since = before.map_or(now, |(since, _)| since);
        self.introducing = Some((since, now));
        now > since + deadtime
    }

    /// Which of its service NICs it last said are good; all, if it never said.
    pub(super) fn good_nics(&self) -> u8 {
        self.good_nics
    }

    /// Whether `mac` is known to be its, or could be because it has not told all of them yet, or
    /// told that it has none.
    pub(super) fn may_own(&self, mac: Mac) -> bool {
        let knows_all = self.macs_told == u8::MAX;
        self.owns(mac) || !knows_all || self.macs.iter().all(|own| *own == Mac::NONE)
    }

    /// Whether `mac` is known to be its.
    pub(super) fn owns(&self, mac: Mac) -> bool {
        mac != Mac::NONE && self.macs.contains(&mac)
    }

    /// What a heartbeat of it would be to the window of its link, and whether it would be its
    /// newest word; nothing if it is of another incarnation than the known one.
    pub(super) fn freshness_of(&self, heartbeat: &Heartbeat) -> Option<(Freshness, bool)> {
        self.identity.filter(|id| id.incarnation == heartbeat.incarnation)?;
        let link = self.links.get(heartbeat.link.index())?;
        Some((link.freshness_of(heartbeat.seq), heartbeat.seq > self.newest_seq))
    }

    /// Whether a heartbeat of the known incarnation was sent before that one was believed.
    pub(super) fn is_early(&self, seq: Seq) -> bool {
        seq < self.first_seq
    }

    /// Since when this life of it is heard without a gap; nothing while it is not heard.
    pub(super) fn heard_since(&self) -> Option<Instant> {
        self.is_heard().then_some(self.presence_since)
    }

    /// The freshest moment at which it was heard on any link.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.links.iter().filter_map(Link::heard_at).max()
    }

    /// When this life of it was last truly heard: unlike [`Peer::heard_at`], own stalls are not
    /// taken off.
    pub(super) fn received_at(&self) -> Option<Instant> {
        self.links.iter().filter_map(Link::echo).map(|echo| echo.at).max()
    }

    /// Takes in an authentic heartbeat that says it is from this peer.
    pub(super) fn hear(
        &mut self,
        heartbeat: &Heartbeat,
        at: Instant,
        now: Instant,
        us: Incarnation,
    ) -> Hearing {
        let Some(link) = self.links.get_mut(heartbeat.link.index()) else {
            return Hearing::Refused(Refusal::OtherLink);
        };
        let known = self.identity.filter(|id| id.incarnation == heartbeat.incarnation);
        if known.is_some() && heartbeat.seq < self.first_seq {
            return Hearing::Early;
        }
        if known.is_some() {
            match link.admit(heartbeat.seq) {
                Freshness::New => {}
                Freshness::Replayed => return Hearing::Refused(Refusal::Replayed),
                Freshness::Stale => return Hearing::Refused(Refusal::Stale),
            }
            link.hear(heartbeat, at);
            let newest = heartbeat.seq > self.newest_seq;
            if newest {
                self.believe(heartbeat, now);
            }
            let again = self.note_presence(heartbeat, at, now);
            return Hearing::Accepted(again.then_some(Life::Same));
        }
        let answers_us = heartbeat.echo_incarnation == us
            && heartbeat.echo_session == self.session
            && heartbeat.incarnation != Incarnation::NONE;
        if !answers_us {
            return Hearing::Introduced;
        }
        let life = self.begin_life(heartbeat);
        if let Some(link) = self.links.get_mut(heartbeat.link.index()) {
            link.admit(heartbeat.seq);
            link.hear(heartbeat, at);
        }
        self.believe(heartbeat, now);
        self.note_presence(heartbeat, at, now);
        Hearing::Accepted(Some(life))
    }

    fn begin_life(&mut self, heartbeat: &Heartbeat) -> Life {
        let life = match self.identity {
            None => Life::First,
            Some(before) if before.boot == heartbeat.boot => Life::Restarted,
            Some(_) => Life::Rebooted,
        };
        self.identity = Some(Identity {
            incarnation: heartbeat.incarnation,
            boot: heartbeat.boot,
            session: heartbeat.session,
        });
        self.session = Session(self.session.0.wrapping_add(1));
        self.first_seq = heartbeat.seq;
        self.macs_told = 0;
        self.config_digest = None;
        self.said = None;
        self.granted = Term::NONE;
        self.introducing = None;
        if life == Life::Rebooted {
            self.pulse.distrust();
        }
        for link in &mut self.links {
            link.reset();
        }
        life
    }

    fn believe(&mut self, heartbeat: &Heartbeat, now: Instant) {
        let holds = heartbeat.state.may_hold();
        let term = if holds { heartbeat.held_term } else { heartbeat.term };
        let role = (heartbeat.state, term);
        if self.last_role.is_none_or(|(state, _)| state != heartbeat.state) {
            self.role_since = now;
        }
        self.last_role = Some(role);
        self.newest_seq = heartbeat.seq;
        if let Some(identity) = self.identity.as_mut() {
            identity.session = heartbeat.session;
        }
        self.note_macs(&heartbeat.macs);
        self.config_digest = heartbeat.config_digest.or(self.config_digest);
        self.machine = heartbeat.machine.unwrap_or(self.machine);
        self.good_nics = heartbeat.good_nics;
        self.said = Some(*heartbeat);
        for (link, hears) in self.links.iter_mut().zip(heartbeat.hears) {
            link.note_hearing(hears, now);
        }
    }

    /// Takes in what it said of its MACs; what it did not say stays as it was.
    fn note_macs(&mut self, said: &[Option<Mac>; NICS_MAX]) {
        let mut bit = 1_u8;
        for (place, said) in self.macs.iter_mut().zip(said) {
            if let Some(mac) = said {
                *place = *mac;
                self.macs_told |= bit;
            }
            bit = bit.rotate_left(1);
        }
    }

    /// Whether the peer is heard by this heartbeat after it was not.
    fn note_presence(&mut self, heartbeat: &Heartbeat, at: Instant, now: Instant) -> bool {
        let deadtime =
            self.links.get(heartbeat.link.index()).map_or(Span::default(), |link| link.deadtime);
        if now >= at + deadtime {
            return false;
        }
        let before = self.presence;
        if before != Presence::Heard {
            self.presence = Presence::Heard;
            self.commanded.clear();
            if !matches!(before, Presence::Late) {
                self.presence_since = now;
            }
        }
        matches!(before, Presence::Lost)
    }

    /// Judges all links, and the presence from them. `started` is when the listening began and
    /// `initdead_until` when a peer that was never heard counts as lost. The silence of one that
    /// said goodbye is nothing to tell.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        started: Instant,
        initdead_until: Instant,
        out: &mut Effects,
    ) {
        let node = self.node();
        let is_expected = self.said_goodbye();
        for link in &mut self.links {
            if let Some(state) = link.judge(now, started).filter(|_| !is_expected) {
                let link = link.id;
                out.push(Effect::Report(Event::Link { node, link, state }));
            }
        }
        let presence = match self.presence {
            Presence::Unheard if now >= initdead_until => Presence::Lost,
            Presence::Unheard => Presence::Unheard,
            Presence::Lost => Presence::Lost,
            Presence::Heard | Presence::Late => self.presence_by_links(),
        };
        if presence == self.presence {
            return;
        }
        self.presence = presence;
        match presence {
            Presence::Late if !is_expected => out.push(Effect::Report(Event::PeerLate { node })),
            Presence::Lost => self.lose(now, started, out),
            Presence::Late | Presence::Heard | Presence::Unheard => {}
        }
    }

    /// It is lost from now on.
    pub(super) fn lose(&mut self, now: Instant, started: Instant, out: &mut Effects) {
        self.presence = Presence::Lost;
        self.presence_since = now;
        let silent = now.since(self.heard_at().unwrap_or(started));
        if !self.said_goodbye() {
            let (node, was_heard) = (self.node(), self.was_heard());
            out.push(Effect::Report(Event::PeerLost { node, silent, was_heard }));
        }
    }

    fn presence_by_links(&self) -> Presence {
        let alive = |link: &&Link| match link.state() {
            LinkState::Up | LinkState::OneWay => true,
            LinkState::Late | LinkState::Quiet | LinkState::Down => false,
        };
        // A link whose first heartbeat may still come decides nothing before its own deadtime.
        let undecided = |link: &Link| matches!(link.state(), LinkState::Late | LinkState::Quiet);
        if self.links.iter().any(|link| alive(&link)) {
            Presence::Heard
        } else if self.links.iter().any(undecided) {
            Presence::Late
        } else {
            Presence::Lost
        }
    }

    /// Own lateness is not this peer's silence.
    pub(super) fn forgive(&mut self, late_by: Duration, now: Instant) {
        for link in &mut self.links {
            link.forgive(late_by, now);
        }
        self.answered_at = self.answered_at.map(|at| (at + late_by).min(now));
    }

    /// Believes nothing any more of what it said and of what was proven of it.
    pub(super) fn distrust(&mut self) {
        self.said = None;
        self.answered_at = None;
        self.silent = false;
        self.pulse.distrust();
    }
}
