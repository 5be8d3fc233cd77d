//! The BMCs: one real `ipmi_sim` for each node, with its own address on the management segment, and
//! the power supply behind it.
//!
//! ```text
//!   ipmitool ──RMCP+──► ipmi_sim ──chassis.sh──► power supply (a thread) ──► Machine::cut, boot
//! ```
//!
//! A BMC stays alive when its node loses power. What it says of the power is the truth; whether it
//! does what it is told depends on its [`Manner`].

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Node;
use super::clock::Stamp;
use super::machine::{Machine, write_program};
use super::netns;

/// The administrator of every BMC, and the password until [`Bmc::set_password`].
pub const USER: &str = "ADMIN";
/// See [`USER`].
pub const PASSWORD: &str = "hunter2!";
/// A user who may read the power, but not change it.
pub const READER: &str = "READER";

const IPMI_PORT: u16 = 623;
const SUPPLY_PORT: u16 = 6230;
const START_MAX: Duration = Duration::from_secs(10);
/// RMCP presence ping (IPMI v2.0 §13.2.3): answered without a session.
const PING: [u8; 12] = [6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x80, 0, 0, 0];

/// How a BMC carries out what it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// At once, and what it acknowledges is done.
    Honest,
    /// It acknowledges, and does nothing.
    Lie,
    /// It answers every change of power with an error.
    Refuse,
    /// It answers everything this much later.
    Slow(Duration),
    /// It acknowledges power-off at once and carries it out this much later.
    Late(Duration),
}

/// The address of a node's BMC.
pub fn address(node: Node) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 20 + node.number())
}

/// The GUID that a node's BMC tells, in the order in which it sends the bytes.
pub fn guid(node: Node) -> String {
    format!("a123456789abcdefa12345678900000{node}")
}

/// Something that a BMC was asked or told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// When it reached the power supply.
    pub at: Stamp,
    /// When the power supply was done with it.
    pub done: Stamp,
    /// `get power`, `set power 0`, ...
    pub text: String,
}

/// The BMC of one node.
pub struct Bmc {
    node: Node,
    namespace: String,
    dir: PathBuf,
    simulator: Mutex<Option<Child>>,
    supply: Arc<Supply>,
    server: Option<JoinHandle<()>>,
}

