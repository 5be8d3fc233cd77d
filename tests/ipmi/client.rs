//! The client against the test suite's BMC in virtual time: no socket, no waiting, every run the
//! same.

use core::time::Duration;
use std::collections::BTreeSet;

use tandem::types::{FenceFault, Instant, Power};
use tandem::wire::ipmi::{CipherSuite, Client, Login, Order};

use crate::bmc::{Bmc, GUID, Knobs, PASSWORD, USER};

pub const AUTO: [CipherSuite; 2] = [CipherSuite::Seventeen, CipherSuite::Three];
pub const DEADLINE: Duration = Duration::from_secs(10);
const FLIGHT: Duration = Duration::from_micros(100);

/// A wire between one client and one BMC, with its own time.
pub struct World {
    pub now: Instant,
    pub bmc: Bmc,
    pub client: Client,
    /// What is on its way to the client, with its arrival.
    to_client: BTreeSet<(Instant, u64, Vec<u8>)>,
    sent: u64,
    /// Everything that reached the client.
    heard: Vec<Vec<u8>>,
    /// Percentage of answers that come twice.
    pub doubled: u32,
    /// How much later than the fastest an answer may come.
    pub jitter: Duration,
    random: u64,
}

impl World {
    pub fn new(knobs: Knobs, suites: &[CipherSuite]) -> Self {
        Self::seeded(knobs, suites, PASSWORD, 1)
    }

    pub fn seeded(knobs: Knobs, suites: &[CipherSuite], password: &str, seed: u64) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let login = Login::new(USER, password).unwrap();
        Self {
            now: Instant::from_millis(1000),
            bmc: Bmc::new(knobs, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            client: Client::new(login, suites, &bytes),
            to_client: BTreeSet::new(),
            sent: 0,
            heard: Vec::new(),
            doubled: 0,
            jitter: Duration::ZERO,
            random: seed | 1,
        }
    }

    /// The same with a client that keeps its session.
    pub fn keeping(mut self) -> Self {
        self.client = self.client.keeping();
        self
    }

    fn draw_below(&mut self, bound: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from((self.random >> 11) % u64::from(bound.max(1))).unwrap()
    }

    /// Lets time pass with nothing to do but what is under way; the client may ask questions.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_event().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.to_client.first().map(|(at, _, _)| *at);
        [arrival, self.client.next_deadline()].into_iter().flatten().min()
    }

    fn put_under_way(&mut self, answer: Vec<u8>) {
        let jitter = u32::try_from(self.jitter.as_micros()).unwrap();
        let copies = 1 + u32::from(self.draw_below(100) < self.doubled);
        for _ in 0..copies {
            let late = Duration::from_micros(u64::from(self.draw_below(jitter)));
            let arrival = self.now + FLIGHT + FLIGHT + self.bmc.knobs.delay + late;
            self.sent += 1;
            self.to_client.insert((arrival, self.sent, answer.clone()));
        }
    }

    /// Carries `order` out; the outcome and how long it took to come.
    pub fn run(&mut self, order: Order) -> (Result<Power, FenceFault>, Duration) {
        let start = self.now;
        self.client.begin(self.now, order, start + DEADLINE);
        loop {
            if let Some(outcome) = self.client.take_outcome() {
                return (outcome, self.now.since(start));
            }
            assert!(self.step(), "the client stands still without an outcome");
            assert!(self.now <= start + DEADLINE, "no outcome at the deadline");
        }
    }

    /// Lets the client close its session.
    pub fn settle(&mut self) {
        while self.step() {}
        assert!(self.client.is_idle());
        assert_eq!(self.client.take_outcome(), None, "one order, one outcome");
    }

    /// One event; false if nothing will happen any more.
    pub fn step(&mut self) -> bool {
        while let Some(datagram) = self.client.take_transmit() {
            for answer in self.bmc.answer(&datagram) {
                self.put_under_way(answer);
            }
        }
        let arrival = self.to_client.first().map(|(at, _, _)| *at);
        let deadline = self.client.next_deadline();
        match (arrival, deadline) {
            (Some(arrival), deadline) if deadline.is_none_or(|deadline| arrival <= deadline) => {
                let (at, _, datagram) = self.to_client.pop_first().unwrap();
                self.now = self.now.max(at);
                self.client.handle(self.now, &datagram);
                self.heard.push(datagram);
                true
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                self.client.expire(self.now);
                true
            }
            (_, None) => false,
        }
    }
}

fn outcome_of(knobs: Knobs, order: Order) -> Result<Power, FenceFault> {
    let mut world = World::new(knobs, &AUTO);
    let (outcome, _) = world.run(order);
    world.settle();
    outcome
}

