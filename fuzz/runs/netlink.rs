//! What comes from the kernel over netlink: links and addresses, connections to be destroyed.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use tandem::io::netlink::{Address, Link};
use tandem::wire::sock_diag;

/// The first byte says of which family of messages the rest is.
pub fn run(data: &[u8]) {
    let Some((kind, datagram)) = data.split_first() else { return };
    if kind & 1 == 0 {
        let items = sock_diag::items(datagram).count();
        assert!(items <= datagram.len() / 4, "more messages than fit into the bytes");
        return;
    }
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram) else { return };
    let NetlinkPayload::InnerMessage(message) = message.payload else { return };
    if let RouteNetlinkMessage::NewLink(message) = &message {
        drop(Link::from_message(message));
    }
    if let RouteNetlinkMessage::NewAddress(message) = &message {
        assert!(Address::from_message(message).is_none_or(|at| at.index == message.header.index));
    }
}
