//! Orders through the pool, as the daemon gives them.

use std::fs;
use std::time::Duration;

use tandem::config::{Device, DeviceKind, Login, Secret, Trust};
use tandem::io::fence::{FencePool, Order};
use tandem::types::{DeviceId, FenceFault, NodeId, Power};

use crate::bmc::{BmcServer, Knobs, Manner, PASSWORD, USER, Vice};
use crate::child::tandem;
use crate::pool::{BASE, Loop, now};

const TIMEOUT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(600);
/// What a turn of the loop may take: a process is made, bytes are copied.
const TURN_MAX: Duration = Duration::from_millis(100);

pub fn rig() -> Loop {
    let mut rig = Loop::new();
    rig.pool = FencePool::new(BASE).with_program(tandem());
    rig
}

fn device(server: &BmcServer) -> Device {
    let kind = DeviceKind::Redfish {
        host: server.address.ip().to_string(),
        port: server.address.port(),
        user: USER.to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        system: None,
        trust: Trust::Pinned(server.fingerprint),
        login: Login::Auto,
    };
    Device::new("bmc-b", NodeId::new(2).unwrap(), kind)
}

#[test]
fn power_is_read_cut_read_back_and_restored() {
    let server = BmcServer::start(Knobs::default());
    let device = device(&server);
    let mut rig = rig();
    assert_eq!(rig.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
    assert_eq!(rig.run(&device, Order::On, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    rig.settle();
    assert!(server.bmc().sessions.is_empty(), "every session is ended");
    assert!(rig.longest_turn < TURN_MAX, "{:?}", rig.longest_turn);
}

/// What becomes of the power is read, not believed.
#[test]
fn a_power_that_stays_on_or_comes_back_is_never_off() {
    let server = BmcServer::start(Knobs { manner: Manner::Lie, ..Knobs::default() });
    let mut rig = rig();
    assert_eq!(rig.run(&device(&server), Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    let (reading, took) = rig.run(&device(&server), Order::Read, TIMEOUT);
    assert_eq!(reading, Ok(Power::On));
    assert!(took > Duration::from_secs(1), "after an off it is waited for: {took:?}");
    let bounce = Manner::Bounce(Duration::from_millis(50));
    let server = BmcServer::start(Knobs { manner: bounce, ..Knobs::default() });
    assert_eq!(rig.run(&device(&server), Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(rig.run(&device(&server), Order::Read, TIMEOUT).0, Ok(Power::On));
    rig.settle();
}

#[test]
fn a_late_off_is_read_in_one_order() {
    let late = Manner::Late(Duration::from_millis(500));
    let server = BmcServer::start(Knobs { manner: late, ..Knobs::default() });
    let mut rig = rig();
    assert_eq!(rig.run(&device(&server), Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device(&server), Order::Read, TIMEOUT).0, Ok(Power::Off));
    rig.settle();
}

#[test]
fn a_slow_farewell_delays_no_answer() {
    let vices = vec![("DELETE", Vice::Hang)];
    let server = BmcServer::start(Knobs { vices, ..Knobs::default() });
    let mut rig = rig();
    let (reading, took) = rig.run(&device(&server), Order::Off, TIMEOUT);
    assert_eq!(reading, Ok(Power::Unknown));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!rig.pool.is_idle(), "it is still logging out");
    assert_eq!(rig.run(&device(&server), Order::Read, TIMEOUT).0, Ok(Power::Off));
    rig.settle();
}

#[test]
fn a_bmc_that_hangs_costs_the_deadline_and_leaves_no_process() {
    let server = BmcServer::start(Knobs { is_deaf: true, ..Knobs::default() });
    let mut rig = rig();
    let (reading, took) = rig.run(&device(&server), Order::Off, SHORT);
    assert_eq!(reading, Err(FenceFault::Timeout));
    assert!(took < SHORT + Duration::from_secs(2), "{took:?}");
    rig.settle();
    assert_eq!(children(), Vec::<String>::new());
}

/// A command that is given up must not be carried out later; a check is overtaken at once.
#[test]
fn orders_that_are_given_up_are_answered_at_once() {
    let vices = vec![("GET /redfish/v1/ ", Vice::Trickle(Duration::from_millis(5)))];
    let server = BmcServer::start(Knobs { vices, ..Knobs::default() });
    let mut rig = rig();
    let off = rig.start(&device(&server), Order::Off, TIMEOUT);
    rig.cancel(off);
    assert_eq!(rig.answers, [(off, Err(FenceFault::Cancelled))]);
    rig.settle();
    assert!(server.bmc().is_on());
    server.bmc().knobs.vices.clear();
    let begun = now();
    let check = rig.start(&device(&server), Order::Check, TIMEOUT);
    let off = rig.start(&device(&server), Order::Off, TIMEOUT);
    assert_eq!(rig.answers.last(), Some(&(check, Err(FenceFault::Cancelled))));
    assert_eq!(rig.wait_for(off), Ok(Power::Unknown));
    rig.settle();
    assert!(now().since(begun) < Duration::from_secs(5));
    assert!(server.bmc().sessions.is_empty(), "the check's session is ended, too");
}

#[test]
fn the_password_is_neither_in_arguments_nor_in_the_environment() {
    let server = BmcServer::start(Knobs { is_deaf: true, ..Knobs::default() });
    let mut rig = rig();
    let check = rig.start_on(DeviceId(3), &device(&server), Order::Check, SHORT);
    let shown: Vec<String> = (0..100)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            Some(children()).filter(|all| all.iter().any(|one| one.contains("redfish-child")))
        })
        .unwrap();
    for text in &shown {
        assert!(!text.contains(PASSWORD) && !text.contains(USER), "{text}");
    }
    assert_eq!(rig.wait_for(check), Err(FenceFault::Timeout));
    rig.settle();
}

#[test]
fn a_program_that_is_no_child_fails() {
    let server = BmcServer::start(Knobs::default());
    for program in ["/bin/true", "/bin/false", "/nowhere/at/all"] {
        let mut rig = Loop::new();
        rig.pool = FencePool::new(BASE).with_program(program.into());
        let (reading, _) = rig.run(&device(&server), Order::Read, TIMEOUT);
        assert_eq!(reading, Err(FenceFault::AgentFailed), "{program}");
        rig.settle();
    }
}

/// The arguments and environments of the children that this thread made.
fn children() -> Vec<String> {
    let own = format!("/proc/self/task/{}/children", nix::unistd::gettid());
    let pids = fs::read_to_string(own).unwrap();
    let read = |pid: &str, file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    pids.split_whitespace().map(|pid| read(pid, "cmdline") + &read(pid, "environ")).collect()
}
