//! The readings of fence devices as a table, and what a real fence would do with them.

use core::time::Duration;

use crate::cli::Failure;
use crate::cli::age::span;
use crate::cli::table::{Table, plain};
use crate::config::device::{Device, DeviceKind};
use crate::config::{Ladder, Plan};
use crate::daemon::remedy_of_reading;
use crate::io::fence::Order;
use crate::io::fence::asking::{Asking, Question, Reply};
use crate::types::{DeviceId, NodeId, Power};
use crate::wire::control::Status;
use crate::wire::control::status::NodeState;

/// A device, its place on the ladder, and what it said.
pub(crate) struct Reading<'p> {
    pub(crate) device: &'p Device,
    level: u8,
    reply: Reply,
    /// Why its off would be no proof, if anything says so.
    doubt: Option<String>,
}

/// The devices of a node with their numbers and the time that their level has, level by level.
pub(crate) fn questions<'p>(
    plan: &'p Plan,
    ladder: &Ladder,
    order: Order,
) -> Vec<(u8, Question<'p>)> {
    let mut list = Vec::new();
    for (number, level) in (1..).zip(&ladder.levels) {
        for id in &level.devices {
            let Some(device) = plan.devices.get(id.index()) else { continue };
            let timeout = level.timeout;
            list.push((number, Question { id: *id, device, order, timeout }));
        }
    }
    list
}

/// Asks all devices of these nodes for a reading, all at once; `status` is what the daemon knows of
/// the nodes, if it runs.
pub(crate) fn read<'p>(
    asking: &mut Asking,
    plan: &'p Plan,
    nodes: &[NodeId],
    status: Option<&Status>,
) -> Result<Vec<Reading<'p>>, Failure> {
    let ladders = plan.ladders.iter().filter(|ladder| nodes.contains(&ladder.node));
    let asked: Vec<_> = ladders.flat_map(|ladder| questions(plan, ladder, Order::Check)).collect();
    let questions: Vec<_> = asked.iter().map(|(_, question)| *question).collect();
    let replies = asking.ask(&questions).map_err(|error| failed(&error))?;
    let readings = asked.iter().zip(replies).map(|((level, question), reply)| {
        let device = question.device;
        let doubt = status.and_then(|status| doubt(plan, status, device, reply));
        Reading { device, level: *level, reply, doubt }
    });
    Ok(readings.collect())
}

pub(crate) fn failed(error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot wait for the fence devices: {error}"))
}

/// Why an off of this device would be no proof: one that reads off while its host is heard is
/// another machine's.
fn doubt(plan: &Plan, status: &Status, device: &Device, reply: Reply) -> Option<String> {
    let name = plan.names.node(device.node);
    let node = status.nodes.iter().find(|node| node.name == name)?;
    let is_heard = !matches!(node.state, NodeState::Lost | NodeState::Unknown);
    let is_stopped = matches!(node.state, NodeState::Stopped);
    if reply.reading == Ok(Power::Off) && is_heard && !is_stopped {
        let text = format!("{name} is heard: the device is another machine's, its off is no proof");
        return Some(text);
    }
    let known = status.fence_devices.iter().find(|known| known.name == device.name)?;
    let doubt =
        "it read off while its host was heard, and has not read on since: its off is no proof";
    (known.distrusted && reply.reading != Ok(Power::On)).then(|| doubt.to_owned())
}

impl Reading<'_> {
    /// Whether a fence by this device could give a proof, as far as a reading tells.
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.reply.reading, Ok(Power::On | Power::Off)) && self.doubt.is_none()
    }
}

/// The table.
pub(crate) fn table(plan: &Plan, readings: &[Reading<'_>]) -> String {
    let headings = ["FENCE DEVICE", "CUTS", "LEVEL", "KIND", "READING", "TOOK", "MACHINE", "FAULT"];
    let mut table = Table::new(&headings);
    for reading in readings {
        let (power, fault) = match reading.reply.reading {
            Ok(power) => (power.to_string(), reading.doubt.clone().unwrap_or_default()),
            Err(fault) => ("unknown".to_owned(), fault.to_string()),
        };
        let guid = reading.reply.guid.map(|guid| hexadecimal(&guid)).unwrap_or_default();
        let cells = [
            reading.device.name.clone(),
            plan.names.node(reading.device.node).to_owned(),
            reading.level.to_string(),
            kind(&reading.device.kind),
            power,
            span(millis(reading.reply.took)),
            guid,
            fault,
        ];
        table.row(if reading.is_good() { ' ' } else { '!' }, cells);
    }
    let mut text = table.render();
    for reading in readings {
        let remedy = remedy_of_reading(reading.reply.reading, &reading.device.name);
        text.extend(remedy.map(|remedy| format!("  {}\n", plain(&remedy))));
    }
    text
}

/// What a fence of a node would do, step by step.
pub(crate) fn ladder(plan: &Plan, ladder: &Ladder) -> String {
    let name = plain(plan.names.node(ladder.node));
    if ladder.levels.is_empty() {
        return format!(
            "\n{name} has no fence device: nothing could prove it off, and the pair would freeze.\n"
        );
    }
    let mut text = format!("\nA fence of {name} would, in this order:\n");
    for (number, level) in (1_u32..).zip(&ladder.levels) {
        let names: Vec<&str> = level.devices.iter().map(|id| plan.names.device(*id)).collect();
        let devices = plain(&names.join(" and "));
        let time = span(millis(level.timeout));
        let first = if number == 1 { "" } else { "if that gives no proof: " };
        let all = if names.len() > 1 { "all read" } else { "it reads" };
        text.push_str(&format!(
            "  {number}. {first}tell {devices} to cut the power, and read back until {all} off, \
             within {time}\n"
        ));
    }
    text.push_str("  and if no level gives a proof, freeze, and ask again for ever.\n");
    text
}

fn kind(kind: &DeviceKind) -> String {
    match kind {
        DeviceKind::Ipmi { .. } => "ipmi".to_owned(),
        DeviceKind::Redfish { .. } => "redfish".to_owned(),
        DeviceKind::Agent { program, .. } => {
            program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The numbers of a level's devices.
pub(crate) fn device_ids(ladder: &Ladder, level: usize) -> Vec<DeviceId> {
    ladder.levels.get(level).map(|level| level.devices.clone()).unwrap_or_default()
}
