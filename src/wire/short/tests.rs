//! The short form against itself, against noise, and against
//! `tests/vectors/heartbeat-short-v1.hex`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::super::heartbeat::tests::{CLUSTER, Random, bytes_of, keys, sample};
use super::super::{heartbeat, serial_frame};
use super::*;
use crate::types::heartbeat::SERIAL_FRAME_LEN;
use crate::types::{Hears, PeerState};
use crate::wire::auth::KeyUsed;

const EVERY_TURN: [Turn; 6] = [
    Turn::Macs { pair: 0 },
    Turn::Macs { pair: 1 },
    Turn::Macs { pair: 2 },
    Turn::Macs { pair: 3 },
    Turn::Config,
    Turn::Failcount,
];

/// The heartbeat without what is said in turns.
fn silent(heartbeat: &Heartbeat) -> Heartbeat {
    let macs = [None; NICS_MAX];
    Heartbeat { macs, config_digest: None, failcount_digest: None, machine: None, ..*heartbeat }
}

/// What is heard of `heartbeat` when it is `turn`'s.
fn heard(heartbeat: &Heartbeat, turn: Turn) -> Heartbeat {
    let unsaid = silent(heartbeat);
    match turn {
        Turn::Macs { pair } => {
            let first = usize::from(pair) * 2;
            let mut macs = [None; NICS_MAX];
            macs[first..first + 2].copy_from_slice(&heartbeat.macs[first..first + 2]);
            if heartbeat.macs[first + 2..].iter().all(|mac| *mac == Some(Mac::NONE)) {
                macs[first + 2..].fill(Some(Mac::NONE));
            }
            Heartbeat { macs, ..unsaid }
        }
        Turn::Config => Heartbeat { config_digest: heartbeat.config_digest, ..unsaid },
        Turn::Failcount => Heartbeat { failcount_digest: heartbeat.failcount_digest, ..unsaid },
    }
}

fn refusal(bytes: &[u8]) -> Option<Refusal> {
    parse(bytes, CLUSTER, &keys()).err()
}

/// `bytes` with a right tag: what a faulty holder of the key sends.
fn tagged(bytes: &[u8]) -> Vec<u8> {
    let tag = keys().tag_all([bytes, &CLUSTER.0.to_be_bytes()]);
    [bytes, &tag[..TAG_LEN]].concat()
}

/// The sample without its tag, changed.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let whole = emit(&sample(), Turn::Config, CLUSTER, &keys());
    let mut bytes = whole.as_bytes().to_vec();
    bytes.truncate(bytes.len() - TAG_LEN);
    change(&mut bytes);
    tagged(&bytes)
}

#[test]
fn what_is_emitted_is_parsed_back_but_for_what_is_not_said() {
    let mut random = Random(1);
    for round in 0..3000 {
        let heartbeat = random.heartbeat();
        let turn = EVERY_TURN[round % EVERY_TURN.len()];
        let message = emit(&heartbeat, turn, CLUSTER, &keys());
        let parsed = parse(message.as_bytes(), CLUSTER, &keys());
        let hint = keys().hint(heartbeat.seq.0);
        let expected =
            Authentic { heartbeat: heard(&heartbeat, turn), key: KeyUsed::Sending, hint };
        assert_eq!(parsed, Ok(expected));
    }
}

#[test]
fn what_was_not_said_to_us_is_not_said_on() {
    for turn in EVERY_TURN {
        let silent = silent(&sample());
        let message = emit(&silent, turn, CLUSTER, &keys());
        let parsed = parse(message.as_bytes(), CLUSTER, &keys());
        assert_eq!(parsed.map(|found| found.heartbeat), Ok(silent), "{turn:?}");
    }
}

