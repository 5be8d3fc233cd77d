//! Questions to a real kernel over a heartbeat NIC: ARP and neighbour discovery, and whether they
//! left.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use mio::Poll;
use tandem::config::Transport;
use tandem::config::link::UdpLinkConfig;
use tandem::io::pulse::{Beat, Pulses};
use tandem::sys::clock;
use tandem::types::{LinkId, NodeId};

use crate::world::{PATIENCE, World};

fn link(local: &str, peer: &str) -> Transport {
    Transport::Udp(UdpLinkConfig {
        nic: "svc0".to_owned(),
        local: local.parse().unwrap(),
        peers: vec![(NodeId::new(2).unwrap(), peer.parse::<IpAddr>().unwrap())],
        group: None,
        port: 694,
    })
}

/// Both families on one cable: links 0 and 1.
fn pulses() -> Pulses {
    Pulses::new([link("10.77.0.1", "10.77.0.2"), link("fd77::1", "fd77::2")].iter(), 40)
}

/// The links on which the far kernel answers within a time, one bit each.
fn answered(pulses: &mut Pulses, within: Duration, enough: u16) -> u16 {
    let (end, mut links) = (clock::now() + within, 0);
    while clock::now() < end && links != enough {
        pulses.turn(clock::now(), |Beat { link: LinkId(link), node }| {
            assert_eq!(Some(node), NodeId::new(2));
            links |= 1 << link;
        });
        sleep(Duration::from_millis(1));
    }
    links
}

/// In: the far host is there, then it lets nothing in. Out: its kernel answers on both links, with
/// no daemon anywhere; then the questions leave and nobody answers.
#[test]
fn a_kernel_answers_by_itself_over_ipv4_and_ipv6() {
    let Some(world) = World::new() else { return };
    let poll = Poll::new().unwrap();
    let mut pulses = pulses();
    assert_eq!(pulses.ask(poll.registry(), clock::now()), 0b11);
    assert_eq!(answered(&mut pulses, PATIENCE, 0b11), 0b11);
    let deaf = "table netdev deaf { chain all_in { type filter hook ingress device \"svc0\" \
                priority 0; drop; }; }";
    world.on_far(&["nft", deaf]);
    assert_eq!(pulses.ask(poll.registry(), clock::now()), 0b11, "they leave");
    assert_eq!(answered(&mut pulses, Duration::from_millis(100), 0), 0);
}

/// In: the far end of the cable goes down, the near NIC goes down, vanishes, comes back. Out: the
/// questions count as asked only with a carrier.
#[test]
fn what_leaves_without_a_carrier_is_not_asked() {
    let Some(world) = World::new() else { return };
    let poll = Poll::new().unwrap();
    let mut pulses = pulses();
    let ask = |pulses: &mut Pulses| pulses.ask(poll.registry(), clock::now());
    let settle = |pulses: &mut Pulses, wanted: u16, what: &str| {
        let end = clock::now() + PATIENCE;
        while ask(pulses) != wanted {
            assert!(clock::now() < end, "{what}");
            sleep(Duration::from_millis(5));
        }
    };
    settle(&mut pulses, 0b11, "a carrier");
    world.far_ip("link set svc0 down");
    settle(&mut pulses, 0, "no carrier");
    world.far_ip("link set svc0 up");
    settle(&mut pulses, 0b11, "a carrier again");
    world.ip("link set svc0 down");
    settle(&mut pulses, 0, "down");
    world.ip("link del svc0");
    settle(&mut pulses, 0, "gone");
    world.add_cable();
    settle(&mut pulses, 0b11, "another NIC of that name");
    assert_eq!(answered(&mut pulses, PATIENCE, 0b11), 0b11);
}
