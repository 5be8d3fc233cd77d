//! The file as typed values with their places: what is written, and nothing that is not.
//!
//! A value of a wrong type or form is told about here and left out; whether the values make sense
//! together is decided in [`mod@super::check`].

use core::time::Duration;
use std::net::IpAddr;
use std::path::PathBuf;

use super::device::{IPMI_USER_LEN_MAX, Identity, Role, Suite};
use super::finding::{At, Findings, Place};
use super::link::Baud;
use super::read::{self, NAME_LEN_MAX, Wrong};
use super::redfish::{self, RawRedfish};
use super::tree::{Scalar, Section};
use super::vocabulary as words;
use crate::engine::settings::AfterFence;
use crate::types::{IpNet, NodeId};

/// The highest fence level.
pub(super) const LEVELS_MAX: u8 = 8;
/// The most intervals without an answer that may be waited for.
const COUNT_MAX: i64 = 1000;
/// The highest real-time priority (`sched(7)`).
const PRIORITY_MAX: i64 = 99;

/// The whole file.
pub(super) struct Raw {
    pub(super) cluster: Option<At<String>>,
    pub(super) key_file: Option<At<PathBuf>>,
    pub(super) preferred: Option<At<String>>,
    pub(super) after_fence: Option<At<AfterFence>>,
    pub(super) timing: RawTiming,
    pub(super) nodes: Vec<RawNode>,
    pub(super) nodes_place: Place,
    pub(super) links: Vec<RawLink>,
    pub(super) links_place: Place,
    pub(super) nics: Vec<RawNic>,
    pub(super) nics_place: Place,
    pub(super) vips: Vec<RawVip>,
    pub(super) vips_place: Place,
    pub(super) fence: Vec<RawFence>,
    pub(super) fence_place: Place,
    pub(super) runtime: RawRuntime,
}

/// `[timing]`.
pub(super) struct RawTiming {
    pub(super) place: Place,
    pub(super) rhythm: RawRhythm,
    pub(super) dead_host_time: Option<At<Duration>>,
    pub(super) initdead: Option<At<Duration>>,
    pub(super) isolated_grace: Option<At<Duration>>,
    pub(super) fence_check_interval: Option<At<Duration>>,
    pub(super) path_hold: Option<At<Duration>>,
    pub(super) path_rest: Option<At<Duration>>,
}

/// The three durations that a link may have of its own.
pub(super) struct RawRhythm {
    pub(super) keepalive: Option<At<Duration>>,
    pub(super) warntime: Option<At<Duration>>,
    pub(super) deadtime: Option<At<Duration>>,
}

/// `[nodes.NAME]`.
pub(super) struct RawNode {
    pub(super) name: At<String>,
    pub(super) id: Option<At<i64>>,
    pub(super) fence_delay: Option<At<Duration>>,
    pub(super) fencing: Option<At<Fencing>>,
    /// By link name: an address or a device, as the link's type tells. What is no text was told
    /// about and is absent here.
    pub(super) links: Vec<(At<String>, Option<At<String>>)>,
}

/// `fencing` of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fencing {
    /// Its power can be cut.
    Devices,
    /// It cannot, and that is accepted.
    NoneAcceptFrozen,
}

/// `[links.NAME]`.
pub(super) struct RawLink {
    pub(super) name: At<String>,
    /// Nothing if the type is none.
    pub(super) carrier: Option<RawCarrier>,
    pub(super) backup: bool,
    pub(super) rhythm: RawRhythm,
}

/// What belongs to one type of link.
pub(super) enum RawCarrier {
    Udp {
        nic: Option<At<String>>,
        port: Option<At<u16>>,
        group: Option<At<IpAddr>>,
    },
    Serial {
        /// On nodes that do not say another.
        device: Option<At<PathBuf>>,
        /// A value that is none was told about.
        baud: Option<Baud>,
        rtscts: bool,
    },
}

