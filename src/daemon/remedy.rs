//! What to do about what is wrong: what an operator reads behind a cause.
//!
//! Knows causes and names. Whether something is wrong is the engine's to say.

use crate::config::{Plan, Transport};
use crate::engine::Event;
use crate::engine::event::{Degradation, FrozenCause};
use crate::types::{FenceFault, LinkId, Names, Power, Stray};
use crate::wire::ipmi::Weakness;

/// What to do about an event, for the line that tells it.
pub(super) fn of_event(event: &Event, names: &Names) -> Option<String> {
    let Event::FenceDevice { device, reading } = event else { return None };
    of_reading(*reading, names.device(*device))
}

/// What to do about what a fence device said; nothing about a reading, or if it was not asked.
pub fn of_reading(said: Result<Power, FenceFault>, name: &str) -> Option<String> {
    let remedy = match said {
        Ok(Power::On | Power::Off) | Err(FenceFault::Cancelled) => return None,
        Ok(Power::Unknown) => {
            "run it by hand: it answers, but says neither on nor off; switch to another device if \
             it never does"
        }
        Err(FenceFault::Unreachable) => {
            "check its power, its network, its address and port in the configuration, and that \
             IPMI over LAN, or its web server for Redfish, is switched on"
        }
        Err(FenceFault::Credentials) => {
            "correct the user or the password, in the device or in the configuration of this node, \
             and restart this node's daemon"
        }
        Err(FenceFault::Certificate) => {
            "compare what `tandem fence fingerprint ADDRESS` shows with what the BMC tells on its \
             own page; if that is right, correct the certificate in the configuration and restart \
             this node's daemon"
        }
        Err(FenceFault::WrongMachine) => {
            "correct its address in the configuration, or its plug: it is that of another machine; \
             `tandem status --json` shows the GUIDs"
        }
        Err(FenceFault::Privilege) => {
            "give its user the privilege operator in the device, on its LAN channel too"
        }
        Err(FenceFault::Refused) => {
            "look into its own log, and for Redfish into this node's; switch a power with it by \
             hand"
        }
        Err(FenceFault::Unsupported) => {
            "update its firmware; if it stays so, it cannot cut a power: use another device"
        }
        Err(FenceFault::Exhausted) => {
            "end the programs that keep its sessions open, or restart the BMC; sessions that \
             nobody uses end by themselves after a minute"
        }
        Err(FenceFault::Garbled) => {
            "check that its address is that of a BMC; update its firmware; try another \
             cipher-suite; run an agent by hand"
        }
        Err(FenceFault::Timeout) => {
            "restart the BMC if it hangs; write a longer timeout if it is that slow"
        }
        Err(FenceFault::AgentFailed) => {
            "run the agent by hand, if it is installed, with the same parameters; the log has what \
             it printed"
        }
    };
    Some(format!("{name}: {remedy}"))
}

/// How a BMC lets people in, and what to do about it.
pub(super) const fn of_weakness(weakness: Weakness) -> (&'static str, &'static str) {
    match weakness {
        Weakness::SuiteZero => (
            "cipher suite 0 is enabled: whoever reaches it can switch the power without a password",
            "switch cipher suite 0 off in the BMC: an X in its place in ipmitool lan set 1 \
             cipher_privs",
        ),
        Weakness::NoAuthentication => (
            "sessions of IPMI 1.5 without authentication may switch the power",
            "take NONE from its authentication types (ipmitool lan set 1 auth OPERATOR MD5)",
        ),
        Weakness::Anonymous => (
            "a user without name and password is enabled",
            "disable user 1 in the BMC, or give it a password and a name",
        ),
        Weakness::NullUser => (
            "a user without a name is enabled: its password is all that there is to guess",
            "disable user 1 in the BMC, or give it a name",
        ),
    }
}

/// What to do about a link that does not work.
fn of_link(plan: &Plan, id: LinkId) -> String {
    let name = plan.names.link(id);
    match plan.links.get(id.index()).map(|link| &link.transport) {
        Some(Transport::Serial(_)) => format!(
            "check the cable of {name}, its device and speed on both nodes, and that no console or \
             login uses it"
        ),
        Some(Transport::Udp(_)) | None => {
            format!("check cable, switch port and firewall of {name} on both nodes")
        }
    }
}

