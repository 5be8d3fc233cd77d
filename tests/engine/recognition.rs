//! By which MACs a peer's answers are known, when they change.

use tandem::engine::Input;
use tandem::types::{Mac, NicId, PeerState};

use crate::world::{World, ms};

/// In: the only service NIC of the active comes after its daemon, or changes its MAC; then all
/// links are cut.
/// Out: the standby knows the answers of the new MAC: isolated, and no fence before the grace.
#[test]
fn a_mac_that_comes_late_or_changes_is_told_to_the_peers_at_once() {
    let mut world = World::pair();
    let mac = Mac([2, 0, 0, 0, 9, 9]);
    world.keep_sent = true;
    world.give(0, Input::Mac { nic: NicId(0), mac });
    world.give(0, Input::Mac { nic: NicId(200), mac });
    world.run(ms(1));
    assert!(world.sent.iter().any(|said| said.macs[0] == mac), "at once");
    assert_eq!(world.node(1).snapshot().peers[0].macs[0], mac);
    assert_eq!(world.node(1).snapshot().peers[0].macs[1], World::mac(0, 1), "the other stays");
    world.cut_all(0, 1, true);
    world.machines[0].deaf = vec![true, true];
    for _ in 0..30 {
        world.run(ms(10));
        world.claim(1, 0, mac);
    }
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
}
