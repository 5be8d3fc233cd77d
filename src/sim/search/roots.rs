//! The small worlds that are searched.

use core::time::Duration;

use super::moves::{BEAT, Budget, State};
use crate::engine::settings::AfterFence;
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
    /// After how many moves it is left, if it is too large to be visited whole.
    pub moves_max: Option<u32>,
    state: State,
}

impl Root {
    /// The state it begins with.
    pub fn state(&self) -> State {
        self.state.clone()
    }
}

/// The plan of a small world, whose times are all of one beat.
pub fn small_plan(nodes: u8, levels: &[u8]) -> Plan {
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
            dead_host: None,
            level_timeout: BEAT,
            pace: BEAT,
            grace: BEAT,
            // Whoever was heard is silent by the next beat.
            path_hold: ms(0),
            path_rest: BEAT,
            sense: BEAT,
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
    world.ledger.heard.clear();
    Root { name, shows, moves_max: None, state: State::new(world, budget) }
}

/// All worlds that are searched.
pub fn roots() -> Vec<Root> {
    let mut roots = without_devices();
    roots.extend(with_devices());
    roots
}

fn without_devices() -> Vec<Root> {
    let none = Budget::default();
    vec![
        root(
            "promises",
            "two nodes without fence devices; a daemon is killed, and one told to end",
            small_plan(2, &[]),
            Budget { kills: 1, stops: 1, ..none },
        ),
        root(
            "boots",
            "two nodes without fence devices; a machine loses its power and returns, a daemon dies",
            small_plan(2, &[]),
            Budget { losses: 1, returns: 1, kills: 1, ..none },
        ),
        root(
            "stalls",
            "two nodes without fence devices; a daemon stands still, and one is killed",
            small_plan(2, &[]),
            Budget { stalls: 1, kills: 1, ..none },
        ),
        root(
            "carriers",
            "two nodes without fence devices; a service NIC loses its carrier, a daemon is killed",
            small_plan(2, &[]),
            Budget { carriers: 1, kills: 1, ..none },
        ),
        Root {
            moves_max: Some(12),
            ..root("three", "three nodes without fence devices", small_plan(3, &[]), none)
        },
    ]
}

fn with_devices() -> Vec<Root> {
    let none = Budget::default();
    let looking = |levels: &[u8]| Plan { blind: false, ..small_plan(2, levels) };
    let slow = |mut root: Root| {
        root.state.prompt = false;
        root
    };
    vec![
        root(
            "looks",
            "two nodes that look before they fence; a daemon is killed",
            looking(&[1]),
            Budget { kills: 1, ..none },
        ),
        slow(root(
            "fences",
            "two nodes with slow fence devices, each of which may strike late",
            small_plan(2, &[1]),
            none,
        )),
        root(
            "frozen",
            "a fence device dies, a machine loses its power, an operator says so",
            small_plan(2, &[1]),
            Budget { devices: 1, losses: 1, confirms: 1, ..none },
        ),
        root(
            "goodbyes",
            "two nodes with fence devices; a daemon is told to end",
            small_plan(2, &[1]),
            Budget { stops: 1, ..none },
        ),
        Root {
            moves_max: Some(28),
            ..root(
                "powered-on",
                "two nodes that power on again whom they have fenced; a daemon is killed",
                Plan { after_fence: AfterFence::PowersOn, ..small_plan(2, &[1]) },
                Budget { kills: 1, ..none },
            )
        },
        root(
            "pair",
            "two nodes with fence devices; a daemon is killed, and a fenced machine returns",
            small_plan(2, &[1]),
            Budget { kills: 1, returns: 1, ..none },
        ),
    ]
}
