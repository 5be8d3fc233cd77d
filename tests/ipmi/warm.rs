//! The pool with sessions that are kept, over real sockets: against the test suite's BMC, which
//! misbehaves, and against `ipmi_sim`.

use std::process::Command;
use std::time::Duration;

use tandem::config::device::{Device, Suite};
use tandem::io::fence::Order;
use tandem::types::{DeviceId, FenceFault, Power};
use tandem::wire::ipmi::Weakness;

use crate::bmc::{BmcServer, Knobs, PASSWORD, USER};
use crate::ipmi_sim::{IpmiSim, require};
use crate::pool::{Loop, bmc_device};

const TIMEOUT: Duration = Duration::from_secs(5);
const CHASSIS_STATUS: (u8, u8) = (0x00, 0x01);
const CHASSIS_CONTROL: (u8, u8) = (0x00, 0x02);

/// A BMC with a session kept to it.
fn warm(knobs: Knobs) -> (BmcServer, Device, Loop) {
    let server = BmcServer::start(knobs);
    let device = bmc_device(server.address, Suite::Auto);
    let mut rig = Loop::new();
    rig.keep();
    assert!(rig.run(&device, Order::Check, TIMEOUT).0.is_ok());
    // The questions are asked.
    rig.linger(Duration::from_millis(50));
    assert_eq!(sessions(&server), (1, 1));
    server.bmc().commands.clear();
    (server, device, rig)
}

/// How many sessions were ever opened, and how many are open.
fn sessions(server: &BmcServer) -> (u32, usize) {
    let bmc = server.bmc();
    (bmc.sessions_opened, bmc.open_sessions())
}

fn fence(rig: &mut Loop, device: &Device) -> Duration {
    let (told, first) = rig.run(device, Order::Off, TIMEOUT);
    assert_eq!(told, Ok(Power::Unknown));
    let (read, second) = rig.run(device, Order::Read, TIMEOUT);
    assert_eq!(read, Ok(Power::Off));
    first + second
}

#[test]
fn a_fence_through_the_kept_session_is_two_commands_and_no_new_session() {
    let (server, device, mut rig) = warm(Knobs::default());
    fence(&mut rig, &device);
    assert_eq!(server.bmc().commands, [CHASSIS_CONTROL, CHASSIS_STATUS]);
    assert_eq!(sessions(&server), (1, 1));
    assert!(rig.pool.session(DeviceId(0)).unwrap().is_open);
    rig.close();
    assert_eq!(server.bmc().open_sessions(), 0);
    assert!(!rig.pool.session(DeviceId(0)).unwrap().is_open);
}

#[test]
fn a_forgotten_session_costs_a_moment_and_leaves_one_session() {
    let (server, device, mut rig) = warm(Knobs::default());
    for round in 2..6 {
        server.bmc().reboot();
        server.bmc().knobs.power = true;
        let took = fence(&mut rig, &device);
        assert!(took < Duration::from_millis(400), "{took:?}");
        assert_eq!(server.bmc().sessions_opened, round);
        assert_eq!(server.bmc().open_sessions(), 1);
    }
    rig.close();
    assert_eq!(server.bmc().open_sessions(), 0);
}

/// It is started anew between the command and the reading.
#[test]
fn a_bmc_that_reboots_between_command_and_verdict_is_read_all_the_same() {
    let (server, device, mut rig) = warm(Knobs::default());
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    server.bmc().reboot();
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
    // And one that has forgotten the command as well.
    server.bmc().reboot();
    server.bmc().knobs.power = true;
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
}

/// Row 28: a check that is not answered is overtaken at once, and its session is not waited for.
#[test]
fn an_order_waits_neither_for_a_check_nor_for_the_session_that_hangs_with_it() {
    let (server, device, mut rig) = warm(Knobs::default());
    server.bmc().hang_session();
    let check = rig.start(&device, Order::Check, TIMEOUT);
    rig.linger(Duration::from_millis(30));
    let (told, took) = rig.run(&device, Order::Off, TIMEOUT);
    assert_eq!((told, rig.wait_for(check)), (Ok(Power::Unknown), Err(FenceFault::Cancelled)));
    assert!(took < Duration::from_millis(300), "{took:?}");
    assert!(!server.bmc().knobs.power);
    rig.close();
}

