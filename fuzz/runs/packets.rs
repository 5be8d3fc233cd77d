//! What comes from the service networks: ARP, neighbour discovery, echo replies.

use tandem::types::Mac;
use tandem::wire::arp::Arp;
use tandem::wire::echo::{Echo, Family};
use tandem::wire::ndp::Ndp;

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
    for family in [Family::V4, Family::V6] {
        if let Some(echo) = Echo::parse_reply(family, data) {
            let request = echo.emit_request(family);
            assert_eq!(Echo::parse_reply(family, &request), None, "a request is no reply");
        }
    }
}
