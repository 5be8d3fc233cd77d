//! The vocabulary of the scripts: every line that they can have, and what it does.

use tandem::engine::Input;
use tandem::engine::settings::AfterFence;
use tandem::sim::plan::OUTSIDER;
use tandem::sim::{Disk, Mode, Plan, Taking};
use tandem::types::{FenceFault, Heartbeat, LinkId, Mac, NicId, NodeId, Term, VipId};

use super::phrase::Values;
use super::stage::Stage;

type Act = fn(&mut Stage, &Values) -> Result<(), String>;

/// One line that a script can have.
pub struct Phrase {
    pub pattern: &'static str,
    pub act: Act,
}

/// A part of the vocabulary.
pub struct Chapter {
    pub title: &'static str,
    /// Whether its lines are told as happenings.
    pub told: bool,
    pub phrases: &'static [Phrase],
}

/// Something that can be so or not.
pub struct Condition {
    pub pattern: &'static str,
    pub is_so: fn(&Stage, &Values) -> bool,
}

macro_rules! phrases {
    ($($pattern:literal => $act:expr;)*) => {
        &[$(Phrase { pattern: $pattern, act: $act },)*]
    };
}

/// Everything but `until`, `expect` and `run`, which the player knows.
pub const CHAPTERS: [Chapter; 7] = [
    Chapter { title: "The plan, before anything happens", told: false, phrases: PLAN },
    Chapter { title: "Beginnings", told: false, phrases: BEGINNINGS },
    Chapter { title: "Power and fence devices", told: true, phrases: POWER },
    Chapter { title: "Daemons and operators", told: true, phrases: DAEMONS },
    Chapter { title: "Links and what is said on them", told: true, phrases: LINKS },
    Chapter { title: "Service networks and VIPs", told: true, phrases: SERVICE },
    Chapter { title: "Disks and takeovers", told: true, phrases: DISKS },
];

const PLAN: &[Phrase] = phrases! {
    "with NUMBER nodes" => |s, v| { s.planned()?.plan.nodes = v.number(0); Ok(()) };
    "with one link" => |s, _| { s.planned()?.plan.links = 1; Ok(()) };
    "with NUMBER links" => |s, v| { s.planned()?.plan.links = v.number(0); Ok(()) };
    "with a first link that is NUMBER times as quick" => |s, v| {
        s.planned()?.plan.quicker = v.number(0).into();
        Ok(())
    };
    "with a last link that says things in turns" => |s, _| {
        s.planned()?.plan.in_turns = true;
        Ok(())
    };
    "with NUMBER nics" => |s, v| { s.planned()?.plan.nics = v.number(0); Ok(()) };
    "with NUMBER vips" => |s, v| { s.planned()?.plan.vips = v.number(0).into(); Ok(()) };
    "with an isolated-grace of TIME" => |s, v| {
        s.planned()?.plan.timing.grace = v.time(0);
        Ok(())
    };
    "with a fence delay of TIME for NODE" => |s, v| {
        s.planned()?.plan.fence_delays[v.node(1)] = v.time(0);
        Ok(())
    };
    "with NODE preferred" => |s, v| {
        s.planned()?.plan.preferred = u8::try_from(v.node(0) + 1).ok();
        Ok(())
    };
    "with NODE preferred in the other configuration" => |s, v| {
        s.planned()?.plan.preferred_elsewhere = u8::try_from(v.node(0) + 1).ok();
        Ok(())
    };
    "with ping targets" => |s, _| { s.planned()?.plan.pings = true; Ok(()) };
    "with probes between the nodes" => |s, _| { s.planned()?.plan.probes = true; Ok(()) };
    "with a dead-host-time of TIME" => |s, v| {
        s.planned()?.plan.timing.dead_host = Some(v.time(0));
        Ok(())
    };
    "with a path-rest of TIME" => |s, v| {
        s.planned()?.plan.timing.path_rest = v.time(0);
        Ok(())
    };
    "with no fence device" => |s, _| { s.planned()?.plan.levels.clear(); Ok(()) };
    "with a second level of NUMBER outlets" => |s, v| {
        s.planned()?.plan.levels.push(v.number(0));
        Ok(())
    };
    "with NUMBER outlets for each instead of a bmc" => |s, v| {
        s.planned()?.plan.levels = vec![v.number(0)];
        Ok(())
    };
    "with NUMBER witnesses for each" => |s, v| {
        s.planned()?.plan.witnesses = v.number(0);
        Ok(())
    };
    "with machines that tell who they are" => |s, _| {
        s.planned()?.plan.identities = true;
        Ok(())
    };
    "with fence agents instead of bmcs" => |s, _| {
        s.planned()?.plan.agents = true;
        Ok(())
    };
    "with witnesses beside the last level" => |s, _| {
        s.planned()?.plan.witnesses_beside = true;
        Ok(())
    };
    "with bmcs on the power feeds of their hosts" => |s, _| {
        s.planned()?.shared_feed = true;
        Ok(())
    };
    "with fenced nodes powered on again" => |s, _| {
        s.planned()?.plan.after_fence = AfterFence::PowersOn;
        Ok(())
    };
    "with another configuration at NODE" => |s, v| {
        s.planned()?.plan.config_digests[v.node(0)] += 1;
        Ok(())
    };
    "with a clock at NODE that leads by TIME" => |s, v| {
        s.planned()?.clock_leads.push((v.node(0), v.time(1)));
        Ok(())
    };
    "with a record at NODE of having held term NUMBER" => |s, v| {
        s.planned()?.held_terms.push((v.node(0), Term(v.number(1).into())));
        Ok(())
    };
};