#[test]
fn every_suite_reads_and_switches_and_leaves_no_session() {
    for suite in [CipherSuite::Three, CipherSuite::Seventeen] {
        let mut world = World::new(Knobs::default(), &[suite]);
        let script = [
            (Order::Read, Power::On),
            (Order::Off, Power::Unknown),
            (Order::Read, Power::Off),
            (Order::On, Power::Unknown),
            (Order::Read, Power::On),
        ];
        for (order, expected) in script {
            assert_eq!(world.run(order).0, Ok(expected), "{suite:?} {order:?}");
            world.settle();
            assert_eq!(world.bmc.open_sessions(), 0);
        }
        assert_eq!(world.client.agreed_suite(), Some(suite));
        assert_eq!(world.client.guid(), Some(GUID));
    }
}

#[test]
fn auto_takes_the_suite_that_the_bmc_knows_refused_or_ignored() {
    for ignores_unknown_suites in [false, true] {
        let knobs = Knobs { suites: vec![3], ignores_unknown_suites, ..Knobs::default() };
        let mut world = World::new(knobs, &AUTO);
        assert_eq!(world.run(Order::Read).0, Ok(Power::On));
        assert_eq!(world.client.agreed_suite(), Some(CipherSuite::Three));
    }
    let knobs = Knobs { suites: vec![3], ..Knobs::default() };
    let mut world = World::new(knobs, &[CipherSuite::Seventeen]);
    assert_eq!(world.run(Order::Read).0, Err(FenceFault::Refused));
}

/// A BMC that answers "no encryption, then" must not get the session it wants.
#[test]
fn algorithms_that_were_not_offered_are_refused() {
    let knobs = Knobs { takes_algorithms: Some([1, 0, 0]), ..Knobs::default() };
    let mut world = World::new(knobs, &AUTO);
    assert_eq!(world.run(Order::Off).0, Err(FenceFault::Refused));
    assert_eq!((world.bmc.sessions_opened, world.bmc.power_downs), (0, 0));
}

#[test]
fn wrong_password_and_wrong_user_are_credentials_at_once() {
    for suite in [CipherSuite::Three, CipherSuite::Seventeen] {
        let mut world = World::seeded(Knobs::default(), &[suite], "wrong horse", 1);
        let (outcome, took) = world.run(Order::Off);
        assert_eq!(outcome, Err(FenceFault::Credentials));
        assert!(took < Duration::from_millis(10), "{took:?}");
        assert!(world.bmc.knobs.power);
    }
    for (anonymous_errors, short_errors) in [(false, false), (true, false), (false, true)] {
        let user = "other".to_owned();
        let knobs = Knobs { user, anonymous_errors, short_errors, ..Knobs::default() };
        assert_eq!(outcome_of(knobs, Order::Read), Err(FenceFault::Credentials));
    }
}

#[test]
fn lacking_privilege_is_told_apart_wherever_it_is_refused() {
    for limit_in_rakp in [true, false] {
        let knobs = Knobs { privilege: 2, limit_in_rakp, ..Knobs::default() };
        assert_eq!(outcome_of(knobs.clone(), Order::Off), Err(FenceFault::Privilege));
        // A check shows it too, before the failure that would need the power cut.
        assert_eq!(outcome_of(knobs, Order::Read), Err(FenceFault::Privilege));
    }
    let knobs = Knobs { refuse: Some(0xd4), ..Knobs::default() };
    assert_eq!(outcome_of(knobs, Order::Off), Err(FenceFault::Privilege));
    let operator = Knobs { privilege: 3, ..Knobs::default() };
    assert_eq!(outcome_of(operator, Order::Off), Ok(Power::Unknown));
}

#[test]
fn refused_and_not_carried_out_are_told_apart() {
    for (code, fault) in [(0xff, FenceFault::Refused), (0xc1, FenceFault::Unsupported)] {
        let refuses = Knobs { refuse: Some(code), ..Knobs::default() };
        assert_eq!(outcome_of(refuses, Order::Off), Err(fault));
    }
    let mut world = World::new(Knobs { lies: true, ..Knobs::default() }, &AUTO);
    assert_eq!(world.run(Order::Off).0, Ok(Power::Unknown), "acknowledged is not off");
    world.settle();
    assert_eq!(world.run(Order::Read).0, Ok(Power::On));
}

#[test]
fn a_refusal_in_the_present_state_is_decided_by_reading() {
    let off = Knobs { refuse_present_state: true, power: false, ..Knobs::default() };
    assert_eq!(outcome_of(off, Order::Off), Ok(Power::Off));
    let on = Knobs { refuse_present_state: true, ..Knobs::default() };
    assert_eq!(outcome_of(on, Order::On), Ok(Power::On));
    let wrongly = Knobs { refuse: Some(0xd5), ..Knobs::default() };
    assert_eq!(outcome_of(wrongly, Order::Off), Err(FenceFault::Refused));
}

