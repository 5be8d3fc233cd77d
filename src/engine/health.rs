//! What is worse than it should be while the service goes on; told once when it begins and ends.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Degradation, Event, LinkState};
use super::node::Node;
use super::peer::Presence;
use crate::types::{Instant, PeerState};

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
        let mut is_told = |on: bool| told.next().is_some_and(|(_, since)| since.is_some() == on);
        if self.each_degradation(|_, on| is_told(on)) {
            return;
        }
        let now = self.now;
        let mut health = core::mem::take(&mut self.health);
        let mut places = health.list.iter_mut();
        self.each_degradation(|what, on| {
            let Some((known, since)) = places.next() else { return false };
            debug_assert_eq!(*known, what, "the order has changed");
            if on != since.is_some() {
                *since = on.then_some(now);
                out.push(Effect::Report(Event::Degraded { what, on }));
            }
            true
        });
        self.health = health;
    }

    /// Tells `note` all that can be degraded, always in the same order, and whether it is; goes on
    /// as long as `note` says so, and then says so itself.
    fn each_degradation(&self, mut note: impl FnMut(Degradation, bool) -> bool) -> bool {
        let is_active = self.state() == PeerState::Active;
        let listening_over = self.now > self.started;
        let ours = self.settings.config_digest;
        note(Degradation::Record, self.memory.is_failing(self.now))
            && note(Degradation::Mark, self.holding.mark_failed)
            && note(Degradation::PathBad, listening_over && !self.path.is_good_against(u8::MAX))
            && self.peers.iter().all(|peer| {
                let (node, is_heard, said) = (peer.node(), peer.is_heard(), peer.said.as_ref());
                let stopped = said.is_some_and(|said| said.state == PeerState::Stopped);
                let gone = peer.presence == Presence::Lost || stopped;
                let ready = stopped || said.is_none_or(|said| said.flags.eligible);
                let differs = said.is_some_and(|said| said.config_digest != ours);
                note(Degradation::PeerMissing(node), is_active && gone)
                    && note(Degradation::PeerNotReady(node), is_active && is_heard && !ready)
                    && peer.links.iter().all(|link| {
                        // A peer that is heard again on one link is heard on the others soon.
                        let heard_since = peer.heard_since().map(|since| since + link.deadtime);
                        let is_known = heard_since.is_some_and(|until| self.now >= until);
                        let is_bad = is_known && is_bad(link.state());
                        note(Degradation::LinkDown(node, link.id), is_bad)
                    })
                    && note(Degradation::ConfigDiffers(node), is_heard && differs)
                    && self.devices.iter().filter(|device| device.node == node).all(|device| {
                        note(Degradation::FenceDevice(device.id), device.is_failing())
                            && note(Degradation::FenceContradicted(device.id), device.distrusted)
                    })
            })
    }
}

fn is_bad(link: LinkState) -> bool {
    match link {
        LinkState::Down | LinkState::OneWay => true,
        LinkState::Quiet | LinkState::Up | LinkState::Late => false,
    }
}
