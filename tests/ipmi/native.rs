//! The native client over real sockets: against `ipmi_sim`, against the test suite's BMC, and
//! beside `ipmitool`.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use tandem::config::device::Suite;
use tandem::io::fence::Order;
use tandem::types::{DeviceId, FenceFault, MachineId, Owner, Power};
use tandem::wire::guid;

use crate::bmc::{BmcServer, GUID, Knobs, PASSWORD, USER};
use crate::ipmi_sim::{IpmiSim, free_udp_port, require};
use crate::pool::{Loop, bmc_device, bmc_device_as};

const TIMEOUT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(700);

/// What `ipmitool chassis power ACTION` prints.
fn ipmitool(address: SocketAddr, suite: &str, action: &str) -> String {
    let program = require("ipmitool", "ipmitool");
    let port = address.port().to_string();
    let output = Command::new(program)
        .args(["-I", "lanplus", "-C", suite, "-H", "127.0.0.1", "-p", &port])
        .args(["-U", USER, "-P", PASSWORD, "-N", "1", "-R", "3", "chassis", "power", action])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "ipmitool {action}: {text} {output:?}");
    text
}

/// Reads until the power is `expected`: a real host needs a moment to lose it.
fn reads_in_time(rig: &mut Loop, device: &tandem::config::device::Device, expected: Power) {
    for _ in 0..100 {
        if rig.run(device, Order::Read, TIMEOUT).0 == Ok(expected) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the power never reads {expected}");
}

/// It proves who it is when the session is opened: before anything is told to it.
#[test]
fn a_bmc_that_is_not_the_hosts_is_told_nothing() {
    let server = BmcServer::start(Knobs::default());
    let device = bmc_device(server.address, Suite::Auto);
    let digest = |guid| MachineId { platform: guid::digest(guid), ..MachineId::UNKNOWN };
    let mut reversed = GUID;
    reversed.reverse();
    let mut rig = Loop::new();
    rig.owner = Owner { own: digest(reversed), host: MachineId::UNKNOWN };
    for order in [Order::Off, Order::On] {
        assert_eq!(rig.run(&device, order, TIMEOUT).0, Err(FenceFault::WrongMachine));
    }
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On), "it may be asked");
    let told = rig.pool.take_identity().unwrap();
    let proven = MachineId { proven: guid::digest(GUID), ..MachineId::UNKNOWN };
    assert_eq!(told, (DeviceId(0), proven));
    // Both boards have the same one: it tells nobody apart.
    rig.owner.host = rig.owner.own;
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
}

#[test]
fn ipmi_sim_is_read_and_switched_and_ipmitool_agrees() {
    let sim = IpmiSim::start();
    let mut rig = Loop::new();
    for suite in [Suite::Three, Suite::Auto] {
        let device = bmc_device(sim.address, suite);
        assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
        assert_eq!(ipmitool(sim.address, "3", "status"), "Chassis Power is on");
        assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
        reads_in_time(&mut rig, &device, Power::Off);
        assert_eq!(ipmitool(sim.address, "3", "status"), "Chassis Power is off");
        // Off once more: acknowledged or read, but no failure.
        let again = rig.run(&device, Order::Off, TIMEOUT).0;
        assert!(matches!(again, Ok(Power::Unknown | Power::Off)), "{again:?}");
        assert_eq!(rig.run(&device, Order::On, TIMEOUT).0, Ok(Power::Unknown));
        reads_in_time(&mut rig, &device, Power::On);
        assert_eq!(ipmitool(sim.address, "3", "status"), "Chassis Power is on");
    }
    rig.settle();
}

#[test]
fn ipmi_sim_tells_wrong_credentials_and_an_unknown_suite_apart() {
    let sim = IpmiSim::start();
    let mut rig = Loop::new();
    let cases = [
        (bmc_device_as(sim.address, Suite::Three, USER, "wrong"), FenceFault::Credentials),
        (bmc_device_as(sim.address, Suite::Three, "nobody", PASSWORD), FenceFault::Credentials),
        (bmc_device(sim.address, Suite::Seventeen), FenceFault::Refused),
    ];
    for (device, expected) in cases {
        let (reading, took) = rig.run(&device, Order::Off, TIMEOUT);
        assert_eq!(reading, Err(expected), "{device:?}");
        assert!(took < Duration::from_secs(1), "{expected:?} is told at once: {took:?}");
    }
    assert_eq!(ipmitool(sim.address, "3", "status"), "Chassis Power is on");
}

