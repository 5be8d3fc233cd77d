//! The service side against the real kernel: addresses, announcements, claims, carriers, pings.
//!
//! Each test makes two network namespaces of its own, joined by a veth pair, and plays the near
//! host; needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests"
)]

#[path = "network/across.rs"]
mod across;
#[path = "network/claims.rs"]
mod claims;
#[path = "network/macs.rs"]
mod macs;
#[path = "network/probes.rs"]
mod probes;
#[path = "network/pulses.rs"]
mod pulses;
#[path = "network/strays.rs"]
mod strays;
#[path = "network/world.rs"]
mod world;

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use tandem::config::network::Vip;
use tandem::engine::Outcome;
use tandem::io::network::Occurrence;
use tandem::sys::clock;
use tandem::sys::packet::PacketReceiver;
use tandem::types::{NicId, VipId};
use tandem::wire::arp::{self, Arp};
use tandem::wire::ndp::{self, Ndp};
use world::{PATIENCE, Rig, World, hear, nic, refusal, vip};

fn gone(occurrence: &Occurrence) -> Option<VipId> {
    match occurrence {
        Occurrence::VipGone(vip) => Some(*vip),
        _ => None,
    }
}

fn carrier(occurrence: &Occurrence) -> Option<bool> {
    match occurrence {
        Occurrence::Carrier { up, .. } => Some(*up),
        _ => None,
    }
}

fn reach(occurrence: &Occurrence) -> Option<bool> {
    match occurrence {
        Occurrence::Reach { up, .. } => Some(*up),
        _ => None,
    }
}

/// Which VIPs were announced, in order, as the far host heard it.
fn announced(arp: &PacketReceiver, ndp: &PacketReceiver) -> Vec<IpAddr> {
    let v4 = hear(arp)
        .into_iter()
        .filter_map(|f| Arp::parse(&f))
        .filter_map(|a| (a.sender_ip == a.target_ip).then_some(IpAddr::V4(a.sender_ip)));
    let v6 = hear(ndp).into_iter().filter_map(|f| Ndp::parse(&f)?.claim());
    v4.chain(v6.map(|(addr, _)| IpAddr::V6(addr))).collect()
}

/// Waits until `is_so`, running the loop meanwhile.
fn wait_until(rig: &mut Rig, what: &str, is_so: impl Fn() -> bool) {
    let begin = clock::now();
    while !is_so() {
        assert!(clock::now().since(begin) < PATIENCE, "never: {what}");
        rig.during(Duration::from_millis(20));
    }
}

// In: two VIPs, IPv4 and IPv6; the far host has stale entries for both at another MAC.
// Out: Confirmed with both in the kernel, IPv6 not tentative; the far host learns our MAC for both.
#[test]
fn acquired_vips_are_usable_at_once_and_the_neighbour_learns_them() {
    let Some(world) = World::new() else { return };
    for addr in ["10.77.0.100", "fd77::100"] {
        let stale = format!("neigh add {addr} lladdr 02:00:00:00:de:ad dev svc0 nud stale");
        world.far_ip(&stale);
    }
    let labelled = Vip { label: Some("svc0:vip".into()), ..vip("10.77.0.100/24") };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[labelled, vip("fd77::100/64")]);
    assert_eq!(rig.network.leftovers(), []);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    let shown = world.ip("-o addr show dev svc0");
    assert!(shown.contains("10.77.0.100/24"), "{shown}");
    assert!(shown.contains("svc0:vip"), "{shown}");
    let v6 = shown.lines().find(|line| line.contains("fd77::100/64")).unwrap();
    assert!(v6.contains("nodad") && !v6.contains("tentative"), "{v6}");
    let near = world.near_mac().to_string();
    wait_until(&mut rig, "the neighbour learns both", || {
        ["10.77.0.100", "fd77::100"]
            .iter()
            .all(|addr| world.far_ip(&format!("neigh show {addr}")).contains(&near))
    });
    let answered = world.on_far(&["arping", "-c", "1", "-I", "svc0", "10.77.0.100"]);
    assert!(answered.to_lowercase().contains(&near), "{answered}");
    assert_eq!(rig.release(), Outcome::Confirmed);
    assert!(!world.has("10.77.0.100") && !world.has("fd77::100"));
    assert!(world.has("10.77.0.1") && world.has("fd77::1"));
    let seen = rig.during(Duration::from_millis(200));
    assert!(seen.iter().all(|o| gone(o).is_none()), "our own deletion is no loss: {seen:?}");
}

