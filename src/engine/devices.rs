//! The fence devices of the peers, as last read: known to work before they are needed.
//!
//! A check only tells the operator: it never delays or forbids a real attempt, which overtakes it.
//! One thing it can do: a level whose devices all read off while their host went on speaking is
//! watching the wrong machine, and its off proves nothing until it has read on.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Effects};
use super::event::Event;
use super::input::Order;
use super::node::Node;
use super::settings::{Level, Settings};
use crate::types::{DeviceId, FenceFault, Instant, NodeId, OpId, Power};

/// How long after an off reading a host may still be heard on a slow path without contradicting it.
const CONTRADICTION_MARGIN: Duration = Duration::from_secs(1);

/// What is known of one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) node: NodeId,
    /// Its place on the ladder, counted from 1.
    pub(super) level: u8,
    timeout: Duration,
    /// What it last said, and when.
    pub(super) last: Option<(Result<Power, FenceFault>, Instant)>,
    /// The last power it read, and when.
    pub(super) power: Option<(Power, Instant)>,
    /// Since when it gives no reading.
    pub(super) failing_since: Option<Instant>,
    /// Since when it reads off, reading for reading.
    off_since: Option<Instant>,
    check: Option<OpId>,
    check_at: Instant,
    /// Whether its off is no proof.
    pub(super) distrusted: bool,
}

/// All fence devices of all peers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Devices {
    list: Vec<Device>,
    interval: Duration,
}

impl Devices {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let mut list = Vec::new();
        for peer in &settings.peers {
            for (index, level) in peer.levels.iter().enumerate() {
                assert!(!level.devices.is_empty(), "a level without devices would prove anything");
                list.extend(level.devices.iter().map(|id| Device {
                    id: *id,
                    node: peer.node,
                    level: u8::try_from(index + 1).unwrap_or(u8::MAX),
                    timeout: level.timeout,
                    last: None,
                    power: None,
                    failing_since: None,
                    off_since: None,
                    check: None,
                    check_at: now,
                    distrusted: false,
                }));
            }
        }
        Self { list, interval: settings.fence_check_interval }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Device> {
        self.list.iter()
    }

    pub(super) fn last_reading(&self, id: DeviceId) -> Option<Result<Power, FenceFault>> {
        self.list.iter().find(|d| d.id == id).and_then(|d| d.last).map(|(reading, _)| reading)
    }

    /// Whether any of them read off when it was last read.
    pub(super) fn reads_off(&self) -> bool {
        self.list.iter().any(|device| device.off_since.is_some())
    }

    /// Whether the device's off is no proof.
    pub(super) fn is_distrusted(&self, id: DeviceId) -> bool {
        self.list.iter().any(|device| device.id == id && device.distrusted)
    }

    /// Takes in what the device said during a fence. An acknowledged command is no reading.
    pub(super) fn note_fence(
        &mut self,
        id: DeviceId,
        reading: Result<Power, FenceFault>,
        now: Instant,
    ) {
        if reading == Ok(Power::Unknown) {
            return;
        }
        if let Some(device) = self.list.iter_mut().find(|device| device.id == id) {
            device.note(reading, now);
        }
    }

    /// Since when all devices of a level read off; nothing while one does not.
    fn off_since(&self, level: &Level) -> Option<Instant> {
        let of_level = self.list.iter().filter(|device| level.devices.contains(&device.id));
        of_level
            .map(|device| device.off_since)
            .try_fold(Instant::ZERO, |latest, since| since.map(|since| latest.max(since)))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let idle = self.list.iter().filter(|device| device.check.is_none());
        idle.fold(None, |next, device| Instant::soonest(next, Some(device.check_at)))
    }
}