/// `[nics.NAME]`.
pub(super) struct RawNic {
    pub(super) name: At<String>,
    pub(super) ping_place: Place,
    pub(super) ping: Option<At<Vec<At<IpAddr>>>>,
    pub(super) ping_interval: Option<At<Duration>>,
    pub(super) ping_count: Option<At<u32>>,
    pub(super) probe: Option<At<bool>>,
    pub(super) probe_interval: Option<At<Duration>>,
    pub(super) probe_count: Option<At<u32>>,
}

/// `[[vips]]`.
pub(super) struct RawVip {
    pub(super) address: Option<At<IpNet>>,
    pub(super) nic: Option<At<String>>,
    pub(super) label: Option<At<String>>,
}

/// `[[fence]]`.
pub(super) struct RawFence {
    pub(super) place: Place,
    pub(super) node: Option<At<String>>,
    pub(super) level: Option<At<u8>>,
    pub(super) name: Option<At<String>>,
    pub(super) role: Option<At<Role>>,
    /// Only BMCs have it.
    pub(super) identity: Option<At<Identity>>,
    pub(super) timeout: Option<At<Duration>>,
    pub(super) kind: Option<RawKind>,
}

/// What belongs to one type of fence device.
pub(super) enum RawKind {
    Ipmi {
        address: Option<At<IpAddr>>,
        port: Option<At<u16>>,
        user: Option<At<String>>,
        password_file: Option<At<PathBuf>>,
        suite: Option<At<Suite>>,
    },
    Redfish(RawRedfish),
    Agent {
        agent: Option<At<String>>,
        params: Vec<(String, At<String>)>,
        secret_files: Vec<(String, At<PathBuf>)>,
        secret_files_place: Place,
    },
}

/// `[runtime]`.
pub(super) struct RawRuntime {
    pub(super) place: Place,
    pub(super) control_socket: Option<At<PathBuf>>,
    pub(super) runtime_dir: Option<At<PathBuf>>,
    pub(super) state_dir: Option<At<PathBuf>>,
    /// `Some(None)`: off.
    pub(super) priority: Option<At<Option<u8>>>,
    pub(super) lock_memory: Option<At<bool>>,
}

/// Reads the whole tree.
pub(super) fn read(root: &Section<'_>, f: &mut Findings) -> Raw {
    root.refuse_unknown(&words::ROOT, f);
    root.require("cluster", "write cluster = \"NAME\", the same on both nodes, unlike others'", f);
    root.require("key-file", "write key-file = \"/etc/tandem/key\", and run: tandem keygen", f);
    let cluster = root.text("cluster", |text| read::line(text, NAME_LEN_MAX), "smw-pair", f);
    let key_file = root.text("key-file", read::path, "/etc/tandem/key", f);
    let preferred = root.text("preferred", read::name, "smw1", f);
    let after_fence = root.text("after-fence", read::after_fence, "off", f);
    let timing = timing(&root.section("timing", "[timing]", f), f);
    let named = |key, header, f: &mut Findings| root.named_sections(key, header, f);
    let nodes = named("nodes", "[nodes.NAME]", f);
    let links = named("links", "[links.NAME]", f);
    let nics = named("nics", "[nics.NAME]", f);
    let vips = root.sections("vips", "[[vips]]", f);
    let fence = root.sections("fence", "[[fence]]", f);
    Raw {
        cluster,
        key_file,
        preferred,
        after_fence,
        timing,
        nodes: nodes.into_iter().filter_map(|(name, section)| node(name, &section, f)).collect(),
        nodes_place: root.place_of("nodes"),
        links: links.into_iter().filter_map(|(name, section)| link(name, &section, f)).collect(),
        links_place: root.place_of("links"),
        nics: nics.into_iter().filter_map(|(name, section)| nic(name, &section, f)).collect(),
        nics_place: root.place_of("nics"),
        vips: vips.iter().map(|section| vip(section, f)).collect(),
        vips_place: root.place_of("vips"),
        fence: fence.iter().map(|section| device(section, f)).collect(),
        fence_place: root.place_of("fence"),
        runtime: runtime(&root.section("runtime", "[runtime]", f), f),
    }
}

