//! The encoding against itself, against noise, and against `tests/vectors/heartbeat-v1.hex`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::*;

pub(in crate::wire) const CLUSTER: ClusterId = ClusterId(0x1122_3344_5566_7788);
pub(in crate::wire) const KEY: &[u8] = b"correct horse battery staple";
const OTHER_KEY: &[u8] = b"correct horse battery stapler";

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

/// A pseudo-random generator that is the same in every run (splitmix64).
pub(in crate::wire) struct Random(pub u64);

impl Random {
    pub(in crate::wire) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::wire) fn below(&mut self, bound: u8) -> u8 {
        u8::try_from(self.next() % u64::from(bound)).unwrap()
    }

    pub(in crate::wire) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.below(255))
    }

    pub(in crate::wire) fn heartbeat(&mut self) -> Heartbeat {
        let from = 1 + self.below(8);
        let to = 1 + (from + self.below(7)) % 8;
        let bits = self.next();
        Heartbeat {
            from: NodeId::new(from).unwrap(),
            to: NodeId::new(to).unwrap(),
            link: LinkId(self.below(16)),
            incarnation: Incarnation(self.next() | 1),
            boot: BootId(self.bytes()),
            seq: Seq(self.next()),
            state: STATES[usize::from(self.below(9))],
            term: Term(self.next()),
            held_term: Term(self.next()),
            ask: Term(self.next()),
            grant: Term(self.next()),
            flags: Flags {
                eligible: bits & 1 != 0,
                released: bits & 2 != 0,
                purging: bits & 4 != 0,
                held: bits & 8 != 0,
            },
            echo_incarnation: Incarnation(self.next()),
            echo_session: Session(u32::try_from(self.next() >> 32).unwrap()),
            session: Session(u32::try_from(self.next() >> 32).unwrap()),
            sent: self.next(),
            echo_sent: self.next(),
            echo_held: self.next(),
            config_digest: Some(self.next()),
            failcount_digest: Some(self.next()),
            machine: Some(MachineId {
                platform: self.next(),
                system: self.next(),
                bmc: self.next(),
                proven: 0,
            }),
            good_nics: self.below(255),
            macs: std::array::from_fn(|_| Some(Mac(self.bytes()))),
            hears: std::array::from_fn(|_| {
                [Hears::NoLink, Hears::Nothing, Hears::Peer][usize::from(self.below(3))]
            }),
        }
    }
}

pub(in crate::wire) fn keys() -> Keys {
    Keys::new(KEY, None).unwrap()
}

/// The message with `change` made to it and tagged again: what a faulty holder of the key sends.
fn retagged(change: impl FnOnce(&mut [u8; LEN])) -> [u8; LEN] {
    let mut bytes = emit(&Random(7).heartbeat(), CLUSTER, &keys());
    change(&mut bytes);
    let tag = keys().tag(&bytes[..TAGGED_LEN]);
    bytes[TAGGED_LEN..].copy_from_slice(&tag);
    bytes
}

fn refusal(bytes: &[u8]) -> Option<Refusal> {
    parse(bytes, CLUSTER, &keys()).err()
}

