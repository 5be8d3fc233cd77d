//! What is worse than it should be while the service goes on; told once when it begins and ends.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Change, Degradation, Event, LinkState};
use super::link::Link;
use super::node::Node;
use super::peer::{Peer, Presence};
use crate::types::{Instant, NicId, PeerState, Stray};

/// How something stands that can be degraded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Well,
    Bad,
    /// As it was before: there is no news of it yet.
    Unsettled,
    /// Not this node's to judge: for a node of its role, or of a peer that is not heard.
    Unjudged,
}

impl Standing {
    /// What it does to something that was bad or was not.
    fn change(self, was_bad: bool) -> Option<Change> {
        match (self, was_bad) {
            (Self::Bad, false) => Some(Change::Begun),
            (Self::Well, true) => Some(Change::Mended),
            (Self::Unjudged, true) => Some(Change::Unjudged),
            (Self::Bad, true) | (Self::Well | Self::Unjudged, false) | (Self::Unsettled, _) => None,
        }
    }

    fn of(is_bad: bool) -> Self {
        if is_bad { Self::Bad } else { Self::Well }
    }

    /// The same, if it is this node's to judge.
    fn judged_if(self, may_judge: bool) -> Self {
        if may_judge { self } else { Self::Unjudged }
    }
}

/// All that can be degraded, and since when it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Health {
    /// In the order of [`Node::each_degradation`].
    list: Vec<(Degradation, Option<Instant>)>,
}

impl Health {
    /// Everything is well.
    pub(super) fn new(node: &Node) -> Self {
        let mut list = Vec::new();
        node.each_degradation(|what, _| {
            list.push((what, None));
            true
        });
        Self { list }
    }

    /// What is degraded now, and since when.
    pub(super) fn degraded(&self) -> impl Iterator<Item = (Degradation, Instant)> + '_ {
        self.list.iter().filter_map(|(what, since)| since.map(|since| (*what, since)))
    }
}

impl Node {
    /// Tells what has become worse or better since the last step.
    pub(super) fn report_health(&mut self, out: &mut Effects) {
        let mut told = self.health.list.iter();
        let mut is_told = |standing: Standing| {
            told.next().is_some_and(|(_, since)| standing.change(since.is_some()).is_none())
        };
        if self.each_degradation(|_, standing| is_told(standing)) {
            return;
        }
        let now = self.now;
        let mut health = core::mem::take(&mut self.health);
        let mut places = health.list.iter_mut();
        self.each_degradation(|what, standing| {
            let Some((known, since)) = places.next() else { return false };
            debug_assert_eq!(*known, what, "the order has changed");
            if let Some(change) = standing.change(since.is_some()) {
                *since = (change == Change::Begun).then_some(now);
                out.push(Effect::Report(Event::Degraded { what, change }));
            }
            true
        });
        self.health = health;
    }

    /// Tells `note` all that can be degraded, always in the same order, and how it stands; goes on
    /// as long as `note` says so, and then says so itself.
    fn each_degradation(&self, mut note: impl FnMut(Degradation, Standing) -> bool) -> bool {
        let listening_over = self.now > self.started;
        let path_bad = listening_over && !self.path.is_good_against(u8::MAX);
        note(Degradation::Record, Standing::of(self.memory.is_failing(self.now)))
            && note(Degradation::Mark, Standing::of(self.holding.mark_failed))
            && note(Degradation::PathBad, Standing::of(path_bad))
            && self.peers.iter().all(|peer| {
                let node = peer.node();
                self.each_degradation_of(peer, &mut note)
                    && self.devices.iter().filter(|device| device.node == node).all(|device| {
                        let failing = Standing::of(device.is_failing());
                        let distrusted = Standing::of(device.distrusted);
                        let [own, other] = [Stray::Own, Stray::Other].map(|stray| {
                            let standing = Standing::of(device.stray == Some(stray));
                            (Degradation::FenceStray(device.id, stray), standing)
                        });
                        note(Degradation::FenceDevice(device.id), failing)
                            && note(Degradation::FenceContradicted(device.id), distrusted)
                            && note(own.0, own.1)
                            && note(other.0, other.1)
                    })
            })
    }

    fn each_degradation_of(
        &self,
        peer: &Peer,
        note: &mut impl FnMut(Degradation, Standing) -> bool,
    ) -> bool {
        let (node, is_heard, stopped) = (peer.node(), peer.is_heard(), peer.said_goodbye());
        let is_active = self.state() == PeerState::Active;
        let gone = peer.presence == Presence::Lost || stopped;
        let missing = Standing::of(gone).judged_if(is_active);
        let (ready, differs) = match &peer.said {
            Some(said) => (
                Standing::of(!said.flags.eligible),
                match peer.config_digest {
                    Some(theirs) => Standing::of(theirs != self.settings.config_digest),
                    None => Standing::Unsettled,
                },
            ),
            None => (Standing::Unsettled, Standing::Unsettled),
        };
        note(Degradation::PeerMissing(node), missing)
            && note(
                Degradation::PeerNotReady(node),
                ready.judged_if(is_active && is_heard && !stopped),
            )
            && peer.links.iter().all(|link| {
                let standing = self.link_standing(peer, link).judged_if(is_heard && !stopped);
                note(Degradation::LinkDown(node, link.id), standing)
            })
            && note(Degradation::ConfigDiffers(node), differs.judged_if(is_heard))
            && (0..self.settings.nics).map(NicId).all(|nic| {
                let standing = self.crossing_standing(peer, nic).judged_if(is_heard && !stopped);
                note(Degradation::Parted(node, nic), standing)
            })
    }

    /// Nothing passes between two NICs of which both are called good. Where one is bad that is told
    /// already.
    fn crossing_standing(&self, peer: &Peer, nic: NicId) -> Standing {
        let both = self.path.is_nic_good(nic) && self.path.is_good_there(nic, peer.good_nics());
        match peer.crossing.passes(nic) {
            Some(false) if !both => Standing::Unjudged,
            Some(false) if !self.is_acquainted(peer) => Standing::Unsettled,
            Some(false) => Standing::Bad,
            Some(true) | None => Standing::Well,
        }
    }

    fn link_standing(&self, peer: &Peer, link: &Link) -> Standing {
        match link.state() {
            LinkState::OneWay => Standing::Bad,
            // A peer that is heard again on one link is heard on the others soon.
            LinkState::Down => match peer.heard_since() {
                Some(since) if self.now >= since + link.deadtime => Standing::Bad,
                Some(_) | None => Standing::Unsettled,
            },
            // It is heard, and has not said yet that it hears us.
            LinkState::Up if link.is_unheard() => Standing::Unsettled,
            LinkState::Up => Standing::Well,
            LinkState::Quiet | LinkState::Late => Standing::Unsettled,
        }
    }
}
