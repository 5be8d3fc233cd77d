//! Fence agents: a real one against `ipmi_sim`, and small ones with every vice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tandem::config::device::{Device, DeviceKind, Secret};
use tandem::io::child::{Child, End, OUTPUT_KEPT_MAX, Spec};
use tandem::io::fence::Order;
use tandem::types::{DeviceId, FenceFault, NodeId, Power};

use crate::bmc::{BmcServer, Knobs, PASSWORD, USER};
use crate::ipmi_sim::{IpmiSim, TempDir, require};
use crate::pool::{Loop, now};

const TIMEOUT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(400);

fn agent(program: PathBuf, params: &[(&str, &str)], password: &str) -> Device {
    let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let secrets = vec![("password".to_owned(), Secret::new(password.to_owned()))];
    let kind = DeviceKind::Agent { program, params, secrets };
    Device::new("agent-b", NodeId::new(2).unwrap(), kind)
}

/// An agent that is the shell script `body`, with its own directory as `$D`.
fn script(directory: &TempDir, body: &str) -> Device {
    let path = directory.0.join("fence_test");
    let text = format!("#!/bin/sh\nD={}\n{body}\n", directory.0.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    agent(path, &[("port", "7")], "s3cret words")
}

fn fence_ipmilan(port: u16, cipher: &str, password: &str) -> Device {
    let program = require("fence_ipmilan", "fence-agents");
    let port = port.to_string();
    let params = [("ip", "127.0.0.1"), ("ipport", &port), ("username", USER), ("lanplus", "1")];
    agent(program, &[&params[..], &[("cipher", cipher)]].concat(), password)
}

/// Whether the process whose number is written in `file` still runs.
fn is_alive(file: PathBuf) -> bool {
    let pid = fs::read_to_string(file).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !(stat.is_empty() || stat.contains(") Z "))
}

fn dies_in_time(file: PathBuf) -> bool {
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !is_alive(file.clone())
    })
}