// In: a heartbeat with every number as large as the promise about the line allows, and as can be.
// Out: its frame is what a line is reckoned with, and no message is longer than its bound.
#[test]
fn the_length_is_what_lines_are_reckoned_with() {
    let usual = Heartbeat {
        seq: Seq((1 << 35) - 1),
        term: Term((1 << 21) - 1),
        held_term: Term((1 << 21) - 1),
        ask: Term((1 << 21) - 1),
        grant: Term((1 << 21) - 1),
        session: Session((1 << 14) - 1),
        echo_session: Session((1 << 14) - 1),
        sent: (1 << 63) - 1,
        echo_sent: (1 << 63) - 1,
        echo_held: (1 << 35) - 1,
        hears: [Hears::Peer; LINKS_MAX],
        ..sample()
    };
    let frame_len = |heartbeat: &Heartbeat| {
        let message = emit(heartbeat, Turn::Macs { pair: 0 }, CLUSTER, &keys());
        let frame = serial_frame::Frame::new(message.as_bytes()).unwrap();
        (message.as_bytes().len(), frame.as_bytes().len())
    };
    let (_, longest_usual) = frame_len(&usual);
    assert_eq!(u32::try_from(longest_usual).unwrap(), SERIAL_FRAME_LEN);
    let all = u64::MAX;
    let extreme = Heartbeat {
        seq: Seq(all),
        term: Term(all),
        held_term: Term(all),
        ask: Term(all),
        grant: Term(all),
        session: Session(u32::MAX),
        echo_session: Session(u32::MAX),
        sent: all,
        echo_sent: all,
        echo_held: all,
        ..usual
    };
    assert_eq!(frame_len(&extreme).0, LEN_MAX);
    // A pair that has run for a day.
    let young = Heartbeat { hears: [Hears::NoLink; LINKS_MAX], ..sample() };
    assert!(frame_len(&young).1 <= 108, "{:?}", frame_len(&young));
}

#[test]
fn every_truncation_and_extension_and_flipped_bit_is_refused() {
    let whole = emit(&Random(2).heartbeat(), Turn::Config, CLUSTER, &keys());
    let whole = whole.as_bytes();
    for len in 0..whole.len() {
        assert!(refusal(&whole[..len]).is_some(), "{len}");
    }
    for more in 1..100 {
        let mut longer = whole.to_vec();
        longer.resize(whole.len() + more, 0);
        assert!(refusal(&longer).is_some(), "{more}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(refusal(&flipped).is_some(), "bit {bit}");
    }
}

#[test]
fn noise_is_refused_with_and_without_a_right_header() {
    let mut random = Random(4);
    let header = emit(&sample(), Turn::Config, CLUSTER, &keys());
    for round in 0..20_000 {
        let mut noise = random.bytes::<{ LEN_MAX + 10 }>().to_vec();
        noise.truncate(usize::from(random.below(173)));
        if round % 2 == 0 {
            noise.resize(100, 0);
            noise[..8].copy_from_slice(&header.as_bytes()[..8]);
            assert_eq!(refusal(&noise), Some(Refusal::Tag));
            // Whoever has the key may be wrong, and must not do harm.
            let faulty = tagged(&noise);
            assert!(refusal(&faulty).is_none_or(|why| matches!(why, Refusal::Malformed(_))));
        }
        assert!(refusal(&noise).is_some());
    }
}

#[test]
fn the_two_forms_are_not_taken_for_each_other() {
    let full = heartbeat::emit(&sample(), CLUSTER, &keys());
    let short = emit(&sample(), Turn::Config, CLUSTER, &keys());
    assert_eq!(refusal(&full), Some(Refusal::TooLong));
    let refused = heartbeat::parse(short.as_bytes(), CLUSTER, &keys()).err();
    assert_eq!(refused, Some(Refusal::Version));
    assert_eq!(refusal(&full[..150]), Some(Refusal::Version));
}

// The end of the cluster's number is said, all of it is under the tag.
#[test]
fn another_cluster_is_refused_even_if_its_number_ends_alike() {
    let whole = emit(&sample(), Turn::Config, CLUSTER, &keys());
    let other = |number| parse(whole.as_bytes(), ClusterId(number), &keys()).err();
    assert_eq!(other(CLUSTER.0 + 1), Some(Refusal::Cluster));
    assert_eq!(other(CLUSTER.0 ^ 1 << 63), Some(Refusal::Tag));
}

#[test]
fn impossible_values_are_refused_even_with_a_right_tag() {
    assert_eq!(refusal(&changed(|_| ())), None);
    let check = |at: usize, value: u8, expected| {
        assert_eq!(refusal(&changed(|bytes| bytes[at] = value)), Some(expected), "{at} {value}");
    };
    check(0, b'T', Refusal::Magic);
    check(2, 2, Refusal::Version);
    check(3, 1, Refusal::Version);
    check(7, 0x20, Refusal::Malformed(Field::From));
    check(7, 0x01, Refusal::Malformed(Field::To));
    check(7, 0x11, Refusal::Malformed(Field::To));
    check(7, 0x91, Refusal::Malformed(Field::To));
    check(8, 0x03, Refusal::Malformed(Field::State));
    check(8, 0xa3, Refusal::Malformed(Field::State));
    check(9, 16, Refusal::Malformed(Field::Flags));
    let unborn = changed(|bytes| bytes[11..19].fill(0));
    assert_eq!(refusal(&unborn), Some(Refusal::Malformed(Field::Incarnation)));
    let turn = |turn: &[u8]| {
        refusal(&changed(|bytes| {
            bytes.truncate(bytes.len() - 9);
            bytes.extend(turn);
        }))
    };
    assert_eq!(turn(&[0]), None);
    assert_eq!(turn(&[4]), Some(Refusal::Malformed(Field::Turn)));
    assert_eq!(turn(&[0x81]), Some(Refusal::Malformed(Field::Turn)));
    assert_eq!(turn(&[0x12]), Some(Refusal::Malformed(Field::Turn)));
    assert_eq!(turn(&[2, 1, 2]), Some(Refusal::Malformed(Field::Length)));
    assert_eq!(turn(&[0, 0]), Some(Refusal::Malformed(Field::Length)));
    assert_eq!(turn(&[]), Some(Refusal::Malformed(Field::Length)));
}

#[test]
fn numbers_have_one_form() {
    let number = |bytes: &[u8]| Reader(bytes).number().ok();
    for (bytes, expected) in [
        (&[0][..], Some(0)),
        (&[0x7f], Some(127)),
        (&[0x80, 1], Some(128)),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Some(u64::MAX)),
        (&[0x80, 0], None),
        (&[0xff, 0x80, 0], None),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], None),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], None),
        (&[0x80], None),
        (&[], None),
    ] {
        assert_eq!(number(bytes), expected, "{bytes:x?}");
    }
}

