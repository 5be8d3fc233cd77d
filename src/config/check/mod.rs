//! From what is written to a pair that makes sense: defaults, bounds, and what contradicts what.

mod fence;
mod links;
mod nodes;
mod runtime;
mod service;
mod timing;

pub(in crate::config) use self::links::no_host;
use super::finding::{Findings, Place};
use super::nearest::nearest;
use super::network::VIPS_MAX;
use super::pair::Pair;
use super::raw::Raw;
use crate::types::heartbeat::{LINKS_MAX, NICS_MAX};

/// The most fence devices, over all nodes and levels.
const DEVICES_MAX: usize = 32;
/// How many nodes are looked at, if there are too many.
const NODES_KEPT_MAX: usize = 8;

/// Checks `raw` as a whole. What is wrong is told about and left out.
pub(super) fn pair(mut raw: Raw, findings: &mut Findings) -> Pair {
    bound(&mut raw, findings);
    let raw = &raw;
    let nodes = nodes::check(raw, findings);
    let preferred = raw.preferred.as_ref();
    let preferred =
        preferred.and_then(|at| nodes.iter().find(|node| node.name == at.value).map(|n| n.id));
    let links = links::check(raw, &nodes, findings);
    let (nics, vips) = service::check(raw, &links, findings);
    let timing = timing::check(&raw.timing, &links, &nics, findings);
    let devices = fence::check(raw, &nodes, &links, &vips, findings);
    let priority = raw.runtime.priority.as_ref().is_none_or(|at| at.value.is_some());
    timing::warn_of_false_alarms(raw, &links, priority, findings);
    let runtime_dir = raw.runtime.runtime_dir.as_ref();
    Pair {
        cluster: raw.cluster.as_ref().map(|at| at.value.clone()),
        key_file: raw.key_file.clone(),
        preferred,
        after_fence: raw.after_fence.as_ref().map(|at| at.value).unwrap_or_default(),
        timing,
        nodes,
        nodes_place: raw.nodes_place.clone(),
        links,
        nics,
        vips,
        devices,
        runtime: runtime::check(&raw.runtime, findings),
        runtime_dir_place: runtime_dir.map_or(&raw.runtime.place, |at| &at.place).clone(),
    }
}

/// Cuts every list to its bound, so that no check takes long.
fn bound(raw: &mut Raw, findings: &mut Findings) {
    for node in &mut raw.nodes {
        let place = node.name.place.child("links");
        cut(&mut node.links, &place, "addresses", LINKS_MAX, findings);
    }
    raw.nodes.truncate(NODES_KEPT_MAX);
    cut(&mut raw.links, &raw.links_place, "links", LINKS_MAX, findings);
    cut(&mut raw.nics, &raw.nics_place, "service NICs", NICS_MAX, findings);
    cut(&mut raw.vips, &raw.vips_place, "virtual IPs", VIPS_MAX, findings);
    cut(&mut raw.fence, &raw.fence_place, "fence devices", DEVICES_MAX, findings);
}

fn cut<T>(list: &mut Vec<T>, place: &Place, what: &str, max: usize, findings: &mut Findings) {
    refuse_more(place, what, list.len(), max, findings);
    list.truncate(max);
}

/// Tells that `name` is none of the `known` ones, which `what` calls by their kind.
fn refuse_name<'k>(
    place: &Place,
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'k str> + Clone,
    findings: &mut Findings,
) {
    let instead = match nearest(name, known.clone()) {
        Some(meant) => format!("write {meant:?}"),
        None => {
            let list: Vec<_> = known.into_iter().map(|name| format!("{name:?}")).collect();
            if list.is_empty() {
                format!("write a table for the {what} first")
            } else {
                format!("write one of: {}", list.join(", "))
            }
        }
    };
    findings.error(place, format!("no {what} is called {name:?}"), instead);
}

/// Tells if there are more than `max` of `what`.
fn refuse_more(place: &Place, what: &str, count: usize, max: usize, findings: &mut Findings) {
    if count > max {
        findings.error(place, format!("{count} {what}"), format!("write at most {max}"));
    }
}
