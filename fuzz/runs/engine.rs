//! The engine, by rows of inputs that no world would think of: peers that lie about everything,
//! devices and disks that say anything at any time, clocks that jump. The shell alone is as the
//! contract says: each effect that needs an answer gets just one.
//!
//! Nothing may panic, no deadline may be left behind, and a node that is written down and read back
//! is the same one.

use core::time::Duration;

use tandem::engine::settings::{
    AfterFence, Level, LinkSettings, Mark, PeerSettings, Record, Remembered,
};
use tandem::engine::{Effect, Effects, Input, Node, Outcome, RequestId, Settings, Why};
use tandem::types::heartbeat::{Flags, LINKS_MAX, NICS_MAX};
use tandem::types::{
    BootId, DeviceId, FenceFault, Hears, Heartbeat, Incarnation, Instant, LinkId, Mac, Names,
    NicId, NodeId, OpId, PeerState, Power, Seq, Session, Term, VipId,
};

use super::choices::Choices;

/// How many inputs an engine is given.
const INPUTS_MAX: u32 = 400;
/// How often it is written down and read back.
const WRITTEN_EVERY: u32 = 128;
/// Every which input is told as a line, with its effects and what the node then shows of itself.
const TOLD_EVERY: u32 = 7;
const US: Incarnation = Incarnation(77);
const BOOT: BootId = BootId([7; 16]);
const STATES: [PeerState; 9] = [
    PeerState::Joining,
    PeerState::Standby,
    PeerState::Isolated,
    PeerState::Fencing,
    PeerState::Frozen,
    PeerState::Acquiring,
    PeerState::Active,
    PeerState::Releasing,
    PeerState::Stopped,
];
const READINGS: [Result<Power, FenceFault>; 8] = [
    Ok(Power::Off),
    Ok(Power::On),
    Ok(Power::Unknown),
    Err(FenceFault::Unreachable),
    Err(FenceFault::Credentials),
    Err(FenceFault::Refused),
    Err(FenceFault::AgentFailed),
    Err(FenceFault::Timeout),
];

/// One life of an engine, as the bytes say.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut life = Life::begin(&mut choices);
    let mut count = 0;
    while !choices.is_over() && !life.has_ended && count < INPUTS_MAX {
        let input = life.think_up(&mut choices);
        life.give(input);
        count += 1;
        if count.is_multiple_of(WRITTEN_EVERY) {
            life.write_down();
        }
    }
    life.write_down();
}

struct Life {
    node: Node,
    now: Instant,
    given: u32,
    effects: Effects,
    /// Orders to fence devices, and all else that is to be answered.
    orders: Vec<OpId>,
    pending: Vec<OpId>,
    newest_op: OpId,
    /// The next number of each peer's heartbeats.
    seqs: [u64; 4],
    requests: u64,
    /// On which links questions to kernels leave.
    asked_links: u16,
    names: Names,
    has_ended: bool,
}

fn node_id(number: u8) -> NodeId {
    NodeId::new(number).expect("a small number")
}

fn settings(choices: &mut Choices<'_>) -> Settings {
    // By the length, so that what the bytes say stays as it is.
    let asks = choices.rest().len().is_multiple_of(2);
    let dead_host_time = asks.then_some(Duration::from_millis(400));
    let peers = 1 + choices.below(2);
    let mut device = 0;
    let peers = (0..peers).map(|peer| {
        let levels = (0..choices.below(3)).map(|_| {
            let devices = (0..1 + choices.below(2)).map(|_| {
                device += 1;
                DeviceId(device - 1)
            });
            Level {
                devices: devices.collect(),
                timeout: Duration::from_millis(500),
                pace: Duration::from_millis(200),
            }
        });
        let levels = levels.collect();
        let fence_delay = Duration::from_millis(u64::from(choices.below(3)) * 100);
        let powers_on = choices.below(2) == 1;
        let after_fence = if powers_on { AfterFence::PowersOn } else { AfterFence::StaysOff };
        PeerSettings { node: node_id(peer + 2), levels, fence_delay, after_fence }
    });
    let peers = peers.collect();
    let links = (0..1 + choices.below(3)).map(|link| LinkSettings {
        id: LinkId(link),
        keepalive: Duration::from_millis(100),
        warntime: Duration::from_millis(300),
        deadtime: Duration::from_millis(500 + u64::from(link) * 200),
    });
    Settings {
        local: node_id(1),
        peers,
        links: links.collect(),
        nics: choices.below(4),
        vips: u16::from(choices.below(4)),
        macs: [Mac([2, 0, 0, 0, 0, 1]); NICS_MAX],
        initdead: Duration::from_secs(2),
        dead_host_time,
        isolated_grace: Duration::from_secs(3),
        path_hold: Duration::from_millis(300),
        path_rest: Duration::from_secs(4),
        preferred: choices.flag().then(|| node_id(1 + choices.below(3))),
        fence_check_interval: Duration::from_secs(10),
        config_digest: 5,
        incarnation: US,
        boot: BOOT,
    }
}