#[test]
fn kinds_of_silence_are_told_apart_at_the_deadline() {
    let cases = [
        (Knobs { silent: true, ..Knobs::default() }, FenceFault::Unreachable),
        (Knobs { garbage: true, ..Knobs::default() }, FenceFault::Garbled),
        (Knobs { mute: true, ..Knobs::default() }, FenceFault::Timeout),
        (Knobs { wrong_code: true, ..Knobs::default() }, FenceFault::Timeout),
        (Knobs { busy: u32::MAX, ..Knobs::default() }, FenceFault::Refused),
        (Knobs { sessions_max: 0, ..Knobs::default() }, FenceFault::Exhausted),
    ];
    for (knobs, expected) in cases {
        let what = format!("{knobs:?}");
        let mut world = World::new(knobs, &AUTO);
        let (outcome, took) = world.run(Order::Off);
        assert_eq!((outcome, took), (Err(expected), DEADLINE), "{what}");
        world.settle();
        let cannot_close = world.bmc.knobs.mute || world.bmc.knobs.busy > 0;
        assert!(world.bmc.open_sessions() == 0 || cannot_close, "{what}");
    }
}

#[test]
fn a_busy_bmc_is_asked_again() {
    let knobs = Knobs { busy: 3, ..Knobs::default() };
    assert_eq!(outcome_of(knobs, Order::Off), Ok(Power::Unknown));
}

#[test]
fn noise_of_other_sessions_and_repeated_answers_change_nothing() {
    for order in [Order::Off, Order::Read] {
        let mut world = World::new(Knobs { noise: true, ..Knobs::default() }, &AUTO);
        let expected = if order == Order::Read { Power::On } else { Power::Unknown };
        assert_eq!(world.run(order).0, Ok(expected));
        world.settle();
        assert_eq!(world.bmc.open_sessions(), 0);
    }
}

/// A whole recorded session, played to the next one before every answer of the BMC.
#[test]
fn a_recorded_session_changes_nothing() {
    let mut recorded = World::new(Knobs { power: false, ..Knobs::default() }, &AUTO);
    assert_eq!(recorded.run(Order::Read).0, Ok(Power::Off));
    recorded.settle();
    let mut world = World::seeded(Knobs::default(), &AUTO, PASSWORD, 2);
    world.client.begin(world.now, Order::Read, world.now + DEADLINE);
    let outcome = loop {
        for datagram in &recorded.heard {
            world.client.handle(world.now, datagram);
        }
        if let Some(outcome) = world.client.take_outcome() {
            break outcome;
        }
        assert!(world.step());
    };
    assert_eq!(outcome, Ok(Power::On));
}

#[test]
fn a_bmc_that_reboots_in_mid_session_is_opened_anew() {
    for steps in 1..6 {
        let mut world = World::new(Knobs::default(), &AUTO);
        world.client.begin(world.now, Order::Off, world.now + DEADLINE);
        for _ in 0..steps {
            world.step();
        }
        if world.client.take_outcome().is_some() {
            continue;
        }
        world.bmc.reboot();
        while world.step() {}
        assert_eq!(world.client.take_outcome(), Some(Ok(Power::Unknown)), "after {steps} steps");
        assert!(!world.bmc.knobs.power);
    }
}

#[test]
fn a_slow_bmc_is_waited_for() {
    for millis in [10, 100, 200, 400, 700, 1100] {
        let knobs = Knobs { delay: Duration::from_millis(millis), ..Knobs::default() };
        let mut world = World::new(knobs, &AUTO);
        let (outcome, took) = world.run(Order::Off);
        assert_eq!(outcome, Ok(Power::Unknown), "{millis} ms an answer, {took:?}");
    }
}

#[test]
fn a_fifth_of_all_datagrams_lost_each_way_does_not_fail_an_order() {
    let mut times = Vec::new();
    for seed in 1..=1000 {
        let knobs = Knobs { loss: 20, ..Knobs::default() };
        let mut world = World::seeded(knobs, &AUTO, PASSWORD, seed);
        let (outcome, took) = world.run(Order::Off);
        assert_eq!(outcome, Ok(Power::Unknown), "seed {seed}");
        times.push(took);
    }
    times.sort();
    println!("median {:?}, 99 % {:?}, slowest {:?}", times[500], times[990], times[999]);
}

#[test]
fn a_hundred_orders_leak_no_session() {
    let mut world = World::new(Knobs { sessions_max: 2, ..Knobs::default() }, &AUTO);
    for _ in 0..100 {
        assert_eq!(world.run(Order::Read).0, Ok(Power::On));
        world.settle();
        assert_eq!(world.bmc.open_sessions(), 0);
    }
    assert_eq!(world.bmc.sessions_opened, 100);
}

