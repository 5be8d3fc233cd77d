//! Every input is written and read back; whatever happens to a segment is noticed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use core::time::Duration;

use super::*;
use crate::engine::input::Why;
use crate::engine::settings::{
    AfterFence, Level, LinkSettings, Mark, PeerSettings, Record, Remembered,
};
use crate::engine::{Input, Outcome, RequestId};
use crate::types::heartbeat::{Flags, LINKS_MAX, NICS_MAX};
use crate::types::{
    DeviceId, FenceFault, Hears, Heartbeat, LinkId, Mac, NicId, OpId, PeerState, Power, Seq,
    Session, Term, VipId,
};

const KINDS: usize = 18;

/// The place of an input's kind; a new kind does not compile without one, and [`inputs`] must then
/// have it too.
fn kind(input: &Input) -> usize {
    match input {
        Input::Start(_) => 0,
        Input::Tick => 1,
        Input::Stalled { .. } => 2,
        Input::Heard { .. } => 3,
        Input::Carrier { .. } => 4,
        Input::Reach { .. } => 5,
        Input::Probed { .. } => 6,
        Input::Mac { .. } => 7,
        Input::Claim { .. } => 8,
        Input::VipGone { .. } => 9,
        Input::VipStray { .. } => 10,
        Input::Done { .. } => 11,
        Input::Reading { .. } => 12,
        Input::ConfirmOff { .. } => 13,
        Input::Stop => 14,
        Input::Across { .. } => 15,
        Input::KernelsAsked { .. } => 16,
        Input::KernelAnswered { .. } => 17,
    }
}

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn heartbeat() -> Heartbeat {
    let mut hears = [Hears::NoLink; LINKS_MAX];
    hears[0] = Hears::Peer;
    let mut macs = [Some(Mac::NONE); NICS_MAX];
    macs[0] = Some(Mac([2, 0, 0, 0, 0, 9]));
    Heartbeat {
        from: node(2),
        to: node(1),
        link: LinkId(0),
        incarnation: Incarnation(u64::MAX),
        boot: BootId([9; 16]),
        seq: Seq(7),
        state: PeerState::Active,
        term: Term(3),
        held_term: Term(3),
        ask: Term::NONE,
        grant: Term::NONE,
        flags: Flags { eligible: true, ..Flags::default() },
        echo_incarnation: Incarnation(5),
        echo_session: Session(1),
        session: Session(2),
        sent: 1_000_000_000,
        echo_sent: 900_000_000,
        echo_held: 4_000,
        config_digest: Some(11),
        failcount_digest: Some(0),
        good_nics: 1,
        macs,
        hears,
    }
}

fn heard(at: u64, heartbeat: Heartbeat) -> Input {
    Input::Heard { link: heartbeat.link, at: Instant::from_nanos(at), heartbeat }
}

fn inputs() -> Vec<Input> {
    let why = Why::new("a reason with \"quotes\", \u{fc}ml\u{e4}uts and a * in it");
    let mark = Mark { boot: BootId([7; 16]), term: Term(2), holding: true };
    let record = Record { term: Term(Term::BELIEVED_MAX.0), held_term: Term(2) };
    let (vip, nic, op) = (VipId(u16::MAX), NicId(7), OpId(u64::MAX));
    let mac = Mac([0xff; 6]);
    vec![
        Input::Start(Remembered { mark: Some(mark), record, leftovers: true }),
        Input::Start(Remembered::default()),
        Input::Tick,
        Input::Stalled { late_by: Duration::new(3, 999_999_999) },
        heard(5, heartbeat()),
        Input::Tick,
        Input::Carrier { nic, up: true },
        Input::Reach { nic, up: false },
        Input::Across { nic, node: node(2), passes: false },
        Input::Probed { asked: true },
        Input::KernelsAsked { links: u16::MAX },
        Input::KernelAnswered { link: LinkId(15), node: node(2), at: Instant::from_nanos(9) },
        Input::Mac { nic, mac },
        Input::Claim { vip, mac, at: Instant::from_nanos(u64::MAX) },
        Input::VipGone { vip },
        Input::VipStray { vip },
        Input::Done { op, outcome: Outcome::Confirmed },
        Input::Done { op, outcome: Outcome::Refused(why.clone()) },
        Input::Done { op, outcome: Outcome::Unknown(why) },
        Input::Reading { op, reading: Ok(Power::Off) },
        Input::Reading { op, reading: Err(FenceFault::Credentials) },
        Input::ConfirmOff { request: RequestId(1), node: node(8), force: true },
        Input::Stop,
    ]
}

fn settings() -> Settings {
    let levels = vec![Level {
        devices: vec![DeviceId(0)],
        timeout: Duration::from_secs(1),
        pace: Duration::ZERO,
    }];
    Settings {
        local: node(1),
        peers: vec![PeerSettings {
            node: node(2),
            levels,
            fence_delay: Duration::ZERO,
            after_fence: AfterFence::PowersOn,
        }],
        links: vec![LinkSettings {
            id: LinkId(0),
            keepalive: Duration::from_millis(100),
            warntime: Duration::from_millis(300),
            deadtime: Duration::from_millis(500),
        }],
        nics: 1,
        vips: 1,
        macs: [Mac::NONE; NICS_MAX],
        initdead: Duration::from_secs(1),
        dead_host_time: None,
        isolated_grace: Duration::from_secs(5),
        path_hold: Duration::from_secs(1),
        path_rest: Duration::from_secs(60),
        preferred: None,
        fence_check_interval: Duration::from_secs(60),
        config_digest: 1,
        incarnation: Incarnation(5),
        boot: BootId([1; 16]),
    }
}

