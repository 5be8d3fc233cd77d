//! Probes between the nodes over a service NIC: this host is node 1, the test plays node 2 from the
//! far one.

use std::num::NonZeroU32;
use std::time::Duration;

use tandem::config::network::{Probe as Rhythm, ServiceNic};
use tandem::io::network::Occurrence;
use tandem::sys::clock;
use tandem::sys::packet::PacketReceiver;
use tandem::types::{Incarnation, Mac, NicId, NodeId};
use tandem::wire::auth::Keys;
use tandem::wire::heartbeat::ClusterId;
use tandem::wire::probe::{ETHER_TYPE, Probe};

use crate::world::{PATIENCE, Rig, World, hear, nic, vip};

const INTERVAL: Duration = Duration::from_millis(50);
const COUNT: u32 = 3;
const CLUSTER: ClusterId = ClusterId(7);
const FAR: Incarnation = Incarnation(2);

fn probed() -> ServiceNic {
    let count = NonZeroU32::new(COUNT).unwrap();
    ServiceNic { probe: Some(Rhythm { interval: INTERVAL, count }), ..nic("svc0", &[]) }
}

fn keys(byte: u8) -> Keys {
    Keys::new(&[byte; 32], None).unwrap()
}

fn across(occurrence: &Occurrence) -> Option<bool> {
    match occurrence {
        Occurrence::Across { nic: NicId(0), node, passes } if node.get() == 2 => Some(*passes),
        _ => None,
    }
}

/// Node 2 as the test plays it.
struct Far<'w> {
    world: &'w World,
    ear: PacketReceiver,
    mac: Mac,
    number: u64,
    heard: Option<Probe>,
}

impl<'w> Far<'w> {
    fn new(world: &'w World) -> Self {
        let (ear, mac) = (world.far_ear(ETHER_TYPE), world.far_mac());
        Self { world, ear, mac, number: 0, heard: None }
    }

    /// Hears what node 1 has sent; whether it is in order.
    fn listen(&mut self) {
        for frame in hear(&self.ear) {
            let Some(probe) = Probe::parse(&frame, CLUSTER, &keys(7)) else { continue };
            assert_eq!((probe.from.get(), probe.to.get(), probe.nic), (1, 2, NicId(0)));
            assert_eq!(frame[..6], [0xff; 6]);
            let before = self.heard.map_or(0, |heard| heard.number);
            assert!(probe.number > before, "{} after {before}", probe.number);
            self.heard = Some(probe);
        }
    }

    /// The next probe of node 2, made with that key.
    fn frame(&mut self, key: u8) -> Vec<u8> {
        self.listen();
        self.number += 1;
        let (echo_incarnation, echo_number) =
            self.heard.map_or((Incarnation::NONE, 0), |heard| (heard.incarnation, heard.number));
        let probe = Probe {
            from: NodeId::new(2).unwrap(),
            to: NodeId::new(1).unwrap(),
            nic: NicId(0),
            incarnation: FAR,
            number: self.number,
            echo_incarnation,
            echo_number,
        };
        probe.emit(self.mac, CLUSTER, &keys(key)).to_vec()
    }
}

/// Runs for rounds of an interval each, in each of which the far host says something; all verdicts.
fn run(rig: &mut Rig, rounds: u32, mut says: impl FnMut()) -> Vec<bool> {
    let mut told = vec![];
    for _ in 0..rounds {
        says();
        told.extend(rig.during(INTERVAL).iter().filter_map(across));
    }
    told
}

// In: node 2 answers; somebody replays all that it said; it answers again with another key, and
// then with the right one.
// Out: probes pass only while it answers with the right key.
#[test]
fn probes_pass_while_the_peer_answers_and_no_recording_or_forgery_keeps_them_alive() {
    let Some(world) = World::new() else { return };
    let mut far = Far::new(&world);
    let mut rig = Rig::new(&[probed()], &[vip("10.77.0.100/24")]);
    let mut recorded = vec![];
    let told = run(&mut rig, 12, || {
        let frame = far.frame(7);
        world.shout(&frame);
        recorded.push(frame);
    });
    assert_eq!(told.last(), Some(&true), "{told:?}");
    let told = run(&mut rig, 12, || world.shout_all(&recorded));
    assert_eq!(told, [false], "a recording");
    let told = run(&mut rig, 12, || {
        let frame = far.frame(8);
        world.shout(&frame);
    });
    assert!(told.is_empty(), "a forgery: {told:?}");
    let told = run(&mut rig, 12, || {
        let frame = far.frame(7);
        world.shout(&frame);
    });
    assert_eq!(told, [true]);
}

// In: ten thousand frames that look like probes and are none.
// Out: no turn takes long. They may crowd out the right ones, which is as if nothing passed; when
// they cease probes pass again.
#[test]
fn a_flood_of_false_probes_holds_nothing_up() {
    let Some(world) = World::new() else { return };
    let mut far = Far::new(&world);
    let mut rig = Rig::new(&[probed()], &[vip("10.77.0.100/24")]);
    run(&mut rig, 8, || {
        let frame = far.frame(7);
        world.shout(&frame);
    });
    rig.longest_turn = Duration::ZERO;
    let mut told = run(&mut rig, 10, || {
        let false_ones: Vec<Vec<u8>> = (0..1000).map(|_| far.frame(8)).collect();
        world.shout_all(&false_ones);
    });
    told.extend(run(&mut rig, 8, || {
        let frame = far.frame(7);
        world.shout(&frame);
    }));
    assert_eq!(told, [false, true]);
    assert!(rig.longest_turn < Duration::from_millis(100), "{:?}", rig.longest_turn);
}

// In: the cable loses its carrier, and the NIC is deleted and made anew.
// Out: nothing passes, and then it does again.
#[test]
fn probes_go_on_over_a_nic_that_came_back() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[probed()], &[vip("10.77.0.100/24")]);
    let mut far = Far::new(&world);
    let answer = |rig: &mut Rig, far: &mut Far<'_>| {
        let begun = clock::now();
        loop {
            assert!(clock::now().since(begun) < PATIENCE, "nothing passes");
            let frame = far.frame(7);
            far.world.shout(&frame);
            if rig.during(INTERVAL / 2).iter().filter_map(across).any(|passes| passes) {
                return;
            }
        }
    };
    answer(&mut rig, &mut far);
    world.ip("link del svc0");
    assert!(!rig.until(across));
    world.add_cable();
    far.ear = world.far_ear(ETHER_TYPE);
    answer(&mut rig, &mut far);
}
