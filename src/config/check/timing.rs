//! The rhythm: defaults that follow from each other, and bounds that keep a late node from being
//! taken for a dead one.

use core::time::Duration;

use crate::config::duration::print;
use crate::config::finding::{At, Findings, Place};
use crate::config::network::ServiceNic;
use crate::config::pair::{PairCarrier, PairLink, Rhythm};
use crate::config::plan::Timing;
use crate::config::raw::{Raw, RawRhythm, RawTiming};

/// The interval of heartbeats unless the file says another.
const KEEPALIVE_DEFAULT: Duration = Duration::from_millis(100);
/// A shorter interval costs wake-ups and finds nothing sooner: what limits is the scheduler.
const KEEPALIVE_MIN: Duration = Duration::from_millis(5);
/// A deadtime has room for two lost heartbeats.
const KEEPALIVES_IN_DEADTIME_MIN: u32 = 3;
/// The default deadtime in keepalives.
const KEEPALIVES_IN_DEADTIME: u32 = 5;
/// The shortest default initdead: a NIC behind a switch needs seconds to pass traffic.
const INITDEAD_DEFAULT_MIN: Duration = Duration::from_secs(5);
/// The default initdead in deadtimes.
const DEADTIMES_IN_INITDEAD: u32 = 10;
/// How long an unheard node is left serving.
const ISOLATED_GRACE_DEFAULT: Duration = Duration::from_secs(30);
/// How often fence devices are asked.
const FENCE_CHECK_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// Small BMCs do not take more.
const FENCE_CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How long a service path must be worse, where no pings tell later than a carrier does.
const PATH_HOLD_DEFAULT: Duration = Duration::from_secs(1);
/// The default in ping intervals: the peer's next question may be as late as one of them.
const PING_INTERVALS_IN_PATH_HOLD: u32 = 2;
/// The rest after a move for a bad path.
const PATH_REST_DEFAULT: Duration = Duration::from_secs(60);
/// Below this, a busy machine alone makes false alarms even at real-time priority (measured).
const DEADTIME_QUIET: Duration = Duration::from_millis(50);
/// The same without real-time priority.
const DEADTIME_QUIET_WITHOUT_PRIORITY: Duration = Duration::from_millis(200);

/// Checks `[timing]` against the rhythm of the `links`.
pub(super) fn check(
    raw: &RawTiming,
    links: &[PairLink],
    nics: &[At<ServiceNic>],
    findings: &mut Findings,
) -> Timing {
    let rhythm = common(raw);
    check_rhythm(&raw.rhythm, &rhythm, &raw.place, findings);
    let slowest = links.iter().map(|link| link.rhythm.deadtime).max().unwrap_or(rhythm.deadtime);
    let initdead_default = slowest.saturating_mul(DEADTIMES_IN_INITDEAD).max(INITDEAD_DEFAULT_MIN);
    let initdead = value(&raw.initdead, initdead_default);
    let place = place_of(&raw.initdead, &raw.place, "initdead");
    if initdead < slowest {
        let wrong = format!(
            "initdead {} is shorter than the longest deadtime {}",
            print(initdead),
            print(slowest)
        );
        let instead = format!("write initdead = \"{}\" or more", print(slowest.saturating_mul(2)));
        findings.error(&place, wrong, instead);
    }
    let isolated_grace = value(&raw.isolated_grace, ISOLATED_GRACE_DEFAULT.max(slowest));
    if isolated_grace < slowest {
        let place = place_of(&raw.isolated_grace, &raw.place, "isolated-grace");
        let wrong = format!(
            "a node that serves unheard is fenced after {}, before a link that comes back could \
             be heard (deadtime {})",
            print(isolated_grace),
            print(slowest)
        );
        findings.warn(&place, wrong, "write isolated-grace = \"30s\"");
    }
    let interval = value(&raw.fence_check_interval, FENCE_CHECK_INTERVAL_DEFAULT);
    if interval < FENCE_CHECK_INTERVAL_MIN {
        let place = place_of(&raw.fence_check_interval, &raw.place, "fence-check-interval");
        let wrong = format!("fence devices would be asked every {}", print(interval));
        findings.error(&place, wrong, "write fence-check-interval = \"1m\", at least \"1s\"");
    }
    let (path_hold, path_rest) = check_path(raw, nics, findings);
    Timing {
        keepalive: rhythm.keepalive,
        warntime: rhythm.warntime,
        deadtime: rhythm.deadtime,
        dead_host_time: check_dead_host(raw, &rhythm, links, findings),
        initdead,
        isolated_grace,
        fence_check_interval: interval,
        path_hold,
        path_rest,
    }
}

