//! What people are told: no line that misleads, none that takes itself back at once.

use tandem::types::PeerState;

use tandem::sim::{Plan, World, ms};

fn with_another_configuration() -> World {
    World::settled(Plan { config_digests: [7, 8, 8, 8], ..Plan::default() })
}

/// A holder that gives way while its peer is still unheard has not found it again.
#[test]
fn what_a_role_leaves_behind_is_not_told_as_mended() {
    let mut world = World::pair();
    world.power_off(1);
    world.run(ms(200));
    world.expect_told(0, "degraded: b is missing");
    world.forget();
    world.stop(0);
    world.run(ms(5));
    world.expect_told(0, "no longer judged: b is missing");
    world.expect_untold(0, "no longer degraded");
}

/// What was amiss with a peer is not mended by losing it.
#[test]
fn what_was_amiss_with_a_lost_peer_is_not_told_as_mended() {
    let mut world = with_another_configuration();
    for nic in 0..2 {
        world.set_carrier(1, nic, false);
    }
    world.set_cut(1, 0, 1, true);
    world.set_cut(1, 1, 0, true);
    world.run(ms(200));
    let amiss = ["b is heard, but could not", "link link1 to b", "the configuration of b"];
    for what in amiss {
        world.expect_told(0, &format!("degraded: {what}"));
    }
    world.forget();
    world.power_off(1);
    world.run(ms(200));
    assert!(world.is(0, PeerState::Active));
    for what in amiss {
        world.expect_told(0, &format!("no longer judged: {what}"));
    }
    world.expect_untold(0, "no longer degraded");
}

/// A stall makes what the peer said void, until it says it again.
#[test]
fn a_stall_does_not_mend_what_the_peer_said() {
    let mut world = with_another_configuration();
    world.forget();
    world.pause(0);
    world.run(ms(100));
    world.resume(0);
    world.run(ms(100));
    world.expect_told(0, "stalled");
    world.expect_untold(0, "the configuration of b");
}

/// Who says goodbye falls silent. Who is started again and then lost is told as ever.
#[test]
fn the_silence_behind_a_goodbye_is_not_told() {
    for leaving in 0..2 {
        let mut world = World::pair();
        world.forget();
        world.stop(leaving);
        world.run(ms(500));
        let name = ["a", "b"][leaving];
        let other = 1 - leaving;
        world.expect_told(other, &format!("peer {name} is stopped"));
        world.expect_told(other, &format!("degraded: {name} is missing"));
        for text in ["link link", "late", "lost"] {
            world.expect_untold(other, text);
        }
        world.start_daemon(leaving);
        world.run(ms(100));
        world.expect_told(other, &format!("peer {name} heard with a restarted daemon"));
        world.expect_told(other, &format!("link link1 to {name}: up"));
        world.expect_told(other, &format!("no longer degraded: {name} is missing"));
        world.power_off(leaving);
        world.run(ms(100));
        world.expect_told(other, &format!("peer {name} lost"));
    }
}
