//! The configuration as people meet it: files that are accepted, files that are refused with the
//! full text of every message, and texts that nobody meant as a configuration.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tandem::config::{
    self, Checked, DeviceKind, FileFacts, FileFault, Files, Fingerprint, Identity, Login,
    MachineFacts, Plan, Priority, Role, Suite, Transport, Trust,
};
use tandem::types::{BootId, DeviceId, Incarnation, Mac, NodeId};

const KEY: &str = "00112233445566778899aabbccddeeff0123456789abcdef0f1e2d3c4b5a6978";
const OTHER_KEY: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0f0123456789abcdef0f1e2d3c4b5a6978";

/// Secret files and programs that exist nowhere.
#[derive(Clone)]
struct Imagined(BTreeMap<PathBuf, FileFacts>);

impl Imagined {
    fn new() -> Self {
        let mut files = Self(BTreeMap::new());
        files.put("/etc/tandem/key", 0o600, 0, &format!("{KEY}\n"));
        files.put("/etc/tandem/bmc-smw1.pw", 0o600, 0, "hunter2\n");
        files.put("/etc/tandem/bmc-smw2.pw", 0o400, 0, "hunter3");
        files.put("/etc/tandem/pdu.pw", 0o600, 0, "swordfish\n");
        files.put("/etc/tandem/pdu-priv.pw", 0o600, 0, "marlinspike\n");
        files
    }

    fn put(&mut self, path: &str, mode: u32, owner: u32, content: &str) {
        let content = content.replace("\\n", "\n").replace("KEY1", KEY).replace("KEY2", OTHER_KEY);
        self.0.insert(path.into(), FileFacts { content: content.into_bytes(), mode, owner });
    }
}

impl Files for Imagined {
    fn read(&self, path: &Path) -> Result<FileFacts, FileFault> {
        match path.to_str() {
            Some("/etc/tandem") => Err(FileFault::NotAFile),
            Some("/etc/tandem/huge") => Err(FileFault::TooLong),
            Some("/etc/tandem/barred") => Err(FileFault::Refused("permission denied".into())),
            _ => self.0.get(path).cloned().ok_or(FileFault::Missing),
        }
    }

    fn is_program(&self, path: &Path) -> bool {
        path == Path::new("/usr/sbin/fence_apc_snmp")
    }

    fn is_in_memory(&self, path: &Path) -> bool {
        path.starts_with("/run")
    }

    fn device_name(&self, path: &Path) -> Option<String> {
        let known = [
            ("/dev/ttyS0", "ttyS0"),
            ("/dev/ttyS1", "ttyS1"),
            ("/dev/serial/by-id/usb-FTDI-port0", "ttyUSB0"),
        ];
        let found = known.into_iter().find(|(known, _)| path == Path::new(known));
        found.map(|(_, name)| name.to_owned())
    }
}