// Out: tcpdump names each announcement, and finds the checksum right.
#[test]
fn tcpdump_understands_the_announcements() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24"), vip("fd77::100/64")]);
    let filter = "arp or (icmp6 and ip6[40] == 136)";
    let mut tcpdump = Command::new("ip")
        .args(["netns", "exec", &world.far, "tcpdump", "-nnvv", "-l", "-c", "3", "-i", "svc0"])
        .arg(filter)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says on stderr when it listens.
    let mut banner = [0; 1];
    std::io::Read::read_exact(tcpdump.stderr.as_mut().unwrap(), &mut banner).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    rig.during(Duration::from_secs(1));
    let deadline = clock::now() + PATIENCE;
    while tcpdump.try_wait().unwrap().is_none() {
        if clock::now() > deadline {
            tcpdump.kill().unwrap();
        }
        rig.during(Duration::from_millis(50));
    }
    let output = tcpdump.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("who-has 10.77.0.100 tell 10.77.0.100"), "{text}");
    assert!(text.contains("10.77.0.100 is-at"), "{text}");
    assert!(text.contains("icmp6 sum ok"), "{text}");
    assert!(text.contains("tgt is fd77::100, Flags [override]"), "{text}");
}

// In: 200 IPv4 and 100 IPv6 VIPs.
// Out: all up; the far host hears each one once before it hears any again; all gone after release.
#[test]
fn three_hundred_vips_are_each_announced_before_any_is_again() {
    let Some(world) = World::new() else { return };
    let v4 = (0..200).map(|n| vip(&format!("10.77.1.{n}/16")));
    let v6 = (1..=100).map(|n| vip(&format!("fd77::1:{n:x}/64")));
    let vips: Vec<Vip> = v4.chain(v6).collect();
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    let (arp_ear, ndp_ear) = (world.far_ear(arp::ETHER_TYPE), world.far_ear(ndp::ETHER_TYPE));
    let begin = clock::now();
    let op = rig.begin_acquire();
    let mut heard = vec![];
    // The ears hold fewer frames than are sent.
    let outcome = rig.outcome_with(op, || heard.extend(announced(&arp_ear, &ndp_ear)));
    let took = clock::now().since(begin);
    assert_eq!(outcome, Outcome::Confirmed);
    // IPv4 is announced twice each time, as request and as reply.
    for vip in &vips {
        let expected = if vip.net.addr().is_ipv4() { 2 } else { 1 };
        let count = heard.iter().filter(|addr| **addr == vip.net.addr()).count();
        assert_eq!(count, expected, "{} when all were confirmed", vip.net);
    }
    let mut again = vec![];
    while again.len() < 500 {
        rig.turn(Duration::from_millis(5));
        again.extend(announced(&arp_ear, &ndp_ear));
        assert!(clock::now().since(begin) < PATIENCE, "repeated only {} times", again.len());
    }
    eprintln!("300 VIPs in {took:?}, longest turn {:?}", rig.longest_turn);
    assert_eq!(rig.release(), Outcome::Confirmed);
    assert!(vips.iter().all(|vip| !world.has(&vip.net.addr().to_string())));
    assert!(world.has("10.77.0.1") && world.has("fd77::1"));
}

// In: a release while 300 VIPs are being acquired, after three turns.
// Out: the acquisition is Unknown, then the release is Confirmed, and no VIP is left.
#[test]
fn a_release_overtakes_an_acquisition() {
    let Some(world) = World::new() else { return };
    let vips: Vec<Vip> = (0..250).map(|n| vip(&format!("10.77.1.{n}/16"))).collect();
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    let acquire = rig.begin_acquire();
    rig.turn(Duration::ZERO);
    rig.turn(Duration::ZERO);
    assert!(world.has("10.77.1.0") && !world.has("10.77.1.249"), "half-way");
    let release = rig.begin_release();
    let first = rig.until(|o| match o {
        Occurrence::Done { op, outcome } => Some((*op, outcome.clone())),
        _ => None,
    });
    assert!(matches!(first, (op, Outcome::Unknown(_)) if op == acquire), "{first:?}");
    assert_eq!(rig.outcome(release), Outcome::Confirmed);
    assert!(!world.ip("-o addr show").contains("10.77.1."));
    assert_eq!(rig.acquire(), Outcome::Confirmed, "and it can be acquired again");
}

