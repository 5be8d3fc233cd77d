//! What the configuration says of one UDP heartbeat link, as a checked plan.
//!
//! Plain data: who checks it is the rest of the configuration, who opens it is
//! [`crate::io::udp`]. It refuses to know keys, rhythm and names: those belong to the whole pair.

use std::net::IpAddr;

use crate::types::NodeId;

/// The UDP port of heartbeats unless the configuration says another: `ha-cluster` in the IANA
/// registry.
pub const PORT_DEFAULT: u16 = 694;

/// One UDP heartbeat link of this node.
///
/// All addresses are of one family. With a `group` every heartbeat goes to that multicast group,
/// otherwise to the addressee's own address. Link-local IPv6 addresses need no scope: the link is
/// bound to its NIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpLinkConfig {
    /// The NIC that carries it; nothing is sent or received over another.
    pub nic: String,
    /// This node's own address on that NIC.
    pub local: IpAddr,
    /// Each peer's address on this link.
    pub peers: Vec<(NodeId, IpAddr)>,
    /// The multicast group, if the link is not unicast.
    pub group: Option<IpAddr>,
    /// The port, the same on every node.
    pub port: u16,
}