/// The machine that `host` is called, or that will be `node` whatever it is called.
fn machine(node: Option<&str>, host: &str) -> MachineFacts {
    let own = if node.unwrap_or(host).to_lowercase().starts_with("smw2") { 2 } else { 1 };
    let nic = |name: &str, nets: &[&str]| {
        (name.to_owned(), nets.iter().map(|net| net.parse().unwrap()).collect())
    };
    MachineFacts {
        host_name: host.to_owned(),
        nics: vec![
            nic("lo", &["127.0.0.1/8", "::1/128"]),
            nic("eth0", &["10.0.0.11/24", "10.0.0.100/24"]),
            nic("eth1", &["fd00:1::11/64", "fe80::11/64"]),
            nic("eth2", &[]),
            nic("eth6", &[&format!("10.88.0.{own}/24"), "fe80::1/64"]),
            nic("eth7", &[&format!("10.89.0.{own}/24")]),
        ],
        consoles: vec!["tty0".to_owned(), "ttyS1".to_owned()],
    }
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn check(text: &str, node: Option<&str>, host: &str) -> Checked {
    config::check("tandem.toml", text, node, &machine(node, host), &Imagined::new())
}

/// The plan of a file that is accepted.
fn plan(text: &str, node: &str) -> Plan {
    let checked = check(text, Some(node), "");
    checked.plan.unwrap_or_else(|| panic!("refused:\n{}", checked.findings))
}

/// The files that are accepted, and the first node of each.
fn accepted() -> Vec<(String, &'static str)> {
    vec![
        (file("docs/tandem.toml.example"), "smw1"),
        (file("tests/config/good.toml"), "smw1"),
        (file("tests/config/minimal.toml"), "smw1"),
        (file("tests/config/unusual.toml"), "a.example.com"),
    ]
}

#[test]
fn the_shipped_example_is_accepted_without_a_word() {
    let text = file("docs/tandem.toml.example");
    let checked = check(&text, None, "smw1.example.com");
    assert_eq!(checked.findings.to_string(), "");
    assert!(checked.plan.is_some());
}

#[test]
fn the_manual_page_tells_every_key_and_its_example_is_accepted() {
    let page = file("docs/man/tandem.toml.5");
    for (text, node) in accepted() {
        for line in plan(&text, node).normalised.lines() {
            // Names of links are the only keys that are not the file's own words.
            let Some((key, _)) = line.split_once(" = ") else { continue };
            let known = ["hb", "\"hb", "cable"].iter().any(|link| key.starts_with(link));
            let told = [format!(".It Ic {key} "), format!(" {key} ,"), format!(", {key} =")];
            assert!(known || told.iter().any(|form| page.contains(form)), "{key} is not told");
        }
    }
    let example = page.split(".Bd -literal -offset indent\n").nth(1).unwrap();
    let example = example.split(".Ed\n").next().unwrap();
    assert_eq!(check(example, None, "smw1").findings.to_string(), "");
}

#[test]
fn the_shipped_example_shows_the_defaults_it_does_not_write() {
    let written = file("docs/tandem.toml.example");
    let normalised = plan(&written, "smw1").normalised;
    let golden = file_golden("tests/config/example.normalised.toml", &normalised);
    assert_eq!(normalised, golden);
}

/// The golden file `name`; rewritten to `actual` first if `UPDATE_GOLDEN` is set.
fn file_golden(name: &str, actual: &str) -> String {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), actual).unwrap();
    }
    file(name)
}

#[test]
fn what_is_printed_parses_to_the_same_plan() {
    for (text, node) in accepted() {
        let first = plan(&text, node);
        let second = plan(&first.normalised, node);
        // Debug hides secrets; those are compared by themselves.
        assert_eq!(format!("{first:#?}"), format!("{second:#?}"));
        assert_eq!(first.devices, second.devices);
        assert_eq!(first.keys, second.keys);
    }
}

#[test]
fn both_nodes_have_the_same_digests_and_other_peers() {
    let text = file("tests/config/good.toml");
    let (one, two) = (plan(&text, "smw1"), plan(&text, "smw2"));
    let digests = |plan: &Plan| (plan.cluster_id, plan.config_digest);
    assert_eq!(digests(&one), digests(&two));
    let Transport::Udp(link) = &one.links[0].transport else { panic!("not UDP") };
    assert_eq!((link.nic.as_str(), link.port), ("eth6", 694));
    assert_eq!(link.local.to_string(), "10.88.0.1");
    assert_eq!(link.peers, [(NodeId::new(2).unwrap(), "10.88.0.2".parse().unwrap())]);
    let Transport::Udp(back) = &two.links[0].transport else { panic!("not UDP") };
    assert_eq!(back.peers, [(NodeId::new(1).unwrap(), "10.88.0.1".parse().unwrap())]);
}

#[test]
fn a_change_of_the_file_changes_the_digest_and_one_of_a_comment_does_not() {
    let text = file("tests/config/good.toml");
    let before = plan(&text, "smw1").config_digest;
    let commented = plan(&format!("# hello\n{text}"), "smw1").config_digest;
    let changed = plan(&text.replace("\"30s\"", "\"31s\""), "smw1").config_digest;
    assert_eq!(before, commented);
    assert_ne!(before, changed);
}

#[test]
fn the_least_file_gets_the_documented_defaults() {
    let plan = plan(&file("tests/config/minimal.toml"), "smw2");
    let millis = Duration::from_millis;
    let link = plan.links[0].settings;
    assert_eq!((link.keepalive, link.warntime), (millis(100), millis(300)));
    assert_eq!(link.deadtime, millis(500));
    assert_eq!(plan.timing.initdead, millis(5_000));
    assert_eq!(plan.timing.isolated_grace, millis(30_000));
    assert_eq!(plan.timing.fence_check_interval, millis(60_000));
    assert_eq!(plan.runtime.priority, Priority::RealTime(50));
    assert_eq!(plan.runtime.control_socket, Path::new("/run/tandem/control.sock"));
    assert!(plan.runtime.lock_memory);
    assert_eq!(plan.fence_delay, millis(5_000), "smw2 does not go first");
    assert!(plan.ladders.iter().all(|ladder| ladder.levels.is_empty()));
}

