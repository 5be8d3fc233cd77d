//! The plan of the service side: which NICs clients are served through, and which virtual IPs live
//! on them.
//!
//! Checked values only: texts, units and remedies are the parser's affair. Nothing here knows
//! whether a NIC exists; the kernel tells that when an address is put on it.

use core::num::NonZeroU32;
use core::time::Duration;
use std::net::IpAddr;

use crate::types::{IpNet, NicId};

/// The longest name of a NIC in bytes: the kernel's IFNAMSIZ without its closing zero.
pub const NIC_NAME_LEN_MAX: usize = 15;
/// The longest label of an IPv4 address in bytes: the kernel's IFNAMSIZ without its closing zero.
pub const LABEL_LEN_MAX: usize = 15;
/// The most ping targets of one service NIC.
pub const PING_TARGETS_MAX: usize = 8;
/// The most virtual IPs of one configuration.
pub const VIPS_MAX: usize = 4096;

/// One NIC that clients are served through; its place in the list is its [`NicId`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceNic {
    /// The kernel's name of it, 1 to [`NIC_NAME_LEN_MAX`] bytes.
    pub name: String,
    /// Whose answers prove that the network behind the NIC works; at most [`PING_TARGETS_MAX`].
    /// The NIC is reachable while any of them answers. Empty: reach is not judged.
    pub ping: Vec<IpAddr>,
    /// Time between two rounds of pings; more than zero. Unused without targets.
    pub ping_interval: Duration,
    /// How many intervals without any answer make the NIC unreachable. Unused without targets.
    pub ping_count: NonZeroU32,
    /// How the nodes probe each other over the NIC; nothing if they do not.
    pub probe: Option<Probe>,
}

/// The rhythm of the probes between the nodes over one service NIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Time between two probes; more than zero.
    pub interval: Duration,
    /// How many intervals without an answer make the peer unheard on that NIC.
    pub count: NonZeroU32,
}

/// One virtual IP; its place in the list is its [`crate::types::VipId`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vip {
    /// The service NIC it lives on.
    pub nic: NicId,
    /// The address and the prefix it is added with.
    pub net: IpNet,
    /// The label of an IPv4 address (`eth0:vip`), at most [`LABEL_LEN_MAX`] bytes; the NIC's name
    /// if there is none. The kernel keeps none for IPv6.
    pub label: Option<String>,
}
