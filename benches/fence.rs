//! How long it takes to cut a power and to be certain of it, against one `ipmi_sim`: tandem's kept
//! session, `ipmitool`, and `fence_ipmilan`, in turns. `cargo bench --bench fence -- ROUNDS`.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a measurement: it waits, prints, and panics if it cannot go on"
)]

#[path = "../tests/support/bmc.rs"]
mod bmc;
#[path = "../tests/support/ipmi_sim.rs"]
mod ipmi_sim;
#[path = "../tests/support/pool.rs"]
mod pool;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bmc::{PASSWORD, USER};
use ipmi_sim::{IpmiSim, require};
use pool::{Loop, bmc_device};
use tandem::config::device::{Device, Suite};
use tandem::io::fence::Order;
use tandem::types::Power;

const ROUNDS_DEFAULT: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(5);

fn main() {
    let rounds = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    let rounds: usize = rounds.unwrap_or(ROUNDS_DEFAULT).max(1);
    let sim = IpmiSim::with_chassis();
    let device = bmc_device(sim.address, Suite::Three);
    let mut rig = Loop::new();
    rig.keep();
    assert_eq!(rig.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
    rig.linger(Duration::from_secs(1));

    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (tool, times) in times.iter_mut().enumerate() {
            sim.set_power(true);
            let begun = Instant::now();
            match tool {
                0 => tandem(&mut rig, &device),
                1 => ipmitool(&sim),
                _ => fence_ipmilan(&sim),
            }
            times.push(begun.elapsed());
            assert!(!sim.has_power(), "it says off, and the power is on");
        }
    }
    rig.close();
    println!("power off and verified off, {rounds} rounds: median / fastest / slowest");
    let names = ["tandem", "ipmitool", "fence_ipmilan"];
    let mut last = Vec::new();
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let median = ms(times[times.len() / 2]);
        let (fastest, slowest) = (ms(times[0]), ms(times[times.len() - 1]));
        println!("{name:<14} {median:8.2} / {fastest:8.2} / {slowest:8.2} ms");
        last.push(format!("{name}_ms={median:.2}"));
    }
    println!("{}", last.join(" "));
}

/// As the engine does: told, then read until it is off.
fn tandem(rig: &mut Loop, device: &Device) {
    assert_eq!(rig.run(device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    while rig.run(device, Order::Read, TIMEOUT).0 != Ok(Power::Off) {}
}

fn ipmitool(sim: &IpmiSim) {
    let run = |action: &str| {
        let port = sim.address.port().to_string();
        let output = Command::new(require("ipmitool", "ipmitool"))
            .args(["-I", "lanplus", "-C", "3", "-H", "127.0.0.1", "-p", &port])
            .args(["-U", USER, "-P", PASSWORD, "chassis", "power", action])
            .output()
            .unwrap();
        succeeded(&output);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    run("off");
    while run("status") != "Chassis Power is off" {}
}

/// It reads back by itself. `power_wait` is its own pause before that.
fn fence_ipmilan(sim: &IpmiSim) {
    let mut child = Command::new(require("fence_ipmilan", "fence-agents"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let port = sim.address.port();
    let lines = format!(
        "action=off\nip=127.0.0.1\nipport={port}\nusername={USER}\npassword={PASSWORD}\n\
         lanplus=1\ncipher=3\npower_wait=0\n"
    );
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    succeeded(&child.wait_with_output().unwrap());
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}
