//! The filters, run as the kernel runs them, on whole datagrams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
use super::*;

const CLUSTER: u64 = 0x1122_3344_5566_7788;
const OURS: Incarnation = Incarnation(0xaaaa_aaaa_5555_5555);

fn node(number: u8) -> NodeId {
    NodeId::new(number).unwrap()
}

fn unicast(local: &str, peers: &[&str]) -> UdpLinkConfig {
    let numbered = peers.iter().zip(2..);
    UdpLinkConfig {
        nic: "hb0".to_owned(),
        local: local.parse().unwrap(),
        peers: numbered.map(|(addr, n)| (node(n), addr.parse().unwrap())).collect(),
        group: None,
        port: 694,
    }
}

/// A heartbeat as far as a filter looks at it.
struct Packet {
    source: IpAddr,
    payload: Vec<u8>,
}

fn packet(source: &str) -> Packet {
    let mut payload = vec![0u8; LEN];
    payload[..2].copy_from_slice(&MAGIC);
    payload[place::VERSION] = VERSION;
    payload[place::FORM] = 1;
    let mut packet = Packet { source: source.parse().unwrap(), payload };
    packet.set(place::CLUSTER, CLUSTER);
    packet.set(place::ECHO_INCARNATION, OURS.0);
    packet
}

impl Packet {
    fn set(&mut self, at: usize, value: u64) {
        self.payload[at..at + 8].copy_from_slice(&value.to_be_bytes());
    }

