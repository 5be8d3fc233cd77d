//! The MACs of the service NICs: the peer knows this node's answers by them.

use std::time::Duration;

use tandem::io::network::Occurrence;
use tandem::types::{Mac, NicId};

use crate::world::{Rig, World, nic, vip};

fn mac(occurrence: &Occurrence) -> Option<(NicId, Mac)> {
    match occurrence {
        Occurrence::Mac { nic, mac } => Some((*nic, *mac)),
        _ => None,
    }
}

// In: a NIC that gets another MAC, as a bond does; it is deleted and made anew; another comes late.
// Out: each MAC is told once, and nothing for the one that is gone.
#[test]
fn a_mac_that_changes_or_comes_late_is_told() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[]), nic("late0", &[])], &[vip("10.77.0.100/24")]);
    let seen = rig.during(Duration::from_millis(50));
    assert!(seen.iter().all(|o| mac(o).is_none()), "known since the start: {seen:?}");
    world.ip("link set svc0 address 02:00:00:00:77:01");
    assert_eq!(rig.until(mac), (NicId(0), Mac([2, 0, 0, 0, 0x77, 1])));
    world.ip("link add late0 address 02:00:00:00:77:02 type veth");
    assert_eq!(rig.until(mac), (NicId(1), Mac([2, 0, 0, 0, 0x77, 2])));
    world.ip("link del svc0");
    let seen = rig.during(Duration::from_millis(100));
    assert!(seen.iter().all(|o| mac(o).is_none()), "{seen:?}");
    world.add_cable();
    assert_eq!(rig.until(mac), (NicId(0), world.near_mac()));
}
