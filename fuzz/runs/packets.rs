//! What comes from the service networks: ARP, neighbour discovery, echo replies, the peer's probes.

use tandem::types::Mac;
use tandem::wire::arp::Arp;
use tandem::wire::auth::Keys;
use tandem::wire::echo::{Echo, Family};
use tandem::wire::heartbeat::ClusterId;
use tandem::wire::ndp::Ndp;
use tandem::wire::probe::{FRAME_LEN, Probe};

/// What the tag of a probe covers.
const TAGGED: core::ops::Range<usize> = 14..62;

/// The same bytes as a packet of each kind.
pub fn run(data: &[u8]) {
    if let Some(arp) = Arp::parse(data) {
        assert_eq!(Arp::parse(&arp.emit()), Some(arp), "what is sent is read");
        if let Some((_, mac)) = arp.claim() {
            assert_ne!(mac, Mac::NONE, "nobody's MAC claims an address");
        }
    }
    if let Some(ndp) = Ndp::parse(data) {
        assert_eq!(Ndp::parse(ndp.emit().as_bytes()), Some(ndp), "what is sent is read");
        if let Some((vip, _)) = ndp.claim() {
            assert!(!vip.is_multicast(), "a multicast address is claimed");
        }
    }
    read_probe(data);
    for family in [Family::V4, Family::V6] {
        if let Some(echo) = Echo::parse_reply(family, data) {
            let request = echo.emit_request(family);
            assert_eq!(Echo::parse_reply(family, &request), None, "a request is no reply");
        }
    }
}

/// As it is, which nobody may believe, and with a right tag.
fn read_probe(data: &[u8]) {
    let Ok(keys) = Keys::new(&[7; 32], None) else { return };
    let cluster =
        data.get(22..30).and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
    let cluster = ClusterId(cluster.unwrap_or(7));
    let Some(frame) = data.get(..FRAME_LEN) else {
        assert_eq!(Probe::parse(data, cluster, &keys), None, "a short frame is a probe");
        return;
    };
    let mut tagged = frame.to_vec();
    let tag = keys.tag(&frame[TAGGED]);
    tagged[TAGGED.end..].copy_from_slice(&tag);
    let probe = Probe::parse(&tagged, cluster, &keys);
    if tagged != frame {
        assert_eq!(Probe::parse(frame, cluster, &keys), None, "an untagged probe is believed");
    }
    if let Some(probe) = probe {
        let again = probe.emit(Mac::BROADCAST, cluster, &keys);
        assert_eq!(Probe::parse(&again, cluster, &keys), Some(probe), "what is sent is read");
    }
}
