//! What this node tells its peers: the heartbeats, when and with what in them.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::node::Node;
use super::peer::Peer;
use crate::types::heartbeat::{Flags, LINKS_MAX};
use crate::types::{
    Hears, Heartbeat, Incarnation, Instant, LinkId, Mac, NicId, PeerState, Seq, Session, Term,
};

/// All that a heartbeat says besides the link and the MACs: when it changes, it is told at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Told {
    state: Option<PeerState>,
    term: Term,
    ask: Term,
    flags: Flags,
    granted: Term,
    identity: Incarnation,
    good_nics: u8,
}

/// To which incarnation of the addressee a heartbeat answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answering {
    pub(super) incarnation: Incarnation,
    pub(super) session: Session,
}

impl Node {
    /// Sends every heartbeat that is due, and all of them if there is news.
    pub(super) fn speak(&mut self, out: &mut Effects) {
        for index in 0..self.peers.len() {
            let Some(peer) = self.peers.get(index) else { continue };
            let told = self.told(peer);
            let news = peer.told != told;
            if news || peer.links.iter().any(|link| link.is_due(self.now)) {
                self.tell(index, told, news, out);
            }
        }
    }

    /// Tells a peer on every link if there is news, else on those on which a heartbeat is due.
    fn tell(&mut self, index: usize, told: Told, news: bool, out: &mut Effects) {
        let Some(peer) = self.peers.get_mut(index) else { return };
        peer.told = told;
        for link in 0..peer.links.len() {
            let link_due = |peer: &Peer| peer.links.get(link).is_some_and(|l| l.is_due(self.now));
            if news || self.peers.get(index).is_some_and(link_due) {
                self.send(index, link, told, None, out);
            }
        }
    }

    /// A service NIC of this node has another MAC: told at once, as if nothing had been told yet.
    pub(super) fn note_mac(&mut self, nic: NicId, mac: Mac) {
        let Some(place) = self.macs.get_mut(nic.index()).filter(|place| **place != mac) else {
            return;
        };
        *place = mac;
        for peer in &mut self.peers {
            peer.told = Told::default();
        }
    }

    /// Answers a heartbeat of an incarnation that has not proven itself yet, so that it can. At
    /// most once per keepalive for the same one: a recorded one must not make us shout.
    pub(super) fn answer_introduction(
        &mut self,
        index: usize,
        heartbeat: &Heartbeat,
        out: &mut Effects,
    ) {
        let link = heartbeat.link.index();
        let Some(settings) = self.settings.links.get(link) else { return };
        let now = self.now;
        let Some(peer) = self.peers.get_mut(index) else { return };
        let recent = peer.introduced.is_some_and(|(incarnation, at)| {
            incarnation == heartbeat.incarnation && now < at + settings.keepalive
        });
        if recent {
            return;
        }
        peer.introduced = Some((heartbeat.incarnation, now));
        let answering =
            Answering { incarnation: heartbeat.incarnation, session: heartbeat.session };
        let Some(told) = self.peers.get(index).map(|peer| self.told(peer)) else { return };
        self.send(index, link, told, Some(answering), out);
    }

    /// Sends one heartbeat: an ordinary one, or one that answers an introduction.
    fn send(
        &mut self,
        index: usize,
        link: usize,
        told: Told,
        introduction: Option<Answering>,
        out: &mut Effects,
    ) {
        self.seq = Seq(self.seq.0.saturating_add(1));
        self.sent = self.next_sent();
        let Some(heartbeat) = self.compose(index, link, told, introduction) else { return };
        out.push(Effect::Send(heartbeat));
        if introduction.is_some() {
            return;
        }
        let now = self.now;
        if let Some(link) = self.peers.get_mut(index).and_then(|peer| peer.links.get_mut(link)) {
            link.send_at = now + link.keepalive;
        }
    }

    /// The time that the next heartbeat tells: each tells a later one, by a nanosecond at least, so
    /// that an echo tells which one was heard.
    pub(super) fn next_sent(&self) -> Instant {
        self.now.max(Instant::from_nanos(self.sent.as_nanos().saturating_add(1)))
    }

    fn compose(
        &self,
        index: usize,
        link: usize,
        told: Told,
        introduction: Option<Answering>,
    ) -> Option<Heartbeat> {
        let peer = self.peers.get(index)?;
        let echo = peer.links.get(link)?.echo().filter(|_| introduction.is_none());
        let answering = introduction.unwrap_or_else(|| accepted(peer));
        // An incarnation that is not believed yet gets no word that it could take over on: its
        // predecessor's words are still believed here, and both could be acted on at once.
        let (ask, grant, flags) = match introduction {
            Some(_) => (Term::NONE, Term::NONE, Flags { released: false, ..told.flags }),
            None => (told.ask, told.granted, told.flags),
        };
        Some(Heartbeat {
            from: self.settings.local,
            to: peer.node(),
            link: LinkId(u8::try_from(link).ok()?),
            incarnation: self.settings.incarnation,
            boot: self.settings.boot,
            seq: self.seq,
            state: self.role.get().state(),
            term: self.term,
            held_term: self.memory.held_term(),
            ask,
            grant,
            flags,
            echo_incarnation: answering.incarnation,
            echo_session: answering.session,
            session: peer.session,
            sent: self.sent.as_nanos(),
            echo_sent: echo.map_or(0, |echo| echo.sent),
            echo_held: echo.map_or(0, |echo| self.now.nanos_since(echo.at)),
            config_digest: Some(self.settings.config_digest),
            failcount_digest: Some(0),
            machine: Some(self.settings.machine),
            good_nics: self.path.good_mask(),
            macs: self.macs.map(Some),
            hears: hearing(peer),
        })
    }

    fn told(&self, peer: &Peer) -> Told {
        Told {
            state: Some(self.role.get().state()),
            term: self.term,
            ask: self.bid.unwrap_or(Term::NONE),
            flags: self.flags(),
            // A promise stands, but nobody may act on it while this node's kernel may hold.
            granted: if self.is_purging() { Term::NONE } else { peer.granted },
            identity: accepted(peer).incarnation,
            good_nics: self.path.good_mask(),
        }
    }

    fn flags(&self) -> Flags {
        Flags {
            eligible: self.is_eligible(),
            released: self.released,
            purging: self.is_purging(),
            held: false,
        }
    }
}

/// The incarnation of the peer that is believed, and the session that it told last.
fn accepted(peer: &Peer) -> Answering {
    Answering {
        incarnation: peer.identity.map_or(Incarnation::NONE, |identity| identity.incarnation),
        session: peer.identity.map_or(Session::default(), |identity| identity.session),
    }
}

fn hearing(peer: &Peer) -> [Hears; LINKS_MAX] {
    let mut hears = [Hears::NoLink; LINKS_MAX];
    for (place, link) in hears.iter_mut().zip(&peer.links) {
        *place = link.hears();
    }
    hears
}
