//! Inputs and effects as one line of text each: for golden transcripts and recordings.
//!
//! Beside [`super::transcript`], whose lines tell what happened in the end, these tell what went in
//! and what came out. A line begins with its subject. An operation is `#` and its number, so that
//! an order and its one answer are found together; a request of an operator is `?` and its number.
//!
//! A heartbeat is told as far as people decide by it: who, where, the role, the terms, the flags
//! and what is amiss. Of the incarnations it has the last four digits, the sender's and the one
//! that it answers: `(3f07 to 91c2)`; of a boot it has the first eight. Counters and clocks are
//! left out.

use core::fmt;

use super::effect::{Answer, Denial, Effect};
use super::event::Kernel;
use super::input::{Input, Order, Outcome};
use super::settings::{Mark, Record, Remembered};
use super::transcript::{Ms, state_word};
use crate::types::{Hears, Heartbeat, Incarnation, LinkId, MachineId, Names, NicId, Term};

/// An input with the names of what it is about.
#[derive(Clone, Copy, Debug)]
pub struct InputLine<'a> {
    input: &'a Input,
    names: &'a Names,
}

/// An effect with the names of what it is about.
#[derive(Clone, Copy, Debug)]
pub struct EffectLine<'a> {
    effect: &'a Effect,
    names: &'a Names,
}

/// What a heartbeat says, without who says it to whom and on which link.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    heartbeat: &'a Heartbeat,
    names: &'a Names,
}

impl Input {
    /// This input as a line of text.
    pub fn line<'a>(&'a self, names: &'a Names) -> InputLine<'a> {
        InputLine { input: self, names }
    }
}

impl Effect {
    /// This effect as a line of text; a report as the line of its event.
    pub fn line<'a>(&'a self, names: &'a Names) -> EffectLine<'a> {
        EffectLine { effect: self, names }
    }
}

/// What `heartbeat` says, in words.
pub fn said<'a>(heartbeat: &'a Heartbeat, names: &'a Names) -> Said<'a> {
    Said { heartbeat, names }
}

impl fmt::Display for InputLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        match self.input {
            Input::Start(remembered) => fmt_start(f, remembered),
            Input::Tick => write!(f, "tick"),
            Input::Stalled { late_by } => write!(f, "stalled: woke {} late", Ms(*late_by)),
            Input::Heard { link, at: _, heartbeat } => {
                let (from, on) = (names.node(heartbeat.from), names.link(*link));
                write!(f, "heard {from} on {on}")?;
                if heartbeat.link != *link {
                    write!(f, ", sent on {}", names.link(heartbeat.link))?;
                }
                write!(f, ": {}", said(heartbeat, names))
            }
            Input::Carrier { nic, up } => {
                let what = if *up { "has carrier" } else { "has no carrier" };
                write!(f, "nic {} {what}", names.nic(*nic))
            }
            Input::Reach { nic, up } => {
                let what = if *up { "a ping target answers" } else { "no ping target answers" };
                write!(f, "nic {}: {what}", names.nic(*nic))
            }
            Input::Across { nic, node, passes } => {
                let (nic, node) = (names.nic(*nic), names.node(*node));
                let what = if *passes { "pass" } else { "do not pass" };
                write!(f, "nic {nic}: probes to and from {node} {what}")
            }
            Input::KernelsAsked { links: 0 } => write!(f, "kernels: the questions cannot be sent"),
            Input::KernelsAsked { links } => fmt_asked(f, *links, names),
            Input::KernelAnswered { link, node, at: _ } => {
                write!(f, "kernel of {} answers on {}", names.node(*node), names.link(*link))
            }
            Input::Probed { asked: true } => write!(f, "probe: the questions are sent"),
            Input::Probed { asked: false } => write!(f, "probe: the questions cannot be sent"),
            Input::Mac { nic, mac } => write!(f, "nic {} has the MAC {mac}", names.nic(*nic)),
            Input::Claim { vip, mac, at: _ } => {
                write!(f, "claim: {mac} has vip {}", names.vip(*vip))
            }
            Input::VipGone { vip } => write!(f, "vip {} is gone", names.vip(*vip)),
            Input::VipStray { vip } => {
                write!(f, "vip {} is here and was not acquired", names.vip(*vip))
            }
            Input::Done { op, outcome } => {
                write!(f, "done #{}: ", op.0)?;
                match outcome {
                    Outcome::Confirmed => write!(f, "confirmed"),
                    Outcome::Refused(why) => write!(f, "refused: {}", why.as_str()),
                    Outcome::Unknown(why) => write!(f, "unknown: {}", why.as_str()),
                }
            }
            Input::Reading { op, reading } => {
                write!(f, "done #{}: ", op.0)?;
                match reading {
                    Ok(power) => write!(f, "power {power}"),
                    Err(fault) => write!(f, "{fault}"),
                }
            }
            Input::Identity { device, machine } => {
                write!(f, "fence device {} is of ", names.device(*device))?;
                fmt_machine(f, machine)
            }
            Input::ConfirmOff { request, node, force } => {
                let how = if *force { ", by force" } else { "" };
                let node = names.node(*node);
                write!(f, "operator ?{}: confirm that {node} is off{how}", request.0)
            }
            Input::Stop => write!(f, "stop"),
        }
    }
}

