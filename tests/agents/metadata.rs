//! What real agents tell of their parameters, and what is told of configurations that do not fit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tandem::config::AgentUse;
use tandem::config::finding::Place;
use tandem::config::metadata::Given;
use tandem::io::agents::{ANSWER_MAX, inspect, inspect_each};

use crate::ipmi_sim::{TempDir, require};

fn agent(program: PathBuf, params: &[(&str, &str)], secrets: &[&str]) -> AgentUse {
    let place = |key: &str| Place { line: 0, key: key.to_owned() };
    let given = |name: &str, value: &str| Given {
        name: name.to_owned(),
        place: place(name),
        value: value.to_owned(),
    };
    AgentUse {
        program,
        place: place("agent"),
        params: params.iter().map(|(name, value)| given(name, value)).collect(),
        secrets: secrets.iter().map(|name| given(name, "")).collect(),
    }
}

fn system_agent(name: &str, params: &[(&str, &str)], secrets: &[&str]) -> AgentUse {
    require(name, "fence-agents");
    agent(Path::new("/usr/sbin").join(name), params, secrets)
}

/// What is told of one agent.
fn told(agent: &AgentUse) -> Vec<String> {
    let misfits = inspect_each(&[agent]).unwrap();
    misfits.iter().map(|m| format!("{}: {}; {}", m.place.key, m.wrong, m.instead)).collect()
}

