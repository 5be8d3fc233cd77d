//! Whether a probe was asked at all.

use std::process::{Command, Stdio};
use std::time::Duration;

use tandem::config::network::Vip;
use tandem::io::network::Occurrence;
use tandem::types::NicId;

use crate::world::{PATIENCE, Rig, World, nic, vip};

/// Set in the process that is to run out of file descriptors: the limit is the whole process's.
const STARVED: &str = "TANDEM_TEST_STARVED";

// In: the NIC with the VIPs is up, down, up, gone; a second NIC, without VIPs, is never there.
// Out: a probe says whether its questions left.
#[test]
fn a_probe_tells_whether_a_question_left() {
    let Some(world) = World::new() else { return };
    let mut rig = Rig::new(&[nic("svc0", &[]), nic("idle0", &[])], &[vip("10.77.0.100/24")]);
    rig.during(Duration::from_millis(20));
    assert!(rig.network.probe());
    world.ip("link set svc0 down");
    rig.during(Duration::from_millis(50));
    assert!(!rig.network.probe(), "down");
    world.ip("link set svc0 up");
    rig.during(Duration::from_millis(100));
    assert!(rig.network.probe(), "up again");
    world.ip("link del svc0");
    rig.during(Duration::from_millis(50));
    assert!(!rig.network.probe(), "gone");
}

// In: a NIC appears when no socket can be opened; a second later one can.
// Out: until then no probe counts, though the other NIC is asked on; then they do.
#[test]
fn sockets_that_could_not_be_opened_spoil_a_probe_and_are_opened_later() {
    if std::env::var_os(STARVED).is_none() {
        let name = "probes::sockets_that_could_not_be_opened_spoil_a_probe_and_are_opened_later";
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name, "--nocapture"]).env(STARVED, "1").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let Some(world) = World::new() else { return };
    let late = Vip { nic: NicId(1), ..vip("10.99.0.100/24") };
    let nics = [nic("svc0", &[]), nic("late0", &[])];
    let mut rig = Rig::new(&nics, &[vip("10.77.0.100/24"), late]);
    rig.during(Duration::from_millis(20));
    assert!(rig.network.probe(), "a NIC that is not there is not asked on");
    let (pid, near) = (std::process::id(), &world.near);
    let script = format!(
        "prlimit --pid {pid} --nofile=3:1024 && ip -n {near} link add late0 type veth peer late1 \
         && ip -n {near} link set late1 up && ip -n {near} link set late0 up; \
         sleep 1; prlimit --pid {pid} --nofile=1024:1024"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null());
    let mut shell = shell.spawn().unwrap();
    rig.until(|o| matches!(o, Occurrence::Carrier { nic: NicId(1), up: true }).then_some(()));
    assert!(!rig.network.probe(), "nobody can be asked on late0");
    assert!(shell.wait().unwrap().success());
    let begin = tandem::sys::clock::now();
    while !rig.network.probe() {
        assert!(tandem::sys::clock::now().since(begin) < PATIENCE, "never asked on late0");
        rig.during(Duration::from_millis(20));
    }
}