// In: the VIP is the first address of its subnet, an administrator's the second, and the kernel
// would delete both together.
// Out: only the VIP goes.
#[test]
fn releasing_the_first_address_of_a_subnet_keeps_the_others() {
    let Some(world) = World::new() else { return };
    std::fs::write("/proc/sys/net/ipv4/conf/svc0/promote_secondaries", "0").unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/all/promote_secondaries", "0").unwrap();
    let vips = [vip("10.88.0.100/24"), vip("10.88.0.101/24")];
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.ip("addr add 10.88.0.7/24 dev svc0");
    assert!(
        world
            .ip("-o addr show")
            .lines()
            .any(|l| l.contains("10.88.0.7") && l.contains("secondary"))
    );
    assert_eq!(rig.release(), Outcome::Confirmed);
    assert!(!world.has("10.88.0.100") && !world.has("10.88.0.101"));
    assert!(world.has("10.88.0.7"), "{}", world.ip("-o addr show"));
}

// In: two NICs, one of which does not exist.
// Out: Refused, the reason names VIP and NIC, and nothing was added; a release is Confirmed.
#[test]
fn a_missing_nic_is_refused_by_name_and_nothing_is_added() {
    let Some(world) = World::new() else { return };
    let absent = Vip { nic: NicId(1), ..vip("10.99.0.100/24") };
    let nics = [nic("svc0", &[]), nic("absent", &[])];
    let mut rig = Rig::new(&nics, &[vip("10.77.0.100/24"), absent]);
    let why = refusal(rig.acquire());
    assert_eq!(why.as_str(), "VIP 10.99.0.100/24: there is no NIC absent");
    assert!(!world.has("10.77.0.100"));
    assert_eq!(rig.release(), Outcome::Confirmed);
}

// In: an address that the kernel refuses (a label longer than it takes).
// Out: Refused, the reason names VIP and NIC.
#[test]
fn what_the_kernel_refuses_is_told_with_its_reason() {
    let Some(_world) = World::new() else { return };
    let bad = Vip { label: Some("a-label-that-is-too-long".into()), ..vip("10.77.0.100/24") };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[bad]);
    let why = refusal(rig.acquire());
    assert!(why.as_str().starts_with("VIP 10.77.0.100/24 on svc0: "), "{why:?}");
}

// In: another tool deletes a VIP, then flushes both.
// Out: VipGone for each, once; restored, announced, and there again.
#[test]
fn vips_that_others_delete_are_gone_and_come_back() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24"), vip("fd77::100/64")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.ip("addr del 10.77.0.100/24 dev svc0");
    assert_eq!(rig.until(gone), VipId(0));
    let (arp_ear, ndp_ear) = (world.far_ear(arp::ETHER_TYPE), world.far_ear(ndp::ETHER_TYPE));
    assert_eq!(rig.restore(VipId(0)), Outcome::Confirmed);
    assert!(world.has("10.77.0.100"));
    assert!(announced(&arp_ear, &ndp_ear).contains(&"10.77.0.100".parse().unwrap()));
    world.ip("addr flush dev svc0");
    let mut lost: Vec<VipId> =
        rig.during(Duration::from_millis(500)).iter().filter_map(gone).collect();
    lost.sort_unstable();
    assert_eq!(lost, [VipId(0), VipId(1)]);
    assert_eq!(rig.restore(VipId(0)), Outcome::Confirmed);
    assert_eq!(rig.restore(VipId(1)), Outcome::Confirmed);
    assert!(world.has("10.77.0.100") && world.has("fd77::100"));
}

// In: another tool deletes and at once adds the VIP again.
// Out: nothing; the list shows that it is there.
#[test]
fn a_vip_that_is_there_again_is_not_gone() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.ip("addr del 10.77.0.100/24 dev svc0");
    world.ip("addr add 10.77.0.100/24 dev svc0");
    let seen = rig.during(Duration::from_millis(300));
    assert!(seen.iter().all(|o| gone(o).is_none()), "{seen:?}");
}

// In: three thousand changes of addresses, one of them of a VIP, while the loop does not read.
// Out: the news are lost, and the VIP's loss is found all the same.
#[test]
fn a_loss_is_found_even_when_the_news_of_it_were_lost() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.flood_news("addr del 10.77.0.100/24 dev svc0");
    assert_eq!(rig.until(gone), VipId(0));
    assert_eq!(rig.restore(VipId(0)), Outcome::Confirmed);
}