    fn load(&self, size: usize, at: u32) -> Option<u32> {
        let mut bytes = vec![];
        let at = match at.checked_sub(NET_AT) {
            Some(at) => {
                match self.source {
                    IpAddr::V4(addr) => {
                        bytes.extend([0; 12]);
                        bytes.extend(addr.octets());
                    }
                    IpAddr::V6(addr) => {
                        bytes.extend([0; 8]);
                        bytes.extend(addr.octets());
                    }
                }
                at
            }
            None => {
                bytes.extend([0; 8]);
                bytes.extend(&self.payload);
                at
            }
        };
        let at = usize::try_from(at).unwrap();
        let bytes = bytes.get(at..at + size)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Passes,
    Sampled,
    Dropped,
}
use Fate::{Dropped, Passes, Sampled};

/// What becomes of a packet, whatever the random word is.
fn fate(filter: &[Instruction], packet: &Packet) -> Fate {
    match [0, SAMPLE - 1].map(|random| passes(filter, packet, random)) {
        [true, true] => Passes,
        [true, false] => Sampled,
        [false, false] => Dropped,
        [false, true] => panic!("the wrong ones pass"),
    }
}

fn passes(filter: &[Instruction], packet: &Packet, random: u32) -> bool {
    let (mut loaded, mut next) = (0, 0);
    for _ in 0..filter.len() {
        let (code, jt, jf, k) = filter[next];
        next += 1;
        let mut jump = |is_so| next += usize::from(if is_so { jt } else { jf });
        match code {
            LOAD_LEN => loaded = u32::try_from(packet.payload.len() + 8).unwrap(),
            LOAD_WORD if k == RANDOM_AT => loaded = random,
            LOAD_WORD | LOAD_HALF | LOAD_BYTE => {
                let size = match code {
                    LOAD_WORD => 4,
                    LOAD_HALF => 2,
                    _ => 1,
                };
                // The kernel drops a packet that is too short for a load.
                let Some(value) = packet.load(size, k) else { return false };
                loaded = value;
            }
            EQUAL => jump(loaded == k),
            GREATER => jump(loaded > k),
            NOT_LESS => jump(loaded >= k),
            ANY_BIT => jump(loaded & k != 0),
            RETURN => return k != 0,
            other => panic!("no instruction: {other:#x}"),
        }
    }
    panic!("it does not end")
}

#[test]
fn a_peers_heartbeat_passes_and_what_is_none_does_not() {
    let config = unicast("10.9.0.1", &["10.9.0.2", "10.9.0.3"]);
    let wide = write(&config, CLUSTER, &Width::Wide);
    assert_eq!(fate(&wide, &packet("10.9.0.2")), Passes);
    assert_eq!(fate(&wide, &packet("10.9.0.3")), Passes);
    assert_eq!(fate(&wide, &packet("10.9.0.4")), Sampled, "told as unknown-address");
    let change = |change: &dyn Fn(&mut Packet)| {
        let mut packet = packet("10.9.0.2");
        change(&mut packet);
        fate(&wide, &packet)
    };
    assert_eq!(change(&|p| p.payload[0] = b'T'), Dropped);
    assert_eq!(change(&|p| p.payload[place::VERSION] = 2), Sampled);
    assert_eq!(change(&|p| p.payload[place::FORM] = 2), Sampled);
    assert_eq!(change(&|p| p.set(place::CLUSTER, CLUSTER + 1)), Sampled);
    assert_eq!(change(&|p| p.set(place::CLUSTER, CLUSTER ^ 1 << 63)), Sampled);
    for len in 0..300 {
        let expected = match len {
            LEN => Passes,
            LEN_MIN..=LEN_MAX => Sampled,
            _ => Dropped,
        };
        assert_eq!(change(&|p| p.payload.resize(len, 0)), expected, "{len}");
    }
}

#[test]
fn addresses_of_ipv6_are_compared_whole() {
    let config = unicast("fd00::1", &["fd00::2", "fd00:0:1::2", "fe80::9:3"]);
    let wide = write(&config, CLUSTER, &Width::Wide);
    for known in ["fd00::2", "fd00:0:1::2", "fe80::9:3"] {
        assert_eq!(fate(&wide, &packet(known)), Passes, "{known}");
    }
    for unknown in ["fd00::3", "fd01::2", "fd00:0:2::2", "fd00::1:0:0:2", "fe80::8:3", "::"] {
        assert_eq!(fate(&wide, &packet(unknown)), Sampled, "{unknown}");
    }
    let group = UdpLinkConfig { group: "ff02::7".parse().ok(), ..config };
    let wide = write(&group, CLUSTER, &Width::Wide);
    assert_eq!(fate(&wide, &packet("fd00::3")), Passes, "in a group addresses tell nothing");
}

#[test]
fn a_narrow_filter_lets_known_lives_go_on_and_samples_all_others() {
    let config = unicast("10.9.0.1", &["10.9.0.2", "10.9.0.3"]);
    let life = |number: u8, newest| KnownLife {
        node: node(number),
        incarnation: Incarnation(0x1000_0000_0000_0000 + u64::from(number)),
        newest: Seq(newest),
    };
    // The second one is about to change the upper half of its numbers.
    let lives = vec![life(2, 5_000_000), life(3, (7 << 32) - 5)];
    let narrow = write(&config, CLUSTER, &Width::Narrow { local: OURS, lives: lives.clone() });
    assert!(narrow.len() < 256, "every jump reaches: {}", narrow.len());
    let of = |life: KnownLife, seq: u64| {
        let mut packet = packet("10.9.0.2");
        packet.set(place::INCARNATION, life.incarnation.0);
        packet.set(place::SEQ, seq);
        packet
    };
    for seq in [5_000_000, 5_000_001, 5_000_000 - 128, 5_000_000 + (1 << 24)] {
        assert_eq!(fate(&narrow, &of(lives[0], seq)), Passes, "{seq}");
    }
    for seq in [0, 1, 5_000_000 - 129, 5_000_001 + (1 << 24), u64::MAX, 1 << 32 | 5_000_000] {
        assert_eq!(fate(&narrow, &of(lives[0], seq)), Sampled, "{seq}");
    }
    for seq in [(7 << 32) - 4, 7 << 32, (7 << 32) + 9] {
        assert_eq!(fate(&narrow, &of(lives[1], seq)), Passes, "{seq}");
    }
    let mut other_echo = of(lives[0], 5_000_001);
    other_echo.set(place::ECHO_INCARNATION, OURS.0 ^ 1);
    assert_eq!(fate(&narrow, &other_echo), Sampled);
    assert_eq!(fate(&narrow, &of(life(4, 0), 1)), Sampled, "another life may begin");
    let before_the_first = KnownLife { newest: Seq(1), ..lives[0] };
    let young = Width::Narrow { local: OURS, lives: vec![before_the_first] };
    let young = write(&config, CLUSTER, &young);
    assert_eq!(fate(&young, &of(before_the_first, 2)), Passes);
}
