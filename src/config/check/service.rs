//! The service side: NICs with ping targets, virtual IPs with labels.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::links::no_host;
use super::{refuse_more, refuse_name};
use crate::config::duration;
use crate::config::finding::{At, Findings, Place};
use crate::config::network::{LABEL_LEN_MAX, PING_TARGETS_MAX, Probe, ServiceNic, Vip};
use crate::config::pair::PairLink;
use crate::config::raw::{Raw, RawNic, RawVip};
use crate::types::{IpNet, NicId};

const PING_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// A router answers no faster in earnest.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);
const PING_COUNT_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
const PROBE_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
/// More often than that, probes are a burden to everybody on the segment.
const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(50);
const PROBE_COUNT_DEFAULT: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);
/// What a node hears is echoed in the next probe: fewer would be late at once.
const PROBE_COUNT_MIN: u32 = 3;

/// Checks `[nics.*]` and `[[vips]]`.
pub(super) fn check(
    raw: &Raw,
    links: &[PairLink],
    findings: &mut Findings,
) -> (Vec<At<ServiceNic>>, Vec<At<Vip>>) {
    let nics: Vec<_> = raw.nics.iter().map(|nic| check_nic(nic, findings)).collect();
    if let Some(first) = raw.nics.first()
        && raw.nics.iter().all(|nic| nic.ping.is_none() && !findings.tells_of(&nic.ping_place))
    {
        let wrong = "no service NIC has a ping target: of a switch port that is dead with its \
                     carrier up nobody knows on whose side it is, and the service stays there";
        let instead = "write ping = [\"ADDRESS\"], a router or host behind the NIC";
        findings.warn(&first.name.place, wrong, instead);
    }
    if raw.vips.is_empty() && !findings.tells_of(&raw.vips_place) {
        let instead = "write a [[vips]] table with address and nic for each";
        findings.error(&raw.vips_place, "missing: no virtual IP, nothing to keep alive", instead);
    }
    let mut used = Used { vips: BTreeMap::new(), labels: BTreeMap::new(), links, nics: &nics };
    let mut vips = Vec::new();
    for (index, vip) in raw.vips.iter().enumerate() {
        vips.extend(used.check_vip(index, vip, findings));
    }
    (nics, vips)
}

fn check_nic(raw: &RawNic, findings: &mut Findings) -> At<ServiceNic> {
    let interval = raw.ping_interval.as_ref();
    let targets = raw.ping.as_ref().map(|at| at.value.as_slice()).unwrap_or_default();
    refuse_more(&raw.ping_place, "ping targets", targets.len(), PING_TARGETS_MAX, findings);
    let mut ping = Vec::new();
    for At { place, value } in targets.iter().take(PING_TARGETS_MAX) {
        if let Some(kind) = no_host(*value) {
            let instead = "write the address of a router or host behind the NIC";
            findings.error(place, format!("{value} is {kind}"), instead);
        } else if ping.contains(value) {
            findings.error(place, format!("{value} is written twice"), "delete one of them");
        } else {
            ping.push(*value);
        }
    }
    if let Some(At { place, value }) = interval
        && *value < PING_INTERVAL_MIN
    {
        let wrong = format!("targets would be asked every {}", duration::print(*value));
        findings.error(place, wrong, "write ping-interval = \"1s\", at least \"10ms\"");
    }
    let lonely = interval.map(|at| &at.place).or(raw.ping_count.as_ref().map(|at| &at.place));
    let no_targets = targets.is_empty() && !findings.tells_of(&raw.ping_place);
    if let (true, Some(place)) = (no_targets, lonely) {
        let instead = "write ping = [\"ADDRESS\"], or leave it out";
        findings.warn(place, "without ping it has no effect", instead);
    }
    let count = raw.ping_count.as_ref().and_then(|at| NonZeroU32::new(at.value));
    let probe = check_probe(raw, findings);
    raw.name.clone().map(|name| ServiceNic {
        name,
        ping,
        ping_interval: interval.map_or(PING_INTERVAL_DEFAULT, |at| at.value),
        ping_count: count.unwrap_or(PING_COUNT_DEFAULT),
        probe,
    })
}

/// How the nodes probe each other over the NIC.
fn check_probe(raw: &RawNic, findings: &mut Findings) -> Option<Probe> {
    let (interval, count) = (raw.probe_interval.as_ref(), raw.probe_count.as_ref());
    if raw.probe.as_ref().is_some_and(|at| !at.value) {
        if let Some(place) = interval.map(|at| &at.place).or(count.map(|at| &at.place)) {
            findings.warn(place, "with probe = false it has no effect", "leave it out");
        }
        return None;
    }
    if let Some(At { place, value }) = interval.filter(|at| at.value < PROBE_INTERVAL_MIN) {
        let wrong = format!("the nodes would probe each other every {}", duration::print(*value));
        findings.error(place, wrong, "write probe-interval = \"500ms\", at least \"50ms\"");
    }
    if let Some(At { place, value }) = count.filter(|at| at.value < PROBE_COUNT_MIN) {
        let wrong = format!("{value} probes without an answer are too few: an answer may be late");
        findings.error(place, wrong, "write probe-count = 4, at least 3");
    }
    Some(Probe {
        interval: interval.map_or(PROBE_INTERVAL_DEFAULT, |at| at.value),
        count: count.and_then(|at| NonZeroU32::new(at.value)).unwrap_or(PROBE_COUNT_DEFAULT),
    })
}

