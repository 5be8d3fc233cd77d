//! The emulator of sushy-tools: Redfish as others understand it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tandem::config::{Device, DeviceKind, Fingerprint, Login, Secret, Trust};
use tandem::io::fence::Order;
use tandem::types::{FenceFault, NodeId, Power};

use crate::child::tandem;
use crate::orders::rig;
use crate::sushy::{PASSWORD, SYSTEM, Sushy, USER, end};

const TIMEOUT: Duration = Duration::from_secs(15);
const START_MAX: Duration = Duration::from_secs(30);

/// A running emulator and its host's power.
struct Emulator {
    address: SocketAddr,
    sushy: Sushy,
    process: Option<Child>,
    power: Arc<AtomicBool>,
    orders: Arc<Mutex<Vec<String>>>,
    directory: std::path::PathBuf,
}

impl Emulator {
    fn start() -> Self {
        let (power, orders) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let supply = TcpListener::bind("127.0.0.1:0").unwrap();
        let supply_port = supply.local_addr().unwrap().port();
        std::thread::spawn({
            let (power, orders) = (Arc::clone(&power), Arc::clone(&orders));
            move || serve(&supply, &power, &orders)
        });
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free));
        let name = format!("tandem-sushy-{}-{free}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let sushy = Sushy::new(directory.clone(), address.ip(), address.port());
        let process = Some(sushy.spawn(&[], supply_port));
        let emulator = Self { address, sushy, process, power, orders, directory };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < START_MAX, "no emulator: {}", emulator.sushy.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        emulator
    }

    fn device(&self, password: &str, system: Option<&str>, fingerprint: Fingerprint) -> Device {
        let kind = DeviceKind::Redfish {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            user: USER.to_owned(),
            password: Secret::new(password.to_owned()),
            system: system.map(str::to_owned),
            trust: Trust::Pinned(fingerprint),
            login: Login::Auto,
        };
        Device::new("sushy", NodeId::new(2).unwrap(), kind)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            end(process);
        }
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

fn serve(supply: &TcpListener, power: &AtomicBool, orders: &Mutex<Vec<String>>) {
    for stream in supply.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let answer = match line.trim() {
            "get power" => format!("power:{}", u8::from(power.load(Ordering::SeqCst))),
            order => {
                power.store(order == "set power 1", Ordering::SeqCst);
                orders.lock().unwrap().push(order.to_owned());
                "done".to_owned()
            }
        };
        writeln!(stream, "{answer}").unwrap();
    }
}

#[test]
fn the_emulator_is_read_and_switched() {
    let emulator = Emulator::start();
    let device = emulator.device(PASSWORD, None, emulator.sushy.fingerprint);
    let mut rig = rig();
    assert_eq!(rig.run(&device, Order::Check, TIMEOUT).0, Ok(Power::On));
    let (commanded, took) = rig.run(&device, Order::Off, TIMEOUT);
    assert_eq!(commanded, Ok(Power::Unknown));
    assert!(!emulator.power.load(Ordering::SeqCst));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::Off));
    // It is off already, which it accepts.
    assert_eq!(rig.run(&device, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::On, TIMEOUT).0, Ok(Power::Unknown));
    assert_eq!(rig.run(&device, Order::Read, TIMEOUT).0, Ok(Power::On));
    rig.settle();
    let orders = emulator.orders.lock().unwrap().clone();
    assert_eq!(orders, ["set power 0", "set power 0", "set power 1"]);
    assert!(took < Duration::from_secs(3), "{took:?}");
    // By its name it is another path, to which the emulator redirects.
    let named =
        emulator.device(PASSWORD, Some("/redfish/v1/Systems/host"), emulator.sushy.fingerprint);
    assert_eq!(rig.run(&named, Order::Read, TIMEOUT).0, Ok(Power::On));
}

#[test]
fn the_emulator_refuses_strangers_and_what_it_does_not_have() {
    let emulator = Emulator::start();
    let mut rig = rig();
    let pinned = emulator.sushy.fingerprint;
    let outcome = |device: Device| {
        let mut rig = crate::orders::rig();
        let outcome = rig.run(&device, Order::Off, TIMEOUT).0;
        rig.settle();
        outcome
    };
    let wrong = emulator.device("wrong", None, pinned);
    assert_eq!(outcome(wrong), Err(FenceFault::Credentials));
    let missing = emulator.device(PASSWORD, Some("nobody"), pinned);
    assert_eq!(outcome(missing), Err(FenceFault::Refused));
    let stranger = emulator.device(PASSWORD, None, Fingerprint([1; 32]));
    assert_eq!(outcome(stranger), Err(FenceFault::Certificate));
    assert!(emulator.power.load(Ordering::SeqCst));
    let exact = emulator.device(PASSWORD, Some(SYSTEM), pinned);
    assert_eq!(rig.run(&exact, Order::Read, TIMEOUT).0, Ok(Power::On));
    rig.settle();
}

/// One line, to be copied into the configuration.
#[test]
fn the_fingerprint_of_a_bmc_is_shown_as_it_is_configured() {
    let emulator = Emulator::start();
    let run = |words: &[&str]| {
        let output = Command::new(tandem()).args(["fence", "fingerprint"]).args(words).output();
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let port = emulator.address.port().to_string();
    let (status, shown, told) = run(&["127.0.0.1", "--port", &port]);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(shown, format!("certificate = \"{}\"\n", emulator.sushy.fingerprint));
    assert!(told.contains("compare it"), "{told}");
    let (status, shown, told) = run(&["127.0.0.1", "--port", "1"]);
    assert_eq!((status, shown.as_str()), (Some(1), ""));
    assert!(told.contains("cannot be reached"), "{told}");
    assert_eq!(run(&[]).0, Some(2));
}