#[test]
fn the_unusual_file_means_what_it_says() {
    let plan = plan(&file("tests/config/unusual.toml"), "a.example.com");
    assert_eq!(plan.local.get(), 7);
    assert_eq!(plan.nodes.iter().map(|id| id.get()).collect::<Vec<_>>(), [1, 7]);
    assert_eq!(plan.fence_delay, Duration::from_secs(5), "the lower id goes first");
    let rhythm: Vec<_> = plan.links.iter().map(|link| link.settings.deadtime.as_millis()).collect();
    assert_eq!(rhythm, [100, 100, 1_500, 1_000], "cable, hb.0, hb1, and hbs ten times slower");
    assert_eq!(plan.timing.initdead, Duration::from_secs(15), "ten of the longest deadtime");
    let backups: Vec<_> = plan.links.iter().map(|link| link.backup).collect();
    assert_eq!(backups, [false, false, false, true]);
    let Transport::Serial(cable) = &plan.links[0].transport else { panic!("not serial") };
    assert_eq!(cable.device, Path::new("/dev/ttyS0"));
    assert_eq!((cable.baud.bits_per_second(), cable.rtscts), (921_600, true));
    assert_eq!(cable.peer.get(), 1);
    let devices: Vec<_> = plan.devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(
        devices,
        ["pdu-left", "pdu-right", "ipmi-b.example.com", "redfish-b.example.com", "pinned"]
    );
    let DeviceKind::Redfish { host, port, system, trust, login, .. } = &plan.devices[3].kind else {
        panic!("not redfish: {:?}", plan.devices[3]);
    };
    assert_eq!((host.as_str(), *port, *login), ("fd00:9::2", 8443, Login::Basic));
    assert_eq!(system.as_deref(), Some("/redfish/v1/Systems/1"));
    assert_eq!(*trust, Trust::Authority("/etc/tandem/ca.pem".into()));
    let DeviceKind::Redfish { port, trust, login, .. } = &plan.devices[4].kind else {
        panic!("not redfish: {:?}", plan.devices[4]);
    };
    let pinned = Trust::Pinned(Fingerprint([0xab; 32]));
    assert_eq!((*port, trust, *login), (443, &pinned, Login::Auto));
    assert_eq!((plan.devices[4].role, plan.devices[4].identity), (Role::Witness, Identity::Ignore));
    assert_eq!(plan.ladders[1].levels[0].witnesses, []);
    let DeviceKind::Ipmi { address, user, suite, .. } = &plan.devices[2].kind else {
        panic!("not ipmi")
    };
    assert_eq!(*address, "[fd00:9::2]:6230".parse::<SocketAddr>().unwrap());
    assert_eq!((user.as_str(), *suite), ("ops \"two\"", Suite::Three));
    let levels = &plan.ladders[1].levels;
    assert_eq!(levels.len(), 1, "both supplies are one level");
    assert_eq!(levels[0].devices, [DeviceId(0), DeviceId(1)]);
    assert_eq!(levels[0].timeout, Duration::from_secs(90), "that of the slower device");
}

#[test]
fn the_engine_is_told_of_the_peer_and_its_ladder() {
    let plan = plan(&file("tests/config/good.toml"), "smw2");
    let settings = plan.engine_settings(BootId([7; 16]), Incarnation(9), [Mac([2; 6]); 8]);
    assert_eq!((settings.local.get(), settings.peers.len()), (2, 1));
    assert_eq!((settings.nics, settings.vips, settings.links.len()), (2, 2, 2));
    assert_eq!((settings.boot, settings.incarnation), (BootId([7; 16]), Incarnation(9)));
    assert_eq!(settings.config_digest, plan.config_digest);
    let peer = &settings.peers[0];
    assert_eq!(peer.node.get(), 1);
    assert_eq!(peer.fence_delay, Duration::from_secs(5), "how long smw2 itself waits");
    let levels: Vec<_> = peer.levels.iter().map(|l| (l.devices.clone(), l.timeout)).collect();
    let seconds = Duration::from_secs;
    assert_eq!(levels, [(vec![DeviceId(0)], seconds(10)), (vec![DeviceId(1)], seconds(30))]);
}

