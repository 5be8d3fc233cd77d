//! Two engines that talk to each other over perfect links, through the wire codec and back or as
//! plain values, in steady state: one is active, the other stands by, and nothing happens but
//! heartbeats.

use std::collections::VecDeque;
use std::time::Duration;

use tandem::engine::settings::{AfterFence, Level, LinkSettings, PeerSettings, Remembered};
use tandem::engine::{Effect, Effects, Input, Node, Outcome, Settings};
use tandem::types::heartbeat::{LINKS_MAX, NICS_MAX};
use tandem::types::{
    BootId, DeviceId, Heartbeat, Incarnation, Instant, LinkId, Mac, NicId, NodeId, PeerState, Power,
};
use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::{ClusterId, emit, parse};
use tandem::wire::serial_frame::{Deframer, Frame};
use tandem::wire::short::{self, Turns};

const CLUSTER: ClusterId = ClusterId(7);
/// The interval between two heartbeats.
pub const KEEPALIVE: Duration = Duration::from_millis(100);
/// How long a heartbeat is under way while the pair settles.
const TRANSIT: Duration = Duration::from_micros(50);

/// What carries a heartbeat from one engine to the other.
#[allow(dead_code, reason = "each program uses some of them")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// The wire codec, there and back.
    Wire,
    /// The short form in frames, as on a serial line, there and back.
    Line,
    /// Nothing: the value itself arrives, so that only the engines work.
    Value,
}

/// The two engines and what is between them.
pub struct Duo {
    /// The nodes, by number less one.
    pub nodes: [Node; 2],
    /// What the nodes were given, and when, if it is to be noted.
    pub given: Option<Vec<(Instant, usize, Input)>>,
    /// When each node wants its next tick, as it said after its last step.
    due: [Option<Instant>; 2],
    effects: Effects,
    /// The answers to effects that a node still has to get.
    answers: VecDeque<Input>,
    /// The heartbeats under way: when each arrives, and at which node.
    flying: VecDeque<(Instant, usize, Heartbeat)>,
    /// How long a heartbeat is under way.
    transit: Duration,
    medium: Medium,
    /// Whose turn it is on each link, by node less one.
    turns: [[Turns; LINKS_MAX]; 2],
    deframer: Deframer,
    keys: Keys,
    now: Instant,
    /// How many heartbeats were heard.
    pub heard: u64,
    /// How many steps were made.
    pub steps: u64,
}

impl Duo {
    /// A settled pair with so many links, over that medium.
    pub fn new(links: u8, medium: Medium) -> Self {
        let now = Instant::from_millis(1000);
        let mut duo = Self {
            nodes: [1, 2].map(|id| Node::new(settings(id, links), now)),
            given: None,
            due: [None; 2],
            effects: Effects::new(),
            answers: VecDeque::with_capacity(64),
            flying: VecDeque::with_capacity(64),
            transit: TRANSIT,
            medium,
            turns: [[Turns::new(); LINKS_MAX]; 2],
            deframer: Deframer::new(),
            keys: Keys::new(&[7; 32], None).unwrap(),
            now,
            heard: 0,
            steps: 0,
        };
        for index in 0..2 {
            duo.feed(index, Input::Start(Remembered::default()));
            duo.feed(index, Input::Carrier { nic: NicId(0), up: true });
        }
        for _ in 0..100 {
            duo.run_one_period();
        }
        // What is news is answered at once, so that each node's next heartbeat would be due in the
        // very moment in which it hears the other's. Real ones are never that exact.
        duo.transit = TRANSIT * 2;
        assert_eq!(duo.nodes[0].state(), PeerState::Active);
        assert_eq!(duo.nodes[1].state(), PeerState::Standby);
        duo
    }

    /// Lets one keepalive go by: each node says one heartbeat on each link, and hears one.
    pub fn run_one_period(&mut self) {
        let end = self.now + KEEPALIVE;
        loop {
            let arrival = self.flying.front().map(|(at, _, _)| *at);
            let [one, other] = self.due;
            let next = Instant::soonest(arrival, Instant::soonest(one, other));
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if arrival.is_some_and(|at| at <= self.now) {
                let (at, index, heartbeat) = self.flying.pop_front().unwrap();
                self.heard += 1;
                self.feed(index, Input::Heard { link: heartbeat.link, at, heartbeat });
                continue;
            }
            for index in 0..2 {
                if self.due[index].is_some_and(|at| at <= self.now) {
                    self.feed(index, Input::Tick);
                }
            }
        }
        self.now = end;
    }