/// How long a host must be silent altogether: later than a heartbeat is late, sooner than the
/// deadtime, and somebody must be there to be asked.
fn check_dead_host(
    raw: &RawTiming,
    rhythm: &Rhythm,
    links: &[PairLink],
    findings: &mut Findings,
) -> Option<Duration> {
    let time = raw.dead_host_time.as_ref()?;
    let (warntime, deadtime) = (rhythm.warntime, rhythm.deadtime);
    let slowest = links.iter().max_by_key(|link| link.rhythm.warntime);
    let is_udp = |link: &PairLink| matches!(link.carrier, PairCarrier::Udp { .. });
    if time.value <= warntime || time.value >= deadtime {
        let wrong = format!(
            "dead-host-time {} is not between warntime {} and deadtime {}",
            print(time.value),
            print(warntime),
            print(deadtime)
        );
        let middle = warntime.saturating_add(deadtime) / 2;
        let instead = format!("write dead-host-time = \"{}\", or leave it out", print(middle));
        findings.error(&time.place, wrong, instead);
    } else if !links.is_empty() && !links.iter().any(is_udp) {
        let wrong = "dead-host-time is set, but no link goes over a NIC: nobody can be asked";
        findings.error(&time.place, wrong, "leave it out, or add a link with a nic");
    } else if let Some(link) = slowest.filter(|link| link.rhythm.warntime >= time.value) {
        let wrong = format!(
            "dead-host-time {} is not longer than the warntime {} of link {}: until that is late, \
             no host is called dead",
            print(time.value),
            print(link.rhythm.warntime),
            link.name.value
        );
        findings.warn(&time.place, wrong, "give that link a shorter warntime, or do without");
    }
    Some(time.value)
}

/// How long a service path must be worse than the peer's, and the rest after a move for it. Two
/// that ping the same router find its end an interval apart: that must not move anything.
fn check_path(
    raw: &RawTiming,
    nics: &[At<ServiceNic>],
    findings: &mut Findings,
) -> (Duration, Duration) {
    let pinged = nics.iter().filter(|nic| !nic.value.ping.is_empty());
    let ping = pinged.map(|nic| nic.value.ping_interval).max().unwrap_or(Duration::ZERO);
    let enough = ping.saturating_mul(PING_INTERVALS_IN_PATH_HOLD);
    let hold = value(&raw.path_hold, PATH_HOLD_DEFAULT.max(enough));
    if hold <= ping {
        let place = place_of(&raw.path_hold, &raw.place, "path-hold");
        let wrong = format!(
            "path-hold {} is not longer than the ping-interval {}: a router that fails for both \
             nodes moves the service all the same",
            print(hold),
            print(ping)
        );
        findings.warn(&place, wrong, format!("write path-hold = \"{}\"", print(enough)));
    }
    let rest = value(&raw.path_rest, PATH_REST_DEFAULT.max(hold));
    if rest < hold {
        let place = place_of(&raw.path_rest, &raw.place, "path-rest");
        let wrong = format!(
            "path-rest {} is shorter than path-hold {}: it keeps nothing from going back and forth",
            print(rest),
            print(hold)
        );
        findings.warn(&place, wrong, "write path-rest = \"1m\"");
    }
    (hold, rest)
}

/// The rhythm of links that have none of their own.
pub(super) fn common(raw: &RawTiming) -> Rhythm {
    let keepalive = value(&raw.rhythm.keepalive, KEEPALIVE_DEFAULT);
    fill(&raw.rhythm, keepalive, None)
}

