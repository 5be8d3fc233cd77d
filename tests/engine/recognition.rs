//! How a peer's answers on the service networks are had and known.

use tandem::engine::Input;
use tandem::engine::snapshot::Waiting;
use tandem::types::{Mac, NicId, PeerState};

use tandem::sim::{Plan, World, ms};

/// In: the only service NIC of the active comes after its daemon, or changes its MAC; then all
/// links are cut.
/// Out: the standby knows the answers of the new MAC: isolated, and no fence before the grace.
#[test]
fn a_mac_that_comes_late_or_changes_is_told_to_the_peers_at_once() {
    let mut world = World::pair();
    let mac = Mac([2, 0, 0, 0, 9, 9]);
    world.story.keep_sent = true;
    world.give(0, Input::Mac { nic: NicId(0), mac });
    world.give(0, Input::Mac { nic: NicId(200), mac });
    world.run(ms(1));
    assert!(world.story.sent.iter().any(|said| said.macs[0] == Some(mac)), "at once");
    assert_eq!(world.node(1).snapshot().peers[0].macs[0], mac);
    assert_eq!(world.node(1).snapshot().peers[0].macs[1], Plan::mac(0, 1), "the other stays");
    world.cut_all(0, 1, true);
    world.machines[0].deaf[..2].copy_from_slice(&[true, true]);
    for _ in 0..30 {
        world.run(ms(10));
        world.claim(1, 0, mac);
    }
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
}

/// In: all links are cut, and no question of the standby leaves it for a while.
/// Out: it does not take that for silence; once it can ask, it sees the active serve.
#[test]
fn a_standby_that_cannot_ask_does_not_hear_silence() {
    let mut world = World::pair();
    world.forget();
    world.machines[1].mute = true;
    world.cut_all(0, 1, true);
    world.run(ms(5000));
    assert!(world.is(1, PeerState::Standby), "{}", world.story());
    assert_eq!(world.cuts_of(0), 0);
    assert_eq!(world.node(1).snapshot().waiting, Some(Waiting::Unasked));
    world.machines[1].mute = false;
    world.run(ms(100));
    assert!(world.is(1, PeerState::Isolated), "{}", world.story());
    assert_eq!(world.holders(), [0]);
}

/// In: the same, but the active is dead.
/// Out: three rounds after it can ask again, it is fenced and replaced.
#[test]
fn a_standby_that_can_ask_again_replaces_the_dead() {
    let mut world = World::pair();
    world.machines[1].mute = true;
    world.power_off(0);
    world.run(ms(1000));
    assert!(world.is(1, PeerState::Standby), "{}", world.story());
    world.machines[1].mute = false;
    let took = world.run_until(ms(60), |world| world.is(1, PeerState::Active));
    assert!(took.is_some(), "{}", world.story());
}
