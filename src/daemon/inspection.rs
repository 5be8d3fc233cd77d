//! Fence agents are asked for their metadata behind the loop: once, at the start, by a child
//! process. What does not fit is told in the log, and keeps nothing from starting: an agent that is
//! wrong or missing is one fence device less, and the service runs.

use core::time::Duration;

use mio::{Registry, Token};

use crate::config::metadata::Misfit;
use crate::config::{AgentUse, Device};
use crate::io::child::{Child, Spec};
use crate::types::Instant;

/// The hidden command that the child runs.
pub const COMMAND: &str = "inspect-agents";
/// How long all agents together may take.
const INSPECTION_MAX: Duration = Duration::from_secs(120);
/// How much the child may have to tell, in bytes.
const TOLD_LEN_MAX: usize = 256 << 10;

/// The inspection; it is over when its child is.
pub struct Inspection {
    child: Option<Child>,
}

impl Inspection {
    /// Begins it, if there are agents among `devices`.
    pub fn begin(registry: &Registry, token: Token, now: Instant, devices: &[Device]) -> Self {
        let agents = devices.iter().filter_map(AgentUse::of);
        let asked: Vec<AgentUse> = agents.filter(AgentUse::is_asked).collect();
        if asked.is_empty() {
            return Self { child: None };
        }
        let spec = Spec {
            program: "/proc/self/exe".into(),
            arguments: vec![COMMAND.to_owned()],
            input: serde_json::to_vec(&asked).unwrap_or_default(),
            deadline: now + INSPECTION_MAX,
        };
        let child = Child::start(registry, token, spec);
        let child = child.map_err(|error| log::warn!("cannot look at the fence agents: {error}"));
        Self { child: child.ok().map(|child| child.keep(TOLD_LEN_MAX)) }
    }

    /// Handles an event of its token.
    pub fn ready(&mut self, registry: &Registry) {
        if let Some(child) = &mut self.child {
            child.ready(registry);
        }
        self.tell();
    }

    /// When [`Self::expire`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.child.as_ref().and_then(Child::next_deadline)
    }

    /// Kills a child whose time is over.
    pub fn expire(&mut self, registry: &Registry, now: Instant) {
        if let Some(child) = &mut self.child {
            child.expire(registry, now);
        }
        self.tell();
    }

    fn tell(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(report) = child.take_report() {
            match serde_json::from_slice::<Vec<Misfit>>(&report.output) {
                Ok(misfits) => misfits.iter().for_each(warn),
                Err(_) => log::warn!("the fence agents tell nothing of their parameters"),
            }
        }
        if child.is_over() {
            self.child = None;
        }
    }
}

fn warn(misfit: &Misfit) {
    let Misfit { place, wrong, instead, .. } = misfit;
    log::warn!("fence device {}: {wrong}; {instead}", place.key);
}
