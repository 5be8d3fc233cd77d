//! `tandem fence test --power-cycle`: the proof that a fence proves, made on a standby.
//!
//! ```text
//!   the daemon hears NODE as standby ─► confirmed ─► heard so once more
//!        ─► off, to all devices of level 1 ─► read until off ─► on ─► read until on
//! ```
//!
//! Whatever becomes of the cut, the power is switched on again: also when nobody reads along any
//! more, and when whoever ran it has lost the connection or the patience.

use core::time::Duration;
use std::io::{BufRead as _, stdin};

use super::patience::Patience;
use super::readings::{device_ids, failed, millis};
use super::test::{Options, status};
use crate::cli::age::span;
use crate::cli::table::plain;
use crate::cli::{FAILED, Failure, OK, say, warn};
use crate::config::device::{Device, Role};
use crate::config::{Ladder, Plan};
use crate::io::fence::Order;
use crate::io::fence::asking::{Asking, Question, Reply};
use crate::types::{DeviceId, NodeId, Power};
use crate::wire::control::Status;
use crate::wire::control::status::{Health, NodeState};

/// Between two readings.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// How long a device may take to have the power on at least.
const ON_TIMEOUT_MIN: Duration = Duration::from_secs(30);

/// What is to be cut and restored.
struct Cycle<'p> {
    asking: Asking,
    name: &'p str,
    devices: Vec<(DeviceId, &'p Device)>,
    timeout: Duration,
    patience: Patience,
}

/// Runs it.
pub(super) fn run(options: &Options, plan: &Plan, nodes: &[NodeId]) -> Result<u8, Failure> {
    let node = nodes.first().copied();
    let ladder = plan.ladders.iter().find(|ladder| Some(ladder.node) == node);
    let Some(ladder) = ladder else { return Err(Failure::failed("there is no such node")) };
    let name = plan.names.node(ladder.node);
    refuse_unless_standby(&status(options)?, name)?;
    let ids = device_ids(ladder, 0);
    let devices: Vec<_> =
        ids.iter().filter_map(|id| Some((*id, plan.devices.get(id.index())?))).collect();
    let is_cutter = |(_, device): &(DeviceId, &Device)| device.role == Role::Fence;
    if !devices.iter().any(is_cutter) && !devices.is_empty() {
        let why = format!("{name} has only witnesses at level 1: nothing there can cut it");
        return Err(Failure::failed(why));
    }
    if devices.is_empty() {
        return Err(Failure::failed(format!("{name} has no fence device: it cannot be cut")));
    }
    if !options.yes {
        confirm(name, &devices)?;
        // Whatever has become of it while somebody thought.
        refuse_unless_standby(&status(options)?, name)?;
    }
    let timeout = timeout(ladder);
    let asking = Asking::new().map_err(|error| failed(&error))?;
    let patience = Patience::new().map_err(|error| failed(&error))?;
    let mut cycle = Cycle { asking, name, devices, timeout, patience };
    let was_cut = cycle.cut();
    // Whatever became of that: it must not stay off because of a test.
    let is_on = cycle.restore();
    cycle.asking.end().map_err(|error| failed(&error))?;
    match (was_cut?, is_on?) {
        (true, true) => {
            say(&format!(
                "\nA fence of {name} gives a proof. It boots now, and the pair is complete when it \
                 is standby again: tandem status\n"
            ))?;
            Ok(OK)
        }
        (false, _) => {
            warn(&format!(
                "\nNo proof: a fence of {name} by these devices would freeze the pair.\n"
            ))?;
            Ok(FAILED)
        }
        (true, false) => {
            warn(&format!("\n{name} was cut, and is not on again: power it on by hand.\n"))?;
            Ok(FAILED)
        }
    }
}

fn timeout(ladder: &Ladder) -> Duration {
    ladder.levels.first().map(|level| level.timeout).unwrap_or_default()
}

/// Only a node that is heard, is standby, and whose service another node runs, may be cut.
fn refuse_unless_standby(status: &Status, name: &str) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::failed(format!("{name} is not cut: {why}")));
    let Some(node) = status.nodes.iter().find(|node| node.name == name) else {
        return refused(format!("the daemon of {} does not know it", status.node));
    };
    match node.state {
        NodeState::Standby => {}
        NodeState::Active => {
            return refused("it is active: move the service away first".to_owned());
        }
        NodeState::Lost | NodeState::Unknown => {
            return refused("it is not heard: nobody knows what it holds".to_owned());
        }
        NodeState::Stopped => {
            return refused("its daemon is stopped: it would not come back as standby".to_owned());
        }
        NodeState::Joining
        | NodeState::Isolated
        | NodeState::Fencing
        | NodeState::Frozen
        | NodeState::Acquiring
        | NodeState::Releasing => {
            return refused(format!("it is {}, not standby", node.state.as_str()));
        }
    }
    let served =
        status.nodes.iter().any(|other| other.name != name && other.state == NodeState::Active);
    if !served {
        return refused("no other node is active: the service must run elsewhere".to_owned());
    }
    match status.health {
        Health::Ok | Health::Degraded => Ok(()),
        Health::Starting
        | Health::TakingOver
        | Health::NoActive
        | Health::Frozen
        | Health::Collision
        | Health::Unknown => refused("the pair is not well: tandem status".to_owned()),
    }
}