/// `ipmi_sim` has 63 sessions: a client that leaves them open is refused long before the end.
#[test]
fn a_hundred_orders_leave_ipmi_sim_room_for_ipmitool() {
    let sim = IpmiSim::start();
    let device = bmc_device(sim.address, Suite::Three);
    let mut rig = Loop::new();
    for _ in 0..100 {
        assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    }
    rig.settle();
    assert_eq!(ipmitool(sim.address, "3", "status"), "Chassis Power is on");
}

#[test]
fn native_client_and_ipmitool_agree_on_both_suites() {
    for (suite, number) in [(Suite::Three, "3"), (Suite::Seventeen, "17")] {
        let knobs = Knobs { suites: vec![number.parse().unwrap()], ..Knobs::default() };
        let server = BmcServer::start(knobs);
        let device = bmc_device(server.address, suite);
        let mut rig = Loop::new();
        assert_eq!(ipmitool(server.address, number, "status"), "Chassis Power is on");
        assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
        assert_eq!(ipmitool(server.address, number, "status"), "Chassis Power is off");
        assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
        assert_eq!(ipmitool(server.address, number, "on"), "Chassis Power Control: Up/On");
        assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
        assert_eq!(ipmitool(server.address, number, "off"), "Chassis Power Control: Down/Off");
        assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
        assert_eq!(rig.run(&device, Order::On, TIMEOUT).0, Ok(Power::Unknown));
        assert_eq!(ipmitool(server.address, number, "status"), "Chassis Power is on");
        rig.settle();
        assert!(server.closes_all_sessions());
        assert_eq!(rig.pool.guid(DeviceId(0)), Some(GUID));
    }
}

#[test]
fn failures_of_a_bmc_are_told_apart() {
    let cases = [
        (Knobs { password: "other".to_owned(), ..Knobs::default() }, FenceFault::Credentials),
        (Knobs { user: "other".to_owned(), ..Knobs::default() }, FenceFault::Credentials),
        (Knobs { privilege: 2, ..Knobs::default() }, FenceFault::Privilege),
        (Knobs { refuse: Some(0xd4), ..Knobs::default() }, FenceFault::Privilege),
        (Knobs { refuse: Some(0xff), ..Knobs::default() }, FenceFault::Refused),
        (Knobs { refuse: Some(0xc1), ..Knobs::default() }, FenceFault::Unsupported),
        (Knobs { sessions_max: 0, ..Knobs::default() }, FenceFault::Exhausted),
        (Knobs { garbage: true, ..Knobs::default() }, FenceFault::Garbled),
        (Knobs { mute: true, ..Knobs::default() }, FenceFault::Timeout),
        (Knobs { silent: true, ..Knobs::default() }, FenceFault::Unreachable),
    ];
    for (knobs, expected) in cases {
        let server = BmcServer::start(knobs);
        let device = bmc_device(server.address, Suite::Auto);
        let mut rig = Loop::new();
        let (reading, took) = rig.run(&device, Order::Off, SHORT);
        assert_eq!(reading, Err(expected));
        assert!(took < SHORT + Duration::from_millis(300), "{expected:?} after {took:?}");
        assert!(server.bmc().knobs.power, "{expected:?}");
        assert!(rig.longest_turn < Duration::from_millis(100), "{:?}", rig.longest_turn);
    }
}

#[test]
fn an_acknowledged_order_that_is_not_carried_out_still_reads_on() {
    let server = BmcServer::start(Knobs { lies: true, ..Knobs::default() });
    let device = bmc_device(server.address, Suite::Auto);
    let mut rig = Loop::new();
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
}

#[test]
fn a_dead_bmc_is_unreachable_at_the_deadline_whether_refused_or_swallowed() {
    let black_hole = UdpSocket::bind("127.0.0.1:0").unwrap();
    let swallowing = black_hole.local_addr().unwrap();
    let unroutable: SocketAddr = "240.0.0.1:623".parse().unwrap();
    for address in [free_udp_port(), swallowing, unroutable] {
        let mut rig = Loop::new();
        let device = bmc_device(address, Suite::Auto);
        let (reading, took) = rig.run(&device, Order::Read, SHORT);
        assert_eq!(reading, Err(FenceFault::Unreachable), "{address}");
        assert!(took >= SHORT && took < SHORT + Duration::from_millis(300), "{took:?}");
    }
}

/// A BMC boots before its host: connection refused is no verdict.
#[test]
fn a_bmc_that_comes_up_inside_the_deadline_is_found() {
    let address = free_udp_port();
    let device = bmc_device(address, Suite::Auto);
    let mut rig = Loop::new();
    let op = rig.start(&device, Order::Off, TIMEOUT);
    for _ in 0..3 {
        rig.turn();
    }
    let server = BmcServer::start_on(address, Knobs::default());
    assert_eq!(rig.wait_for(op), Ok(Power::Unknown));
    assert!(!server.bmc().knobs.power);
}

