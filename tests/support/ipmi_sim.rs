//! The real `ipmi_sim` of Debian's openipmi on loopback: cipher suite 3, and a host that is a
//! sleeping process, which it starts and kills.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::bmc::{PASSWORD, USER};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The program `name`, or a failure that says which Debian package has it.
pub fn require(name: &str, package: &str) -> PathBuf {
    let places = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = places.iter().map(|place| PathBuf::from(place).join(name)).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: apt-get install {package}"))
}

/// A directory of one test, removed with everything in it.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tandem-ipmi-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A running simulator; ends with its host process when dropped.
pub struct IpmiSim {
    pub address: SocketAddr,
    process: Child,
    directory: TempDir,
}

impl IpmiSim {
    /// With a host that is a process.
    pub fn start() -> Self {
        Self::start_with(HOST)
    }

    /// With a host whose power is a file's content, which takes a millisecond: see
    /// [`Self::set_power`].
    pub fn with_chassis() -> Self {
        Self::start_with("chassis_control \"/bin/sh DIRECTORY/chassis DIRECTORY/power\"\n")
    }

    /// Switches the power of [`Self::with_chassis`].
    pub fn set_power(&self, on: bool) {
        fs::write(self.directory.0.join("power"), if on { "1" } else { "0" }).unwrap();
    }

    /// Whether the power of [`Self::with_chassis`] is on.
    pub fn has_power(&self) -> bool {
        fs::read_to_string(self.directory.0.join("power")).unwrap().trim() == "1"
    }

    fn start_with(host: &str) -> Self {
        let program = require("ipmi_sim", "openipmi");
        let directory = TempDir::new();
        let address = free_udp_port();
        let console = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (state, lan) = (directory.0.join("state"), directory.0.join("lan.conf"));
        let emulation = directory.0.join("sim.emu");
        fs::create_dir_all(&state).unwrap();
        let host = host.replace("DIRECTORY", directory.0.to_str().unwrap());
        fs::write(&lan, lan_conf(address.port(), console, &host)).unwrap();
        fs::write(directory.0.join("chassis"), CHASSIS).unwrap();
        fs::write(directory.0.join("power"), "1").unwrap();
        fs::write(&emulation, EMULATION).unwrap();
        let log = File::create(directory.0.join("log")).unwrap();
        let process = Command::new(program)
            .arg("-n")
            .args(["-c".as_ref(), lan.as_os_str(), "-f".as_ref(), emulation.as_os_str()])
            .args(["-s".as_ref(), state.as_os_str()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let mut sim = Self { address, process, directory };
        sim.wait_until_it_listens();
        sim
    }

    fn wait_until_it_listens(&mut self) {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.connect(self.address).unwrap();
        probe.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // RMCP/ASF presence ping: answered without any session.
        let ping = [0x06, 0x00, 0xff, 0x06, 0x00, 0x00, 0x11, 0xbe, 0x80, 0x01, 0x00, 0x00];
        for _ in 0..200 {
            probe.send(&ping).ok();
            if probe.recv(&mut [0; 64]).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "ipmi_sim ended: {ended:?}");
        }
        panic!("ipmi_sim does not listen on {}", self.address);
    }
}

impl Drop for IpmiSim {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        killpg(group, Signal::SIGKILL).ok();
        self.process.wait().ok();
    }
}

/// A port of loopback on which nobody listens.
pub fn free_udp_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn lan_conf(port: u16, console: u16, host: &str) -> String {
    format!(
        r#"name "tandem-test"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 {port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789000001
endlan
serial 15 127.0.0.1 {console} codec VM
{host}user 1 false "" "" user 10 none md2 md5 straight
user 2 true "{USER}" "{PASSWORD}" admin 10 none md2 md5 straight
"#
    )
}

const HOST: &str = r#"startcmd "/bin/sleep 600"
startnow true
poweroff_wait 1
kill_wait 1
"#;

/// `chassis FILE get power`, `chassis FILE set power 0`: answered, and done, by builtins alone.
const CHASSIS: &str = r#"case "$2 $3" in
"get power") read -r power <"$1"; echo "power:$power" ;;
"set power") echo "$4" >"$1" ;;
*) exit 1 ;;
esac
"#;

const EMULATION: &str = "mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
";