#[test]
fn what_is_emitted_is_parsed_back() {
    let mut random = Random(1);
    for _ in 0..2000 {
        let heartbeat = random.heartbeat();
        let parsed = parse(&emit(&heartbeat, CLUSTER, &keys()), CLUSTER, &keys());
        let hint = keys().hint(heartbeat.seq.0);
        assert_eq!(parsed, Ok(Authentic { heartbeat, key: KeyUsed::Sending, hint }));
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let whole = emit(&Random(2).heartbeat(), CLUSTER, &keys());
    for len in 0..LEN {
        assert_eq!(refusal(&whole[..len]), Some(Refusal::TooShort), "{len}");
    }
    for more in 1..100 {
        let mut longer = whole.to_vec();
        longer.resize(LEN + more, 0);
        assert_eq!(refusal(&longer), Some(Refusal::TooLong), "{more}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let whole = emit(&Random(3).heartbeat(), CLUSTER, &keys());
    let two_keys = Keys::new(KEY, Some(OTHER_KEY)).unwrap();
    for bit in 0..LEN * 8 {
        let mut flipped = whole;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&flipped, CLUSTER, &keys()).is_err(), "bit {bit}");
        assert!(parse(&flipped, CLUSTER, &two_keys).is_err(), "bit {bit}");
    }
}

#[test]
fn noise_is_refused_with_and_without_a_right_header() {
    let mut random = Random(4);
    let header = emit(&random.heartbeat(), CLUSTER, &keys());
    for round in 0..20_000 {
        let mut noise: Vec<u8> = random.bytes::<LEN_MAX>().to_vec();
        noise.truncate(usize::from(random.below(255)));
        if round % 2 == 0 {
            noise.resize(LEN, 0);
            noise[..at::LINK].copy_from_slice(&header[..at::LINK]);
            assert_eq!(refusal(&noise), Some(Refusal::Tag));
        }
        assert!(refusal(&noise).is_some());
    }
}

#[test]
fn another_key_or_cluster_is_refused() {
    let whole = emit(&Random(5).heartbeat(), CLUSTER, &keys());
    let other = Keys::new(OTHER_KEY, None).unwrap();
    assert_eq!(parse(&whole, CLUSTER, &other).err(), Some(Refusal::Tag));
    assert_eq!(parse(&whole, ClusterId(1), &keys()).err(), Some(Refusal::Cluster));
    let both = Keys::new(OTHER_KEY, Some(KEY)).unwrap();
    assert_eq!(parse(&whole, CLUSTER, &both).map(|found| found.key), Ok(KeyUsed::Other));
}

#[test]
fn impossible_values_are_refused_even_with_a_right_tag() {
    assert_eq!(refusal(&retagged(|_| ())), None);
    let check = |at: usize, value: u8, expected| {
        assert_eq!(refusal(&retagged(|bytes| bytes[at] = value)), Some(expected), "{at} {value}");
    };
    check(at::MAGIC, b'T', Refusal::Magic);
    check(at::VERSION, 2, Refusal::Version);
    check(at::VERSION, 0, Refusal::Version);
    check(at::FORM, 2, Refusal::Version);
    check(at::LENGTH, 1, Refusal::Malformed(Field::Length));
    check(at::LENGTH + 1, 217, Refusal::Malformed(Field::Length));
    check(at::RESERVED_HEADER, 1, Refusal::Malformed(Field::Reserved));
    check(at::FROM, 0, Refusal::Malformed(Field::From));
    check(at::FROM, 9, Refusal::Malformed(Field::From));
    check(at::TO, 0, Refusal::Malformed(Field::To));
    check(at::TO, 9, Refusal::Malformed(Field::To));
    check(at::LINK, 16, Refusal::Malformed(Field::Link));
    check(at::STATE, 0, Refusal::Malformed(Field::State));
    check(at::STATE, 10, Refusal::Malformed(Field::State));
    check(at::FLAGS, 16, Refusal::Malformed(Field::Flags));
    check(at::RESERVED_FLAGS + 1, 1, Refusal::Malformed(Field::Reserved));
    check(at::RESERVED_SESSION, 1, Refusal::Malformed(Field::Reserved));
    check(at::HEARS, 0xc0, Refusal::Malformed(Field::Hears));
    let to_itself = retagged(|bytes| bytes[at::TO] = bytes[at::FROM]);
    assert_eq!(refusal(&to_itself), Some(Refusal::Malformed(Field::To)));
    let unborn = retagged(|bytes| bytes[at::INCARNATION..at::BOOT].fill(0));
    assert_eq!(refusal(&unborn), Some(Refusal::Malformed(Field::Incarnation)));
}

#[test]
fn state_codes_are_their_own_inverse() {
    for state in STATES {
        assert_eq!(state_of(code_of(state)), Some(state));
    }
}

/// Each value differs from its neighbours, so that two exchanged fields show.
pub(in crate::wire) fn sample() -> Heartbeat {
    let mut macs = [Some(Mac::NONE); NICS_MAX];
    macs[0] = Some(Mac([2, 0, 0, 0, 0xa, 1]));
    macs[7] = Some(Mac([2, 0, 0, 0, 0xa, 8]));
    let mut hears = [Hears::NoLink; LINKS_MAX];
    hears[0] = Hears::Peer;
    hears[1] = Hears::Nothing;
    hears[15] = Hears::Peer;
    Heartbeat {
        from: NodeId::new(1).unwrap(),
        to: NodeId::new(2).unwrap(),
        link: LinkId(3),
        incarnation: Incarnation(0x0102_0304_0506_0708),
        boot: "5f1c2e4a-0b6d-4f3e-9a57-00ff12ab34cd".parse().unwrap(),
        seq: Seq(0x1000_0001),
        state: PeerState::Active,
        term: Term(42),
        held_term: Term(41),
        ask: Term(43),
        grant: Term(40),
        flags: Flags { eligible: true, released: false, purging: true, held: false },
        echo_incarnation: Incarnation(0x1112_1314_1516_1718),
        echo_session: Session(6),
        session: Session(5),
        sent: 1_000_000_001,
        echo_sent: 2_000_000_002,
        echo_held: 3_003,
        config_digest: Some(0xc0c0_c0c0_c0c0_c0c0),
        failcount_digest: Some(0xf0f0_f0f0_f0f0_f0f0),
        machine: Some(MachineId { platform: 0xa1, system: 0xa2, bmc: 0xa3, proven: 0 }),
        good_nics: 0b1000_0001,
        macs,
        hears,
    }
}

// The vector is what other implementations and later versions are held to: it never changes as
// long as the version is 1.
#[test]
fn the_sample_is_the_vector() {
    let vector = bytes_of(include_str!("../../../tests/vectors/heartbeat-v1.hex"));
    let emitted = emit(&sample(), CLUSTER, &keys());
    assert_eq!(emitted.as_slice(), vector.as_slice());
    let parsed = parse(&vector, CLUSTER, &keys());
    assert_eq!(parsed.map(|found| found.heartbeat), Ok(sample()));
}

/// The bytes that a vector's file has in hexadecimal digits.
pub(in crate::wire) fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .filter(char::is_ascii_hexdigit)
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}