const BEGINNINGS: &[Phrase] = phrases! {
    "a settled pair" => |s, _| s.settle();
    "a settled cluster" => |s, _| s.settle();
    "a cold pair" => |s, _| s.begin();
    "tell from here" => |s, _| s.tell_from_here();
    "two holders are not the engine's fault" => |s, _| { s.world()?.excused = true; Ok(()) };
    "two holders are the engine's fault again" => |s, _| {
        s.world()?.excused = false;
        Ok(())
    };
};

const POWER: &[Phrase] = phrases! {
    "NODE loses its power" => |s, v| { s.world()?.power_off(v.node(0)); Ok(()) };
    "NODE loses its feed" => |s, v| { s.world()?.lose_feed(v.node(0)); Ok(()) };
    "NODE gets its power back" => |s, v| { s.world()?.power_on(v.node(0)); Ok(()) };
    "NODE panics" => |s, v| {
        let world = s.world()?;
        world.crash(v.node(0));
        world.machines[v.node(0)].kernel.clear();
        Ok(())
    };
    "DEVICE works" => |s, v| mode(s, v, Mode::Works);
    "DEVICE is dead" => |s, v| mode(s, v, Mode::Dead);
    "DEVICE refuses the password" => |s, v| mode(s, v, Mode::Refuses(FenceFault::Credentials));
    "DEVICE denies the privilege" => |s, v| mode(s, v, Mode::Refuses(FenceFault::Privilege));
    "DEVICE refuses the command" => |s, v| mode(s, v, Mode::Refuses(FenceFault::Refused));
    "DEVICE leaves the power on" => |s, v| mode(s, v, Mode::StaysOn);
    "DEVICE hangs" => |s, v| mode(s, v, Mode::Hangs);
    "DEVICE is an agent that breaks" => |s, v| {
        mode(s, v, Mode::Refuses(FenceFault::AgentFailed))
    };
    "DEVICE reads neither on nor off" => |s, v| mode(s, v, Mode::Unclear);
    "DEVICE shows an outlet that is not there" => |s, v| mode(s, v, Mode::Absent);
    "DEVICE reads off falsely" => |s, v| mode(s, v, Mode::ReadsOff);
    "DEVICE belongs to NODE" => |s, v| { s.device(&v.device(0))?.wired = v.node(1); Ok(()) };
    "DEVICE belongs to a stranger" => |s, v| {
        s.device(&v.device(0))?.wired = OUTSIDER;
        Ok(())
    };
    "DEVICE takes TIME for an answer" => |s, v| {
        s.device(&v.device(0))?.delay = v.time(1);
        Ok(())
    };
    "DEVICE has power again" => |s, v| {
        s.device(&v.device(0))?.has_power = true;
        Ok(())
    };
};

const DAEMONS: &[Phrase] = phrases! {
    "the daemon of NODE is started" => |s, v| {
        let entry = &s.world()?.machines[v.node(0)];
        if entry.daemon.is_some() || !entry.powered {
            return Err("a daemon runs there, or there is no power".to_owned());
        }
        s.world()?.start_daemon(v.node(0));
        Ok(())
    };
    "the daemon of NODE is killed" => |s, v| { s.world()?.crash(v.node(0)); Ok(()) };
    "the daemon of NODE is suspended" => |s, v| { s.world()?.pause(v.node(0)); Ok(()) };
    "the daemon of NODE goes on" => |s, v| { s.world()?.resume(v.node(0)); Ok(()) };
    "the daemon of NODE is told to end" => |s, v| { s.world()?.stop(v.node(0)); Ok(()) };
    "the daemon of NODE will not start at boot" => |s, v| {
        s.world()?.machines[v.node(0)].autostart = false;
        Ok(())
    };
    "an operator at NODE confirms that NODE is off" => |s, v| confirm(s, v, false);
    "an operator at NODE confirms by force that NODE is off" => |s, v| confirm(s, v, true);
};