fn timing(section: &Section<'_>, f: &mut Findings) -> RawTiming {
    section.refuse_unknown(&words::TIMING, f);
    RawTiming {
        place: section.place.clone(),
        rhythm: rhythm(section, f),
        dead_host_time: section.duration("dead-host-time", "400ms", f),
        initdead: section.duration("initdead", "5s", f),
        isolated_grace: section.duration("isolated-grace", "30s", f),
        fence_check_interval: section.duration("fence-check-interval", "1m", f),
        path_hold: section.duration("path-hold", "1s", f),
        path_rest: section.duration("path-rest", "1m", f),
    }
}

fn rhythm(section: &Section<'_>, f: &mut Findings) -> RawRhythm {
    RawRhythm {
        keepalive: section.duration("keepalive", "100ms", f),
        warntime: section.duration("warntime", "300ms", f),
        deadtime: section.duration("deadtime", "500ms", f),
    }
}

/// Whether the name of a table is one that `parse` accepts.
fn accept_name(
    name: &At<String>,
    parse: fn(&str) -> Result<String, Wrong>,
    f: &mut Findings,
) -> bool {
    parse(&name.value).map_err(|wrong| f.error(&name.place, wrong.wrong, wrong.instead)).is_ok()
}

fn node(name: At<String>, section: &Section<'_>, f: &mut Findings) -> Option<RawNode> {
    section.refuse_unknown(&words::NODE, f);
    let accepted = accept_name(&name, read::name, f);
    let links = section.section("links", "[nodes.NAME.links]", f);
    let end = |link: String, f: &mut Findings| {
        let end = links.text(&link, |text| Ok(text.to_owned()), "10.88.0.1", f);
        (At { place: links.place_of(&link), value: link }, end)
    };
    let node = RawNode {
        name,
        id: section.number("id", 1, i64::from(NodeId::MAX), f),
        fence_delay: section.duration("fence-delay", "5s", f),
        fencing: section.text("fencing", fencing, "devices", f),
        links: links.names().into_iter().map(|link| end(link, f)).collect(),
    };
    accepted.then_some(node)
}

fn fencing(text: &str) -> Result<Fencing, Wrong> {
    match text {
        "devices" => Ok(Fencing::Devices),
        "none-accept-frozen" => Ok(Fencing::NoneAcceptFrozen),
        _ => Err(Wrong::new(
            format!("{text:?} is not a way of fencing"),
            "write \"devices\" (and [[fence]] tables), or \"none-accept-frozen\"",
        )),
    }
}