    fn feed(&mut self, index: usize, input: Input) {
        self.step(index, input);
        while let Some(answer) = self.answers.pop_front() {
            self.step(index, answer);
        }
        self.due[index] = self.nodes[index].next_deadline();
    }

    fn step(&mut self, index: usize, input: Input) {
        self.steps += 1;
        if let Some(given) = &mut self.given {
            given.push((self.now, index, input.clone()));
        }
        self.nodes[index].step(self.now, input, &mut self.effects);
        while let Some(effect) = self.effects.take_next() {
            if let Effect::Send(mut heartbeat) = effect {
                match self.medium {
                    Medium::Value => {}
                    Medium::Wire => heartbeat = self.over_the_wire(&heartbeat),
                    Medium::Line => heartbeat = self.over_the_line(index, &heartbeat),
                }
                self.flying.push_back((self.now + self.transit, 1 - index, heartbeat));
            } else if let Some(answer) = answer(&effect) {
                self.answers.push_back(answer);
            }
        }
    }

    /// A heartbeat as the other one understands it.
    pub fn over_the_wire(&self, heartbeat: &Heartbeat) -> Heartbeat {
        let bytes = emit(heartbeat, CLUSTER, &self.keys);
        parse(&bytes, CLUSTER, &self.keys).unwrap().heartbeat
    }
}

impl Duo {
    /// The same over a serial line: what is not said in this turn is not there.
    fn over_the_line(&mut self, from: usize, heartbeat: &Heartbeat) -> Heartbeat {
        let turn = self.turns[from][heartbeat.link.index()].take(heartbeat);
        let message = short::emit(heartbeat, turn, CLUSTER, &self.keys);
        let frame = Frame::new(message.as_bytes()).unwrap();
        let (keys, mut heard) = (&self.keys, None);
        self.deframer.push(frame.as_bytes(), |message| {
            heard = short::parse(message, CLUSTER, keys).ok().map(|found| found.heartbeat);
        });
        heard.unwrap()
    }
}

/// What a world without faults answers.
fn answer(effect: &Effect) -> Option<Input> {
    match *effect {
        Effect::Acquire { op, .. }
        | Effect::Release { op }
        | Effect::Restore { op, .. }
        | Effect::Mark { op, .. }
        | Effect::Store { op, .. } => Some(Input::Done { op, outcome: Outcome::Confirmed }),
        Effect::Power { op, .. } => Some(Input::Reading { op, reading: Ok(Power::On) }),
        Effect::Probe => Some(Input::Probed { asked: true }),
        Effect::AskKernels => Some(Input::KernelsAsked { links: u16::MAX }),
        Effect::Send(_)
        | Effect::Announce
        | Effect::Cancel { .. }
        | Effect::Answer { .. }
        | Effect::Report(_)
        | Effect::Exit => None,
    }
}

fn settings(id: u8, links: u8) -> Settings {
    let device = DeviceId(0);
    let level = Level {
        devices: vec![device],
        timeout: Duration::from_secs(1),
        pace: Duration::from_millis(500),
    };
    let mut macs = [Mac::NONE; NICS_MAX];
    macs[0] = Mac([2, 0, 0, 0, 0, id]);
    Settings {
        local: NodeId::new(id).unwrap(),
        peers: vec![PeerSettings {
            node: NodeId::new(3 - id).unwrap(),
            levels: vec![level],
            fence_delay: Duration::ZERO,
            after_fence: AfterFence::StaysOff,
        }],
        links: (0..links).map(link_settings).collect(),
        nics: 1,
        vips: 6,
        macs,
        initdead: Duration::from_secs(1),
        dead_host_time: None,
        isolated_grace: Duration::from_secs(5),
        path_hold: Duration::from_secs(1),
        path_rest: Duration::from_secs(60),
        preferred: NodeId::new(1),
        fence_check_interval: Duration::from_secs(60),
        config_digest: 1,
        incarnation: Incarnation(u64::from(id)),
        boot: BootId([id; 16]),
    }
}

fn link_settings(id: u8) -> LinkSettings {
    LinkSettings {
        id: LinkId(id),
        keepalive: KEEPALIVE,
        warntime: KEEPALIVE * 3,
        deadtime: KEEPALIVE * 5,
    }
}
