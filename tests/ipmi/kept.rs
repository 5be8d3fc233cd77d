//! A client that keeps its session, against the test suite's BMC in virtual time.

use core::time::Duration;

use tandem::types::{FenceFault, Power};
use tandem::wire::ipmi::{CipherSuite, Order, Weakness};

use crate::bmc::{DEVICE_GUID, GUID, Knobs, PASSWORD};
use crate::client::{AUTO, World};

const CHASSIS_STATUS: (u8, u8) = (0x00, 0x01);
const CHASSIS_CONTROL: (u8, u8) = (0x00, 0x02);
const ROUND_TRIP: Duration = Duration::from_micros(200);

/// A world whose client keeps a session that has answered.
fn warm(knobs: Knobs) -> World {
    warm_seeded(knobs, 1)
}

fn warm_seeded(knobs: Knobs, seed: u64) -> World {
    let calm = Knobs { loss: 0, completion: None, ..knobs.clone() };
    let mut world = World::seeded(calm, &AUTO, PASSWORD, seed).keeping();
    assert!(world.run(Order::Read).0.is_ok());
    world.pass(Duration::from_secs(30));
    world.bmc.knobs = knobs;
    assert!(world.client.is_kept());
    assert_eq!(world.client.next_deadline(), None, "nothing is asked for ever");
    world.bmc.commands.clear();
    world
}

#[test]
fn a_power_off_and_its_proof_are_two_round_trips() {
    for suite in [3, 17] {
        let mut world = warm(Knobs { suites: vec![suite], ..Knobs::default() });
        let begun = world.now;
        assert_eq!(world.run(Order::Off).0, Ok(Power::Unknown));
        assert_eq!(world.run(Order::Read).0, Ok(Power::Off));
        assert_eq!(world.now.since(begun), ROUND_TRIP * 2);
        assert_eq!(world.bmc.commands, [CHASSIS_CONTROL, CHASSIS_STATUS]);
        assert_eq!((world.bmc.sessions_opened, world.bmc.open_sessions()), (1, 1));
    }
}

#[test]
fn one_session_carries_thousands_of_orders() {
    let mut world = warm(Knobs::default());
    for round in 0..3000 {
        let off = round % 2 == 0;
        let (order, power) = if off { (Order::Off, Power::Off) } else { (Order::On, Power::On) };
        assert_eq!(world.run(order).0, Ok(Power::Unknown));
        assert_eq!(world.run(Order::Read).0, Ok(power));
    }
    assert_eq!((world.bmc.sessions_opened, world.bmc.open_sessions()), (1, 1));
    world.client.close(world.now);
    world.settle();
    assert_eq!(world.bmc.open_sessions(), 0);
}

/// Whatever is lost, doubled and late on the way: a reading is of the moment it was asked for.
#[test]
fn answers_that_are_lost_doubled_or_late_are_never_taken_for_another_reading() {
    let mut answered = 0;
    for seed in 1..=40 {
        let mut world = warm_seeded(Knobs { loss: 20, ..Knobs::default() }, seed);
        world.doubled = 50;
        world.jitter = Duration::from_millis(600);
        for round in 0..100 {
            world.bmc.knobs.power = round % 2 == 0;
            let expected = if round % 2 == 0 { Power::On } else { Power::Off };
            match world.run(Order::Read).0 {
                Ok(power) => {
                    assert_eq!(power, expected, "seed {seed}, round {round}");
                    answered += 1;
                }
                // The session is given up; the next order opens another.
                Err(fault) => assert_eq!(fault, FenceFault::Unreachable, "seed {seed}"),
            }
            while !world.client.is_kept() && !world.client.is_idle() {
                assert!(world.step());
            }
        }
    }
    assert!(answered > 3800, "of 4000 {answered} were answered");
}

/// A BMC that knows the session no more is silent about it.
#[test]
fn an_order_in_a_forgotten_session_fails_with_it_and_the_next_one_opens_another() {
    let mut world = warm(Knobs::default());
    world.bmc.reboot();
    let (outcome, took) = world.run(Order::Off);
    assert_eq!(outcome, Err(FenceFault::Unreachable));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(world.bmc.knobs.power, "nothing was carried out");
    world.settle();
    assert_eq!(world.run(Order::Off).0, Ok(Power::Unknown));
    assert!(!world.bmc.knobs.power);
    assert_eq!(world.bmc.sessions_opened, 2);
}

