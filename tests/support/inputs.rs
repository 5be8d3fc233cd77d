//! What a daemon of a settled pair gives its engine: a heartbeat of the other one, with the jitter
//! that real ones have, then a tick, and so on.

use tandem::engine::Input;
use tandem::types::heartbeat::{Flags, LINKS_MAX, NICS_MAX};
use tandem::types::{
    BootId, Hears, Heartbeat, Incarnation, Instant, LinkId, Mac, MachineId, NodeId, PeerState, Seq,
    Session, Term,
};

const KEEPALIVE_NANOS: u64 = 100_000_000;

/// Those inputs, one after the other.
pub struct UsualInputs {
    heartbeat: Heartbeat,
    count: u64,
}

impl UsualInputs {
    /// From the first heartbeat on.
    pub fn new() -> Self {
        let heartbeat = Heartbeat {
            from: NodeId::new(2).unwrap(),
            to: NodeId::new(1).unwrap(),
            link: LinkId(0),
            incarnation: Incarnation(0x0123_4567_89ab_cdef),
            boot: BootId([9; 16]),
            seq: Seq(1_000_000),
            state: PeerState::Standby,
            term: Term(3),
            held_term: Term(2),
            ask: Term::NONE,
            grant: Term::NONE,
            flags: Flags { eligible: true, ..Flags::default() },
            echo_incarnation: Incarnation(0xfedc_ba98_7654_3210),
            echo_session: Session(1),
            session: Session(2),
            sent: 9_876_543_210_123,
            echo_sent: 1_234_567_890_123,
            echo_held: 40_000_000,
            config_digest: Some(11),
            failcount_digest: Some(0),
            machine: Some(MachineId::UNKNOWN),
            good_nics: 1,
            macs: [Some(Mac([2, 0, 0, 0, 0, 9])); NICS_MAX],
            hears: [Hears::Peer; LINKS_MAX],
        };
        Self { heartbeat, count: 0 }
    }

    /// The next one, and when the engine is given it.
    pub fn next_input(&mut self) -> (Instant, Input) {
        let period = self.count / 2;
        // Some tens of microseconds, without any randomness.
        let jitter = |factor: u64| (period * factor) % 61_000;
        let began = 1_234_600_000_000 + period * KEEPALIVE_NANOS;
        self.count += 1;
        if self.count.is_multiple_of(2) {
            return (Instant::from_nanos(began + 50_000_000 + jitter(7919)), Input::Tick);
        }
        let heartbeat = Heartbeat {
            seq: Seq(self.heartbeat.seq.0 + period),
            sent: self.heartbeat.sent + period * KEEPALIVE_NANOS + jitter(104_729),
            echo_sent: self.heartbeat.echo_sent + period * KEEPALIVE_NANOS + jitter(1299),
            echo_held: self.heartbeat.echo_held + jitter(15_485),
            ..self.heartbeat
        };
        let at = Instant::from_nanos(began + jitter(3571));
        let now = Instant::from_nanos(began + jitter(3571) + 9_000 + jitter(541) / 10);
        (now, Input::Heard { link: LinkId(0), at, heartbeat })
    }
}
