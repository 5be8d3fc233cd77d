//! The links of the status document: what each runs over, and why it is as it is.

use core::time::Duration;

use super::Sources;
use crate::engine::event::LinkState as EngineLink;
use crate::engine::snapshot::LinkView;
use crate::types::NodeId;
use crate::wire::control::status::{Link, LinkCounters, LinkState};

/// Why a link has its state; empty where there is nothing to say. A link that cannot send has that
/// for a reason, whatever is heard on it.
pub(in crate::daemon) fn link_reason(
    state: EngineLink,
    silent: Option<Duration>,
    send_error: Option<String>,
) -> String {
    if let Some(error) = send_error {
        return error;
    }
    let silence = || match silent {
        Some(silent) => format!("nothing heard for {}", span(silent)),
        None => "nothing heard since this daemon's start".to_owned(),
    };
    match state {
        EngineLink::Up => String::new(),
        EngineLink::Quiet | EngineLink::Late | EngineLink::Down => silence(),
        EngineLink::OneWay => "the peer does not hear us".to_owned(),
    }
}

/// A length of time in the unit that suits it.
fn span(duration: Duration) -> String {
    let tenths = duration.as_millis() / 100;
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..=99 => format!("{}.{} s", tenths / 10, tenths % 10),
        seconds => format!("{seconds} s"),
    }
}

impl Sources<'_> {
    pub(super) fn links(&self) -> Vec<Link> {
        let views = self.view.peers.iter().flat_map(|p| p.links.iter().map(move |l| (p, l)));
        views.map(|(peer, link)| self.link(peer.node, link)).collect()
    }

    fn link(&self, peer: NodeId, view: &LinkView) -> Link {
        let index = view.id.index();
        let carrier = self.links.get(index);
        let counters = carrier.map(|carrier| carrier.counters()).unwrap_or_default();
        let by_link = counters.refused().iter().fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        let by_codec = self.refused_by_link.get(index).copied().unwrap_or(0);
        // The codec has counted what was no frame, for the log.
        let noise = counters.dropped.count();
        let send_error = carrier.and_then(|carrier| carrier.send_error(peer));
        let silent = view.heard_at.map(|at| self.now.since(at));
        Link {
            name: self.names().link(view.id).to_owned(),
            kind: carrier.map_or("", |carrier| carrier.kind()).to_owned(),
            backup: self.plan.links.get(index).is_some_and(|link| link.backup),
            peer: self.names().node(peer).to_owned(),
            path: carrier.map(|carrier| carrier.path(peer)).unwrap_or_default(),
            state: match view.state {
                EngineLink::Quiet => LinkState::Quiet,
                EngineLink::Up => LinkState::Up,
                EngineLink::Late => LinkState::Late,
                EngineLink::OneWay => LinkState::OneWay,
                EngineLink::Down => LinkState::Down,
            },
            reason: link_reason(view.state, silent, send_error.clone()),
            since_ms: self.ago(view.since),
            last_heartbeat_ms: view.heard_at.map(|at| self.ago(at)),
            rtt_us: view.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            send_error: send_error.unwrap_or_default(),
            counters: LinkCounters {
                sent: counters.sent,
                send_errors: counters.send_errors,
                overtaken: counters.overtaken,
                received: view.heard_count,
                refused: by_codec.saturating_add(by_link).saturating_sub(noise),
                noise_bytes: counters.dropped.bytes,
                late: view.late_count,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_but_up_has_a_reason() {
        let reason = |state, millis: Option<u64>, error: Option<&str>| {
            let silent = millis.map(Duration::from_millis);
            link_reason(state, silent, error.map(str::to_owned))
        };
        assert_eq!(reason(EngineLink::Up, Some(20), None), "");
        assert_eq!(reason(EngineLink::Late, Some(350), None), "nothing heard for 350 ms");
        assert_eq!(reason(EngineLink::Down, Some(1_250), None), "nothing heard for 1.2 s");
        assert_eq!(reason(EngineLink::Down, Some(600_000), None), "nothing heard for 600 s");
        let never = "nothing heard since this daemon's start";
        assert_eq!(reason(EngineLink::Quiet, None, None), never);
        assert_eq!(reason(EngineLink::OneWay, Some(5), None), "the peer does not hear us");
        let error = "cannot open the device: No such file or directory (/dev/ttyUSB0)";
        for state in [EngineLink::Up, EngineLink::Down, EngineLink::OneWay] {
            assert_eq!(reason(state, Some(5), Some(error)), error);
        }
    }
}