fn script(directory: &TempDir, body: &str) -> PathBuf {
    let path = directory.0.join("fence_own");
    fs::write(&path, format!("#!/bin/sh\nD={}\n{body}\n", directory.0.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn parameters_that_fit_are_accepted_without_a_word() {
    let ipmilan = [("ip", "10.9.0.1"), ("username", "x"), ("lanplus", "1"), ("cipher", "3")];
    let snmp = [("ip", "10.9.0.9"), ("plug", "3"), ("snmp-version", "3")];
    for agent in [
        system_agent("fence_ipmilan", &ipmilan, &["password"]),
        system_agent("fence_apc_snmp", &snmp, &["snmp-priv-passwd", "community"]),
    ] {
        assert_eq!(told(&agent), Vec::<String>::new());
    }
}

#[test]
fn what_real_agents_would_ignore_or_miss_is_told() {
    let params = [("ipaddr", "10.9.0.1"), ("plgu", "3"), ("snmp_version", "4"), ("bogus", "1")];
    let told = told(&system_agent("fence_apc_snmp", &params, &[]));
    assert_eq!(told.len(), 4, "{told:#?}");
    assert_eq!(told[0], "ipaddr: ipaddr is obsolete; write ip");
    let unknown = "plgu: fence_apc_snmp knows no parameter plgu, and ignores it; write plug";
    assert_eq!(told[1], unknown);
    assert!(told[2].starts_with("snmp_version: \"4\" is nothing that"), "{}", told[2]);
    assert!(told[3].contains("leave it out, or write one of: community, ip,"), "{}", told[3]);
}

/// None of the package's agents is beyond understanding. Some few take no action on their input.
#[test]
fn the_metadata_of_every_agent_of_the_package_is_understood() {
    require("fence_ipmilan", "fence-agents");
    let names = fs::read_dir("/usr/sbin").unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    let agents: Vec<AgentUse> = names
        .iter()
        .filter(|name| name.starts_with("fence_"))
        .map(|name| system_agent(name, &[("no_such_thing_at_all", "1")], &[]))
        .collect();
    let misfits = inspect(&agents).unwrap();
    let unknown = misfits.iter().filter(|misfit| misfit.wrong.contains("knows no parameter"));
    let unknown = unknown.count();
    let silent: Vec<_> =
        misfits.iter().filter(|misfit| misfit.wrong.contains("tells nothing")).collect();
    assert_eq!(unknown + silent.len(), agents.len());
    assert!(silent.len() * 10 <= agents.len(), "{silent:#?}");
    assert!(silent.iter().all(|misfit| !misfit.wrong.contains("not XML")), "{silent:#?}");
}

/// An agent gets one line, and nothing by which it could find a device.
#[test]
fn an_agent_is_told_nothing_but_to_tell() {
    let directory = TempDir::new();
    let body =
        "cat >$D/input; echo \"$#\" >$D/count; env | sort >$D/environment; echo '<resource-agent>
        <parameters><parameter name=\"ip\"/></parameters></resource-agent>'";
    let agent = agent(script(&directory, body), &[("ip", "10.9.0.1")], &["password"]);
    assert_eq!(told(&agent).len(), 1, "password is unknown to it");
    let read = |name| fs::read_to_string(directory.0.join(name)).unwrap();
    assert_eq!((read("input").as_str(), read("count").as_str()), ("action=metadata\n", "0\n"));
    assert!(!read("environment").contains("10.9"));
}

/// What does not know the word might do something else: an agent of one's own is not run.
#[test]
fn an_agent_that_is_not_of_the_system_is_not_run() {
    let directory = TempDir::new();
    let own = agent(script(&directory, "touch $D/ran"), &[("bogus", "1")], &[]);
    assert_eq!(inspect(std::slice::from_ref(&own)).unwrap(), Vec::new());
    assert!(!directory.0.join("ran").exists());
    assert_eq!(told(&own).len(), 1);
    assert!(directory.0.join("ran").exists());
}

#[test]
fn agents_that_tell_nothing_cost_a_bounded_time_and_a_warning() {
    let directory = TempDir::new();
    for (body, why) in [
        ("exit 1", "it prints no metadata"),
        ("echo usage", "it prints no metadata"),
        ("echo '<resource-agent><a></resource-agent>'", "not XML"),
        ("exec cat /dev/zero", "without end"),
        ("kill -9 $$", "signal 9"),
    ] {
        let told = told(&agent(script(&directory, body), &[("ip", "x")], &[]));
        assert!(told.len() == 1 && told[0].contains(why), "{body}: {told:?}");
        assert!(told[0].contains("echo action=metadata"), "{told:?}");
    }
    let missing = agent("/nowhere/fence_x".into(), &[], &[]);
    assert_eq!(told(&missing), Vec::<String>::new(), "the configuration's own check tells it");
    let begun = Instant::now();
    let body = "echo $$ >$D/pid; exec sleep 600";
    let told = told(&agent(script(&directory, body), &[], &[]));
    assert!(told[0].contains("printed nothing within 10 s"), "{told:?}");
    assert!(begun.elapsed() < ANSWER_MAX + Duration::from_secs(3));
    let pid = fs::read_to_string(directory.0.join("pid")).unwrap();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let is_dead = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        stat().is_empty() || stat().contains(") Z ")
    });
    assert!(is_dead, "it is killed: {}", stat());
}

/// `tandem check` tells it with the line, as an error.
#[test]
fn the_check_of_a_configuration_asks_its_agents() {
    require("fence_apc_snmp", "fence-agents");
    let directory = TempDir::new();
    let (file, key) = (directory.0.join("tandem.toml"), directory.0.join("key"));
    let device = |node: &str, params: &str| {
        format!(
            "[[fence]]\nnode = \"{node}\"\ntype = \"agent\"\nagent = \"fence_apc_snmp\"\n\
             params = {{ {params} }}\n"
        )
    };
    let text = format!(
        "cluster = \"c\"\nkey-file = \"{}\"\n[nodes.a]\nlinks = {{ hb0 = \"10.1.0.1\" }}\n\
         [nodes.b]\nfence-delay = \"5s\"\nlinks = {{ hb0 = \"10.1.0.2\" }}\n\
         [links.hb0]\nnic = \"hb0\"\n[nics.e0]\n[[vips]]\naddress = \"10.2.0.100/24\"\n\
         nic = \"e0\"\n{}{}",
        key.display(),
        device("a", "ip = \"10.9.0.9\", plug = 3"),
        device("b", "ip = \"10.9.0.9\", plug = 4, plugg = 5"),
    );
    fs::write(&file, text).unwrap();
    let tandem = env!("CARGO_BIN_EXE_tandem");
    assert!(Command::new(tandem).arg("keygen").arg(&key).output().unwrap().status.success());
    let output =
        Command::new(tandem).args(["check", "--node", "a", "--config"]).arg(&file).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = ":23: error: fence[1].params.plugg: fence_apc_snmp knows no parameter plugg, \
                    and ignores it\n    write plug\n";
    assert!(told.contains(expected), "{told}");
    assert!(!told.contains("fence[0]"), "{told}");
}