#[test]
fn a_bmc_is_spoken_to_over_ipv6() {
    let server = BmcServer::start_on("[::1]:0".parse().unwrap(), Knobs::default());
    let device = bmc_device(server.address, Suite::Auto);
    assert_eq!(Loop::new().run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
}

#[test]
fn the_suite_that_worked_is_remembered() {
    let server = BmcServer::start(Knobs {
        suites: vec![3],
        ignores_unknown_suites: true,
        ..Knobs::default()
    });
    let device = bmc_device(server.address, Suite::Auto);
    let mut rig = Loop::new();
    let (first, slow) = rig.run(&device, Order::Read, TIMEOUT);
    let (second, quick) = rig.run(&device, Order::Read, TIMEOUT);
    assert_eq!((first, second), (Ok(Power::On), Ok(Power::On)));
    assert!(slow > Duration::from_millis(500), "suite 17 was tried first: {slow:?}");
    assert!(quick < Duration::from_millis(100), "suite 3 was remembered: {quick:?}");
}

#[test]
fn a_fifth_lost_each_way_over_real_sockets_still_switches() {
    let server = BmcServer::start(Knobs { loss: 20, ..Knobs::default() });
    let device = bmc_device(server.address, Suite::Seventeen);
    let mut rig = Loop::new();
    let ops: Vec<_> = (0..20u8)
        .map(|id| rig.start_on(DeviceId(id), &device, Order::Off, Duration::from_secs(10)))
        .collect();
    for op in ops {
        assert_eq!(rig.wait_for(op), Ok(Power::Unknown));
    }
}

#[test]
fn a_real_order_overtakes_a_check_and_a_check_waits_for_nobody() {
    let slow = Knobs { delay: Duration::from_millis(50), ..Knobs::default() };
    let server = BmcServer::start(slow);
    let device = bmc_device(server.address, Suite::Auto);
    let mut rig = Loop::new();
    let check = rig.start(&device, Order::Check, TIMEOUT);
    rig.turn();
    let off = rig.start(&device, Order::Off, TIMEOUT);
    assert_eq!(rig.answers, [(check, Err(FenceFault::Cancelled))], "at once");
    let late = rig.start(&device, Order::Check, TIMEOUT);
    assert_eq!(rig.answers.last(), Some(&(late, Err(FenceFault::Cancelled))));
    assert_eq!(rig.wait_for(off), Ok(Power::Unknown));
    // A check of another device is not overtaken.
    let other = rig.start_on(DeviceId(1), &device, Order::Check, TIMEOUT);
    let read = rig.start(&device, Order::Read, TIMEOUT);
    assert_eq!(rig.wait_for(read), Ok(Power::Off));
    assert_eq!(rig.wait_for(other), Ok(Power::Off));
    rig.settle();
    assert!(server.closes_all_sessions());
}

/// More than one turn of the loop takes: what is left must not be forgotten.
#[test]
fn an_answer_behind_a_flood_is_found() {
    let server = BmcServer::start(Knobs { flood: 150, ..Knobs::default() });
    let device = bmc_device(server.address, Suite::Auto);
    let (reading, took) = Loop::new().run(&device, Order::Read, TIMEOUT);
    assert_eq!(reading, Ok(Power::On));
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_cancelled_order_is_answered_at_once_and_its_session_closed() {
    let server = BmcServer::start(Knobs { mute: true, ..Knobs::default() });
    let device = bmc_device(server.address, Suite::Auto);
    let mut rig = Loop::new();
    let op = rig.start(&device, Order::Off, TIMEOUT);
    while server.bmc().open_sessions() == 0 {
        rig.turn();
    }
    server.bmc().knobs.mute = false;
    rig.cancel(op);
    assert_eq!(rig.answers, [(op, Err(FenceFault::Cancelled))]);
    rig.cancel(op);
    rig.settle();
    assert!(server.closes_all_sessions());
}

#[test]
fn a_reading_takes_a_few_milliseconds() {
    let server = BmcServer::start(Knobs::default());
    let device = bmc_device(server.address, Suite::Seventeen);
    let mut rig = Loop::new();
    let mut times: Vec<_> = (0..30).map(|_| rig.run(&device, Order::Read, TIMEOUT).1).collect();
    times.sort();
    println!("fastest {:?}, median {:?}, slowest {:?}", times[0], times[15], times[29]);
    assert!(times[15] < Duration::from_millis(50), "{times:?}");
}
