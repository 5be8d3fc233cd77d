//! Two engines that talk to each other over one perfect link, through the wire codec and back, in
//! steady state: one is active, the other stands by, and nothing happens but heartbeats.

use std::time::Duration;

use tandem::engine::settings::{Level, LinkSettings, PeerSettings, Remembered};
use tandem::engine::{Effect, Effects, Input, Node, Outcome, Settings};
use tandem::types::heartbeat::NICS_MAX;
use tandem::types::{
    BootId, DeviceId, Heartbeat, Incarnation, Instant, LinkId, Mac, NicId, NodeId, PeerState, Power,
};
use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::{ClusterId, emit, parse};

const CLUSTER: ClusterId = ClusterId(7);
/// The interval between two heartbeats.
pub const KEEPALIVE: Duration = Duration::from_millis(100);

/// The two engines and what is between them.
pub struct Duo {
    nodes: [Node; 2],
    effects: Effects,
    keys: Keys,
    now: Instant,
    /// How many heartbeats were heard.
    pub heard: u64,
}

impl Duo {
    /// A settled pair.
    pub fn new() -> Self {
        let now = Instant::from_millis(1000);
        let keys = Keys::new(&[7; 32], None).unwrap();
        let nodes = [1, 2].map(|id| Node::new(settings(id), now));
        let mut duo = Self { nodes, effects: Effects::new(), keys, now, heard: 0 };
        for index in 0..2 {
            duo.feed(index, Input::Start(Remembered::default()));
            duo.feed(index, Input::Carrier { nic: NicId(0), up: true });
        }
        for _ in 0..100 {
            duo.run_one_period();
        }
        assert_eq!(duo.nodes[0].state(), PeerState::Active);
        assert_eq!(duo.nodes[1].state(), PeerState::Standby);
        duo
    }

    /// Lets one keepalive go by: each node says one heartbeat at least, and hears one.
    pub fn run_one_period(&mut self) {
        let end = self.now + KEEPALIVE;
        loop {
            let due = self.nodes.iter().filter_map(Node::next_deadline).min();
            let Some(at) = due.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            for index in 0..2 {
                if self.nodes[index].next_deadline().is_some_and(|at| at <= self.now) {
                    self.feed(index, Input::Tick);
                }
            }
        }
        self.now = end;
    }

    fn feed(&mut self, index: usize, input: Input) {
        // At most one answer comes of each effect here, so that a short list is enough.
        let mut inputs: [Option<(usize, Input)>; 64] = [const { None }; 64];
        inputs[0] = Some((index, input));
        let (mut next, mut end) = (0, 1);
        while next < end {
            let (index, input) = inputs[next % 64].take().unwrap();
            next += 1;
            self.nodes[index].step(self.now, input, &mut self.effects);
            while let Some(effect) = self.effects.take_next() {
                if let Some(answer) = self.carry(index, effect) {
                    assert!(end - next < 64);
                    inputs[end % 64] = Some(answer);
                    end += 1;
                }
            }
        }
    }

    fn carry(&mut self, index: usize, effect: Effect) -> Option<(usize, Input)> {
        match effect {
            Effect::Send(heartbeat) => {
                self.heard += 1;
                let heartbeat = self.over_the_wire(&heartbeat);
                let (link, at) = (LinkId(0), self.now);
                Some((1 - index, Input::Heard { link, at, heartbeat }))
            }
            Effect::Acquire { op, .. }
            | Effect::Release { op }
            | Effect::Restore { op, .. }
            | Effect::Mark { op, .. }
            | Effect::Store { op, .. } => {
                Some((index, Input::Done { op, outcome: Outcome::Confirmed }))
            }
            Effect::Power { op, .. } => {
                Some((index, Input::Reading { op, reading: Ok(Power::On) }))
            }
            Effect::Probe => Some((index, Input::Probed { asked: true })),
            Effect::Announce
            | Effect::Cancel { .. }
            | Effect::Answer { .. }
            | Effect::Report(_)
            | Effect::Exit => None,
        }
    }

    /// A heartbeat as the other one understands it.
    pub fn over_the_wire(&self, heartbeat: &Heartbeat) -> Heartbeat {
        let bytes = emit(heartbeat, CLUSTER, &self.keys);
        parse(&bytes, CLUSTER, &self.keys).unwrap().heartbeat
    }
}

fn settings(id: u8) -> Settings {
    let device = DeviceId(0);
    let level = Level { devices: vec![device], timeout: Duration::from_secs(1) };
    let mut macs = [Mac::NONE; NICS_MAX];
    macs[0] = Mac([2, 0, 0, 0, 0, id]);
    Settings {
        local: NodeId::new(id).unwrap(),
        peers: vec![PeerSettings {
            node: NodeId::new(3 - id).unwrap(),
            levels: vec![level],
            fence_delay: Duration::ZERO,
        }],
        links: vec![LinkSettings {
            id: LinkId(0),
            keepalive: KEEPALIVE,
            warntime: KEEPALIVE * 3,
            deadtime: KEEPALIVE * 5,
        }],
        nics: 1,
        vips: 6,
        macs,
        initdead: Duration::from_secs(1),
        isolated_grace: Duration::from_secs(5),
        preferred: NodeId::new(1),
        fence_check_interval: Duration::from_secs(60),
        config_digest: 1,
        incarnation: Incarnation(u64::from(id)),
        boot: BootId([id; 16]),
    }
}