/// Each refusal ends the kept session: the next one shows whether it was the session or the BMC.
#[test]
fn a_refusal_in_a_kept_session_closes_it() {
    let refusals = [
        (0xc1, FenceFault::Unsupported),
        (0xc9, FenceFault::Refused),
        (0xd4, FenceFault::Privilege),
        (0xd6, FenceFault::Unsupported),
        (0xff, FenceFault::Refused),
    ];
    for (code, fault) in refusals {
        let mut world = warm(Knobs { completion: Some(code), ..Knobs::default() });
        assert_eq!(world.run(Order::Off).0, Err(fault), "{code:02x}");
        world.settle();
        assert_eq!(world.bmc.open_sessions(), 0);
    }
    // Busy, and out of time: asked again in the same session.
    for code in [0xc0, 0xc3] {
        let mut world = warm(Knobs { completion: Some(code), ..Knobs::default() });
        let order_at = world.now;
        world.client.begin(order_at, Order::Off, order_at + Duration::from_secs(5));
        world.pass(Duration::from_secs(1));
        world.bmc.knobs.completion = None;
        world.pass(Duration::from_secs(1));
        assert_eq!(world.client.take_outcome(), Some(Ok(Power::Unknown)), "{code:02x}");
        assert_eq!(world.bmc.sessions_opened, 1);
    }
}

/// Sequence numbers that the BMC has seen: it drops them as replays.
#[test]
fn a_session_whose_numbers_went_wrong_is_given_up() {
    let mut world = warm(Knobs::default());
    world.bmc.skip_ahead(1000);
    assert_eq!(world.run(Order::Off).0, Err(FenceFault::Unreachable));
    assert!(world.bmc.knobs.power);
    world.pass(Duration::from_secs(5));
    assert!(world.client.is_idle(), "closing is given up, too");
}

#[test]
fn a_kept_session_is_cancelled_closed_and_suspected_as_it_should_be() {
    let mut world = warm(Knobs::default());
    world.bmc.knobs.mute = true;
    let deadline = world.now + Duration::from_secs(5);
    world.client.begin(world.now, Order::Read, deadline);
    assert!(!world.client.is_suspect(world.now));
    assert_eq!(world.client.patience(), Duration::from_millis(100));
    world.pass(Duration::from_millis(100));
    assert!(world.client.is_suspect(world.now));
    world.client.cancel(world.now);
    assert_eq!(world.client.take_outcome(), Some(Err(FenceFault::Cancelled)));
    assert!(world.client.is_kept(), "it may have been the network");
    world.bmc.knobs.mute = false;
    assert_eq!(world.run(Order::Off).0, Ok(Power::Unknown));
    assert_eq!(world.bmc.sessions_opened, 1);
    world.client.close(world.now);
    world.settle();
    assert_eq!((world.bmc.open_sessions(), world.client.is_kept()), (0, false));
    // A client that was closed keeps nothing any more.
    assert_eq!(world.run(Order::Read).0, Ok(Power::Off));
    world.settle();
    assert_eq!(world.bmc.open_sessions(), 0);
}

/// A BMC that takes 400 ms for everything is not suspected after 100.
#[test]
fn patience_follows_the_bmc() {
    let mut world = warm(Knobs { delay: Duration::from_millis(300), ..Knobs::default() });
    world.bmc.knobs.delay = Duration::from_millis(300);
    assert_eq!(world.client.patience(), Duration::from_millis(901).min(world.client.patience()));
    assert!(world.client.patience() > Duration::from_millis(800), "{:?}", world.client.patience());
    let downs = world.bmc.power_downs;
    assert_eq!(world.run(Order::Off).0, Ok(Power::Unknown));
    assert_eq!(world.bmc.power_downs, downs + 1, "told once");
    world.bmc.knobs.delay = Duration::ZERO;
    for _ in 0..20 {
        assert_eq!(world.run(Order::Read).0, Ok(Power::Off));
    }
    assert_eq!(world.client.patience(), Duration::from_millis(100), "forgiven");
}

#[test]
fn a_bmc_is_asked_who_it_is_once_in_each_session() {
    let knobs = Knobs { talks: true, lists: vec![0, 3, 17, 8, 2], ..Knobs::default() };
    let mut world = warm(knobs);
    let facts = world.client.facts().clone();
    assert_eq!((facts.system_guid, facts.device_guid), (Some(GUID), Some(DEVICE_GUID)));
    assert_eq!(
        facts.firmware.map(|it| (it.major, it.minor, it.manufacturer)),
        Some((3, 0x45, 674))
    );
    assert_eq!(facts.suites, [0, 3, 17, 8, 2]);
    let weak = [Weakness::SuiteZero, Weakness::NoAuthentication, Weakness::NullUser];
    assert_eq!(facts.weaknesses, weak);
    for _ in 0..10 {
        assert_eq!(world.run(Order::Read).0, Ok(Power::On));
        world.pass(Duration::from_secs(5));
    }
    assert_eq!(world.bmc.commands, [CHASSIS_STATUS; 10], "not asked again");
}