impl fmt::Display for EffectLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        match self.effect {
            Effect::Send(heartbeat) => {
                let (to, on) = (names.node(heartbeat.to), names.link(heartbeat.link));
                write!(f, "send {to} on {on}: {}", said(heartbeat, names))
            }
            Effect::Probe => write!(f, "probe: who has the VIPs?"),
            Effect::AskKernels => write!(f, "kernels: do the peers' hosts live?"),
            Effect::Acquire { op, term } => write!(f, "acquire #{}: all VIPs term={term}", op.0),
            Effect::Release { op } => write!(f, "release #{}: all VIPs", op.0),
            Effect::Announce => write!(f, "announce: all VIPs"),
            Effect::Restore { op, vip } => {
                write!(f, "restore #{}: vip {}", op.0, names.vip(*vip))
            }
            Effect::Mark { op, mark } => {
                write!(f, "mark #{}: ", op.0)?;
                fmt_mark(f, mark)
            }
            Effect::Store { op, record } => {
                write!(f, "store #{}: ", op.0)?;
                fmt_record(f, record)
            }
            Effect::Power { op, device, order, timeout } => {
                let order = match order {
                    Order::Off => "cut the power",
                    Order::On => "restore the power",
                    Order::Read => "read the power",
                    Order::Check => "check",
                };
                let (device, timeout) = (names.device(*device), Ms(*timeout));
                write!(f, "power #{}: {device}, {order}, within {timeout}", op.0)
            }
            Effect::Cancel { op } => write!(f, "cancel #{}", op.0),
            Effect::Answer { request, answer } => {
                write!(f, "answer ?{}: ", request.0)?;
                match answer {
                    Answer::Accepted => write!(f, "accepted"),
                    Answer::Denied(denial) => {
                        write!(f, "denied: ")?;
                        fmt_denial(f, *denial, names)
                    }
                }
            }
            Effect::Report(event) => write!(f, "{}", event.line(names)),
            Effect::Exit => write!(f, "exit"),
        }
    }
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (said, names) = (self.heartbeat, self.names);
        write!(f, "{}", state_word(said.state))?;
        for (word, term) in [
            ("term", said.term),
            ("held-term", said.held_term),
            ("ask", said.ask),
            ("grant", said.grant),
        ] {
            if term != Term::NONE {
                write!(f, " {word}={term}")?;
            }
        }
        let flags = said.flags;
        for (word, set) in [
            ("eligible", flags.eligible),
            ("released", flags.released),
            ("purging", flags.purging),
            ("held", flags.held),
        ] {
            if set {
                write!(f, " {word}")?;
            }
        }
        for nic in (0_u8..8).zip(&names.nics).map(|(nic, _)| NicId(nic)) {
            if said.good_nics >> nic.0 & 1 == 0 {
                write!(f, ", {} bad", names.nic(nic))?;
            }
        }
        let mut deaf = false;
        for (link, hears) in (0_u8..).map(LinkId).zip(&said.hears) {
            match hears {
                Hears::NoLink | Hears::Peer => {}
                Hears::Nothing => {
                    let word = if deaf { ", " } else { ", deaf on " };
                    write!(f, "{word}{}", names.link(link))?;
                    deaf = true;
                }
            }
        }
        write!(f, " ({} to ", Life(said.incarnation))?;
        if said.echo_incarnation == Incarnation::NONE {
            write!(f, "nobody)")
        } else {
            write!(f, "{})", Life(said.echo_incarnation))
        }
    }
}

/// The end of an incarnation, enough to tell two of them apart.
struct Life(Incarnation);

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0.0 & 0xffff)
    }
}