#[test]
fn secrets_are_loaded_and_never_shown() {
    let plan = plan(&file("tests/config/good.toml"), "smw1");
    let DeviceKind::Ipmi { password, .. } = &plan.devices[0].kind else { panic!("not ipmi") };
    assert_eq!(password.reveal(), "hunter2");
    assert_eq!(plan.keys.first.reveal()[..4], [0x00, 0x11, 0x22, 0x33]);
    let shown = format!("{plan:?}");
    for secret in ["hunter2", "hunter3", "swordfish", KEY, "17, 34, 51"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn two_keys_are_accepted_and_the_first_one_sends() {
    let mut files = Imagined::new();
    files.put("/etc/tandem/key", 0o600, 0, "# new\\nKEY2\\n\\n# old\\nKEY1\\n");
    let text = file("tests/config/good.toml");
    let checked = config::check("tandem.toml", &text, None, &machine(None, "smw1"), &files);
    let keys = checked.plan.unwrap().keys;
    assert_eq!(keys.first.reveal()[0], 0xf0);
    assert_eq!(keys.second.unwrap().reveal()[0], 0x00);
}

#[test]
fn a_node_is_found_by_its_short_or_full_host_name_in_any_case() {
    let text = file("tests/config/good.toml");
    for (host, id) in [("smw1", 1), ("smw2.example.com", 2), ("SMW1", 1), ("SMW2.x", 2)] {
        let checked = check(&text, None, host);
        let told = checked.findings.iter().any(|finding| finding.wrong.contains("this host is"));
        assert!(!told, "{host}");
        assert_eq!(check(&text, Some(&format!("smw{id}")), "").plan.unwrap().local.get(), id);
    }
    let long = file("tests/config/unusual.toml");
    let plan = check(&long, None, "a").plan.unwrap();
    assert_eq!(plan.local.get(), 7);
    let elsewhere = check(&long, None, "a.example.org");
    assert!(elsewhere.plan.is_none(), "another domain is another host");
}

/// So does the daemon read the file once more when a NIC is missing, to start without it.
#[test]
fn a_machine_that_is_not_asked_keeps_no_daemon_from_starting() {
    let text = file("tests/config/good.toml").replace("\"eth6\"", "\"eth9\"");
    for (node, host) in [(None, "smw1.example.com"), (Some("smw1"), ""), (Some("smw1"), "smw1")] {
        let strict = check(&text, node, host);
        assert!(strict.plan.is_none() && strict.findings.to_string().contains("no NIC eth9"));
        let unasked = MachineFacts { host_name: host.to_owned(), ..MachineFacts::default() };
        let read = config::check("tandem.toml", &text, node, &unasked, &Imagined::new());
        let plan = read.plan.unwrap_or_else(|| panic!("refused:\n{}", read.findings));
        assert_eq!(plan.local.get(), 1);
    }
}

/// A device that cannot fence is told, and the service runs: it may never be needed.
#[test]
fn a_fence_agent_that_is_not_installed_keeps_no_daemon_from_starting() {
    let text = file("tests/config/good.toml").replace("\"fence_apc_snmp\"", "\"fence_new\"");
    let strict = check(&text, Some("smw1"), "");
    let told = strict.findings.to_string();
    assert!(strict.plan.is_none() && told.contains("apt install fence-agents"), "{told}");
    let unasked = MachineFacts::default();
    let read = config::check("tandem.toml", &text, Some("smw1"), &unasked, &Imagined::new());
    assert_eq!(read.plan.unwrap().devices.len(), 3);
}

/// A file of cases, each of them changes to `good.toml` and all that is said then:
/// `== name`, then lines `-` (out, the first such line), `+` (in, where the last one went out, else
/// at the end), `!` (the surroundings), then `>>` and the messages.
struct Case {
    head: Vec<String>,
    said: String,
}

#[test]
fn refused_files_get_these_messages() {
    let name = "tests/config/refused.txt";
    let (intro, cases) = cases(&file(name));
    assert!(cases.len() >= 40, "{} cases", cases.len());
    let mut actual = intro;
    for case in &cases {
        let text = format!("{}\n>>\n{}\n", case.head.join("\n"), said(&case.head));
        actual.push_str(&text);
    }
    let golden = file_golden(name, &actual);
    for (case, wanted) in cases.iter().zip(self::cases(&golden).1) {
        assert_eq!(said(&case.head), wanted.said, "{}", case.head[0]);
    }
    assert_eq!(actual, golden);
}

fn cases(text: &str) -> (String, Vec<Case>) {
    let (mut intro, mut cases) = (String::new(), Vec::<Case>::new());
    let mut in_head = true;
    for line in text.lines() {
        if line.starts_with("== ") {
            cases.push(Case { head: vec![line.to_owned()], said: String::new() });
            in_head = true;
        } else if line == ">>" {
            in_head = false;
        } else {
            match cases.last_mut() {
                None => intro.push_str(&format!("{line}\n")),
                Some(case) if in_head => case.head.push(line.to_owned()),
                Some(case) if line.is_empty() => case.said = case.said.clone(),
                Some(case) => case.said.push_str(&format!("{line}\n")),
            }
        }
    }
    (intro, cases)
}

fn said(head: &[String]) -> String {
    let good = file("tests/config/good.toml");
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let mut files = Imagined::new();
    let (mut host, mut node, mut at) = ("smw1".to_owned(), None, lines.len());
    for line in &head[1..] {
        if let Some(out) = line.strip_prefix('-') {
            at = lines.iter().position(|l| l == out).unwrap_or_else(|| panic!("no {out:?}"));
            lines.remove(at);
        } else if let Some(added) = line.strip_prefix('+') {
            lines.insert(at, added.to_owned());
            at += 1;
        } else if line == "!nothing" {
            lines.clear();
            at = 0;
        } else if let Some(name) = line.strip_prefix("!host ") {
            host = name.to_owned();
        } else if let Some(name) = line.strip_prefix("!node ") {
            node = Some(name.to_owned());
        } else if let Some(secret) = line.strip_prefix("!file ") {
            let mut words = secret.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (path, mode, owner) = (word(), word(), word());
            let mode = u32::from_str_radix(mode, 8).unwrap();
            files.put(path, mode, owner.parse().unwrap(), word());
        } else {
            panic!("what is {line:?}?");
        }
    }
    let text = format!("{}\n", lines.join("\n"));
    let node = node.as_deref();
    let checked = config::check("tandem.toml", &text, node, &machine(None, &host), &files);
    let verdict = if checked.plan.is_some() { "accepted" } else { "refused" };
    assert_eq!(checked.plan.is_some(), checked.findings.errors() == 0, "{}", head[0]);
    format!("{}{verdict}\n", checked.findings)
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut dice = Dice(0x7461_6e64_656d);
    for _ in 0..2_000 {
        let bytes: Vec<u8> =
            (0..dice.roll(200)).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        let checked = check(&String::from_utf8_lossy(&bytes), None, "smw1");
        assert!(checked.plan.is_none());
    }
}

#[test]
fn mutated_files_never_panic_and_what_is_accepted_prints_and_parses() {
    let words = ["\"", "[", "]", "{", "=", "\n", ".", "é", "0", "-1", "[[vips]]\n", "\"24h\"", "#"];
    let mut dice = Dice(0x6c69_6e6b);
    let mut accepted_count = 0;
    for (text, node) in accepted() {
        for _ in 0..700 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(chars.len());
                match dice.roll(4) {
                    0 => drop(chars.remove(at)),
                    1 => chars.truncate(at.max(chars.len() / 2)),
                    2 => chars[at] = char::from(u8::try_from(32 + dice.roll(95)).unwrap()),
                    _ => drop(chars.splice(at..at, words[dice.roll(words.len())].chars())),
                }
            }
            let mutated: String = chars.into_iter().collect();
            let Some(first) = check(&mutated, Some(node), "").plan else { continue };
            accepted_count += 1;
            assert_eq!(plan(&first.normalised, node).normalised, first.normalised, "{mutated}");
        }
    }
    assert!(accepted_count > 200, "only {accepted_count} mutations were accepted");
}

#[test]
fn more_than_the_bounds_is_refused_in_bounded_time() {
    let good = file("tests/config/good.toml");
    let vips = "[[vips]]\naddress = \"10.0.0.100/24\"\nnic = \"eth0\"\n".repeat(5_000);
    let checked = check(&format!("{good}\n{vips}"), None, "smw1");
    assert!(checked.plan.is_none());
    assert!(checked.findings.errors() >= 4_000);
    assert!(checked.findings.to_string().lines().count() <= 401);
    let links: String = (0..20_000).map(|n| format!("[links.l{n}]\nnic = \"n{n}\"\n")).collect();
    let checked = check(&format!("{good}\n{links}"), None, "smw1");
    assert!(checked.findings.to_string().contains("links: 20002 links\n    write at most 16\n"));
    let garbage = check(&"x\n".repeat(100_000), None, "smw1");
    assert!(garbage.findings.errors() > 0);
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(check(&deep, None, "smw1").plan.is_none());
}
