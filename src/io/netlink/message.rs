//! What rtnetlink messages say of links and addresses, and the messages that ask for changes.
//!
//! Pure conversions between the library's messages and the few facts this program needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, LinkAttribute, LinkFlags, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::AddressMessageBuilder;

use crate::types::{IpNet, Mac};

/// A network interface as the kernel tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's number of it, unique in its namespace while it exists.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; [`Mac::NONE`] if it has none.
    pub mac: Mac,
    /// Whether it is switched on, has carrier, and is operational (RFC 2863).
    pub up: bool,
}

impl Link {
    /// The link in a message; nothing if the message is of a bridge's port table (where "deleted"
    /// means that the port left the bridge) or has no name.
    pub fn from_message(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family == AddressFamily::Bridge {
            return None;
        }
        let mut name = None;
        let mut mac = Mac::NONE;
        for attribute in &message.attributes {
            if let LinkAttribute::IfName(text) = attribute {
                name = Some(text.clone());
            } else if let LinkAttribute::Address(bytes) = attribute {
                mac = bytes.as_slice().try_into().map_or(Mac::NONE, Mac);
            }
        }
        let needed = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running;
        let up = message.header.flags.contains(needed);
        Some(Self { index: message.header.index, name: name?, mac, up })
    }
}

/// An address on a network interface as the kernel tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The address with its prefix.
    pub net: IpNet,
}

impl Address {
    /// The address in a message; nothing if it has none. On a point-to-point link it is the local
    /// one and not the peer's.
    pub fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut address = None;
        let mut local = None;
        for attribute in &message.attributes {
            if let AddressAttribute::Local(addr) = attribute {
                local = Some(*addr);
            } else if let AddressAttribute::Address(addr) = attribute {
                address = Some(*addr);
            }
        }
        let net = IpNet::new(local.or(address)?, message.header.prefix_len)?;
        Some(Self { index: message.header.index, net })
    }
}

/// What the kernel is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Put an address on an interface. Success if it is there already.
    Add {
        /// The interface's number.
        index: u32,
        /// The address with its prefix.
        net: IpNet,
        /// The label of an IPv4 address; the kernel's default if there is none.
        label: Option<String>,
        /// Whether the kernel makes the route to the prefix, as it does for every other address.
        prefix_route: bool,
    },
    /// Take an address off an interface. Success if it, or the interface, is not there.
    Delete {
        /// The interface's number.
        index: u32,
        /// The address with the prefix it has.
        net: IpNet,
    },
    /// Have the interface keep the other IPv4 addresses of a subnet when the first one of it is
    /// deleted (`promote_secondaries`): otherwise they would go too.
    Promote {
        /// The interface's number.
        index: u32,
    },
    /// List all links.
    Links,
    /// List all addresses of all links.
    Addresses,
}

impl Request {
    /// Whether it is answered by a list, and not by a mere acknowledgement.
    pub fn is_dump(&self) -> bool {
        match self {
            Self::Links | Self::Addresses => true,
            Self::Add { .. } | Self::Delete { .. } | Self::Promote { .. } => false,
        }
    }

    /// The message for the kernel.
    pub fn to_message(&self) -> NetlinkMessage<RouteNetlinkMessage> {
        let (payload, flags) = match self {
            Self::Add { index, net, label, prefix_route } => {
                let mut address = address_message(*index, *net);
                decorate(&mut address, *net, label.as_deref(), *prefix_route);
                (RouteNetlinkMessage::NewAddress(address), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::Delete { index, net } => {
                let mut address = address_message(*index, *net);
                // The broadcast address is no part of what identifies it.
                address.attributes.retain(|a| !matches!(a, AddressAttribute::Broadcast(_)));
                (RouteNetlinkMessage::DelAddress(address), NLM_F_ACK)
            }
            Self::Promote { index } => {
                let mut link = LinkMessage::default();
                link.header.index = *index;
                let mut conf = InetDevConf::default();
                conf.promote_secondaries = 1;
                let inet = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
                link.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet]));
                (RouteNetlinkMessage::SetLink(link), NLM_F_ACK)
            }
            Self::Links => (RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP),
            Self::Addresses => {
                (RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)
            }
        };
        let mut message = NetlinkMessage::from(payload);
        message.header.flags = NLM_F_REQUEST | flags;
        message
    }
}