/// The code of a degradation for programs, and what to do about it; `said` is what its fence device
/// said last, if it is about one.
pub(super) fn of_degradation(
    what: Degradation,
    plan: &Plan,
    said: Option<Result<Power, FenceFault>>,
) -> (&'static str, String) {
    let names = &plan.names;
    match what {
        Degradation::PeerMissing(node) => {
            let name = names.node(node);
            (
                "peer-missing",
                format!(
                    "bring {name} back: its power, its links, its tandem daemon and its key file"
                ),
            )
        }
        Degradation::LinkDown(_, id) => ("link", of_link(plan, id)),
        Degradation::PeerNotReady(node) => {
            let name = names.node(node);
            ("peer-not-ready", format!("ask {name} why: tandem status there"))
        }
        Degradation::FenceDevice(id) => {
            let said = said.unwrap_or(Err(FenceFault::Unreachable));
            ("fence-device", of_reading(said, names.device(id)).unwrap_or_default())
        }
        Degradation::FenceContradicted(id) => {
            let name = names.device(id);
            (
                "fence-contradicted",
                format!(
                    "look whose power {name} cuts or shows, and correct its outlet; or its address \
                     in the configuration, and restart the daemons"
                ),
            )
        }
        Degradation::FenceStray(id, stray) => {
            let name = names.device(id);
            let code = match stray {
                Stray::Own => "fence-own-machine",
                Stray::Other => "fence-other-machine",
            };
            (
                code,
                format!(
                    "correct the address of {name} in the configuration of both nodes, and restart \
                     their daemons; `tandem status --json` shows which machine it says it is"
                ),
            )
        }
        Degradation::Record => {
            ("state-directory", "make room on its file system, or mount it writable".to_owned())
        }
        Degradation::Mark => {
            ("runtime-directory", "make room on /run, or mount it writable".to_owned())
        }
        Degradation::ConfigDiffers(node) => (
            "config-differs",
            format!("compare `tandem check --print` here and on {}", names.node(node)),
        ),
        Degradation::Parted(_, nic) => {
            let nic = names.nic(nic);
            (
                "service-parted",
                format!(
                    "check the switch ports of {nic} of both nodes; which side is deaf is known, \
                     and left by the service, where ping targets are set in [nics.{nic}]"
                ),
            )
        }
        Degradation::PathBad => {
            ("service-path", "check the cables and switch ports of the service NICs".to_owned())
        }
    }
}

/// The code of a frozen cause for programs.
pub(super) fn frozen_code(cause: FrozenCause) -> &'static str {
    match cause {
        FrozenCause::NoDevice => "no-device",
        FrozenCause::Unreachable => "unreachable",
        FrozenCause::Refuses(FenceFault::Credentials) => "credentials",
        FrozenCause::Refuses(FenceFault::Certificate) => "certificate",
        FrozenCause::Refuses(FenceFault::Privilege) => "privilege",
        FrozenCause::Refuses(FenceFault::Unsupported) => "unsupported",
        FrozenCause::Refuses(FenceFault::Exhausted) => "exhausted",
        FrozenCause::Refuses(_) => "refused",
        FrozenCause::StaysOn => "stays-on",
        FrozenCause::Unclear => "unclear",
        FrozenCause::Contradicted => "contradicted",
        FrozenCause::WitnessOn => "witness-on",
        FrozenCause::NeverOn => "never-on",
        FrozenCause::Answers => "answers",
        FrozenCause::OwnMachine => "own-machine",
        FrozenCause::OtherMachine => "other-machine",
        FrozenCause::Failed(_) => "failed",
    }
}

/// The steps out of the frozen state.
pub(super) fn frozen_steps(cause: FrozenCause, name: &str) -> Vec<String> {
    let device = match cause {
        FrozenCause::NoDevice => {
            format!("configure a fence device for {name}, and restart this node's daemon")
        }
        FrozenCause::Unreachable => {
            format!(
                "restore the power or the network of {name}'s fence device: this ends by itself"
            )
        }
        FrozenCause::Refuses(FenceFault::Credentials) => {
            format!(
                "correct the user or the password of {name}'s fence device: in the device, and \
                 this ends by itself; or in the configuration here, and restart this node's daemon"
            )
        }
        FrozenCause::Refuses(FenceFault::Privilege) => {
            format!(
                "give the user of {name}'s fence device the privilege operator: this ends by itself"
            )
        }
        FrozenCause::Refuses(FenceFault::Certificate) => {
            format!(
                "compare the certificate of {name}'s BMC with the configuration: tandem fence \
                 fingerprint ADDRESS; correct it there and restart this node's daemon"
            )
        }
        FrozenCause::Refuses(FenceFault::Exhausted) => {
            format!(
                "end the other sessions of {name}'s fence device, or restart it: this ends by \
                     itself"
            )
        }
        FrozenCause::WitnessOn => {
            format!(
                "look at {name}: its witness reads that it has power; restore its fence device, or \
                 switch it off by hand: this ends by itself when the witness reads off"
            )
        }
        FrozenCause::NeverOn => {
            format!(
                "look at {name}: what its witness reads counts only once {name} was heard while it \
                 read on; if it is off, confirm that"
            )
        }
        FrozenCause::Answers => {
            format!("look whether {name} runs, and whose power its witness shows")
        }
        FrozenCause::OwnMachine | FrozenCause::OtherMachine => {
            format!(
                "switch {name} off by hand; correct the address of its fence device, and restart \
                 this node's daemon"
            )
        }
        FrozenCause::Contradicted => {
            format!(
                "look whether {name}'s fence device is that of {name}; correct its address, and \
                 restart this node's daemon"
            )
        }
        FrozenCause::Refuses(_)
        | FrozenCause::StaysOn
        | FrozenCause::Unclear
        | FrozenCause::Failed(_) => {
            format!("switch {name} off by hand, at its fence device or its power cord")
        }
    };
    vec![
        device,
        format!("or, if you have seen that {name} is without power: tandem confirm-off {name}"),
    ]
}
