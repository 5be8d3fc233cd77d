//! The members: how many, their numbers, who goes first, and who waits before it fences.

use core::time::Duration;
use std::collections::BTreeMap;

use super::refuse_name;
use crate::config::duration;
use crate::config::finding::{At, Findings};
use crate::config::pair::PairNode;
use crate::config::raw::{Fencing, Raw, RawNode};
use crate::types::NodeId;

/// How many nodes are accepted. The structures are tables of up to [`NodeId::MAX`]; what makes it
/// two is that nothing larger has been tested.
const NODES: usize = 2;
/// How long the node that does not go first waits before it fences.
const FENCE_DELAY_DEFAULT: Duration = Duration::from_secs(5);
/// Two delays closer than this are as good as equal: cutting the power takes longer.
const FENCE_DELAY_APART_MIN: Duration = Duration::from_secs(2);

/// Checks `[nodes.*]` and `preferred`.
pub(super) fn check(raw: &Raw, findings: &mut Findings) -> Vec<PairNode> {
    let count = raw.nodes.len();
    if count != NODES && !(count == 0 && findings.tells_of(&raw.nodes_place)) {
        let wrong = match count {
            0 => "missing: no node".to_owned(),
            1 => "only one node, and exactly two are accepted".to_owned(),
            _ => format!("{count} nodes, and exactly two are accepted so far"),
        };
        let instead = "write one table [nodes.NAME] for each of the two, NAME its host name";
        findings.error(&raw.nodes_place, wrong, instead);
    }
    refuse_same_names(&raw.nodes, findings);
    let preferred = preferred(raw, findings);
    let numbered = number(&raw.nodes, findings);
    let first = preferred.or_else(|| {
        numbered.iter().min_by_key(|(_, id)| *id).map(|(node, _)| node.name.value.as_str())
    });
    let nodes: Vec<PairNode> = numbered
        .iter()
        .map(|(node, id)| {
            let goes_first = first == Some(node.name.value.as_str());
            let default = if goes_first { Duration::ZERO } else { FENCE_DELAY_DEFAULT };
            PairNode {
                place: node.name.place.clone(),
                name: node.name.value.clone(),
                id: *id,
                fence_delay: node.fence_delay.as_ref().map_or(default, |at| at.value),
                fencing: node.fencing.as_ref().map_or(Fencing::Devices, |at| at.value),
            }
        })
        .collect();
    refuse_shoot_out(raw, &nodes, first, findings);
    nodes
}

/// Host names know no capitals.
fn refuse_same_names(nodes: &[RawNode], findings: &mut Findings) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for node in nodes {
        if let Some(other) = seen.insert(node.name.value.to_ascii_lowercase(), &node.name.value) {
            let wrong = format!("the same host name as {other:?}");
            findings.error(&node.name.place, wrong, "write another one, or delete one of them");
        }
    }
}

fn preferred<'r>(raw: &'r Raw, findings: &mut Findings) -> Option<&'r str> {
    let At { place, value } = raw.preferred.as_ref()?;
    if raw.nodes.iter().any(|node| node.name.value == *value) {
        return Some(value);
    }
    let known = raw.nodes.iter().map(|node| node.name.value.as_str());
    refuse_name(place, "node", value, known, findings);
    None
}

/// The numbers: as written, the others by order of name from the lowest free one.
fn number<'r>(nodes: &'r [RawNode], findings: &mut Findings) -> Vec<(&'r RawNode, NodeId)> {
    let mut taken: BTreeMap<NodeId, &str> = BTreeMap::new();
    for node in nodes {
        let Some((at, id)) = written_id(node) else { continue };
        if let Some(other) = taken.get(&id) {
            let wrong = format!("node {other} has the id {id} too");
            findings.error(&at.place, wrong, "write another id, or leave both out");
        } else {
            taken.insert(id, &node.name.value);
        }
    }
    let mut numbered = Vec::new();
    for node in nodes {
        let free = || (1..=NodeId::MAX).filter_map(NodeId::new).find(|id| !taken.contains_key(id));
        let Some(id) = written_id(node).map(|(_, id)| id).or_else(free) else { continue };
        taken.insert(id, &node.name.value);
        numbered.push((node, id));
    }
    numbered.sort_by_key(|(_, id)| *id);
    numbered
}

fn written_id(node: &RawNode) -> Option<(&At<i64>, NodeId)> {
    let at = node.id.as_ref()?;
    Some((at, u8::try_from(at.value).ok().and_then(NodeId::new)?))
}

/// Two nodes that hold nothing and cannot hear each other must not cut each other's power at once.
fn refuse_shoot_out(raw: &Raw, nodes: &[PairNode], first: Option<&str>, findings: &mut Findings) {
    let [a, b] = nodes else { return };
    let apart = a.fence_delay.abs_diff(b.fence_delay);
    let written = raw.nodes.iter().rev().find_map(|node| node.fence_delay.as_ref());
    let Some(at) = written else { return };
    let second = if first == Some(a.name.as_str()) { b } else { a };
    let instead = format!(
        "write fence-delay = \"0s\" for {}, \"5s\" for {}",
        first.unwrap_or("one node"),
        second.name
    );
    if apart.is_zero() {
        let wrong = format!(
            "both nodes wait {} before they fence: cut apart at a cold start, each would cut the \
             other's power",
            duration::print(a.fence_delay)
        );
        findings.error(&at.place, wrong, instead);
    } else if apart < FENCE_DELAY_APART_MIN {
        let wrong = format!(
            "the fence delays are only {} apart: cutting the power may take longer, and then \
             each cuts the other's",
            duration::print(apart)
        );
        findings.warn(&at.place, wrong, instead);
    }
}