// In: the far end goes down and up again.
// Out: carrier lost, carrier gained, and the VIPs announced again.
#[test]
fn carriers_are_told_and_a_returning_one_is_announced_on() {
    let Some(world) = World::new() else { return };
    let nics = [nic("svc0", &[]), nic("absent", &[])];
    let mut rig = Rig::new(&nics, &[vip("10.77.0.100/24"), vip("fd77::100/64")]);
    let told: Vec<_> = rig.during(Duration::ZERO).iter().filter_map(carrier).collect();
    assert_eq!(told, [true, false], "each NIC at the start");
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.far_ip("link set svc0 down");
    assert!(!rig.until(carrier));
    world.far_ip("link set svc0 up");
    let (arp_ear, ndp_ear) = (world.far_ear(arp::ETHER_TYPE), world.far_ear(ndp::ETHER_TYPE));
    assert!(rig.until(carrier));
    rig.during(Duration::from_millis(300));
    let heard = announced(&arp_ear, &ndp_ear);
    assert!(heard.contains(&"10.77.0.100".parse().unwrap()), "{heard:?}");
    assert!(heard.contains(&"fd77::100".parse().unwrap()), "{heard:?}");
}

// In: the NIC is switched off, which takes its IPv6 addresses; later it is deleted and made anew.
// Out: what is gone is told, cannot be restored without the NIC, and can with the new one.
#[test]
fn a_nic_that_vanishes_takes_its_vips_and_a_new_one_gets_them_back() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24"), vip("fd77::100/64")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.ip("link set svc0 down");
    assert_eq!(rig.until(gone), VipId(1));
    assert_eq!(rig.restore(VipId(1)), Outcome::Confirmed);
    world.ip("link del svc0");
    let mut lost: Vec<VipId> =
        rig.during(Duration::from_millis(500)).iter().filter_map(gone).collect();
    lost.sort_unstable();
    lost.dedup();
    assert_eq!(lost, [VipId(0), VipId(1)]);
    assert!(refusal(rig.restore(VipId(0))).as_str().contains("no NIC svc0"));
    world.add_cable();
    let mut back = vec![];
    while back.len() < 2 {
        back.push(rig.until(gone));
    }
    assert_eq!(rig.restore(VipId(0)), Outcome::Confirmed);
    assert_eq!(rig.restore(VipId(1)), Outcome::Confirmed);
    assert!(world.has("10.77.0.100") && world.has("fd77::100"));
    assert_eq!(rig.network.mac(NicId(0)), Some(world.near_mac()));
}

// In: a daemon that died left one VIP, and a stranger put another one there with another prefix.
// Out: both are found at the start, and a release takes both.
#[test]
fn leftovers_are_found_and_released_whatever_their_prefix() {
    let Some(world) = World::new() else { return };
    world.ip("addr add 10.77.0.101/24 dev svc0");
    world.ip("addr add fd77::101/128 dev svc0 nodad");
    let vips = ["10.77.0.100/24", "10.77.0.101/24", "fd77::101/64"].map(vip);
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    assert_eq!(rig.network.leftovers(), [VipId(1), VipId(2)]);
    assert_eq!(rig.acquire(), Outcome::Confirmed, "adopting what is there");
    assert_eq!(rig.release(), Outcome::Confirmed);
    for addr in ["10.77.0.100", "10.77.0.101", "fd77::101"] {
        assert!(!world.has(addr), "{addr}");
    }
}

// In: the far host has the VIPs; we ask with and without addresses of our own.
// Out: its MAC claims them.
#[test]
fn probes_find_the_host_that_has_the_vips() {
    let Some(world) = World::new() else { return };
    world.far_ip("addr add 10.77.0.100/24 dev svc0");
    world.far_ip("addr add fd77::100/64 dev svc0 nodad");
    let vips = [vip("10.77.0.100/24"), vip("fd77::100/64"), vip("10.77.0.102/24")];
    let far = world.far_mac();
    for own in ["with", "without"] {
        if own == "without" {
            world.ip("addr flush dev svc0");
        }
        let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
        assert!(rig.network.probe());
        let mut claims = vec![];
        while claims.len() < 2 {
            claims.push(rig.until(|o| match o {
                Occurrence::Claim { vip, mac } => Some((*vip, *mac)),
                _ => None,
            }));
        }
        claims.sort_unstable();
        assert_eq!(claims, [(VipId(0), far), (VipId(1), far)], "{own} own addresses");
    }
}