impl Bmc {
    /// Starts the power supply; the namespace exists and has its address.
    pub fn new(node: Node, namespace: &str, dir: PathBuf, machine: Arc<Machine>) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let supply = Arc::new(Supply {
            machine,
            manner: Mutex::new(Manner::Honest),
            orders: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
        });
        let listener = netns::inside(namespace, || {
            TcpListener::bind((Ipv4Addr::LOCALHOST, SUPPLY_PORT)).unwrap()
        });
        let server = thread::spawn({
            let supply = Arc::clone(&supply);
            move || supply.serve(&listener)
        });
        write_program(&dir.join("chassis.sh"), include_str!("chassis.sh"));
        let namespace = namespace.to_owned();
        let simulator = Mutex::new(None);
        Self { node, namespace, dir, simulator, supply, server: Some(server) }
    }

    /// Starts the BMC itself, with this password, and waits until it answers.
    pub fn start(&self, password: &str) {
        let mut simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(simulator.is_none(), "the BMC of {} runs", self.node);
        let state = self.dir.join("state");
        drop(fs::remove_dir_all(&state));
        fs::create_dir(&state).unwrap();
        fs::write(self.dir.join("lan.conf"), self.lan_conf(password)).unwrap();
        fs::write(self.dir.join("sim.emu"), SIM_EMU).unwrap();
        let output = fs::File::create(self.dir.join("output")).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "ipmi_sim", "-n"]);
        command.arg("-c").arg(self.dir.join("lan.conf"));
        command.arg("-f").arg(self.dir.join("sim.emu")).arg("-s").arg(&state);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        *simulator = Some(command.process_group(0).spawn().unwrap());
        drop(simulator);
        self.wait_answers();
    }

    /// Kills the BMC: its address stays, and refuses.
    pub fn kill(&self) {
        let mut simulator = self.simulator.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = simulator.take() {
            // It may be dead already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.simulator.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Starts it again with another password.
    pub fn set_password(&self, password: &str) {
        self.kill();
        self.start(password);
    }

    /// From now on it behaves like this.
    pub fn set_manner(&self, manner: Manner) {
        *self.supply.manner.lock().unwrap() = manner;
    }

    /// All that it was asked and told so far.
    pub fn orders(&self) -> Vec<Order> {
        self.supply.orders.lock().unwrap().clone()
    }

    /// Ends it, and its power supply.
    pub fn dismantle(&mut self) {
        self.kill();
        self.supply.ended.store(true, Ordering::SeqCst);
        let Some(server) = self.server.take() else { return };
        // The server looks at `ended` when a connection comes.
        netns::inside(&self.namespace, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, SUPPLY_PORT)).map(drop).unwrap();
        });
        server.join().unwrap();
    }

    fn wait_answers(&self) {
        let socket = netns::inside(&self.namespace, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.connect((address(self.node), IPMI_PORT)).unwrap();
            socket
        });
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let begun = Stamp::now();
        loop {
            // Until it listens, its address refuses at once.
            if socket.send(&PING).is_ok() && socket.recv(&mut [0; 64]).is_ok() {
                return;
            }
            let output = fs::read_to_string(self.dir.join("output")).unwrap_or_default();
            assert!(begun.elapsed() < START_MAX, "BMC of {} does not answer: {output}", self.node);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn lan_conf(&self, password: &str) -> String {
        let node = self.node;
        let chassis = self.dir.join("chassis.sh");
        format!(
            "name \"node-{node}\"\n\
             set_working_mc 0x20\n\
             startlan 1\n\
             addr {} {IPMI_PORT}\n\
             priv_limit admin\n\
             allowed_auths_callback none md2 md5 straight\n\
             allowed_auths_user none md2 md5 straight\n\
             allowed_auths_operator none md2 md5 straight\n\
             allowed_auths_admin none md2 md5 straight\n\
             guid {}\n\
             endlan\n\
             chassis_control \"{} {SUPPLY_PORT}\"\n\
             user 1 false \"\" \"\" user 10 none md2 md5 straight\n\
             user 2 true \"{USER}\" \"{password}\" admin 10 none md2 md5 straight\n\
             user 3 true \"{READER}\" \"{password}\" user 10 none md2 md5 straight\n",
            address(node),
            guid(node),
            chassis.display(),
        )
    }
}

/// One management controller with a SEL, no sensors.
const SIM_EMU: &str = "mc_setbmc 0x20\n\
    mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
    sel_enable 0x20 1000 0x0a\n\
    mc_enable 0x20\n";

/// The node's power supply.
struct Supply {
    machine: Arc<Machine>,
    manner: Mutex<Manner>,
    orders: Mutex<Vec<Order>>,
    ended: AtomicBool,
}

impl Supply {
    fn serve(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(mut stream) = stream else { continue };
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_ok() {
                let at = Stamp::now();
                let text = line.trim().to_owned();
                let answer = self.answer(&text);
                self.orders.lock().unwrap().push(Order { at, done: Stamp::now(), text });
                // The one who asked may have given up.
                drop(writeln!(stream, "{answer}"));
            }
        }
    }

    fn answer(&self, question: &str) -> String {
        let manner = *self.manner.lock().unwrap();
        if let Manner::Slow(pause) = manner {
            thread::sleep(pause);
        }
        if question == "get power" {
            return format!("power:{}", u8::from(self.machine.is_on()));
        }
        match manner {
            Manner::Refuse => return "refused".to_owned(),
            Manner::Lie => return "done".to_owned(),
            Manner::Honest | Manner::Slow(_) | Manner::Late(_) => {}
        }
        match (question, manner) {
            ("set power 0", Manner::Late(pause)) => {
                let machine = Arc::clone(&self.machine);
                thread::spawn(move || {
                    thread::sleep(pause);
                    machine.cut();
                });
            }
            ("set power 0", _) => {
                self.machine.cut();
            }
            ("set power 1", _) => self.boot_behind(),
            ("set reset 1", _) => {
                self.machine.cut();
                self.boot_behind();
            }
            _ => return "refused".to_owned(),
        }
        "done".to_owned()
    }

    /// A BMC acknowledges power-on long before the host runs.
    fn boot_behind(&self) {
        let machine = Arc::clone(&self.machine);
        thread::spawn(move || machine.boot());
    }
}