fn header() -> Header {
    Header {
        version: "0.1.0".to_owned(),
        cluster: "pair".to_owned(),
        local: node(1),
        names: Names { nodes: vec![(node(1), "a".to_owned())], ..Names::default() },
        boot: BootId([1; 16]),
        incarnation: Incarnation(5),
        part: 0,
        follows: false,
        at: Instant::from_millis(1000),
        wall_unix_ms: 1_795_310_848_000,
    }
}

/// A segment with these inputs, a millisecond apart.
fn written(inputs: &[Input]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new();
    encoder.begin(&header(), Opening::Start(&settings()), &mut bytes).unwrap();
    for (input, ms) in inputs.iter().zip(1001..) {
        encoder.add(Instant::from_millis(ms), input, &mut bytes).unwrap();
    }
    bytes
}

/// The inputs of a segment, how much was torn off, and what ended it.
fn read(bytes: &[u8]) -> (Vec<(Instant, Input)>, usize, Option<Damage>) {
    let mut segment = match Segment::open(bytes) {
        Ok(segment) => segment,
        Err(damage) => return (Vec::new(), 0, Some(damage)),
    };
    let mut inputs = Vec::new();
    loop {
        match segment.next_input() {
            Ok(Some(next)) => inputs.push(next),
            Ok(None) => return (inputs, segment.torn_len(), None),
            Err(damage) => return (inputs, 0, Some(damage)),
        }
    }
}

#[test]
fn every_kind_of_input_is_read_back() {
    let inputs = inputs();
    let kinds: std::collections::BTreeSet<usize> = inputs.iter().map(kind).collect();
    assert_eq!(kinds.len(), KINDS, "a kind of input is not tried");
    let (back, torn, damage) = read(&written(&inputs));
    assert_eq!((torn, damage), (0, None));
    let times: Vec<Instant> = back.iter().map(|(at, _)| *at).collect();
    let expected: Vec<Instant> = (1001..).take(inputs.len()).map(Instant::from_millis).collect();
    assert_eq!(times, expected);
    let back: Vec<Input> = back.into_iter().map(|(_, input)| input).collect();
    assert_eq!(back, inputs);
}

#[test]
fn heartbeats_are_short_and_exact_whatever_they_say() {
    let usual = |n: u64| Heartbeat {
        seq: Seq(7 + n),
        sent: 1_000_000_000 + n * 100_000_000 + n * n * 37,
        echo_sent: 900_000_000 + n * 100_000_000,
        echo_held: 4_000 + n * 11,
        ..heartbeat()
    };
    let mut list: Vec<Input> =
        (0..20).map(|n| heard(1_001_000_000 + n * 100_000_000, usual(n))).collect();
    let short = written(&list);
    let line = short.split(|byte| *byte == b'\n').nth(10).unwrap();
    assert!(line.len() < 60, "{}", String::from_utf8_lossy(line));
    // The clocks jump, numbers wrap, others speak in between, on links that are none.
    let extreme = Heartbeat { sent: u64::MAX, echo_sent: 1, echo_held: u64::MAX, ..usual(3) };
    list.push(heard(u64::MAX, extreme));
    list.push(heard(0, Heartbeat { seq: Seq(u64::MAX), sent: 0, echo_held: 0, ..extreme }));
    list.push(heard(5, Heartbeat { seq: Seq(0), ..extreme }));
    list.push(heard(6, Heartbeat { from: node(8), ..extreme }));
    list.push(heard(6, Heartbeat { link: LinkId(u8::MAX), ..extreme }));
    list.push(heard(7, Heartbeat { link: LinkId(u8::MAX), ..extreme }));
    list.push(heard(8, Heartbeat { term: Term(4), ..extreme }));
    list.push(Input::Heard { link: LinkId(3), at: Instant::ZERO, heartbeat: extreme });
    list.push(Input::Heard { link: LinkId(3), at: Instant::ZERO, heartbeat: extreme });
    let (back, _, damage) = read(&written(&list));
    assert_eq!(damage, None);
    let back: Vec<Input> = back.into_iter().map(|(_, input)| input).collect();
    assert_eq!(back, list);
}