impl Device {
    fn note(&mut self, reading: Result<Power, FenceFault>, now: Instant) {
        self.last = Some((reading, now));
        match reading {
            Ok(power @ (Power::Off | Power::On)) => {
                self.power = Some((power, now));
                self.failing_since = None;
            }
            Ok(Power::Unknown) | Err(_) => {
                self.failing_since.get_or_insert(now);
            }
        }
        match reading {
            Ok(Power::Off) => {
                self.off_since.get_or_insert(now);
            }
            Ok(Power::On) => self.off_since = None,
            Ok(Power::Unknown) | Err(_) => {}
        }
    }

    /// What it read belongs to an earlier life of its host.
    fn forget_off(&mut self) {
        self.off_since = None;
        self.last = self.last.filter(|(reading, _)| *reading != Ok(Power::Off));
        self.power = self.power.filter(|(power, _)| *power != Power::Off);
    }

    /// Whether it gives no reading, as far as is known.
    pub(super) fn is_failing(&self) -> bool {
        match self.last {
            Some((Err(fault), _)) => fault != FenceFault::Cancelled,
            Some((Ok(Power::Unknown), _)) => true,
            Some((Ok(Power::On | Power::Off), _)) | None => false,
        }
    }
}

impl Node {
    /// Begins the checks that are due, and notices contradictions.
    pub(super) fn check_devices(&mut self, out: &mut Effects) {
        self.note_contradictions();
        let (now, interval) = (self.now, self.devices.interval);
        for device in &mut self.devices.list {
            let Some(peer) = self.peers.iter().find(|peer| peer.node() == device.node) else {
                continue;
            };
            let due = device.check.is_none() && now >= device.check_at;
            if !due {
                continue;
            }
            device.check_at = now + interval;
            if peer.ladder.is_some() {
                continue;
            }
            let op = self.ops.next();
            device.check = Some(op);
            out.push(Effect::Power {
                op,
                device: device.id,
                order: Order::Check,
                timeout: device.timeout,
            });
        }
    }

    /// A host that is heard while every device of one of its levels reads off: they are another
    /// machine's. One outlet of two that is off contradicts nothing.
    fn note_contradictions(&mut self) {
        if self.devices.list.iter().all(|device| device.off_since.is_none()) {
            return;
        }
        for peer in &self.peers {
            let Some(received_at) = peer.received_at() else { continue };
            for level in &peer.settings.levels {
                let of_level = |device: &Device| level.devices.contains(&device.id);
                let Some(off_since) = self.devices.off_since(level) else { continue };
                if received_at <= off_since + CONTRADICTION_MARGIN {
                    continue;
                }
                // Heard in another life, it was simply switched on again since.
                let same_life = peer.heard_since().is_some_and(|since| since <= off_since);
                for device in self.devices.list.iter_mut().filter(|device| of_level(device)) {
                    device.distrusted |= same_life;
                    if !same_life {
                        device.forget_off();
                    }
                }
            }
        }
    }

    /// A real attempt begins: the checks of that peer's devices give way.
    pub(super) fn stop_checks_of(&mut self, index: usize, out: &mut Effects) {
        let Some(node) = self.peers.get(index).map(super::peer::Peer::node) else { return };
        let devices = self.devices.list.iter_mut().filter(|device| device.node == node);
        for device in devices {
            if let Some(op) = device.check.take() {
                out.push(Effect::Cancel { op });
            }
        }
    }

    /// Takes the answer to a check in; whether it was one.
    pub(super) fn check_reading(
        &mut self,
        op: OpId,
        reading: Result<Power, FenceFault>,
        out: &mut Effects,
    ) -> bool {
        let (now, interval) = (self.now, self.devices.interval);
        let device = self.devices.list.iter_mut().find(|device| device.check == Some(op));
        let Some(device) = device else { return false };
        device.check = None;
        device.check_at = now + interval;
        if reading == Err(FenceFault::Cancelled) {
            // It was not asked: what it said before still stands.
            return true;
        }
        let news = device.last.map(|(last, _)| last) != Some(reading);
        device.note(reading, now);
        if reading == Ok(Power::On) {
            device.distrusted = false;
        }
        if news {
            out.push(Effect::Report(Event::FenceDevice { device: device.id, reading }));
        }
        true
    }
}
