//! The stage on which a script is played: the plan, then the world, and the account of it.

use std::time::Duration;

use tandem::engine::transcript::state_word;
use tandem::sim::{Device, Plan, World};
use tandem::types::{Heartbeat, Instant, Names, PeerState, Term};

use super::account::Account;

/// How long a settled pair takes to settle.
const SETTLE_TIME: Duration = Duration::from_millis(400);

/// Everything a script works on.
pub struct Stage {
    /// As the script has laid it out so far, or did before the world began.
    pub plan: Plan,
    /// Whether a loss of a host's power feed takes its fence devices along.
    pub shared_feed: bool,
    /// What is to be true of the machines when the world begins.
    pub clock_leads: Vec<(usize, Duration)>,
    pub held_terms: Vec<(usize, Term)>,
    /// What somebody on the wire has recorded.
    pub recorded: Vec<Heartbeat>,
    scene: Option<Scene>,
}

/// The world, once there is one.
struct Scene {
    world: World,
    account: Account,
}

impl Stage {
    /// A stage with a default pair: two links, one service NIC, one VIP, a BMC each.
    pub fn new() -> Self {
        Self {
            plan: Plan { nics: 1, vips: 1, ..Plan::default() },
            shared_feed: false,
            clock_leads: Vec::new(),
            held_terms: Vec::new(),
            recorded: Vec::new(),
            scene: None,
        }
    }

    /// The plan, which can be changed as long as there is no world.
    pub fn planned(&mut self) -> Result<&mut Self, String> {
        match self.scene {
            Some(_) => Err("the plan is laid out before anything happens".to_owned()),
            None => Ok(self),
        }
    }

    /// The world.
    pub fn world(&mut self) -> Result<&mut World, String> {
        match &mut self.scene {
            Some(scene) => Ok(&mut scene.world),
            None => Err("there is nothing yet: begin with `a settled pair`".to_owned()),
        }
    }

    /// Makes the world: machines with power, on which no daemon runs.
    pub fn begin(&mut self) -> Result<(), String> {
        self.planned()?;
        let mut world = World::new(self.plan.clone());
        for device in &mut world.devices {
            device.shares_power = self.shared_feed && !device.is_witness;
        }
        for (machine, lead) in &self.clock_leads {
            world.machines[*machine].clock_lead = lead.as_nanos() as u64;
        }
        for (machine, term) in &self.held_terms {
            world.machines[*machine].record.term = *term;
            world.machines[*machine].record.held_term = *term;
        }
        world.story.keep_steps = true;
        world.story.keep_sent = true;
        let account = Account::new(names(&self.plan), world.machines.len());
        self.scene = Some(Scene { world, account });
        self.tell_from_here()
    }

    /// Starts all daemons and lets the first become active.
    pub fn settle(&mut self) -> Result<(), String> {
        self.begin()?;
        for machine in 0..usize::from(self.plan.nodes) {
            self.world()?.start_daemon(machine);
        }
        self.run(SETTLE_TIME)?;
        if !self.world()?.is(0, PeerState::Active) {
            return Err("it has not settled: a is not active".to_owned());
        }
        self.tell_from_here()
    }

    /// Forgets what was told so far: the account begins here.
    pub fn tell_from_here(&mut self) -> Result<(), String> {
        self.follow();
        self.world()?.forget();
        if let Some(scene) = &mut self.scene {
            scene.account.begin(&scene.world);
        }
        Ok(())
    }

    /// Lets time go by.
    pub fn run(&mut self, time: Duration) -> Result<(), String> {
        self.run_until(time, |_| false).map(drop)
    }

    /// Lets time go by until `happened`; whether it did within `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        happened: impl Fn(&Self) -> bool,
    ) -> Result<bool, String> {
        let end: Instant = self.world()?.now + limit;
        while !happened(self) {
            if !self.world()?.turn(end) {
                self.world()?.now = end;
                return Ok(false);
            }
            self.follow();
        }
        Ok(true)
    }

    /// Takes what has happened since the last time into the account.
    pub fn follow(&mut self) {
        if let Some(scene) = &mut self.scene {
            scene.account.follow(&mut scene.world);
        }
    }

    /// Tells that the script causes something.
    pub fn note(&mut self, line: &str) {
        if let Some(scene) = &mut self.scene {
            scene.account.note(scene.world.now, line);
        }
    }

    /// The transcript, ended with what is so now.
    pub fn transcript(&mut self) -> String {
        match &mut self.scene {
            Some(scene) => scene.account.end(&scene.world),
            None => String::new(),
        }
    }

    /// The last lines of the transcript, for a complaint.
    pub fn last_lines(&self, count: usize) -> String {
        self.scene.as_ref().map_or_else(String::new, |scene| scene.account.last_lines(count))
    }

    /// The fence device of that name.
    pub fn device(&mut self, name: &str) -> Result<&mut Device, String> {
        let names = names(&self.plan).devices;
        let Some(index) = names.iter().position(|own| own == name) else {
            return Err(format!("there is no {name}; there are {}", names.join(", ")));
        };
        let world = self.world()?;
        world.ledger.devices_changed_at = world.now;
        Ok(&mut world.devices[index])
    }

    // What a condition looks at.

    pub fn seen(&self) -> Option<&World> {
        self.scene.as_ref().map(|scene| &scene.world)
    }

    pub fn is(&self, machine: usize, state: PeerState) -> bool {
        self.seen().is_some_and(|world| world.is(machine, state))
    }

    pub fn holders(&self) -> Vec<usize> {
        self.seen().map(World::holders).unwrap_or_default()
    }

    /// Whether a machine has told `text` since the account began.
    pub fn told(&self, machine: usize, text: &str) -> bool {
        let Some(world) = self.seen() else { return false };
        let names = names(&self.plan);
        let own = world.story.events.iter().filter(|(_, teller, _)| *teller == machine);
        own.into_iter().any(|(_, _, event)| event.line(&names).to_string().contains(text))
    }
}

/// The names of everything, as scripts and transcripts have them.
pub fn names(plan: &Plan) -> Names {
    let mut names = plan.names();
    names.devices.clear();
    for machine in 0..usize::from(plan.nodes) {
        let host = plan.names().node(Plan::node_id(machine)).to_owned();
        let mut outlets = 0;
        for (level, count) in plan.levels.iter().enumerate() {
            for _ in 0..*count {
                if level == 0 && *count == 1 {
                    names.devices.push(format!("bmc-{host}"));
                } else {
                    outlets += 1;
                    names.devices.push(format!("outlet{outlets}-{host}"));
                }
            }
        }
        names.devices.extend((1..=plan.witnesses).map(|n| format!("meter{n}-{host}")));
    }
    names
}

/// What each machine is, in words.
pub fn states(world: &World) -> String {
    let words = (0..world.machines.len()).map(|machine| {
        let name = world.name_of(machine);
        let entry = &world.machines[machine];
        match &entry.daemon {
            _ if !entry.powered => format!("{name} has no power"),
            None => format!("{name} runs no daemon"),
            Some(daemon) if daemon.paused => format!("{name} is suspended"),
            Some(daemon) => format!("{name} is {}", state_word(daemon.node.state())),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}