// In: we hold a VIP, announce it, and ask for it; then the far host claims it.
// Out: nothing of our own; the far host's MAC.
#[test]
fn our_own_announcements_are_no_claims_and_a_rivals_are() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24"), vip("fd77::100/64")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    assert!(rig.network.probe());
    rig.network.announce(clock::now());
    let seen = rig.during(Duration::from_millis(300));
    assert!(seen.iter().all(|o| !matches!(o, Occurrence::Claim { .. })), "{seen:?}");
    // Somebody echoes our own announcement.
    world.shout(&Arp::announce_by_reply(world.near_mac(), "10.77.0.100".parse().unwrap()).emit());
    let seen = rig.during(Duration::from_millis(200));
    assert!(seen.iter().all(|o| !matches!(o, Occurrence::Claim { .. })), "{seen:?}");
    world.far_ip("addr add 10.77.0.100/24 dev svc0");
    // An announcement is never answered, which arping calls a failure.
    drop(
        Command::new("ip")
            .args(["netns", "exec", &world.far, "arping", "-U", "-c", "1", "-w", "1"])
            .args(["-I", "svc0", "10.77.0.100"])
            .output(),
    );
    let claim = rig.until(|o| match o {
        Occurrence::Claim { vip, mac } => Some((*vip, *mac)),
        _ => None,
    });
    assert_eq!(claim, (VipId(0), world.far_mac()));
}

// In: 40 VIPs, of which the far host has the last; a probe asks for 16.
// Out: the third probe finds it.
#[test]
fn probes_go_round_all_vips() {
    let Some(world) = World::new() else { return };
    let vips: Vec<Vip> = (0..40).map(|n| vip(&format!("10.77.0.{}/24", 100 + n))).collect();
    world.far_ip("addr add 10.77.0.139/24 dev svc0");
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    for round in 1..=3 {
        assert!(rig.network.probe());
        let seen = rig.during(Duration::from_millis(100));
        let claims: Vec<_> = seen
            .iter()
            .filter_map(|o| match o {
                Occurrence::Claim { vip, .. } => Some(vip.0),
                _ => None,
            })
            .collect();
        let expected: &[u16] = if round == 3 { &[39] } else { &[] };
        assert_eq!(claims, expected, "probe {round}");
    }
}

// In: one IPv4 and one IPv6 target, both lost, then one of them back.
// Out: nothing for the first 150 ms, up, down, up.
#[test]
fn ping_targets_tell_whether_the_network_behind_a_nic_works() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &["10.77.0.2", "fd77::2"])], &[vip("10.77.0.100/24")]);
    let begin = clock::now();
    assert!(rig.until(reach));
    assert!(clock::now().since(begin) >= Duration::from_millis(140), "too early");
    world.far_ip("addr del fd77::2/64 dev svc0");
    let seen = rig.during(Duration::from_millis(600));
    assert!(seen.iter().all(|o| reach(o).is_none()), "the other still answers: {seen:?}");
    world.far_ip("addr del 10.77.0.2/24 dev svc0");
    assert!(!rig.until(reach));
    world.far_ip("addr add fd77::2/64 dev svc0 nodad");
    assert!(rig.until(reach));
}

// In: a client connected to a VIP, and one connected to the host's own address; the VIP goes.
// Out: the first connection is over, the second is not.
#[test]
fn connections_of_a_released_vip_are_destroyed_and_no_others() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24"), vip("fd77::100/64")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    let connect = |addr: &str| {
        let server = TcpListener::bind((addr, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = world.connect_from_far((addr, port));
        let (served, _) = server.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        (served, client)
    };
    let state = |(served, _): &(TcpStream, TcpStream)| {
        std::io::Read::read(&mut &*served, &mut [0]).unwrap_err().kind()
    };
    let (v4, v6, own) = (connect("10.77.0.100"), connect("fd77::100"), connect("10.77.0.1"));
    for open in [&v4, &v6, &own] {
        assert_eq!(state(open), ErrorKind::WouldBlock);
    }
    assert_eq!(rig.release(), Outcome::Confirmed);
    rig.during(Duration::from_millis(50));
    assert_eq!(state(&v4), ErrorKind::ConnectionAborted);
    assert_eq!(state(&v6), ErrorKind::ConnectionAborted);
    assert_eq!(state(&own), ErrorKind::WouldBlock);
}

// In: nothing to do.
// Out: no deadline: the loop is not woken for the service side.
#[test]
fn an_idle_service_side_wakes_nobody() {
    let Some(_world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24")]);
    rig.during(Duration::from_millis(100));
    assert_eq!(rig.network.next_deadline(), None);
}