/// Nothing is known of a BMC that died: the fault is that of the fresh session, at the deadline.
#[test]
fn a_bmc_that_dies_while_a_fence_is_under_way_is_unreachable_at_the_deadline() {
    let (server, device, mut rig) = warm(Knobs::default());
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    server.bmc().knobs.silent = true;
    let timeout = Duration::from_millis(900);
    let (reading, took) = rig.run(&device, Order::Read, timeout);
    assert_eq!(reading, Err(FenceFault::Unreachable), "never a proof");
    assert!(took >= timeout && took < timeout + Duration::from_millis(300), "{took:?}");
    assert!(!rig.pool.session(DeviceId(0)).unwrap().is_open);
    // It comes back: a session is opened again without any order.
    server.bmc().knobs.silent = false;
    rig.linger(Duration::from_secs(4));
    assert!(rig.pool.session(DeviceId(0)).unwrap().is_open);
}

#[test]
fn what_a_bmc_refuses_is_told_by_a_fresh_session() {
    for (knobs, fault) in [
        (Knobs { refuse: Some(0xc1), ..Knobs::default() }, FenceFault::Unsupported),
        (Knobs { refuse: Some(0xd4), ..Knobs::default() }, FenceFault::Privilege),
        (Knobs { password: "changed".to_owned(), ..Knobs::default() }, FenceFault::Credentials),
    ] {
        let (server, device, mut rig) = warm(Knobs::default());
        let is_refused_in_session = knobs.refuse.is_some();
        server.bmc().knobs = knobs;
        if !is_refused_in_session {
            server.bmc().reboot();
        }
        assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Err(fault));
        rig.linger(Duration::from_millis(100));
        assert!(server.bmc().open_sessions() <= 1, "{fault}");
        let opened = server.bmc().sessions_opened;
        rig.linger(Duration::from_millis(2500));
        assert_eq!(server.bmc().sessions_opened, opened, "{fault} is not tried again and again");
        rig.close();
    }
}

/// Others have all other sessions: the kept one still works, and when it is gone that is told.
#[test]
fn a_session_limit_is_told_and_the_kept_session_lives_with_it() {
    let (server, device, mut rig) = warm(Knobs::default());
    server.bmc().knobs.sessions_max = 1;
    fence(&mut rig, &device);
    server.bmc().reboot();
    server.bmc().knobs.sessions_max = 0;
    let reading = rig.run(&device, Order::Read, Duration::from_secs(1)).0;
    assert_eq!(reading, Err(FenceFault::Exhausted));
    server.bmc().knobs.sessions_max = 1;
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
    assert_eq!(server.bmc().open_sessions(), 1);
}

#[test]
fn a_bmc_that_lies_or_changes_its_mind_is_read_as_it_is() {
    let (server, device, mut rig) = warm(Knobs { lies: true, ..Knobs::default() });
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    server.bmc().knobs.power = false;
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
    server.bmc().knobs.power = true;
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
}

#[test]
fn answers_of_other_sessions_and_slow_ones_do_not_disturb_a_kept_session() {
    let (server, device, mut rig) = warm(Knobs { noise: true, ..Knobs::default() });
    fence(&mut rig, &device);
    assert_eq!(server.bmc().sessions_opened, 1);
    let slow = Knobs { delay: Duration::from_millis(40), ..Knobs::default() };
    let (server, device, mut rig) = warm(slow);
    fence(&mut rig, &device);
    assert_eq!(server.bmc().sessions_opened, 1, "it is slow, not lost");
}

