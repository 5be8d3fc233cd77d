//! VIPs where this node did not put them: on other links of the host, whose kernel answers for
//! them all the same.

use std::time::Duration;

use tandem::engine::Outcome;
use tandem::types::VipId;

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
