//! The small worlds that are searched.

use core::time::Duration;

use super::moves::{BEAT, Budget, State};
use crate::sim::plan::{MACHINES_MAX, Timing, ms};
use crate::sim::{Plan, World};
use crate::types::Instant;

/// A hundred years: a check that is never due.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A small world, and the faults that may strike it.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its name, for `scripts/dev search NAME`.
    pub name: &'static str,
    /// What it shows, in a line.
    pub shows: &'static str,
    state: State,
}

impl Root {
    /// The state it begins with.
    pub fn state(&self) -> State {
        self.state.clone()
    }
}

fn plan(nodes: u8, levels: &[u8]) -> Plan {
    Plan {
        nodes,
        links: 1,
        nics: 1,
        vips: 1,
        blind: true,
        levels: levels.to_vec(),
        timing: Timing {
            keepalive: BEAT,
            warntime: BEAT,
            deadtime: BEAT,
            initdead: BEAT,
            level_timeout: BEAT,
            grace: BEAT,
            fence_check_interval: NEVER,
            boot: BEAT,
        },
        fence_delays: [ms(0); MACHINES_MAX],
        ..Plan::default()
    }
}

fn root(name: &'static str, shows: &'static str, plan: Plan, budget: Budget) -> Root {
    let mut world = World::new(plan);
    world.story.kept = false;
    world.now = Instant::ZERO;
    Root { name, shows, state: State::new(world, budget) }
}

/// All worlds that are searched.
pub fn roots() -> Vec<Root> {
    let none = Budget::default();
    let looks = |nodes, levels: &[u8]| Plan { blind: false, ..plan(nodes, levels) };
    vec![
        root("w-stall", "", plan(2, &[]), Budget { stalls: 1, ..none }),
        root("w-carrier", "", plan(2, &[]), Budget { carriers: 1, ..none }),
        root("w-loss-kill", "", plan(2, &[]), Budget { losses: 1, returns: 1, kills: 1, ..none }),
        root("w-confirm", "", plan(2, &[]), Budget { losses: 1, confirms: 1, ..none }),
        root("w3", "", plan(3, &[]), none),
        root("w-looks", "", looks(2, &[]), none),
        root("f", "", plan(2, &[1]), none),
        root("f-ret", "", plan(2, &[1]), Budget { returns: 1, ..none }),
        root("f-kill", "", plan(2, &[1]), Budget { kills: 1, ..none }),
        root("f-dev", "", plan(2, &[1]), Budget { devices: 1, ..none }),
        root("f-looks", "", looks(2, &[1]), none),
    ]
}