const LINKS: &[Phrase] = phrases! {
    "LINK is cut" => |s, v| cut(s, v.link(0), true);
    "LINK is mended" => |s, v| cut(s, v.link(0), false);
    "heartbeats are under way for TIME" => |s, v| {
        s.world()?.link_delay = v.time(0);
        Ok(())
    };
    "LINK is cut from NODE to NODE" => |s, v| {
        s.world()?.set_cut(v.link(0), v.node(1), v.node(2), true);
        Ok(())
    };
    "LINK is mended from NODE to NODE" => |s, v| {
        s.world()?.set_cut(v.link(0), v.node(1), v.node(2), false);
        Ok(())
    };
    "the cable of LINK is pulled out of NODE" => |s, v| {
        s.world()?.set_unplugged(v.node(1), v.link(0), true);
        Ok(())
    };
    "the cable of LINK is put back into NODE" => |s, v| {
        s.world()?.set_unplugged(v.node(1), v.link(0), false);
        Ok(())
    };
    "all links are cut" => |s, _| cut_all(s, true);
    "all links are mended" => |s, _| cut_all(s, false);
    "somebody on the wire has recorded what NODE said" => |s, v| {
        let from = Plan::node_id(v.node(0));
        let sent = &s.world()?.story.sent;
        s.recorded = sent.iter().filter(|word| word.from == from).copied().collect();
        Ok(())
    };
    "the recording reaches NODE" => |s, v| {
        for heartbeat in s.recorded.clone() {
            hear(s, v.node(0), heartbeat.link, heartbeat)?;
        }
        Ok(())
    };
    "NODE hears a heartbeat of a stranger" => |s, v| {
        let stranger = NodeId::new(NodeId::MAX).ok_or("there are no strangers")?;
        let word = last_word(s, v.node(0))?;
        hear(s, v.node(0), word.link, Heartbeat { from: stranger, ..word })
    };
    "NODE hears a heartbeat for another node" => |s, v| {
        let word = last_word(s, v.node(0))?;
        hear(s, v.node(0), word.link, Heartbeat { to: word.from, ..word })
    };
    "NODE hears a heartbeat of another link" => |s, v| {
        let word = last_word(s, v.node(0))?;
        hear(s, v.node(0), LinkId(1 - word.link.0.min(1)), word)
    };
};

const SERVICE: &[Phrase] = phrases! {
    "NIC of NODE loses its carrier" => |s, v| {
        s.world()?.set_carrier(v.node(1), v.nic(0), false);
        Ok(())
    };
    "NIC of NODE gains its carrier" => |s, v| {
        s.world()?.set_carrier(v.node(1), v.nic(0), true);
        Ok(())
    };
    "NIC of NODE goes deaf with its carrier up" => |s, v| {
        s.world()?.set_deaf(v.node(1), v.nic(0), true);
        Ok(())
    };
    "NIC of NODE hears again" => |s, v| {
        s.world()?.set_deaf(v.node(1), v.nic(0), false);
        Ok(())
    };
    "the ping targets of NIC die" => |s, v| {
        s.world()?.set_dead_targets(v.nic(0), true);
        Ok(())
    };
    "no ping target of NIC answers NODE" => |s, v| reach(s, v, false);
    "a ping target of NIC answers NODE" => |s, v| reach(s, v, true);
    "the service networks of NODE and NODE are parted" => |s, v| {
        s.world()?.set_parted(v.node(0), v.node(1), true);
        Ok(())
    };
    "the service networks of NODE and NODE are joined" => |s, v| {
        s.world()?.set_parted(v.node(0), v.node(1), false);
        Ok(())
    };
    "somebody deletes VIP at NODE" => |s, v| {
        let (vip, machine) = (v.vip(0), v.node(1));
        if !s.world()?.machines[machine].kernel.remove(vip) {
            return Err("it is not there".to_owned());
        }
        s.world()?.give(machine, Input::VipGone { vip: VipId(vip) });
        Ok(())
    };
    "somebody adds VIP at NODE" => |s, v| {
        let (vip, machine) = (v.vip(0), v.node(1));
        s.world()?.machines[machine].kernel.insert(vip);
        s.world()?.give(machine, Input::VipStray { vip: VipId(vip) });
        Ok(())
    };
    "NODE hears a stranger claim VIP" => |s, v| {
        s.world()?.claim(v.node(0), v.vip(1), Mac([0, 0x16, 0x3e, 0, 0, 1]));
        Ok(())
    };
};