/// What the VIPs before have taken, and what VIPs must not take.
struct Used<'a> {
    vips: BTreeMap<IpAddr, usize>,
    labels: BTreeMap<&'a str, usize>,
    links: &'a [PairLink],
    nics: &'a [At<ServiceNic>],
}

impl<'a> Used<'a> {
    fn check_vip(
        &mut self,
        index: usize,
        raw: &'a RawVip,
        findings: &mut Findings,
    ) -> Option<At<Vip>> {
        let address = raw.address.as_ref();
        let is_host =
            address.is_some_and(|at| self.check_address(index, &at.place, at.value, findings));
        if let Some(label) = &raw.label {
            self.check_label(index, label, raw, findings);
        }
        let nic = raw.nic.as_ref()?;
        let Some(position) = self.nics.iter().position(|known| known.value.name == nic.value)
        else {
            self.refuse_nic(nic, findings);
            return None;
        };
        let At { place, value: net } = raw.address.clone().filter(|_| is_host)?;
        let nic = NicId(u8::try_from(position).ok()?);
        let label = raw.label.as_ref().map(|at| at.value.clone());
        Some(At { place, value: Vip { nic, net, label } })
    }

    fn refuse_nic(&self, nic: &At<String>, findings: &mut Findings) {
        if self.nics.is_empty() {
            let wrong = format!("no service NIC is called {:?}", nic.value);
            findings.error(&nic.place, wrong, format!("add a line [nics.{}]", nic.value));
        } else {
            let known = self.nics.iter().map(|nic| nic.value.name.as_str());
            refuse_name(&nic.place, "service NIC", &nic.value, known, findings);
        }
    }

    /// Whether a host can have it; other faults are only told about.
    fn check_address(
        &mut self,
        index: usize,
        place: &Place,
        net: IpNet,
        findings: &mut Findings,
    ) -> bool {
        let addr = net.addr();
        if let Some(kind) = no_host(addr).or_else(|| net_or_broadcast(net)) {
            let instead = "write an address that no other host has";
            findings.error(place, format!("{net} is {kind}"), instead);
            return false;
        }
        let links = self.links.iter();
        let all = links.flat_map(|link| link.addresses().iter().map(move |a| (link, a)));
        for (link, (_, address)) in all {
            if address.value == addr {
                let wrong = format!("{addr} is a node's address on link {}", link.name.value);
                findings.error(place, wrong, "write an address that no other host has");
            }
        }
        for nic in self.nics {
            if nic.value.ping.contains(&addr) {
                let wrong = format!("{addr} is a ping target of {}", nic.value.name);
                findings.error(place, wrong, "ping another host: the VIP is on a node itself");
            }
        }
        if let Some(first) = self.vips.insert(addr, index) {
            let wrong = format!("{addr} is written twice, first as vips[{first}]");
            findings.error(place, wrong, "delete one of them");
        }
        true
    }

    fn check_label(
        &mut self,
        index: usize,
        label: &'a At<String>,
        raw: &RawVip,
        findings: &mut Findings,
    ) {
        let At { place, value } = label;
        let nic = raw.nic.as_ref().map_or("eth0", |at| at.value.as_str());
        let is_v6 = raw.address.as_ref().is_some_and(|at| at.value.addr().is_ipv6());
        let suffix = value.strip_prefix(nic).and_then(|rest| rest.strip_prefix(':'));
        let plain =
            |suffix: &str| !suffix.is_empty() && suffix.chars().all(|c| c.is_ascii_graphic());
        if is_v6 {
            let wrong = "the kernel keeps no labels for IPv6 addresses";
            findings.error(place, wrong, "leave label out");
        } else if value.len() > LABEL_LEN_MAX {
            let wrong = format!("the label {value:?} has {} bytes", value.len());
            findings.error(place, wrong, format!("write at most {LABEL_LEN_MAX}"));
        } else if !suffix.is_some_and(plain) {
            let wrong = format!("the label {value:?} does not begin with the NIC and a colon");
            findings.error(place, wrong, format!("write such as \"{nic}:vip\""));
        } else if let Some(first) = self.labels.insert(value, index) {
            let wrong = format!("the label {value:?} is written twice, first in vips[{first}]");
            findings.error(place, wrong, "write another one, or leave label out");
        }
    }
}

/// Whether it is the first or last IPv4 address of its net; nets of one or two have neither.
fn net_or_broadcast(net: IpNet) -> Option<&'static str> {
    let IpAddr::V4(addr) = net.addr() else { return None };
    let host_bits = u32::MAX.checked_shr(u32::from(net.prefix())).unwrap_or(0);
    let host = u32::from(addr) & host_bits;
    if host_bits <= 1 {
        None
    } else if host == 0 {
        Some("the address of the network itself")
    } else {
        (host == host_bits).then_some("the broadcast address of its network")
    }
}