#[test]
fn an_order_given_up_at_any_step_is_cancelled_once_and_leaves_no_session() {
    for steps in 0..6 {
        let mut world = World::new(Knobs::default(), &AUTO);
        world.client.begin(world.now, Order::Read, world.now + DEADLINE);
        for _ in 0..steps {
            world.step();
        }
        let done = world.client.take_outcome();
        world.client.cancel(world.now);
        let expected = if done.is_some() { None } else { Some(Err(FenceFault::Cancelled)) };
        assert_eq!(world.client.take_outcome(), expected, "after {steps} steps");
        world.settle();
        assert_eq!(world.bmc.open_sessions(), 0, "after {steps} steps");
    }
}

/// The answers of one session, each damaged in every way, given to a client that waits for it.
fn damage_every_answer(damage: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    for suite in [CipherSuite::Three, CipherSuite::Seventeen] {
        let mut world = World::new(Knobs::default(), &[suite]);
        world.client.begin(world.now, Order::Read, world.now + DEADLINE);
        let mut answers = 0;
        let outcome = loop {
            while let Some(datagram) = world.client.take_transmit() {
                for answer in world.bmc.answer(&datagram) {
                    world.sent += 1;
                    world.to_client.insert((world.now, world.sent, answer));
                }
            }
            let Some((_, _, answer)) = world.to_client.first().cloned() else { break None };
            answers += 1;
            for damaged in damage(&answer) {
                // Each on a client in the same state: a damaged answer may end the handshake,
                // because before a session nothing is signed, but it must never be a reading.
                let mut twin = World::new(Knobs::default(), &[suite]);
                twin.client.begin(twin.now, Order::Read, twin.now + DEADLINE);
                for earlier in &world.heard {
                    twin.client.handle(twin.now, earlier);
                }
                twin.client.handle(twin.now, &damaged);
                let outcome = twin.client.take_outcome();
                assert!(!matches!(outcome, Some(Ok(_))), "answer {answers}: {damaged:02x?}");
            }
            world.step();
            if let Some(outcome) = world.client.take_outcome() {
                break Some(outcome);
            }
        };
        assert_eq!((outcome, answers), (Some(Ok(Power::On)), 5));
    }
}

#[test]
fn truncated_answers_are_never_a_reading() {
    damage_every_answer(|answer| (0..answer.len()).map(|len| answer[..len].to_vec()).collect());
}

#[test]
fn answers_with_a_flipped_bit_are_never_a_reading() {
    damage_every_answer(|answer| {
        let bits = (0..answer.len() * 8).filter(|bit| {
            // RMCP's reserved and sequence bytes say nothing and are not signed.
            !matches!(bit / 8, 1 | 2)
        });
        bits.map(|bit| {
            let mut damaged = answer.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged
        })
        .collect()
    });
}

#[test]
fn extended_answers_are_never_a_reading() {
    damage_every_answer(|answer| {
        [1, 4, 16, 400, 5000].map(|more| [answer, &vec![0; more]].concat()).to_vec()
    });
}

#[test]
fn random_bytes_are_never_a_reading() {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut world = World::new(Knobs::default(), &AUTO);
    world.client.begin(world.now, Order::Read, world.now + DEADLINE);
    for round in 0..200_000usize {
        let mut bytes: Vec<u8> = (0..round % 12).flat_map(|_| draw()).collect();
        if round % 2 == 0 {
            // Past the first checks, so that the deeper ones are met.
            let kind = [0x11, 0x13, 0x15, 0xc0][round / 2 % 4];
            bytes.splice(0..0, [0x06, 0x00, 0xff, 0x07, 0x06, kind]);
        }
        world.client.handle(world.now, &bytes);
        assert!(!matches!(world.client.take_outcome(), Some(Ok(_))));
        while world.client.take_transmit().is_some() {}
        if world.client.is_idle() {
            world.client.begin(world.now, Order::Read, world.now + DEADLINE);
        }
    }
}

#[test]
fn too_long_names_and_passwords_are_refused_before_any_bmc_sees_them() {
    assert!(Login::new(&"u".repeat(16), &"p".repeat(20)).is_some());
    assert!(Login::new(&"u".repeat(17), "p").is_none());
    assert!(Login::new("u", &"p".repeat(21)).is_none());
}

#[test]
fn a_login_and_a_client_do_not_show_the_password() {
    let world = World::new(Knobs::default(), &AUTO);
    let login = Login::new(USER, PASSWORD).unwrap();
    let text = format!("{login:?} {:?}", world.client);
    assert!(!text.contains(PASSWORD) && !text.contains("correct"), "{text}");
}