/// Two nodes, or a node and somebody's monitoring, share a BMC.
#[test]
fn two_pools_share_a_bmc_with_a_session_each() {
    let (server, device, mut one) = warm(Knobs::default());
    let mut other = Loop::new();
    other.keep();
    for _ in 0..20 {
        assert_eq!(other.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
        assert_eq!(one.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
    }
    assert_eq!(sessions(&server), (2, 2));
    let (off, read) =
        (one.start(&device, Order::Off, TIMEOUT), other.start(&device, Order::Off, TIMEOUT));
    assert_eq!(one.wait_for(off), Ok(Power::Unknown));
    assert_eq!(other.wait_for(read), Ok(Power::Unknown));
    other.close();
    assert_eq!(server.bmc().open_sessions(), 1);
}

/// A session that nothing is asked in is asked whether it lives, and one that is lost is opened
/// again, all by itself.
#[test]
fn a_quiet_session_is_kept_alive_and_a_lost_one_is_opened_again() {
    let (server, _, mut rig) = warm(Knobs::default());
    rig.linger(Duration::from_secs(11));
    assert_eq!(server.bmc().commands, [CHASSIS_STATUS]);
    assert!(rig.answers.len() == 1, "nobody asked for that");
    server.bmc().reboot();
    rig.linger(Duration::from_secs(11));
    assert_eq!(sessions(&server), (2, 1));
    rig.close();
    assert!(rig.pool.is_idle());
}

#[test]
fn no_session_is_kept_before_its_time() {
    let server = BmcServer::start(Knobs::default());
    let device = bmc_device(server.address, Suite::Auto);
    let mut rig = Loop::new();
    rig.pool.keep_sessions(crate::pool::now() + Duration::from_secs(2));
    for _ in 0..5 {
        assert_eq!(rig.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
        rig.settle();
        assert_eq!(server.bmc().open_sessions(), 0);
    }
    rig.linger(Duration::from_millis(2300));
    assert_eq!(server.bmc().open_sessions(), 1, "then it is opened without an order");
}

/// Two orders at a time to one device leave one session, not two.
#[test]
fn never_more_than_one_session_stays_open_to_a_device() {
    let (server, device, mut rig) = warm(Knobs::default());
    let ops: Vec<_> = (0..6).map(|_| rig.start(&device, Order::Read, TIMEOUT)).collect();
    for op in ops {
        assert_eq!(rig.wait_for(op), Ok(Power::On));
    }
    rig.settle();
    assert_eq!(server.bmc().open_sessions(), 1);
    rig.close();
    assert_eq!(server.bmc().open_sessions(), 0);
}

/// How a lossy network treats fences through the kept session. `TANDEM_FENCES` sets how many.
#[test]
fn fences_over_a_network_that_loses_a_fifth_each_way_all_succeed() {
    let count = std::env::var("TANDEM_FENCES").ok().and_then(|text| text.parse().ok());
    let count: usize = count.unwrap_or(60);
    let (server, device, mut rig) = warm(Knobs::default());
    server.bmc().knobs.loss = 20;
    let mut times = Vec::new();
    for _ in 0..count {
        server.bmc().knobs.power = true;
        times.push(fence(&mut rig, &device));
    }
    times.sort();
    let opened = server.bmc().sessions_opened;
    let at = |percent: usize| times[(count * percent / 100).min(count - 1)];
    println!(
        "{count} fences, all succeeded within {TIMEOUT:?} an order: median {:?}, 90 % {:?}, \
         99 % {:?}, slowest {:?}; {opened} sessions",
        at(50),
        at(90),
        at(99),
        at(100)
    );
    server.bmc().knobs.loss = 0;
    rig.close();
    assert!(server.bmc().open_sessions() <= 16);
}

/// What `ipmi_sim` says of its sessions, asked in one of the asker's own.
fn active_sessions(sim: &IpmiSim) -> u32 {
    let port = sim.address.port().to_string();
    let output = Command::new(require("ipmitool", "ipmitool"))
        .args(["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-p", &port])
        .args(["-U", USER, "-P", PASSWORD, "session", "info", "active"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("active sessions")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn ipmi_sim_is_fenced_through_one_session_and_has_none_left_at_the_end() {
    let sim = IpmiSim::with_chassis();
    let device = bmc_device(sim.address, Suite::Auto);
    let mut rig = Loop::new();
    rig.keep();
    assert_eq!(rig.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
    rig.linger(Duration::from_millis(500));
    let session = rig.pool.session(DeviceId(0)).unwrap();
    assert_eq!(session.facts.firmware.map(|it| (it.major, it.minor)), Some((9, 8)));
    let weak = [Weakness::SuiteZero, Weakness::NoAuthentication];
    assert_eq!(session.facts.weaknesses[..2], weak, "{:?}", session.facts);
    let since = session.since;
    let mut times = Vec::new();
    for _ in 0..20 {
        sim.set_power(true);
        times.push(fence(&mut rig, &device));
        assert!(!sim.has_power());
        assert_eq!(active_sessions(&sim), 2, "this one's, and the one that is kept");
    }
    times.sort();
    println!("median {:?}, slowest {:?}", times[10], times[19]);
    assert_eq!(rig.pool.session(DeviceId(0)).unwrap().since, since, "the same session");
    rig.close();
    assert_eq!(active_sessions(&sim), 1);
}