/// As a serial line brings them: MACs, then one digest, then the other, and all three again.
#[test]
fn heartbeats_that_say_things_in_turns_are_short_and_exact() {
    let said = |n: u64, macs: bool, config: bool, failcount: bool| {
        let whole = heartbeat();
        let unsaid = Heartbeat {
            seq: Seq(7 + n),
            macs: whole.macs.map(|mac| mac.filter(|_| macs)),
            config_digest: whole.config_digest.filter(|_| config),
            failcount_digest: whole.failcount_digest.filter(|_| failcount),
            ..whole
        };
        heard(1_001_000_000 + n * 100_000_000, unsaid)
    };
    let mut list: Vec<Input> =
        (0..12).map(|n| said(n, n % 3 == 0, n % 3 == 1, n % 3 == 2)).collect();
    let short = written(&list);
    let lines: Vec<_> = short.split(|byte| *byte == b'\n').collect();
    for line in &lines[5..14] {
        assert!(line.len() < 80, "{}", String::from_utf8_lossy(line));
    }
    let another = said(12, false, true, false);
    let Input::Heard { link, at, mut heartbeat } = another else { panic!("{another:?}") };
    heartbeat.config_digest = Some(12);
    list.push(Input::Heard { link, at, heartbeat });
    list.extend([said(13, false, false, false), said(14, true, true, true)]);
    let (back, _, damage) = read(&written(&list));
    assert_eq!(damage, None);
    let back: Vec<Input> = back.into_iter().map(|(_, input)| input).collect();
    assert_eq!(back, list);
}

#[test]
fn time_that_goes_back_is_exact_too() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new();
    encoder.begin(&header(), Opening::Start(&settings()), &mut bytes).unwrap();
    let times = [5000, 4000, 0, u64::MAX, 1, 1].map(Instant::from_nanos);
    for at in times {
        encoder.add(at, &Input::Tick, &mut bytes).unwrap();
    }
    let back: Vec<Instant> = read(&bytes).0.into_iter().map(|(at, _)| at).collect();
    assert_eq!(back, times);
}

// In: a segment cut off at every byte, as a daemon that is killed leaves it.
// Out: whole lines are read, the rest is told as torn; only without a beginning nothing is.
#[test]
fn a_torn_end_is_dropped_and_told() {
    let inputs = inputs();
    let bytes = written(&inputs);
    let beginning = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 1;
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let (back, torn, damage) = read(cut);
        if len < beginning {
            let damage = damage.unwrap_or_else(|| panic!("cut to {len}: read without a beginning"));
            assert!(damage.line <= 2, "cut to {len}: {damage}");
            continue;
        }
        assert_eq!(damage, None, "cut to {len}");
        let lines = cut.iter().filter(|byte| **byte == b'\n').count() - 2;
        assert_eq!(back.len(), lines, "cut to {len}");
        assert_eq!(torn, len - 1 - cut.iter().rposition(|byte| *byte == b'\n').unwrap());
    }
}

// In: a segment with one bit turned, one line taken out, doubled, or swapped with the next.
// Out: everything before it is read; then the line is named.
#[test]
fn every_damage_is_noticed_at_its_line() {
    let bytes = written(&inputs());
    let whole = read(&bytes).0;
    for index in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 1 << (index % 8);
        let line = 1 + bytes[..index].iter().filter(|byte| **byte == b'\n').count();
        let (back, torn, damage) = read(&damaged);
        let noticed = damage.as_ref().is_some_and(|damage| damage.line <= line + 1);
        let is_last_end = index == bytes.len() - 1;
        assert!(noticed || (is_last_end && torn > 0), "byte {index}, line {line}: {damage:?}");
        assert_eq!(back, whole[..back.len()], "byte {index}");
    }
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for index in 2..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(index);
        let mut doubled = lines.clone();
        doubled.insert(index, lines[index]);
        let mut swapped = lines.clone();
        swapped.swap(index, index + 1);
        for (what, lines) in [("without", without), ("doubled", doubled), ("swapped", swapped)] {
            let (back, _, damage) = read(&lines.concat());
            let line = damage.unwrap_or_else(|| panic!("{what} {index} is not noticed")).line;
            assert!((index + 1..=index + 2).contains(&line), "{what} {index}: line {line}");
            assert!(back.len() < whole.len(), "{what} {index}");
        }
    }
}

#[test]
fn what_is_no_recording_is_told_so() {
    let told = |bytes: &[u8]| read(bytes).2.unwrap().to_string();
    assert_eq!(told(b""), "line 1: the recording ends before its beginning does");
    assert_eq!(told(b"cluster = \"x\"\n"), "line 1: this is no recording of tandem");
    let other = String::from_utf8(written(&[])).unwrap().replace("flight 1 ", "flight 2 ");
    assert!(told(other.as_bytes()).contains("another format"), "{}", told(other.as_bytes()));
    let unsound = Settings { nics: 200, ..settings() };
    let mut bytes = Vec::new();
    Encoder::new().begin(&header(), Opening::Start(&unsound), &mut bytes).unwrap();
    assert_eq!(told(&bytes), "line 2: no configuration leads to these settings");
}

#[test]
fn the_wall_clock_goes_with_the_boot_clock() {
    let header = header();
    assert_eq!(header.wall_at(header.at), 1_795_310_848_000);
    assert_eq!(header.wall_at(Instant::from_millis(1250)), 1_795_310_848_250);
    assert_eq!(header.wall_at(Instant::ZERO), 1_795_310_847_000);
    assert_eq!(header.wall_at(Instant::from_nanos(u64::MAX)) / 1_000_000, 20_242_054);
}