/// All turns that were taken for it until each had its own, as a listener puts them together.
fn learned(turns: &mut Turns, heartbeat: &Heartbeat, count: usize) -> Heartbeat {
    let mut known = silent(heartbeat);
    for _ in 0..count {
        let said = heard(heartbeat, turns.take(heartbeat));
        for (place, said) in known.macs.iter_mut().zip(said.macs) {
            *place = said.or(*place);
        }
        known.config_digest = said.config_digest.or(known.config_digest);
        known.failcount_digest = said.failcount_digest.or(known.failcount_digest);
    }
    known
}

#[test]
fn everything_is_said_within_one_round_of_turns_wherever_it_begins() {
    // Which machine it is, is never said on a line.
    let many = Heartbeat { machine: None, ..sample() };
    let mut few = many;
    few.macs[7] = Some(Mac::NONE);
    let none = Heartbeat { macs: [Some(Mac::NONE); NICS_MAX], ..many };
    for (heartbeat, round) in [(many, 6), (few, 3), (none, 3)] {
        let mut turns = Turns::new();
        for begin in 0..10 {
            turns.take(&heartbeat);
            assert_eq!(learned(&mut turns.clone(), &heartbeat, round), heartbeat, "{begin}");
            assert_ne!(learned(&mut turns.clone(), &heartbeat, round - 1), heartbeat, "{begin}");
        }
    }
}

// In: a MAC changes, or another life of the addressee is spoken to, while the digests have turns.
// Out: the MACs are said at once.
#[test]
fn news_begins_the_round_anew() {
    let mut heartbeat = Heartbeat { macs: [Some(Mac::NONE); NICS_MAX], ..sample() };
    let mut turns = Turns::new();
    assert_eq!(turns.take(&heartbeat), Turn::Macs { pair: 0 });
    assert_eq!(turns.take(&heartbeat), Turn::Config);
    heartbeat.macs[1] = Some(Mac([2, 0, 0, 0, 0, 1]));
    assert_eq!(turns.take(&heartbeat), Turn::Macs { pair: 0 });
    heartbeat.seq = Seq(77);
    heartbeat.state = PeerState::Standby;
    assert_eq!(turns.take(&heartbeat), Turn::Config);
    heartbeat.echo_incarnation = Incarnation(8);
    assert_eq!(turns.take(&heartbeat), Turn::Macs { pair: 0 });
    assert_eq!(turns.take(&heartbeat), Turn::Config);
    assert_eq!(turns.take(&heartbeat), Turn::Failcount);
    assert_eq!(turns.take(&heartbeat), Turn::Macs { pair: 0 });
}

// The vector is what other implementations and later versions are held to: it never changes as
// long as the version is 1.
#[test]
fn the_sample_is_the_vector() {
    let vector = bytes_of(include_str!("../../../tests/vectors/heartbeat-short-v1.hex"));
    let emitted = emit(&sample(), Turn::Macs { pair: 0 }, CLUSTER, &keys());
    assert_eq!(emitted.as_bytes(), vector.as_slice());
    let parsed = parse(&vector, CLUSTER, &keys());
    let expected = heard(&sample(), Turn::Macs { pair: 0 });
    assert_eq!(parsed.map(|found| found.heartbeat), Ok(expected));
}