fn remembered(choices: &mut Choices<'_>) -> Remembered {
    let boot = if choices.flag() { BOOT } else { BootId([8; 16]) };
    let (term, holding) = (Term(u64::from(choices.below(4))), choices.flag());
    let mark = Mark { boot, term, holding };
    let held_term = Term(u64::from(choices.below(3)));
    let record = Record { term: Term(held_term.0 + u64::from(choices.below(3))), held_term };
    Remembered { mark: choices.flag().then_some(mark), record, leftovers: choices.flag() }
}

impl Life {
    fn begin(choices: &mut Choices<'_>) -> Self {
        let settings = settings(choices);
        let now = Instant::from_millis(1000);
        let mut life = Self {
            node: Node::new(settings, now),
            now,
            given: 0,
            effects: Effects::new(),
            orders: Vec::new(),
            pending: Vec::new(),
            newest_op: OpId::default(),
            seqs: [1; 4],
            requests: 0,
            asked_links: u16::MAX,
            names: Names::default(),
            has_ended: false,
        };
        life.give(Input::Start(remembered(choices)));
        life
    }

    /// Gives the engine one input, and carries out what follows as the contract says.
    fn give(&mut self, input: Input) {
        self.given += 1;
        let tells = self.given.is_multiple_of(TOLD_EVERY);
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            if tells {
                drop(input.line(&self.names).to_string());
            }
            let is_tick = matches!(input, Input::Tick);
            self.node.step(self.now, input, &mut self.effects);
            let next = self.node.next_deadline();
            assert!(!is_tick || next.is_none_or(|at| at > self.now), "a deadline is left behind");
            while let Some(effect) = self.effects.take_next() {
                if tells {
                    drop(effect.line(&self.names).to_string());
                }
                inputs.extend(self.carry_out(&effect));
            }
        }
        if tells {
            drop(self.node.snapshot());
        }
    }

    /// What must be answered before the next input.
    fn carry_out(&mut self, effect: &Effect) -> Option<Input> {
        match *effect {
            Effect::Probe => return Some(Input::Probed { asked: true }),
            Effect::AskKernels => return Some(Input::KernelsAsked { links: self.asked_links }),
            Effect::Mark { op, .. } => {
                self.note(op);
                return Some(Input::Done { op, outcome: Outcome::Confirmed });
            }
            Effect::Acquire { op, .. }
            | Effect::Release { op }
            | Effect::Restore { op, .. }
            | Effect::Store { op, .. } => {
                self.note(op);
                self.pending.push(op);
            }
            Effect::Power { op, .. } => {
                self.note(op);
                self.orders.push(op);
            }
            Effect::Cancel { op } => {
                if let Some(place) = self.orders.iter().position(|order| *order == op) {
                    self.orders.swap_remove(place);
                    return Some(Input::Reading { op, reading: Err(FenceFault::Cancelled) });
                }
            }
            Effect::Exit => self.has_ended = true,
            Effect::Send(_) | Effect::Announce | Effect::Answer { .. } | Effect::Report(_) => {}
        }
        None
    }

    fn note(&mut self, op: OpId) {
        assert!(op > self.newest_op, "an operation number is used twice");
        self.newest_op = op;
    }

    /// The next input, some time later.
    fn think_up(&mut self, choices: &mut Choices<'_>) -> Input {
        let kind = choices.below(32);
        self.let_time_pass(choices);
        let vip = VipId(u16::from(choices.below(4)));
        let nic = NicId(choices.below(4));
        let mac = Mac([2, 0, 0, 0, 0, choices.below(5)]);
        match kind {
            0..=7 => Input::Tick,
            8..=17 => self.heard(choices),
            18 | 19 if !self.orders.is_empty() => {
                let place = usize::from(choices.byte()) % self.orders.len();
                let op = self.orders.swap_remove(place);
                Input::Reading { op, reading: choices.one_of(&READINGS) }
            }
            20 | 21 if !self.pending.is_empty() => {
                let place = usize::from(choices.byte()) % self.pending.len();
                let op = self.pending.swap_remove(place);
                Input::Done { op, outcome: outcome(choices) }
            }
            22 => Input::Carrier { nic, up: choices.flag() },
            23 if choices.flag() => {
                let node = node_id(1 + choices.below(4));
                Input::Across { nic, node, passes: choices.flag() }
            }
            23 => Input::Reach { nic, up: choices.flag() },
            24 if mac.0[5] == 4 => {
                self.asked_links = u16::from(choices.below(8));
                let (link, node) = (LinkId(choices.below(4)), node_id(1 + choices.below(4)));
                Input::KernelAnswered { link, node, at: self.now }
            }
            24 => Input::Claim { vip, mac, at: self.now },
            25 => Input::VipGone { vip },
            26 => Input::VipStray { vip },
            27 => Input::Mac { nic, mac },
            28 => {
                self.requests += 1;
                let node = node_id(1 + choices.below(4));
                Input::ConfirmOff { request: RequestId(self.requests), node, force: choices.flag() }
            }
            29 => {
                Input::Stalled { late_by: Duration::from_millis(u64::from(choices.number() >> 16)) }
            }
            30 if choices.below(8) == 0 => Input::Stop,
            // Answers to what nobody asked, or asked long ago.
            31 => Input::Done { op: OpId(u64::from(choices.byte())), outcome: outcome(choices) },
            _ => Input::Tick,
        }
    }

    /// To the next deadline, a little, or a long time; or not at all.
    fn let_time_pass(&mut self, choices: &mut Choices<'_>) {
        let next = self.node.next_deadline();
        self.now = match choices.below(8) {
            0..=3 => next.map_or(self.now, |at| at.max(self.now)),
            4 => self.now + Duration::from_micros(u64::from(choices.byte())),
            5 => self.now + Duration::from_millis(u64::from(choices.byte())),
            6 => self.now + Duration::from_millis(u64::from(choices.number() >> 18)),
            _ => self.now,
        };
    }

    fn heard(&mut self, choices: &mut Choices<'_>) -> Input {
        let from = choices.below(4);
        let link = LinkId(choices.below(4));
        let seq = &mut self.seqs[usize::from(from)];
        *seq = if choices.below(8) == 0 { seq.saturating_sub(5) } else { *seq + 1 };
        let term = |choices: &mut Choices<'_>| match choices.below(16) {
            15 => Term(u64::from(choices.number()) << 32),
            small => Term(u64::from(small) / 2),
        };
        let echo = choices.below(8);
        let mut hears = [Hears::NoLink; LINKS_MAX];
        for place in hears.iter_mut().take(3) {
            *place = choices.one_of(&[Hears::Peer, Hears::Peer, Hears::Nothing, Hears::NoLink]);
        }
        let bits = choices.byte();
        let heartbeat = Heartbeat {
            from: node_id(from + 1),
            to: node_id(if choices.below(16) == 0 { 2 } else { 1 }),
            link,
            incarnation: Incarnation(u64::from(from) * 100 + 1 + u64::from(choices.below(16) / 14)),
            boot: BootId([from + choices.below(16) / 15; 16]),
            seq: Seq(*seq),
            state: choices.one_of(&STATES),
            term: term(choices),
            held_term: term(choices),
            ask: term(choices),
            grant: term(choices),
            flags: Flags {
                eligible: bits & 1 != 0,
                released: bits & 2 != 0,
                purging: bits & 4 != 0,
                held: bits & 8 != 0,
            },
            echo_incarnation: if echo == 0 { Incarnation::NONE } else { US },
            echo_session: Session(u32::from(choices.below(4))),
            session: Session(u32::from(choices.below(4))),
            sent: *seq * 1_000_000,
            echo_sent: u64::from(choices.byte()) * 1_000_000,
            echo_held: u64::from(choices.byte()) * 1_000_000,
            // What is said in turns is not always said.
            config_digest: (bits & 32 == 0).then_some(if bits & 16 == 0 { 5 } else { 6 }),
            failcount_digest: (bits & 64 == 0).then_some(0),
            good_nics: choices.byte(),
            macs: [(bits & 128 == 0).then_some(Mac([2, 0, 0, 0, 0, from + 1])); NICS_MAX],
            hears,
        };
        let ago = u64::from(choices.byte() >> 4) * 20_000_000;
        let at = Instant::from_nanos(self.now.as_nanos().saturating_sub(ago));
        let link = if choices.below(16) == 0 { LinkId(9) } else { link };
        Input::Heard { link, at, heartbeat }
    }

    /// The node, written down and read back, is the same node.
    fn write_down(&self) {
        if self.node.has_unused_proof() {
            return;
        }
        let text = serde_json::to_string(&self.node).expect("a node can be written");
        let again: Node = serde_json::from_str(&text).expect("and read");
        assert_eq!(serde_json::to_string(&again).expect("and written again"), text);
    }
}

fn outcome(choices: &mut Choices<'_>) -> Outcome {
    match choices.below(4) {
        0 | 1 => Outcome::Confirmed,
        2 => Outcome::Refused(Why::new("no such device")),
        _ => Outcome::Unknown(Why::new("nobody knows")),
    }
}
