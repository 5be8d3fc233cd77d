//! The words of the file: every key of every table, and words that people bring from elsewhere.

use super::nearest::nearest;

/// The keys of one table.
pub(super) struct Words {
    /// The table as people write it: `[timing]`.
    pub(super) table: &'static str,
    /// Its keys, in the order in which they are printed.
    pub(super) keys: &'static [&'static str],
    /// Words that people write here, and what to write instead.
    hints: &'static [(&'static str, &'static str)],
}

const NODE_ADDRESS: &str = "write the addresses under [nodes.NAME.links], one for each link";
const TRUST: &str =
    "write certificate, which needs no authority: tandem fence fingerprint ADDRESS shows it";
const LINK_ADDRESS: &str = "write each node's address under [nodes.NAME.links]";

const SERIAL_TYPE: &str = "write type = \"serial\", and device = \"/dev/ttyS0\"";
const EIGHT_BITS: &str = "leave it out: it is always eight data bits, no parity, one stop bit";

impl Words {
    /// Where a key of the table stands.
    pub(super) fn place(&self) -> String {
        let here = if self.table.starts_with('[') { "in" } else { "at" };
        format!("{here} {}", self.table)
    }
}

/// At the top of the file.
pub(super) const ROOT: Words = Words {
    table: "the top of the file",
    keys: &[
        "cluster",
        "key-file",
        "preferred",
        "after-fence",
        "timing",
        "nodes",
        "links",
        "nics",
        "vips",
        "fence",
        "runtime",
    ],
    hints: &[
        ("node", "write a [nodes.NAME] table for each node"),
        (
            "interface",
            "write [nics.NAME] for a service NIC, [links.NAME] with nic for a heartbeat NIC",
        ),
        ("vip", "write each address as [[vips]]"),
    ],
};
/// The rhythm.
pub(super) const TIMING: Words = Words {
    table: "[timing]",
    keys: &[
        "keepalive",
        "warntime",
        "deadtime",
        "dead-host-time",
        "initdead",
        "isolated-grace",
        "fence-check-interval",
        "path-hold",
        "path-rest",
    ],
    hints: &[],
};
/// One node.
pub(super) const NODE: Words = Words {
    table: "[nodes.NAME]",
    keys: &["id", "fence-delay", "fencing", "links"],
    hints: &[
        ("address", NODE_ADDRESS),
        ("ip", NODE_ADDRESS),
        ("preferred", "write preferred = \"NAME\" at the top"),
    ],
};
/// One heartbeat link over a NIC.
pub(super) const LINK: Words = Words {
    table: "[links.NAME]",
    keys: &["type", "nic", "port", "group", "backup", "keepalive", "warntime", "deadtime"],
    hints: &[
        ("address", LINK_ADDRESS),
        ("ip", LINK_ADDRESS),
        ("peer", LINK_ADDRESS),
        ("local", LINK_ADDRESS),
        ("device", "write nic for a NIC; for a serial line write type = \"serial\" as well"),
        ("baud", SERIAL_TYPE),
        ("rtscts", SERIAL_TYPE),
        ("serial", SERIAL_TYPE),
        ("tty", SERIAL_TYPE),
    ],
};
/// One heartbeat link over a serial line.
pub(super) const SERIAL_LINK: Words = Words {
    table: "[links.NAME] with type = \"serial\"",
    keys: &["type", "device", "baud", "rtscts", "backup", "keepalive", "warntime", "deadtime"],
    hints: &[
        ("serial", "write device = \"/dev/ttyS0\""),
        ("tty", "write device = \"/dev/ttyS0\""),
        ("dev", "write device = \"/dev/ttyS0\""),
        ("port", "write device = \"/dev/ttyS0\": a serial line has no UDP port"),
        ("speed", "write baud"),
        ("baudrate", "write baud"),
        ("crtscts", "write rtscts"),
        ("nic", "leave it out: a serial line has no NIC; or write type = \"udp\""),
        ("group", "leave it out: a serial line has two ends"),
        ("parity", EIGHT_BITS),
        ("bits", EIGHT_BITS),
        ("stopbits", EIGHT_BITS),
        ("xonxoff", "leave it out: heartbeats may hold any byte"),
        ("address", "leave it out: a serial line has no addresses; write device"),
    ],
};
/// One service NIC.
pub(super) const NIC: Words = Words {
    table: "[nics.NAME]",
    keys: &["ping", "ping-interval", "ping-count", "probe", "probe-interval", "probe-count"],
    hints: &[
        ("address", "write each address as [[vips]]"),
        ("vips", "write each address as [[vips]]"),
    ],
};
/// One virtual IP.
pub(super) const VIP: Words =
    Words { table: "[[vips]]", keys: &["address", "nic", "label"], hints: &[] };