fn link(name: At<String>, section: &Section<'_>, f: &mut Findings) -> Option<RawLink> {
    let accepted = accept_name(&name, read::name, f);
    // Of a type that is none, the rest cannot be judged.
    let is_written = section.names().iter().any(|key| key == "type");
    let kind = section.text("type", link_type, "udp", f).map(|at| at.value);
    let carrier = match kind.or((!is_written).then_some(LinkType::Udp)) {
        Some(LinkType::Udp) => Some(udp(section, f)),
        Some(LinkType::Serial) => Some(serial(section, f)),
        None => None,
    };
    let link = RawLink {
        name,
        carrier,
        backup: section.flag("backup", f).is_some_and(|at| at.value),
        rhythm: rhythm(section, f),
    };
    accepted.then_some(link)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LinkType {
    Udp,
    Serial,
}

fn link_type(text: &str) -> Result<LinkType, Wrong> {
    let instead = match text {
        "udp" => return Ok(LinkType::Udp),
        "serial" => return Ok(LinkType::Serial),
        "ucast" | "unicast" | "bcast" | "broadcast" => "write \"udp\"",
        "mcast" | "multicast" => "write \"udp\", and group = \"239.255.88.1\"",
        "tty" | "rs232" | "nullmodem" | "null-modem" => "write \"serial\"",
        _ => "write \"udp\" or \"serial\"",
    };
    Err(Wrong::new(format!("{text:?} is not a type of link"), instead))
}

fn udp(section: &Section<'_>, f: &mut Findings) -> RawCarrier {
    section.refuse_unknown(&words::LINK, f);
    section.require("nic", "write nic = \"eth6\", the NIC that carries the link", f);
    RawCarrier::Udp {
        nic: section.text("nic", read::nic_name, "eth6", f),
        port: port(section, f),
        group: section.text("group", group, "239.255.88.1", f),
    }
}

fn serial(section: &Section<'_>, f: &mut Findings) -> RawCarrier {
    section.refuse_unknown(&words::SERIAL_LINK, f);
    RawCarrier::Serial {
        device: section.text("device", read::path, "/dev/ttyS0", f),
        baud: baud(section, f),
        rtscts: section.flag("rtscts", f).is_some_and(|at| at.value),
    }
}

/// The speed as written, or the usual one; nothing if it is none.
fn baud(section: &Section<'_>, f: &mut Findings) -> Option<Baud> {
    if !section.names().iter().any(|key| key == "baud") {
        return Some(Baud::default());
    }
    let At { place, value } = section.scalar("baud", f)?;
    let shown = match value {
        Scalar::Number(number) => match Baud::new(number) {
            Some(baud) => return Some(baud),
            None => number.to_string(),
        },
        Scalar::Text(text) => format!("the text {text:?}"),
        Scalar::Flag(flag) => flag.to_string(),
    };
    let list: Vec<_> = Baud::ALL.iter().map(Baud::to_string).collect();
    let instead = format!("write one of, without quotes: {}", list.join(", "));
    f.error(&place, format!("{shown} is not a speed of serial lines"), instead);
    None
}

fn group(text: &str) -> Result<IpAddr, Wrong> {
    let addr = read::address(text)?;
    if addr.is_multicast() {
        return Ok(addr);
    }
    Err(Wrong::new(
        format!("{addr} is not a multicast group"),
        "write such as \"239.255.88.1\" or \"ff02::88\", or leave it out for unicast",
    ))
}

pub(super) fn port(section: &Section<'_>, f: &mut Findings) -> Option<At<u16>> {
    let port = section.number("port", 1, i64::from(u16::MAX), f)?;
    u16::try_from(port.value).ok().map(|value| At { place: port.place, value })
}

fn nic(name: At<String>, section: &Section<'_>, f: &mut Findings) -> Option<RawNic> {
    section.refuse_unknown(&words::NIC, f);
    let accepted = accept_name(&name, read::nic_name, f);
    let count = |key, least, f: &mut Findings| {
        let At { place, value } = section.number(key, least, COUNT_MAX, f)?;
        u32::try_from(value).ok().map(|value| At { place, value })
    };
    let nic = RawNic {
        name,
        ping_place: section.place_of("ping"),
        ping: section.texts("ping", read::address, "10.0.0.1", f),
        ping_interval: section.duration("ping-interval", "1s", f),
        ping_count: count("ping-count", 1, f),
        probe: section.flag("probe", f),
        probe_interval: section.duration("probe-interval", "500ms", f),
        // Too few are told with the reason, none as well.
        probe_count: count("probe-count", 0, f),
    };
    accepted.then_some(nic)
}

fn vip(section: &Section<'_>, f: &mut Findings) -> RawVip {
    section.refuse_unknown(&words::VIP, f);
    section.require("address", "write address = \"10.0.0.100/24\"", f);
    section.require("nic", "write nic = \"eth0\", one of the [nics.NAME]", f);
    RawVip {
        address: section.text("address", read::net, "10.0.0.100/24", f),
        nic: section.text("nic", read::nic_name, "eth0", f),
        label: section.text("label", |text| read::line(text, usize::MAX), "eth0:vip", f),
    }
}

fn device(section: &Section<'_>, f: &mut Findings) -> RawFence {
    let kind = section.text("type", |text| Ok(text.to_owned()), "ipmi", f);
    section.require("type", "write type = \"redfish\", type = \"ipmi\" or type = \"agent\"", f);
    section.require("node", "write node = \"NAME\", the node whose power it cuts", f);
    let kind = match kind.as_ref().map(|at| at.value.as_str()) {
        Some("ipmi") => Some(ipmi(section, f)),
        Some("redfish") => Some(RawKind::Redfish(redfish::read(section, f))),
        Some("agent") => Some(agent(section, f)),
        Some(other) => {
            let wrong = format!("{other:?} is not a type of fence device");
            f.error(&section.place_of("type"), wrong, other_type(other));
            None
        }
        None => None,
    };
    let level = section.number("level", 1, i64::from(LEVELS_MAX), f);
    RawFence {
        place: section.place.clone(),
        node: section.text("node", read::name, "smw1", f),
        level: level
            .and_then(|at| u8::try_from(at.value).ok().map(|value| At { place: at.place, value })),
        name: section.text("name", read::name, "bmc-smw1", f),
        role: section.text("role", role, "fence", f),
        identity: match kind {
            Some(RawKind::Ipmi { .. } | RawKind::Redfish(_)) => {
                section.text("identity", identity, "compare", f)
            }
            Some(RawKind::Agent { .. }) | None => None,
        },
        timeout: section.duration("timeout", "10s", f),
        kind,
    }
}

fn identity(text: &str) -> Result<Identity, Wrong> {
    let found = Identity::ALL.iter().find(|(_, name)| *name == text);
    found.map(|(identity, _)| *identity).ok_or_else(|| {
        Wrong::new(
            format!("{text:?} is not what can be made of a BMC's identity"),
            "write \"compare\", or \"ignore\" for a BMC that tells another GUID than its host's",
        )
    })
}

fn role(text: &str) -> Result<Role, Wrong> {
    let found = Role::ALL.iter().find(|(_, name)| *name == text);
    found.map(|(role, _)| *role).ok_or_else(|| {
        Wrong::new(
            format!("{text:?} is not what a fence device can be for"),
            "write \"fence\" for one that cuts, \"witness\" for one that is only read",
        )
    })
}

fn other_type(text: &str) -> String {
    match text {
        "idrac" | "ilo" | "ilo4" | "ilo5" | "ilo6" | "xcc" | "openbmc" | "bmc" => {
            "write \"redfish\", or \"ipmi\" if the BMC is old".to_owned()
        }
        "imm" | "ipmilan" | "external/ipmi" => "write \"ipmi\"".to_owned(),
        "fence_redfish" => "write \"redfish\"".to_owned(),
        _ if text.starts_with("fence_") => {
            format!("write type = \"agent\" and agent = {text:?}")
        }
        _ => "write \"redfish\" or \"ipmi\" for a BMC, \"agent\" for a fence agent".to_owned(),
    }
}

fn ipmi(section: &Section<'_>, f: &mut Findings) -> RawKind {
    section.refuse_unknown(&words::IPMI, f);
    section.require("address", "write address = \"10.9.0.1\", where the BMC answers", f);
    section.require("user", "write user = \"tandem\", a user of the BMC", f);
    section.require("password-file", "write password-file = \"/etc/tandem/bmc.pw\"", f);
    RawKind::Ipmi {
        address: section.text("address", read::address, "10.9.0.1", f),
        port: port(section, f),
        user: section.text("user", |text| read::line(text, IPMI_USER_LEN_MAX), "tandem", f),
        password_file: section.text("password-file", read::path, "/etc/tandem/bmc.pw", f),
        suite: suite(section, f),
    }
}

fn suite(section: &Section<'_>, f: &mut Findings) -> Option<At<Suite>> {
    let At { place, value } = section.scalar("cipher-suite", f)?;
    let (shown, number) = match value {
        Scalar::Text(text) if text == "auto" => return Some(At { place, value: Suite::Auto }),
        Scalar::Text(text) => (format!("{text:?}"), text.parse().ok()),
        Scalar::Number(number) => (number.to_string(), Some(number)),
        Scalar::Flag(flag) => (flag.to_string(), None),
    };
    let wrong = format!("cipher suite {shown} is refused");
    match number {
        Some(3) => return Some(At { place, value: Suite::Three }),
        Some(17) => return Some(At { place, value: Suite::Seventeen }),
        Some(0) => f.error(
            &place,
            format!("{wrong}: it asks for no password, so anybody could be switching the power"),
            "write \"auto\", and switch suite 0 off in the BMC",
        ),
        Some(_) | None => f.error(&place, wrong, "write \"auto\", 17 or 3"),
    }
    None
}

fn agent(section: &Section<'_>, f: &mut Findings) -> RawKind {
    section.refuse_unknown(&words::AGENT, f);
    section.require("agent", "write agent = \"fence_apc_snmp\", its name or absolute path", f);
    let params = section.section("params", "params = { ip = \"10.9.0.9\" }", f);
    let secrets = section.section("secret-files", "secret-files = { password = \"/path\" }", f);
    let param = |name: String, f: &mut Findings| {
        let At { place, value } = params.scalar(&name, f)?;
        let value = match value {
            Scalar::Text(text) => text,
            Scalar::Number(number) => number.to_string(),
            Scalar::Flag(flag) => u8::from(flag).to_string(),
        };
        Some((name, At { place, value }))
    };
    let secret = |name: String, f: &mut Findings| {
        let path = secrets.text(&name, read::path, "/etc/tandem/pdu.pw", f)?;
        Some((name, path))
    };
    RawKind::Agent {
        agent: section.text("agent", |text| Ok(text.to_owned()), "fence_apc_snmp", f),
        params: params.names().into_iter().filter_map(|name| param(name, f)).collect(),
        secret_files: secrets.names().into_iter().filter_map(|name| secret(name, f)).collect(),
        secret_files_place: section.place_of("secret-files"),
    }
}

fn runtime(section: &Section<'_>, f: &mut Findings) -> RawRuntime {
    section.refuse_unknown(&words::RUNTIME, f);
    RawRuntime {
        place: section.place.clone(),
        control_socket: section.text("control-socket", read::path, "/run/tandem/control.sock", f),
        runtime_dir: section.text("runtime-dir", read::path, "/run/tandem", f),
        state_dir: section.text("state-dir", read::path, "/var/lib/tandem", f),
        priority: priority(section, f),
        lock_memory: section.flag("lock-memory", f),
    }
}

fn priority(section: &Section<'_>, f: &mut Findings) -> Option<At<Option<u8>>> {
    let At { place, value } = section.scalar("priority", f)?;
    let level = match &value {
        Scalar::Text(text) if text == "off" => return Some(At { place, value: None }),
        Scalar::Number(number) if (1..=PRIORITY_MAX).contains(number) => u8::try_from(*number).ok(),
        Scalar::Text(_) | Scalar::Number(_) | Scalar::Flag(_) => None,
    };
    if level.is_none() {
        let shown = match value {
            Scalar::Text(text) => format!("{text:?}"),
            Scalar::Number(number) => number.to_string(),
            Scalar::Flag(flag) => flag.to_string(),
        };
        let instead =
            format!("write a whole number from 1 to {PRIORITY_MAX}, without quotes, or \"off\"");
        f.error(&place, format!("{shown} is not a priority"), instead);
    }
    level.map(|level| At { place, value: Some(level) })
}
