//! What is worse than it should be while the service goes on; told once when it begins and ends.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::{Degradation, Event, LinkState};
use super::node::Node;
use super::peer::Presence;
use super::settings::Settings;
use crate::types::{Instant, PeerState};

/// All that can be degraded, and since when it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Health {
    list: Vec<(Degradation, Option<Instant>)>,
}

impl Health {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut list = vec![Degradation::Record, Degradation::Mark, Degradation::PathBad];
        for peer in &settings.peers {
            list.push(Degradation::PeerMissing(peer.node));
            list.push(Degradation::PeerNotReady(peer.node));
            let links = settings.links.iter().map(|link| link.id);
            list.extend(links.map(|link| Degradation::LinkDown(peer.node, link)));
            list.push(Degradation::ConfigDiffers(peer.node));
            let devices = peer.levels.iter().flat_map(|level| &level.devices);
            list.extend(devices.map(|id| Degradation::FenceDevice(*id)));
        }
        Self { list: list.into_iter().map(|what| (what, None)).collect() }
    }

    /// What is degraded now, and since when.
    pub(super) fn degraded(&self) -> impl Iterator<Item = (Degradation, Instant)> + '_ {
        self.list.iter().filter_map(|(what, since)| since.map(|since| (*what, since)))
    }
}

impl Node {
    /// Tells what has become worse or better since the last step.
    pub(super) fn report_health(&mut self, out: &mut Effects) {
        let now = self.now;
        for index in 0..self.health.list.len() {
            let Some((what, since)) = self.health.list.get(index).copied() else { continue };
            let on = self.is_degraded(what);
            if on == since.is_some() {
                continue;
            }
            if let Some((_, since)) = self.health.list.get_mut(index) {
                *since = on.then_some(now);
            }
            out.push(Effect::Report(Event::Degraded { what, on }));
        }
    }

    fn is_degraded(&self, what: Degradation) -> bool {
        match what {
            Degradation::Record => self.memory.is_failing(self.now),
            Degradation::Mark => self.holding.mark_failed,
            Degradation::PathBad => {
                let listening_over = self.now > self.started;
                listening_over && !self.path.is_good_against(u8::MAX)
            }
            Degradation::PeerMissing(node) => {
                self.state() == PeerState::Active
                    && self.peers.iter().any(|peer| {
                        let stopped = peer.said.is_some_and(|s| s.state == PeerState::Stopped);
                        peer.node() == node && (peer.presence == Presence::Lost || stopped)
                    })
            }
            Degradation::LinkDown(node, id) => self.peers.iter().any(|peer| {
                let link = peer.links.get(id.index());
                let is_bad = link.is_some_and(|link| match link.state() {
                    LinkState::Down | LinkState::OneWay => true,
                    LinkState::Quiet | LinkState::Up | LinkState::Late => false,
                });
                peer.node() == node && peer.is_heard() && is_bad
            }),
            Degradation::PeerNotReady(node) => {
                self.state() == PeerState::Active
                    && self.peers.iter().any(|peer| {
                        let not_ready = peer.said.is_some_and(|said| {
                            !said.flags.eligible && said.state != PeerState::Stopped
                        });
                        peer.node() == node && peer.is_heard() && not_ready
                    })
            }
            Degradation::ConfigDiffers(node) => self.peers.iter().any(|peer| {
                let differs =
                    peer.said.is_some_and(|s| s.config_digest != self.settings.config_digest);
                peer.node() == node && peer.is_heard() && differs
            }),
            Degradation::FenceDevice(id) => {
                self.devices.iter().any(|device| device.id == id && device.is_failing())
            }
        }
    }
}