/// An order never waits for a question.
#[test]
fn an_order_goes_out_while_a_question_is_not_answered() {
    let mut world = World::new(Knobs { talks: true, ..Knobs::default() }, &AUTO).keeping();
    assert_eq!(world.run(Order::Read).0, Ok(Power::On));
    assert!(world.client.next_deadline().is_some(), "a question is under way");
    let begun = world.now;
    assert_eq!(world.run(Order::Off).0, Ok(Power::Unknown));
    assert_eq!(world.now.since(begun), ROUND_TRIP);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.client.facts().device_guid, Some(DEVICE_GUID), "asked again");
}

#[test]
fn the_list_of_suites_decides_which_is_tried_first() {
    // A BMC that is silent about a suite that it does not know costs seconds, if it is not asked.
    let silent = Knobs {
        suites: vec![3],
        lists: vec![1, 2, 3, 6, 7, 8],
        ignores_unknown_suites: true,
        ..Knobs::default()
    };
    let mut world = World::new(silent.clone(), &AUTO);
    world.client = world.client.listing();
    let (outcome, took) = world.run(Order::Read);
    assert_eq!((outcome, world.bmc.listings), (Ok(Power::On), 2));
    assert!(took < Duration::from_millis(10), "{took:?}");
    assert_eq!(world.client.agreed_suite(), Some(CipherSuite::Three));
    // A list that comes from nobody knows where decides nothing else.
    let forged = Knobs { suites: vec![17], lists: vec![3], ..Knobs::default() };
    let mut world = World::new(forged, &AUTO);
    world.client = world.client.listing();
    assert_eq!(world.run(Order::Read).0, Ok(Power::On));
    assert_eq!(world.client.agreed_suite(), Some(CipherSuite::Seventeen));
    // One that is not told is waited for a moment.
    let mut world = World::new(Knobs { lists: Vec::new(), ..silent }, &AUTO);
    world.client = world.client.listing();
    let (outcome, took) = world.run(Order::Read);
    assert_eq!((outcome, world.client.agreed_suite()), (Ok(Power::On), Some(CipherSuite::Three)));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// Of an answer that was changed on the way, and of an older one, nothing is believed.
#[test]
fn a_damaged_or_an_old_answer_in_a_kept_session_is_no_reading() {
    for suite in [3, 17] {
        let mut world = warm(Knobs { suites: vec![suite], ..Knobs::default() });
        let mut ask = |power: bool| {
            world.bmc.knobs.power = power;
            let deadline = world.now + Duration::from_secs(5);
            world.client.begin(world.now, Order::Read, deadline);
            let request = world.client.take_transmit().unwrap();
            let answer = world.bmc.answer(&request).pop().unwrap();
            for bit in (0..answer.len() * 8).filter(|bit| !matches!(bit / 8, 1 | 2)) {
                let mut damaged = answer.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                world.client.handle(world.now, &damaged);
                assert_eq!(world.client.take_outcome(), None, "bit {bit}");
            }
            for len in 0..answer.len() {
                world.client.handle(world.now, &answer[..len]);
                assert_eq!(world.client.take_outcome(), None, "{len} bytes");
            }
            (answer, world.client.take_outcome())
        };
        // Held back on the way, while the order is given up and 63 others follow: the next one has
        // the same request number.
        let (held_back, _) = ask(false);
        world.client.cancel(world.now);
        assert_eq!(world.client.take_outcome(), Some(Err(FenceFault::Cancelled)));
        world.bmc.knobs.power = true;
        for _ in 0..63 {
            assert_eq!(world.run(Order::Read).0, Ok(Power::On));
        }
        let deadline = world.now + Duration::from_secs(5);
        world.client.begin(world.now, Order::Read, deadline);
        world.client.handle(world.now, &held_back);
        assert_eq!(world.client.take_outcome(), None, "it is an answer to another question");
        assert!(world.step());
        assert_eq!(world.client.take_outcome(), Some(Ok(Power::On)));
    }
}