/// The rhythm of one link: its own values; where it changes one, the others follow that one.
pub(super) fn of_link(
    raw: &RawRhythm,
    place: &Place,
    common: Rhythm,
    findings: &mut Findings,
) -> Rhythm {
    if raw.keepalive.is_none() && raw.warntime.is_none() && raw.deadtime.is_none() {
        return common;
    }
    let rhythm = fill(raw, value(&raw.keepalive, common.keepalive), Some(common));
    check_rhythm(raw, &rhythm, place, findings);
    rhythm
}

fn fill(raw: &RawRhythm, keepalive: Duration, common: Option<Rhythm>) -> Rhythm {
    let deadtime_default = match common {
        Some(common) if raw.keepalive.is_none() => common.deadtime,
        Some(_) | None => keepalive.saturating_mul(KEEPALIVES_IN_DEADTIME),
    };
    let deadtime = value(&raw.deadtime, deadtime_default);
    let warntime_default = match common {
        Some(common) if raw.keepalive.is_none() && raw.deadtime.is_none() => common.warntime,
        Some(_) | None => three_fifths(deadtime).max(keepalive),
    };
    Rhythm { keepalive, warntime: value(&raw.warntime, warntime_default), deadtime }
}

fn three_fifths(duration: Duration) -> Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis.saturating_mul(3) / 5)
}

fn value(at: &Option<At<Duration>>, default: Duration) -> Duration {
    at.as_ref().map_or(default, |at| at.value)
}

fn place_of(at: &Option<At<Duration>>, table: &Place, key: &str) -> Place {
    at.as_ref().map_or_else(|| table.child(key), |at| at.place.clone())
}

/// Tells the first thing that is wrong with a rhythm; what follows from it is not worth telling.
fn check_rhythm(raw: &RawRhythm, rhythm: &Rhythm, table: &Place, findings: &mut Findings) {
    let Rhythm { keepalive, warntime, deadtime } = *rhythm;
    if keepalive < KEEPALIVE_MIN {
        let place = place_of(&raw.keepalive, table, "keepalive");
        let wrong = format!("keepalive {} is shorter than 5ms", print(keepalive));
        let instead = "write \"5ms\" or more: it is the scheduler that limits, not the interval";
        findings.error(&place, wrong, instead);
    } else if deadtime < keepalive.saturating_mul(KEEPALIVES_IN_DEADTIME_MIN) {
        let place = place_of(&raw.deadtime, table, "deadtime");
        let wrong = format!(
            "deadtime {} is less than three keepalives of {}: one lost heartbeat would be a lost \
             node",
            print(deadtime),
            print(keepalive)
        );
        let wanted = keepalive.saturating_mul(KEEPALIVES_IN_DEADTIME);
        findings.error(&place, wrong, format!("write deadtime = \"{}\" or more", print(wanted)));
    } else if warntime < keepalive || warntime >= deadtime {
        let place = place_of(&raw.warntime, table, "warntime");
        let wrong = format!(
            "warntime {} is not between keepalive {} and deadtime {}",
            print(warntime),
            print(keepalive),
            print(deadtime)
        );
        let wanted = three_fifths(deadtime).max(keepalive);
        findings.error(&place, wrong, format!("write warntime = \"{}\"", print(wanted)));
    }
}

/// Warns of deadtimes at which a busy machine is taken for a dead one.
pub(super) fn warn_of_false_alarms(
    raw: &Raw,
    links: &[PairLink],
    priority: bool,
    findings: &mut Findings,
) {
    let quiet = if priority { DEADTIME_QUIET } else { DEADTIME_QUIET_WITHOUT_PRIORITY };
    let common = common(&raw.timing).deadtime;
    let slowest = links.iter().map(|link| link.rhythm.deadtime).max().unwrap_or(common);
    if slowest >= quiet {
        return;
    }
    let place = place_of(&raw.timing.rhythm.deadtime, &raw.timing.place, "deadtime");
    let without = if priority { "" } else { " and no real-time priority" };
    let wrong = format!(
        "with a deadtime of {}{without}, a busy node may be taken for a dead one",
        print(slowest)
    );
    findings.warn(&place, wrong, format!("write deadtime = \"{}\" or more", print(quiet)));
}
