//! The frozen state as it is shown: what was seen and when, what is being tried, and the ways out.
//!
//! Made of the engine's view and the names alone, so that every cause can be shown without a pair.

use crate::engine::Snapshot;
use crate::engine::reasons::frozen_text;
use crate::engine::snapshot::{DeviceView, Doing, LevelView, PeerView};
use crate::types::{Instant, Names, PeerState};
use crate::wire::control::moment::span;
use crate::wire::control::status::{Frozen, FrozenLevel};

use super::remedy;

/// The frozen state of `view` at `now`; nothing if it is not frozen.
pub fn frozen(now: Instant, view: &Snapshot, names: &Names) -> Option<Frozen> {
    if view.state != PeerState::Frozen {
        return None;
    }
    let (peer, cause) = view.peers.iter().find_map(|peer| Some((peer, peer.frozen_cause?)))?;
    let name = names.node(peer.node);
    let levels = peer.levels.iter().map(|level| level_of(now, view, peer, level, names));
    Some(Frozen {
        node: name.to_owned(),
        cause: remedy::frozen_code(cause).to_owned(),
        what: format!("no proof that {name} holds nothing: {}", frozen_text(cause)),
        evidence: evidence(now, view, peer, names),
        levels: levels.collect(),
        remedy: remedy::frozen_steps(cause, name),
        command: format!("tandem confirm-off {name}"),
        command_does: format!(
            "takes your word that {name} holds nothing: the tries end, and {} takes the service \
             over at once; it is refused while {name} is heard, its VIPs answer or a fence device \
             reads on, and who said it goes on record",
            names.node(view.node)
        ),
        since_ms: millis(now, view.since),
        retry_in_ms: peer.ladder_next.map_or(0, |at| millis(at, now)),
    })
}

/// What was seen of the lost node, one line each, with its age.
pub(super) fn evidence(
    now: Instant,
    view: &Snapshot,
    peer: &PeerView,
    names: &Names,
) -> Vec<String> {
    let ago = |at: Instant| span(millis(now, at));
    let mut lines = Vec::new();
    for link in &peer.links {
        let name = names.link(link.id);
        lines.push(match link.heard_at {
            Some(at) => format!("link {name}: silent for {}", ago(at)),
            None => format!("link {name}: never heard since this daemon's start"),
        });
    }
    lines.push(match peer.answered_at {
        Some(at) => format!("VIPs: silent; last answered {} ago", ago(at)),
        None => "VIPs: no answer since the node became late".to_owned(),
    });
    let devices = view.devices.iter().filter(|device| device.node == peer.node);
    lines.extend(devices.map(|device| device_line(now, device, names)));
    lines
}

fn device_line(now: Instant, device: &DeviceView, names: &Names) -> String {
    let ago = |at: Instant| span(millis(now, at));
    let (name, level) = (names.device(device.id), device.level);
    let before = match device.power {
        Some((power, at)) => format!("; it last read {power} {} ago", ago(at)),
        None => "; it never gave a reading since this daemon's start".to_owned(),
    };
    let said = match device.last {
        None => "not asked yet".to_owned(),
        Some((Ok(power), at)) if device.failing_since.is_none() => {
            let is_doubted = device.distrusted
                || device.stray.is_some()
                || (device.is_witness && !device.seen_on);
            let doubt = if is_doubted { "; its off is no proof" } else { "" };
            format!("read {power} {} ago{doubt}", ago(at))
        }
        Some((Ok(_), at)) => {
            let since = device.failing_since.unwrap_or(at);
            format!("for {} neither on nor off{before}", ago(since))
        }
        Some((Err(fault), at)) => {
            let since = device.failing_since.unwrap_or(at);
            format!("{fault} for {}{before}", ago(since))
        }
    };
    format!("fence device {name} (level {level}): {said}")
}

fn level_of(
    now: Instant,
    view: &Snapshot,
    peer: &PeerView,
    level: &LevelView,
    names: &Names,
) -> FrozenLevel {
    let of_level = view
        .devices
        .iter()
        .filter(|device| device.node == peer.node && device.level == level.level);
    let (doing, until) = match level.doing {
        Doing::Resting { until } => ("resting", until),
        Doing::Looking { until } => ("looking", until),
        Doing::Cutting { until } => ("cutting", until),
        Doing::Reading { until } => ("reading", until),
    };
    FrozenLevel {
        level: level.level,
        devices: of_level.map(|device| names.device(device.id).to_owned()).collect(),
        cause: level.cause.map(remedy::frozen_code).unwrap_or_default().to_owned(),
        what: level.cause.map(frozen_text).unwrap_or_default().to_owned(),
        doing: doing.to_owned(),
        left_ms: millis(until, now),
    }
}

fn millis(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
