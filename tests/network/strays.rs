//! VIPs where this node did not put them: on other links of the host, whose kernel answers for
//! them all the same.

use std::time::Duration;

use tandem::config::network::Vip;
use tandem::engine::Outcome;
use tandem::io::network::Occurrence;
use tandem::types::{NicId, VipId};

use crate::world::{Rig, World, nic, vip};

/// Whether the far host gets an answer for the address on the cable.
fn is_answered(world: &World, addr: &str) -> bool {
    let script = format!("arping -c 1 -w 2 -I svc0 {addr} >/dev/null && echo yes || echo no");
    world.on_far(&["sh", "-c", &script]).trim() == "yes"
}

// In: an earlier life had its VIPs on another link; this one adopts them on the NIC that is
// configured now.
// Out: they are leftovers; after the release no link has them, and an administrator's second
// address of their subnet stays.
#[test]
fn a_release_takes_the_vips_off_every_link() {
    let Some(world) = World::new() else { return };
    world.ip("link add old0 type veth");
    world.ip("link set old0 up");
    world.ip("addr add 10.77.0.100/32 dev old0");
    world.ip("addr add 10.99.0.100/24 dev old0");
    world.ip("addr add 10.99.0.7/24 dev old0");
    world.ip("addr add fd77::100/64 dev old0 nodad");
    assert!(is_answered(&world, "10.77.0.100"), "the kernel answers for any link's address");
    let vips = ["10.77.0.100/24", "10.99.0.100/24", "fd77::100/64", "10.77.0.101/24"].map(vip);
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    assert_eq!(rig.network.leftovers(), [VipId(0), VipId(1), VipId(2)]);
    assert_eq!(rig.acquire(), Outcome::Confirmed, "adopting");
    assert_eq!(rig.release(), Outcome::Confirmed);
    for addr in ["10.77.0.100", "10.99.0.100", "fd77::100", "10.77.0.101"] {
        assert!(!world.has(addr), "{}", world.ip("-o addr show"));
    }
    assert!(!is_answered(&world, "10.77.0.100"));
    assert!(world.has("10.99.0.7") && world.has("10.77.0.1"), "{}", world.ip("-o addr show"));
}

// In: the service NIC is renamed while it has the VIP.
// Out: the release takes it off nevertheless.
#[test]
fn a_vip_on_a_renamed_nic_is_released() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24")]);
    assert_eq!(rig.acquire(), Outcome::Confirmed);
    world.ip("link set svc0 name other0");
    rig.during(Duration::from_millis(100));
    assert!(world.has("10.77.0.100"), "a NIC that is up can be renamed and keeps its addresses");
    assert_eq!(rig.release(), Outcome::Confirmed);
    assert!(!world.has("10.77.0.100"), "{}", world.ip("-o addr show"));
}

fn stray(occurrence: &Occurrence) -> Option<VipId> {
    match occurrence {
        Occurrence::VipStray(vip) => Some(*vip),
        _ => None,
    }
}

// In: nothing is acquired; somebody adds a VIP on the NIC, another with another prefix elsewhere.
// Out: each is told once; the release takes both; nothing is told of what we then add ourselves.
#[test]
fn vips_that_others_add_are_told_while_none_is_acquired() {
    let Some(world) = World::new() else { return };
    world.ip("link add old0 type veth");
    let vips = ["10.77.0.100/24", "fd77::100/64", "10.77.0.101/24"].map(vip);
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    world.ip("addr add 10.77.0.200/24 dev svc0");
    let seen = rig.during(Duration::from_millis(100));
    assert!(seen.iter().all(|o| stray(o).is_none()), "a stranger's address: {seen:?}");
    world.ip("addr add 10.77.0.100/24 dev svc0");
    assert_eq!(rig.until(stray), VipId(0));
    assert_eq!(rig.release(), Outcome::Confirmed);
    world.ip("link set old0 up");
    world.ip("addr add fd77::100/128 dev old0 nodad");
    assert_eq!(rig.until(stray), VipId(1));
    assert_eq!(rig.release(), Outcome::Confirmed);
    assert!(!world.has("10.77.0.100") && !world.has("fd77::100"));
    for round in 1..=3 {
        assert_eq!(rig.acquire(), Outcome::Confirmed);
        world.ip("addr add 10.77.0.101/32 dev svc0");
        assert_eq!(rig.release(), Outcome::Confirmed);
        let seen = rig.during(Duration::from_millis(100));
        assert!(seen.iter().all(|o| stray(o).is_none()), "round {round}: {seen:?}");
    }
}

// In: the news of a VIP that somebody adds are lost among thousands of others.
// Out: it is told all the same.
#[test]
fn a_stray_vip_is_found_even_when_the_news_of_it_were_lost() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[])], &[vip("10.77.0.100/24")]);
    rig.during(Duration::from_millis(50));
    world.flood_news("addr add 10.77.0.100/24 dev svc0");
    assert_eq!(rig.until(stray), VipId(0));
}

// In: of two NICs with VIPs, the first is deleted and made anew while the VIPs of the second are
// still being added.
// Out: Confirmed, with the VIP on the new one.
#[test]
fn a_nic_that_comes_back_during_an_acquisition_gets_its_vip_again() {
    let Some(world) = World::new() else { return };
    world.ip("link add other0 type veth");
    world.ip("link set other0 up");
    let others = (0..250).map(|n| Vip { nic: NicId(1), ..vip(&format!("10.99.1.{n}/16")) });
    let vips: Vec<Vip> = [vip("10.77.0.100/24")].into_iter().chain(others).collect();
    let mut rig = Rig::new(&[nic("svc0", &[]), nic("other0", &[])], &vips);
    let op = rig.begin_acquire();
    rig.turn(Duration::ZERO);
    assert!(world.has("10.77.0.100") && !world.has("10.99.1.249"), "half-way");
    world.ip("link del svc0");
    world.add_cable();
    assert_eq!(rig.outcome(op), Outcome::Confirmed);
    assert!(world.has("10.77.0.100"), "{}", world.ip("-o addr show dev svc0"));
    let seen = rig.during(Duration::from_millis(200));
    assert!(seen.iter().all(|o| !matches!(o, Occurrence::VipGone(_))), "{seen:?}");
}