/// The address itself, without anything around it.
fn address_message(index: u32, net: IpNet) -> AddressMessage {
    match net.addr() {
        IpAddr::V4(addr) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(addr, net.prefix())
            .build(),
        IpAddr::V6(addr) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(addr, net.prefix())
            .build(),
    }
}

/// Label and flags of an address that is to be added. An IPv6 address skips duplicate detection:
/// the proof before the takeover is a better one, and a second of waiting would be outage.
fn decorate(message: &mut AddressMessage, net: IpNet, label: Option<&str>, prefix_route: bool) {
    let mut flags = AddressFlags::empty();
    if net.addr().is_ipv6() {
        flags |= AddressFlags::Nodad;
        message.header.flags |= AddressHeaderFlags::Nodad;
    } else if let Some(label) = label {
        message.attributes.push(AddressAttribute::Label(label.to_owned()));
    }
    if !prefix_route {
        // Does not fit the header's eight bits.
        flags |= AddressFlags::Noprefixroute;
    }
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn bytes(request: &Request) -> Vec<u8> {
        let mut message = request.to_message();
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        buffer
    }

    fn contains(haystack: &[u8], needle: &[u8]) -> bool {
        haystack.windows(needle.len()).any(|window| window == needle)
    }

    fn add(net: &str, label: Option<&str>, prefix_route: bool) -> Vec<u8> {
        let label = label.map(str::to_owned);
        bytes(&Request::Add { index: 7, net: net.parse().unwrap(), label, prefix_route })
    }

    /// IFA_FLAGS (8) with that value, as an attribute of eight bytes.
    fn flags(value: u32) -> Vec<u8> {
        let mut attribute = vec![];
        attribute.extend(8u16.to_ne_bytes());
        attribute.extend(8u16.to_ne_bytes());
        attribute.extend(value.to_ne_bytes());
        attribute
    }

    #[test]
    fn ipv6_addresses_skip_duplicate_detection_and_ipv4_ones_have_no_flags() {
        assert!(contains(&add("fd00::100/64", None, true), &flags(0x02)));
        let plain = add("10.0.0.100/24", None, true);
        assert!(!contains(&plain, &8u32.to_ne_bytes()), "no IFA_FLAGS of any value");
    }

    #[test]
    fn without_the_prefix_route_the_flag_is_in_the_attribute() {
        assert!(contains(&add("10.0.0.100/24", None, false), &flags(0x200)));
        assert!(contains(&add("fd00::100/64", None, false), &flags(0x202)));
    }

    #[test]
    fn labels_are_given_to_ipv4_only() {
        assert!(contains(&add("10.0.0.100/24", Some("eth0:vip"), true), b"eth0:vip\0"));
        assert!(!contains(&add("fd00::100/64", Some("eth0:vip"), true), b"eth0:vip"));
    }

    #[test]
    fn a_bridge_port_message_is_no_link() {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName("eth0".into()));
        assert!(Link::from_message(&message).is_some());
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(Link::from_message(&message), None);
    }

    #[test]
    fn a_link_is_up_only_with_switch_carrier_and_operation() {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName("eth0".into()));
        message.attributes.push(LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]));
        let all = [LinkFlags::Up, LinkFlags::LowerUp, LinkFlags::Running];
        for missing in all {
            message.header.flags = all.into_iter().filter(|flag| *flag != missing).collect();
            assert!(!Link::from_message(&message).unwrap().up, "without {missing:?}");
        }
        message.header.flags = all.into_iter().collect();
        let link = Link::from_message(&message).unwrap();
        assert!(link.up);
        assert_eq!(link.mac, Mac([2, 0, 0, 0, 0, 1]));
    }
}