fn confirm(name: &str, devices: &[(DeviceId, &Device)]) -> Result<(), Failure> {
    let devices: Vec<&str> = devices.iter().map(|(_, device)| device.name.as_str()).collect();
    let (shown, devices) = (plain(name), plain(&devices.join(" and ")));
    warn(&format!(
        "This cuts the power of {shown} by {devices}, at once, without a shutdown, and switches it \
         on again.\nThe service goes on here; until {shown} is back nobody could take over.\n\
         To do it, type the name of the node: "
    ))?;
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    if line.trim() == name {
        return Ok(());
    }
    Err(Failure::failed("that is not its name: nothing was done"))
}

impl<'p> Cycle<'p> {
    /// Cuts the power; whether all devices read off in time.
    fn cut(&mut self) -> Result<bool, Failure> {
        let name = plain(self.name);
        self.tell(&format!("telling the devices of {name} to cut its power"))?;
        self.switch(Order::Off, Power::Off, self.timeout)
    }

    /// Switches the power on; whether all devices read on in time.
    fn restore(&mut self) -> Result<bool, Failure> {
        // Whoever reads along may be gone by now: the power is switched on all the same.
        let told = self.tell(&format!("telling them to switch {} on again", plain(self.name)));
        let is_on = self.switch(Order::On, Power::On, self.timeout.max(ON_TIMEOUT_MIN));
        told.and(is_on)
    }

    /// Gives an order to all that it is for; whether all devices read `wanted` in time.
    fn switch(&mut self, order: Order, wanted: Power, timeout: Duration) -> Result<bool, Failure> {
        let end = self.asking.elapsed() + timeout;
        let replies = self.order(order, timeout)?;
        if order == Order::On && self.patience.end() {
            let name = plain(self.name);
            let why = format!(
                "interrupted: {name} was told to switch on; whether it is: tandem fence test {name}"
            );
            return Err(Failure::failed(why));
        }
        for (reply, device) in replies.iter().zip(self.names(order)) {
            if let Err(fault) = reply.reading {
                self.tell(&format!("{device}: the command failed: {fault}"))?;
            }
        }
        self.read_until(wanted, end)
    }

    /// Reads all devices again and again until they say `wanted`, or until `end`.
    fn read_until(&mut self, wanted: Power, end: Duration) -> Result<bool, Failure> {
        let mut last = Vec::new();
        loop {
            let left = end.saturating_sub(self.asking.elapsed());
            if left.is_zero() {
                let word = wanted.to_string();
                self.tell(&format!("not all devices read {word} in time"))?;
                return Ok(false);
            }
            let replies = self.order(Order::Read, left)?;
            let said: Vec<_> = replies.iter().map(|reply| reply.reading).collect();
            if said != last {
                for (reading, device) in said.iter().zip(self.names(Order::Read)) {
                    match reading {
                        Ok(power) => self.tell(&format!("{device}: reads {power}"))?,
                        Err(fault) => self.tell(&format!("{device}: {fault}"))?,
                    }
                }
                last.clone_from(&said);
            }
            if said.iter().all(|reading| *reading == Ok(wanted)) {
                return Ok(true);
            }
            self.asking.pause(READ_PAUSE).map_err(|error| failed(&error))?;
        }
    }

    fn order(&mut self, order: Order, timeout: Duration) -> Result<Vec<Reply>, Failure> {
        let questions: Vec<_> = self
            .addressees(order)
            .into_iter()
            .map(|(id, device)| Question { id, device, order, timeout })
            .collect();
        self.asking.ask(&questions).map_err(|error| failed(&error))
    }

    /// Whom an order is for: a witness is only read.
    fn addressees(&self, order: Order) -> Vec<(DeviceId, &'p Device)> {
        let switches = matches!(order, Order::Off | Order::On);
        let is_meant = |device: &Device| !switches || device.role == Role::Fence;
        self.devices.iter().filter(|(_, device)| is_meant(device)).copied().collect()
    }

    fn names(&self, order: Order) -> Vec<String> {
        self.addressees(order).iter().map(|(_, device)| plain(&device.name)).collect()
    }

    /// One step, with the time since the beginning.
    fn tell(&self, text: &str) -> Result<(), Failure> {
        say(&format!("{:>8}  {text}\n", span(millis(self.asking.elapsed()))))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::wire::control::status::Node;

    fn pair(health: Health, a: NodeState, b: NodeState) -> Status {
        let node = |name: &str, state, local| Node {
            name: name.to_owned(),
            state,
            local,
            ..Node::default()
        };
        let nodes = vec![node("a", a, true), node("b", b, false)];
        Status { node: "a".to_owned(), health, nodes, ..Status::default() }
    }

    #[test]
    fn only_a_standby_that_is_heard_is_cut_and_only_while_another_node_serves() {
        use NodeState::{Active, Frozen, Isolated, Joining, Lost, Standby, Stopped, Unknown};
        let may = |health, a, b| refuse_unless_standby(&pair(health, a, b), "b").is_ok();
        assert!(may(Health::Ok, Active, Standby));
        assert!(may(Health::Degraded, Active, Standby));
        for state in [Active, Frozen, Isolated, Joining, Lost, Stopped, Unknown] {
            assert!(!may(Health::Ok, Active, state), "{state:?}");
        }
        assert!(!may(Health::Ok, Standby, Standby), "nobody serves");
        assert!(!may(Health::Collision, Active, Standby));
        assert!(!may(Health::TakingOver, Active, Standby));
        let nobody = pair(Health::Ok, Active, Standby);
        assert!(refuse_unless_standby(&nobody, "c").is_err());
    }
}
