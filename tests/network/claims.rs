//! Claims of VIPs among very many frames that are none of our business.

use std::net::Ipv4Addr;
use std::time::Duration;

use tandem::config::network::Vip;
use tandem::io::network::Occurrence;
use tandem::types::VipId;
use tandem::wire::arp::Arp;

use crate::world::{Rig, World, nic, vip};

/// How many frames a flood has: less than a socket's buffer holds.
const FLOOD: u32 = 150;

fn claims(seen: &[Occurrence]) -> Vec<VipId> {
    let claimed = seen.iter().filter_map(|occurrence| match occurrence {
        Occurrence::Claim { vip, .. } => Some(*vip),
        _ => None,
    });
    claimed.collect()
}

// In: 600 VIPs, every other address: more than are filtered one by one. The far host claims many
// addresses that are no VIPs, from far away or from between ours; then one VIP.
// Out: the next turn tells the claim; and in the end each VIP's claim is told.
#[test]
fn a_flood_of_other_claims_does_not_crowd_out_those_of_vips() {
    let Some(world) = World::new() else { return };
    let base = u32::from(Ipv4Addr::new(10, 77, 1, 0));
    let addr = |n: u32| Ipv4Addr::from(base + n);
    let vips: Vec<Vip> = (0..600).map(|n| vip(&format!("{}/16", addr(2 * n)))).collect();
    let mut rig = Rig::new(&[nic("svc0", &[])], &vips);
    rig.during(Duration::from_millis(20));
    let mac = world.far_mac();
    let claim = |addr| Arp::announce_by_reply(mac, addr).emit();
    let foreign = u32::from(Ipv4Addr::new(10, 99, 0, 0));
    let floods: [Vec<Ipv4Addr>; 2] = [
        (0..FLOOD).map(|n| Ipv4Addr::from(foreign + n)).collect(),
        (0..FLOOD).map(|n| addr(2 * n + 1)).collect(),
    ];
    for flood in floods {
        let mut frames: Vec<_> = flood.into_iter().map(claim).collect();
        frames.push(claim(addr(2 * 599)));
        world.shout_all(&frames);
        rig.turn(Duration::from_secs(1));
        let seen: Vec<_> = std::iter::from_fn(|| rig.network.next_occurrence()).collect();
        assert_eq!(claims(&seen), [VipId(599)]);
    }
    for chunk in (0..600).collect::<Vec<u32>>().chunks(100) {
        let frames: Vec<_> = chunk.iter().map(|n| claim(addr(2 * n))).collect();
        world.shout_all(&frames);
        let told = claims(&rig.during(Duration::from_millis(100)));
        let expected: Vec<_> = chunk.iter().map(|n| VipId(u16::try_from(*n).unwrap())).collect();
        assert_eq!(told, expected);
    }
}