const DISKS: &[Phrase] = phrases! {
    "the disk of NODE works" => |s, v| disk(s, v, Disk::Works);
    "the disk of NODE fails" => |s, v| disk(s, v, Disk::Fails);
    "the disk of NODE hangs" => |s, v| disk(s, v, Disk::Hangs);
    "the mark of NODE cannot be written" => |s, v| {
        s.world()?.machines[v.node(0)].mark_fails = true;
        Ok(())
    };
    "a takeover of NODE would fail half-way" => |s, v| taking(s, v, Taking::FailsHalfWay);
    "a takeover of NODE would work" => |s, v| taking(s, v, Taking::Works);
    "NODE cannot take VIPs off" => |s, v| {
        s.world()?.machines[v.node(0)].release_fails = true;
        Ok(())
    };
    "NODE can take VIPs off again" => |s, v| {
        s.world()?.machines[v.node(0)].release_fails = false;
        Ok(())
    };
};

/// What `until` and `expect` can be followed by.
pub const CONDITIONS: [Condition; 12] = [
    Condition { pattern: "NODE is STATE", is_so: |s, v| s.is(v.node(0), v.state(1)) },
    Condition { pattern: "only NODE holds", is_so: |s, v| s.holders() == [v.node(0)] },
    Condition {
        pattern: "NODE and NODE hold",
        is_so: |s, v| s.holders() == [v.node(0), v.node(1)],
    },
    Condition { pattern: "nobody holds", is_so: |s, _| s.holders().is_empty() },
    Condition { pattern: "somebody holds", is_so: |s, _| !s.holders().is_empty() },
    Condition {
        pattern: "NODE has power",
        is_so: |s, v| s.seen().is_some_and(|w| w.machines[v.node(0)].powered),
    },
    Condition {
        pattern: "NODE has no power",
        is_so: |s, v| s.seen().is_some_and(|w| !w.machines[v.node(0)].powered),
    },
    Condition {
        pattern: "the power of NODE was cut",
        is_so: |s, v| s.seen().is_some_and(|w| w.cuts_of(v.node(0)) > 0),
    },
    Condition {
        pattern: "the power of NODE was never cut",
        is_so: |s, v| s.seen().is_some_and(|w| w.cuts_of(v.node(0)) == 0),
    },
    Condition {
        pattern: "the daemon of NODE has ended",
        is_so: |s, v| s.seen().is_some_and(|w| w.machines[v.node(0)].exited),
    },
    Condition { pattern: "NODE has told TEXT", is_so: |s, v| s.told(v.node(0), &v.text(1)) },
    Condition { pattern: "NODE has not told TEXT", is_so: |s, v| !s.told(v.node(0), &v.text(1)) },
];

fn mode(stage: &mut Stage, values: &Values, mode: Mode) -> Result<(), String> {
    stage.device(&values.device(0))?.mode = mode;
    Ok(())
}

fn confirm(stage: &mut Stage, values: &Values, force: bool) -> Result<(), String> {
    let (machine, of) = (values.node(0), values.node(1));
    let world = stage.world()?;
    if !world.machines[machine].is_awake() {
        return Err("no daemon there could answer".to_owned());
    }
    // The answer is told in the account.
    let _answer = world.confirm_off(machine, of, force);
    Ok(())
}

fn cut(stage: &mut Stage, link: u8, cut: bool) -> Result<(), String> {
    let nodes = usize::from(stage.plan.nodes);
    let world = stage.world()?;
    for from in 0..nodes {
        for to in (0..nodes).filter(|to| *to != from) {
            world.set_cut(link, from, to, cut);
        }
    }
    Ok(())
}

fn cut_all(stage: &mut Stage, cut_now: bool) -> Result<(), String> {
    (0..stage.plan.links).try_for_each(|link| cut(stage, link, cut_now))
}

/// The last heartbeat that was sent to a machine.
fn last_word(stage: &mut Stage, machine: usize) -> Result<Heartbeat, String> {
    let to = Plan::node_id(machine);
    let sent = &stage.world()?.story.sent;
    let last = sent.iter().rev().find(|word| word.to == to).copied();
    last.ok_or_else(|| "nothing was sent to it yet: let some time go by".to_owned())
}

fn hear(
    stage: &mut Stage,
    machine: usize,
    link: LinkId,
    heartbeat: Heartbeat,
) -> Result<(), String> {
    let world = stage.world()?;
    let at = world.local(machine);
    world.give(machine, Input::Heard { link, at, heartbeat });
    Ok(())
}

fn reach(stage: &mut Stage, values: &Values, up: bool) -> Result<(), String> {
    let nic = NicId(u8::try_from(values.nic(0)).map_err(|error| error.to_string())?);
    stage.world()?.give(values.node(1), Input::Reach { nic, up });
    Ok(())
}

fn disk(stage: &mut Stage, values: &Values, disk: Disk) -> Result<(), String> {
    stage.world()?.machines[values.node(0)].disk = disk;
    Ok(())
}

fn taking(stage: &mut Stage, values: &Values, taking: Taking) -> Result<(), String> {
    stage.world()?.machines[values.node(0)].taking = taking;
    Ok(())
}