fn fmt_machine(f: &mut fmt::Formatter<'_>, machine: &MachineId) -> fmt::Result {
    let mut before = "machine ";
    let MachineId { platform, system, bmc, proven } = *machine;
    for (word, digest) in
        [("platform", platform), ("system", system), ("bmc", bmc), ("proven", proven)]
    {
        if digest != 0 {
            write!(f, "{before}{word}={digest:016x}")?;
            before = " ";
        }
    }
    if *machine == MachineId::UNKNOWN { write!(f, "no machine that it tells") } else { Ok(()) }
}

fn fmt_start(f: &mut fmt::Formatter<'_>, remembered: &Remembered) -> fmt::Result {
    write!(f, "start: record ")?;
    fmt_record(f, &remembered.record)?;
    match &remembered.mark {
        Some(mark) => {
            write!(f, "; mark ")?;
            fmt_mark(f, mark)?;
        }
        None => write!(f, "; no mark")?,
    }
    let kernel = if remembered.leftovers { "VIPs in the kernel" } else { "no VIP in the kernel" };
    write!(f, "; {kernel}")
}

fn fmt_mark(f: &mut fmt::Formatter<'_>, mark: &Mark) -> fmt::Result {
    let holding = if mark.holding { "holding" } else { "not holding" };
    write!(f, "{holding} term={} boot=", mark.term)?;
    mark.boot.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn fmt_record(f: &mut fmt::Formatter<'_>, record: &Record) -> fmt::Result {
    write!(f, "term={} held-term={}", record.term, record.held_term)
}

fn fmt_denial(f: &mut fmt::Formatter<'_>, denial: Denial, names: &Names) -> fmt::Result {
    match denial {
        Denial::NotAPeer => write!(f, "there is no such peer"),
        Denial::Heard => write!(f, "it is heard: it is alive"),
        Denial::NotNeeded => write!(f, "nothing waits for this word"),
        Denial::Answers => write!(f, "its VIPs answer; to be forced"),
        Denial::NotLooked => write!(f, "nobody has looked yet; to be forced"),
        Denial::PathBad => write!(f, "this node's own service path is bad; to be forced"),
        Denial::ReadsOn(device) => {
            write!(f, "fence device {} reads on; to be forced", names.device(device))
        }
    }
}

/// Writes on which links questions have left, of which there is one at least.
fn fmt_asked(f: &mut fmt::Formatter<'_>, links: u16, names: &Names) -> fmt::Result {
    write!(f, "kernels: the questions are sent on ")?;
    let mut comma = "";
    for link in (0u8..16).filter(|link| links >> link & 1 == 1) {
        write!(f, "{comma}{}", names.link(LinkId(link)))?;
        comma = ", ";
    }
    Ok(())
}

/// Writes what a peer's kernel tells.
pub(super) fn fmt_kernel(f: &mut fmt::Formatter<'_>, name: &str, says: Kernel) -> fmt::Result {
    match says {
        Kernel::Mute => {
            write!(f, "kernel of {name} answers on no link: if its host died, the deadtime decides")
        }
        Kernel::Answers => {
            write!(f, "host {name} lives: its kernel answers, its daemon has its whole deadtime")
        }
        Kernel::Silent { questions } => {
            write!(f, "host {name} dead: its kernel no longer answers, asked {questions} times")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use core::time::Duration;

    use super::*;
    use crate::engine::event::Event;
    use crate::engine::input::{RequestId, Why};
    use crate::types::heartbeat::{Flags, NICS_MAX};
    use crate::types::{
        BootId, DeviceId, FenceFault, Instant, Mac, NodeId, OpId, PeerState, Power, Seq, Session,
        VipId,
    };

    const A: NodeId = NodeId::new(1).unwrap();
    const B: NodeId = NodeId::new(2).unwrap();
    const OP: OpId = OpId(7);
    const MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
    const MARK: Mark = Mark { boot: BootId([0xab; 16]), term: Term(2), holding: true };
    const RECORD: Record = Record { term: Term(3), held_term: Term(2) };

    fn names() -> Names {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names {
            nodes: vec![(A, "smw1".to_owned()), (B, "smw2".to_owned())],
            links: list(&["cable", "lan"]),
            nics: list(&["eth0", "eth1"]),
            vips: list(&["10.0.0.1/24"]),
            devices: list(&["bmc1"]),
        }
    }

    fn heartbeat() -> Heartbeat {
        let mut hears = [Hears::NoLink; crate::types::heartbeat::LINKS_MAX];
        hears[..2].copy_from_slice(&[Hears::Peer, Hears::Peer]);
        Heartbeat {
            from: A,
            to: B,
            link: LinkId(0),
            incarnation: Incarnation(0xfeed_3f07),
            boot: BootId([1; 16]),
            seq: Seq(99),
            state: PeerState::Active,
            term: Term(2),
            held_term: Term(2),
            ask: Term::NONE,
            grant: Term::NONE,
            flags: Flags { eligible: true, ..Flags::default() },
            echo_incarnation: Incarnation(0x91c2),
            echo_session: Session(1),
            session: Session(1),
            sent: 5,
            echo_sent: 5,
            echo_held: 5,
            config_digest: Some(7),
            failcount_digest: Some(0),
            machine: Some(MachineId::UNKNOWN),
            good_nics: 0b11,
            macs: [Some(Mac::NONE); NICS_MAX],
            hears,
        }
    }

    fn lines_of_answers() -> Vec<(Input, &'static str)> {
        let done = |outcome| Input::Done { op: OP, outcome };
        let why = || Why::new("no space left");
        vec![
            (done(Outcome::Confirmed), "done #7: confirmed"),
            (done(Outcome::Refused(why())), "done #7: refused: no space left"),
            (done(Outcome::Unknown(why())), "done #7: unknown: no space left"),
            (Input::Reading { op: OP, reading: Ok(Power::Off) }, "done #7: power off"),
            (
                Input::Reading { op: OP, reading: Err(FenceFault::Timeout) },
                "done #7: no verdict in time",
            ),
            (
                Input::Identity {
                    device: DeviceId(0),
                    machine: MachineId { system: 0xa1, proven: 2, ..MachineId::UNKNOWN },
                },
                "fence device bmc1 is of machine system=00000000000000a1 proven=0000000000000002",
            ),
            (
                Input::Identity { device: DeviceId(0), machine: MachineId::UNKNOWN },
                "fence device bmc1 is of no machine that it tells",
            ),
        ]
    }

    fn lines_of_inputs() -> Vec<(Input, &'static str)> {
        let at = Instant::from_millis(3);
        let start = Remembered { mark: Some(MARK), record: RECORD, leftovers: true };
        let request = RequestId(4);
        vec![
            (
                Input::Start(start),
                "start: record term=3 held-term=2; mark holding term=2 boot=abababab; VIPs in the \
                 kernel",
            ),
            (
                Input::Start(Remembered::default()),
                "start: record term=0 held-term=0; no mark; no VIP in the kernel",
            ),
            (Input::Tick, "tick"),
            (Input::Stalled { late_by: Duration::from_micros(1500) }, "stalled: woke 1.500ms late"),
            (Input::Carrier { nic: NicId(1), up: true }, "nic eth1 has carrier"),
            (Input::Carrier { nic: NicId(9), up: false }, "nic ? has no carrier"),
            (Input::Reach { nic: NicId(0), up: true }, "nic eth0: a ping target answers"),
            (Input::Reach { nic: NicId(0), up: false }, "nic eth0: no ping target answers"),
            (
                Input::Across { nic: NicId(1), node: B, passes: true },
                "nic eth1: probes to and from smw2 pass",
            ),
            (
                Input::Across { nic: NicId(1), node: B, passes: false },
                "nic eth1: probes to and from smw2 do not pass",
            ),
            (Input::KernelsAsked { links: 0 }, "kernels: the questions cannot be sent"),
            (Input::KernelsAsked { links: 1 }, "kernels: the questions are sent on cable"),
            (Input::KernelsAsked { links: 3 }, "kernels: the questions are sent on cable, lan"),
            (
                Input::KernelAnswered { link: LinkId(1), node: B, at },
                "kernel of smw2 answers on lan",
            ),
            (Input::Probed { asked: true }, "probe: the questions are sent"),
            (Input::Probed { asked: false }, "probe: the questions cannot be sent"),
            (Input::Mac { nic: NicId(0), mac: MAC }, "nic eth0 has the MAC 02:00:00:00:01:01"),
            (
                Input::Claim { vip: VipId(0), mac: MAC, at },
                "claim: 02:00:00:00:01:01 has vip 10.0.0.1/24",
            ),
            (Input::VipGone { vip: VipId(0) }, "vip 10.0.0.1/24 is gone"),
            (Input::VipStray { vip: VipId(0) }, "vip 10.0.0.1/24 is here and was not acquired"),
            (
                Input::ConfirmOff { request, node: A, force: false },
                "operator ?4: confirm that smw1 is off",
            ),
            (
                Input::ConfirmOff { request, node: A, force: true },
                "operator ?4: confirm that smw1 is off, by force",
            ),
            (Input::Stop, "stop"),
        ]
    }

    #[test]
    fn every_input_has_its_line() {
        for (input, line) in lines_of_inputs().into_iter().chain(lines_of_answers()) {
            assert_eq!(input.line(&names()).to_string(), line);
        }
    }

    #[test]
    fn every_effect_has_its_line() {
        let power = |order| Effect::Power {
            op: OP,
            device: DeviceId(0),
            order,
            timeout: Duration::from_secs(2),
        };
        let answer = |answer| Effect::Answer { request: RequestId(4), answer };
        let gone = Event::VipGone { vip: VipId(0) };
        let lines = [
            (Effect::Probe, "probe: who has the VIPs?"),
            (Effect::AskKernels, "kernels: do the peers' hosts live?"),
            (Effect::Acquire { op: OP, term: Term(2) }, "acquire #7: all VIPs term=2"),
            (Effect::Release { op: OP }, "release #7: all VIPs"),
            (Effect::Announce, "announce: all VIPs"),
            (Effect::Restore { op: OP, vip: VipId(0) }, "restore #7: vip 10.0.0.1/24"),
            (Effect::Mark { op: OP, mark: MARK }, "mark #7: holding term=2 boot=abababab"),
            (
                Effect::Mark { op: OP, mark: Mark { holding: false, ..MARK } },
                "mark #7: not holding term=2 boot=abababab",
            ),
            (Effect::Store { op: OP, record: RECORD }, "store #7: term=3 held-term=2"),
            (power(Order::Off), "power #7: bmc1, cut the power, within 2000ms"),
            (power(Order::Read), "power #7: bmc1, read the power, within 2000ms"),
            (power(Order::Check), "power #7: bmc1, check, within 2000ms"),
            (Effect::Cancel { op: OP }, "cancel #7"),
            (answer(Answer::Accepted), "answer ?4: accepted"),
            (
                answer(Answer::Denied(Denial::ReadsOn(DeviceId(0)))),
                "answer ?4: denied: fence device bmc1 reads on; to be forced",
            ),
            (Effect::Exit, "exit"),
            (Effect::Report(gone), "vip 10.0.0.1/24 was removed by somebody else: putting it back"),
            (
                Effect::Send(heartbeat()),
                "send smw2 on cable: active term=2 held-term=2 eligible (3f07 to 91c2)",
            ),
        ];
        for (effect, line) in lines {
            assert_eq!(effect.line(&names()).to_string(), line);
        }
    }

    /// A promise, with everything that can be amiss with who gives it.
    #[test]
    fn a_heartbeat_tells_by_what_people_decide() {
        let mut word = Heartbeat {
            state: PeerState::Joining,
            held_term: Term::NONE,
            ask: Term(5),
            grant: Term(6),
            flags: Flags { eligible: false, released: true, purging: true, held: true },
            echo_incarnation: Incarnation::NONE,
            good_nics: 0b01,
            ..heartbeat()
        };
        word.hears[1] = Hears::Nothing;
        assert_eq!(
            said(&word, &names()).to_string(),
            "joining term=2 ask=5 grant=6 released purging held, eth1 bad, deaf on lan (3f07 to \
             nobody)"
        );
        word.hears[0] = Hears::Nothing;
        assert!(said(&word, &names()).to_string().contains(", deaf on cable, lan ("));
        let at = Instant::from_millis(3);
        let heard = Input::Heard { link: LinkId(0), at, heartbeat: heartbeat() };
        let text = "active term=2 held-term=2 eligible (3f07 to 91c2)";
        assert_eq!(heard.line(&names()).to_string(), format!("heard smw1 on cable: {text}"));
        let astray = Input::Heard { link: LinkId(1), at, heartbeat: heartbeat() };
        assert_eq!(
            astray.line(&names()).to_string(),
            format!("heard smw1 on lan, sent on cable: {text}")
        );
    }

    #[test]
    fn every_denial_has_its_words() {
        let denials = [
            (Denial::NotAPeer, "there is no such peer"),
            (Denial::Heard, "it is heard: it is alive"),
            (Denial::NotNeeded, "nothing waits for this word"),
            (Denial::Answers, "its VIPs answer; to be forced"),
            (Denial::NotLooked, "nobody has looked yet; to be forced"),
            (Denial::PathBad, "this node's own service path is bad; to be forced"),
        ];
        for (denial, words) in denials {
            let answer = Answer::Denied(denial);
            let effect = Effect::Answer { request: RequestId(1), answer };
            assert_eq!(effect.line(&names()).to_string(), format!("answer ?1: denied: {words}"));
        }
    }
}