/// A fence device of type "ipmi".
pub(super) const IPMI: Words = Words {
    table: "[[fence]] with type = \"ipmi\"",
    keys: &[
        "node",
        "level",
        "name",
        "type",
        "timeout",
        "address",
        "port",
        "user",
        "password-file",
        "cipher-suite",
    ],
    hints: &[],
};
/// A fence device of type "redfish".
pub(super) const REDFISH: Words = Words {
    table: "[[fence]] with type = \"redfish\"",
    keys: &[
        "node",
        "level",
        "name",
        "type",
        "timeout",
        "address",
        "port",
        "user",
        "password-file",
        "system",
        "certificate",
        "ca-file",
        "login",
    ],
    hints: &[
        ("ca", "write ca-file, the path of a PEM file"),
        ("cacert", "write ca-file, the path of a PEM file"),
        ("fingerprint", "write certificate"),
        ("insecure", TRUST),
        ("plug", "write system, the Id of the ComputerSystem"),
        ("ssl-insecure", TRUST),
        ("systems-uri", "write system, the path of the ComputerSystem"),
        ("url", "write address"),
        ("verify", TRUST),
    ],
};
/// A fence device of type "agent".
pub(super) const AGENT: Words = Words {
    table: "[[fence]] with type = \"agent\"",
    keys: &["node", "level", "name", "type", "timeout", "agent", "params", "secret-files"],
    hints: &[],
};
/// The process.
pub(super) const RUNTIME: Words = Words {
    table: "[runtime]",
    keys: &["control-socket", "runtime-dir", "state-dir", "priority", "lock-memory"],
    hints: &[],
};

const TABLES: [&Words; 11] =
    [&ROOT, &TIMING, &NODE, &LINK, &SERIAL_LINK, &NIC, &VIP, &IPMI, &REDFISH, &AGENT, &RUNTIME];

/// Words of keepalived, heartbeat and Pacemaker for things that tandem calls otherwise, and keys
/// that are easily taken for ours.
const FOREIGN: [(&str, &str); 40] = [
    ("advert_int", "write keepalive in [timing], such as \"100ms\""),
    ("auth", "write key-file at the top, and make the key with: tandem keygen"),
    ("auth_pass", "write key-file at the top, and make the key with: tandem keygen"),
    ("authentication", "write key-file at the top, and make the key with: tandem keygen"),
    ("authkeys", "write key-file at the top, and make the key with: tandem keygen"),
    ("auto_failback", "leave it out: a node that comes back becomes standby"),
    ("baud", "write a [links.NAME] table with type = \"serial\", device and baud"),
    ("bcast", "write a [links.NAME] table with nic"),
    ("dampen", "write path-hold in [timing]"),
    ("deadping", "write ping-interval and ping-count in [nics.NAME]"),
    ("dev", "write nic"),
    ("device", "write nic; a serial line is a [links.NAME] table with type = \"serial\""),
    ("garp_master_delay", "leave it out: addresses are announced at once and again"),
    ("haresources", "write the addresses as [[vips]]"),
    ("host", "write address"),
    ("interface", "write nic"),
    ("interface_up_down_delays", "write path-hold in [timing]"),
    ("ip", "write address"),
    ("ipaddr", "write address"),
    ("login", "write user"),
    ("mcast", "write a [links.NAME] table with nic and group"),
    ("mcast_src_ip", "write the address under [nodes.NAME.links]"),
    ("multicast", "write group, the multicast address"),
    ("nopreempt", "leave it out: a node that comes back becomes standby"),
    ("passwd", "write password-file: secrets are kept in files of their own"),
    ("password", "write password-file: secrets are kept in files of their own"),
    ("ping_group", "write ping in [nics.NAME]"),
    ("serial", "write a [links.NAME] table with type = \"serial\" and device"),
    ("state", "leave it out: every start is passive; preferred settles a cold start"),
    ("stonith", "write [[fence]]"),
    ("stonith_host", "write [[fence]]"),
    ("ucast", "write a [links.NAME] table, and the addresses under [nodes.NAME.links]"),
    (
        "track_interface",
        "write a [nics.NAME] table: the carrier of a service NIC is always watched",
    ),
    ("udpport", "write port in [links.NAME]"),
    ("unicast_peer", "write the addresses under [nodes.NAME.links]"),
    ("unicast_src_ip", "write the address under [nodes.NAME.links]"),
    ("virtual_ipaddress", "write each address as [[vips]]"),
    ("virtual_router_id", "write cluster at the top: its name separates clusters on one wire"),
    ("vrrp_instance", "write cluster at the top, and each address as [[vips]]"),
    ("watchdog", "leave it out: the watchdog belongs to the service unit"),
];

/// What to write instead of `word`, which no table `here` knows.
pub(super) fn remedy(word: &str, here: &Words) -> String {
    if let Some(key) = here.keys.iter().find(|key| same(word, key)) {
        return format!("write {key}");
    }
    let mut meant = here.hints.iter().chain(&FOREIGN);
    if let Some((_, remedy)) = meant.find(|(foreign, _)| same(word, foreign)) {
        return (*remedy).to_owned();
    }
    let homes: Vec<String> = TABLES
        .iter()
        .filter(|words| words.keys.iter().any(|key| same(word, key)))
        // What both types of link have is told once.
        .filter(|words| !is_serial(words) || !LINK.keys.iter().any(|key| same(word, key)))
        .map(|words| words.place())
        .collect();
    match (nearest(word, here.keys.iter().copied()), homes.as_slice()) {
        (Some(key), []) => format!("write {key}"),
        (Some(key), homes) => {
            format!("write {key}, or move it: {word} belongs {}", homes.join(" or "))
        }
        (None, []) => format!("leave it out, or write one of: {}", here.keys.join(", ")),
        (None, homes) => format!("move it: {word} belongs {}", homes.join(" or ")),
    }
}

fn is_serial(words: &Words) -> bool {
    words.table == SERIAL_LINK.table
}

/// Whether two words differ in nothing but capitals and `_` for `-`.
pub(super) fn same(a: &str, b: &str) -> bool {
    let plain = |c: u8| if c == b'_' { b'-' } else { c.to_ascii_lowercase() };
    a.bytes().map(plain).eq(b.bytes().map(plain))
}