#[test]
fn fence_ipmilan_reads_and_switches_ipmi_sim() {
    let sim = IpmiSim::start();
    let device = fence_ipmilan(sim.address.port(), "3", PASSWORD);
    let mut rig = Loop::new();
    assert_eq!(rig.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
    assert_eq!(rig.run(&device, Order::On, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    assert!(rig.longest_turn < Duration::from_millis(100), "{:?}", rig.longest_turn);
}

#[test]
fn fence_ipmilan_reads_and_switches_suite_17() {
    let server = BmcServer::start(Knobs { suites: vec![17], ..Knobs::default() });
    let device = fence_ipmilan(server.address.port(), "17", PASSWORD);
    let mut rig = Loop::new();
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert!(!server.bmc().knobs.power);
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
}

/// It does not say more than that it failed; what matters is that it is not taken for off.
#[test]
fn fence_ipmilan_with_a_wrong_password_fails() {
    let sim = IpmiSim::start();
    let device = fence_ipmilan(sim.address.port(), "3", "wrong");
    let (reading, _) = Loop::new().run(&device, Order::Read, TIMEOUT);
    assert!(
        matches!(reading, Err(FenceFault::AgentFailed | FenceFault::Credentials)),
        "{reading:?}"
    );
}

#[test]
fn an_agent_gets_its_lines_and_the_end_of_file_and_nothing_else() {
    let directory = TempDir::new();
    let body = "cat >$D/input; echo \"$# $PWD\" >$D/context; env | sort >$D/environment; exit 0";
    let device = script(&directory, body);
    assert_eq!(Loop::new().run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    let read = |name| fs::read_to_string(directory.0.join(name)).unwrap();
    assert_eq!(read("input"), "action=status\nport=7\npassword=s3cret words\n");
    assert_eq!(read("context"), "0 /\n");
    assert_eq!(read("environment"), "LC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n");
}

#[test]
fn exit_statuses_mean_what_the_agents_say() {
    let directory = TempDir::new();
    let cases = [
        ("exit 0", Order::Read, Ok(Power::On)),
        ("echo 'Status: OFF'; exit 2", Order::Check, Ok(Power::Off)),
        // What dies before it does anything often ends with 2.
        ("exit 2", Order::Check, Err(FenceFault::AgentFailed)),
        ("if fi", Order::Check, Err(FenceFault::AgentFailed)),
        ("exit 1", Order::Read, Err(FenceFault::AgentFailed)),
        ("exit 3", Order::Read, Err(FenceFault::AgentFailed)),
        ("exit 0", Order::Off, Ok(Power::Unknown)),
        ("exit 0", Order::On, Ok(Power::Unknown)),
        // Off is off only when it is read: this status of the action "off" means nothing.
        ("exit 2", Order::Off, Err(FenceFault::AgentFailed)),
        ("kill -9 $$", Order::Off, Err(FenceFault::AgentFailed)),
        ("kill -TERM $$", Order::Read, Err(FenceFault::AgentFailed)),
        (
            "echo Failed: Unable to connect/login to fencing device >&2; exit 1",
            Order::Off,
            Err(FenceFault::Unreachable),
        ),
        ("echo 'Connection timed out'; exit 1", Order::Read, Err(FenceFault::Unreachable)),
        ("echo 'Login failed'; exit 1", Order::Read, Err(FenceFault::Credentials)),
        ("echo 'invalid Password'; exit 1", Order::Read, Err(FenceFault::Credentials)),
        // What it prints never turns a failure into success.
        ("echo 'Status: OFF'; exit 1", Order::Read, Err(FenceFault::AgentFailed)),
    ];
    let mut rig = Loop::new();
    for (body, order, expected) in cases {
        let device = script(&directory, body);
        assert_eq!(rig.run(&device, order, TIMEOUT).0, expected, "{body} {order:?}");
    }
}

/// A broken agent, or one that forgot which machine it is for, has no say in a fence.
#[test]
fn off_that_is_read_counts_only_after_an_off_that_was_carried_out() {
    let directory = TempDir::new();
    let body = "read action; if [ $action = action=off ]; then
        [ -e $D/hangs ] && sleep 600; exit $(cat $D/off); fi; echo Status: OFF; exit 2";
    let device = script(&directory, body);
    let mut rig = Loop::new();
    let mut read_after = |off: &str, order| {
        fs::write(directory.0.join("off"), off).unwrap();
        let commanded = rig.run(&device, order, SHORT).0;
        (commanded, rig.run(&device, Order::Read, TIMEOUT).0)
    };
    let failed = Err(FenceFault::AgentFailed);
    let unclear = Ok(Power::Unknown);
    assert_eq!(read_after("0", Order::Check), (Ok(Power::Off), unclear), "never told to");
    assert_eq!(read_after("2", Order::Off), (failed, unclear));
    assert_eq!(read_after("0", Order::Off), (Ok(Power::Unknown), Ok(Power::Off)));
    let late = (Err(FenceFault::Timeout), unclear);
    fs::write(directory.0.join("hangs"), "").unwrap();
    assert_eq!(read_after("0", Order::Off), late);
    fs::remove_file(directory.0.join("hangs")).unwrap();
    assert_eq!(read_after("0", Order::Off), (Ok(Power::Unknown), Ok(Power::Off)));
    rig.settle();
}

#[test]
fn an_agent_that_hangs_is_killed_with_its_group_at_the_deadline() {
    let directory = TempDir::new();
    let body = "echo $$ >$D/pid; sleep 600 & echo $! >$D/grandchild; trap '' TERM; wait";
    let device = script(&directory, body);
    let mut rig = Loop::new();
    let (reading, took) = rig.run(&device, Order::Off, SHORT);
    assert_eq!(reading, Err(FenceFault::Timeout));
    assert!(took >= SHORT && took < SHORT + Duration::from_millis(300), "{took:?}");
    rig.settle();
    assert!(!is_alive(directory.0.join("pid")));
    assert!(dies_in_time(directory.0.join("grandchild")));
}

#[test]
fn a_grandchild_that_keeps_the_output_open_delays_nothing_and_is_killed() {
    let directory = TempDir::new();
    let device = script(&directory, "sleep 600 & echo $! >$D/grandchild; exit 0");
    let mut rig = Loop::new();
    let (reading, took) = rig.run(&device, Order::Read, TIMEOUT);
    assert_eq!(reading, Ok(Power::On));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(rig.pool.is_idle());
    assert!(dies_in_time(directory.0.join("grandchild")));
}

#[test]
fn half_a_megabyte_of_output_is_drained_and_endless_output_is_killed() {
    let directory = TempDir::new();
    let mut rig = Loop::new();
    let much = script(&directory, "yes | head -c 500000; echo Status: OFF; exit 2");
    assert_eq!(rig.run(&much, Order::Check, TIMEOUT).0, Ok(Power::Off));
    let endless = script(&directory, "echo $$ >$D/pid; exec cat /dev/zero");
    let (reading, took) = rig.run(&endless, Order::Read, TIMEOUT);
    assert_eq!(reading, Err(FenceFault::AgentFailed));
    assert!(took < Duration::from_secs(10), "{took:?}");
    rig.settle();
    assert!(!is_alive(directory.0.join("pid")));
}

#[test]
fn an_agent_that_reads_nothing_of_a_large_input_is_not_waited_for() {
    let directory = TempDir::new();
    let mut device = script(&directory, "exit 0");
    let DeviceKind::Agent { params, .. } = &mut device.kind else { unreachable!() };
    *params = (0..60).map(|n| (format!("p{n}"), "x".repeat(4000))).collect();
    let mut rig = Loop::new();
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    let device = script(&directory, "sleep 600");
    assert_eq!(rig.run(&device, Order::Read, SHORT).0, Err(FenceFault::Timeout));
    rig.settle();
}

#[test]
fn a_large_input_arrives_whole() {
    let directory = TempDir::new();
    let mut device = script(&directory, "sleep 0.2; cat >$D/input; exit 0");
    let DeviceKind::Agent { params, .. } = &mut device.kind else { unreachable!() };
    *params = (0..60).map(|n| (format!("p{n}"), "x".repeat(4000))).collect();
    assert_eq!(Loop::new().run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    let input = fs::read_to_string(directory.0.join("input")).unwrap();
    assert_eq!(input.lines().count(), 62);
    assert!(input.ends_with("password=s3cret words\n"));
    assert!(input.len() > 240_000);
}

#[test]
fn agents_that_cannot_be_started_fail_at_once() {
    let directory = TempDir::new();
    let mut rig = Loop::new();
    let missing = agent(directory.0.join("no_such_agent"), &[], "p");
    assert_eq!(rig.run(&missing, Order::Off, TIMEOUT).0, Err(FenceFault::AgentFailed));
    let plain = directory.0.join("not_executable");
    fs::write(&plain, "#!/bin/sh\nexit 2\n").unwrap();
    assert_eq!(
        rig.run(&agent(plain, &[], "p"), Order::Read, TIMEOUT).0,
        Err(FenceFault::AgentFailed)
    );
    let newline = [("ip", "1\naction=on")];
    let smuggling = agent(PathBuf::from("/bin/true"), &newline, "p");
    assert_eq!(rig.run(&smuggling, Order::Off, TIMEOUT).0, Err(FenceFault::AgentFailed));
    let overriding = agent(PathBuf::from("/bin/true"), &[("action", "on")], "p");
    assert_eq!(rig.run(&overriding, Order::Off, TIMEOUT).0, Err(FenceFault::AgentFailed));
}

#[test]
fn a_check_that_hangs_is_overtaken_at_once() {
    let directory = TempDir::new();
    let hanging = script(&directory, "sleep 600");
    let mut rig = Loop::new();
    let start = now();
    let check = rig.start(&hanging, Order::Check, TIMEOUT);
    let other = TempDir::new();
    let off = rig.start(&script(&other, "exit 0"), Order::Off, TIMEOUT);
    assert_eq!(rig.answers, [(check, Err(FenceFault::Cancelled))]);
    assert_eq!(rig.wait_for(off), Ok(Power::Unknown));
    rig.settle();
    assert!(now().since(start) < Duration::from_secs(5));
}

#[test]
fn many_agents_at_once_are_each_answered_once() {
    let directory = TempDir::new();
    let device = script(&directory, "sleep 0.1; exit 0");
    let mut rig = Loop::new();
    let ops: Vec<_> =
        (0..70u8).map(|id| rig.start_on(DeviceId(id), &device, Order::Read, TIMEOUT)).collect();
    for op in &ops[..64] {
        assert_eq!(rig.wait_for(*op), Ok(Power::On));
    }
    for op in &ops[64..] {
        assert_eq!(rig.wait_for(*op), Err(FenceFault::Cancelled), "the pool is bounded");
    }
    rig.settle();
}

/// The runner without a fence device: bytes in, status and output out.
#[test]
fn a_child_gets_arguments_and_bytes_and_tells_its_status_and_output() {
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    let deadline = now() + TIMEOUT;
    let mut run = |script: &str, input: Vec<u8>, deadline| {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let spec = Spec { program: PathBuf::from("/bin/sh"), arguments, input, deadline };
        let mut child = Child::start(poll.registry(), mio::Token(5), spec).unwrap();
        loop {
            if let Some(report) = child.take_report() {
                return report;
            }
            poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
            for event in &events {
                assert_eq!(event.token(), mio::Token(5));
                child.ready(poll.registry());
            }
            child.expire(poll.registry(), now());
        }
    };
    let report = run("tr a-z A-Z; echo to error >&2; exit 7", b"some bytes\n".to_vec(), deadline);
    assert_eq!(report.end, End::Exited(7));
    assert_eq!(report.output, b"SOME BYTES\nto error\n");
    let large: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let report = run("sha256sum | cut -c1-8; kill -6 $$", large, deadline);
    assert_eq!(report.end, End::Signalled(6));
    assert_eq!(report.output.len(), 9);
    let report = run("yes | head -c 100000; exit 0", Vec::new(), deadline);
    assert_eq!((report.end, report.output.len()), (End::Exited(0), OUTPUT_KEPT_MAX));
    let report = run("echo begun; sleep 600", Vec::new(), now() + SHORT);
    assert_eq!((report.end, report.output.as_slice()), (End::Deadline, b"begun\n".as_slice()));
}
