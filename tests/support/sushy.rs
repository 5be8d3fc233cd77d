//! The emulator of sushy-tools as the BMC of a machine: Redfish that others wrote, over HTTPS with
//! a certificate of its own and HTTP Basic. It has no sessions. `scripts/sushy` installs it.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rcgen::{CertificateParams, KeyPair};
use sha2::{Digest, Sha256};
use tandem::config::Fingerprint;

pub const USER: &str = "ADMIN";
pub const PASSWORD: &str = "hunter2!";
pub const SYSTEM: &str = "System.Embedded.1";

/// What the emulator needs, written into a directory.
pub struct Sushy {
    directory: PathBuf,
    pub fingerprint: Fingerprint,
}

/// The program that makes files for the emulator and runs it, as `scripts/sushy` installed it.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = Command::new(root.join("scripts/sushy")).status().unwrap();
    assert!(installed.success(), "scripts/sushy cannot install the emulator");
    root.join("target/sushy/bin/python")
}

impl Sushy {
    /// A BMC that will answer at `address` and `port`.
    pub fn new(directory: PathBuf, address: IpAddr, port: u16) -> Self {
        Self::with_system(directory, address, port, SYSTEM)
    }

    /// The same with a system of this UUID.
    pub fn with_system(directory: PathBuf, address: IpAddr, port: u16, system: &str) -> Self {
        fs::create_dir_all(directory.join("state")).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![address.to_string()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let path = |name: &str| directory.join(name);
        fs::write(path("cert.pem"), certificate.pem()).unwrap();
        fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        let hash = "import bcrypt,sys;print(bcrypt.hashpw(sys.argv[1].encode(),\
                    bcrypt.gensalt(4)).decode())";
        let hashed = Command::new(python()).args(["-c", hash, PASSWORD]).output().unwrap();
        assert!(hashed.status.success(), "{hashed:?}");
        let hashed = String::from_utf8(hashed.stdout).unwrap();
        fs::write(path("htpasswd"), format!("{USER}:{hashed}")).unwrap();
        let at = directory.display();
        let config = format!(
            "SUSHY_EMULATOR_LISTEN_IP = '{address}'\n\
             SUSHY_EMULATOR_LISTEN_PORT = {port}\n\
             SUSHY_EMULATOR_SSL_CERT = '{at}/cert.pem'\n\
             SUSHY_EMULATOR_SSL_KEY = '{at}/key.pem'\n\
             SUSHY_EMULATOR_AUTH_FILE = '{at}/htpasswd'\n\
             SUSHY_EMULATOR_STATE_DIR = '{at}/state'\n\
             SUSHY_EMULATOR_FAKE_DRIVER = True\n\
             SUSHY_EMULATOR_FAKE_SYSTEMS = [{{'uuid': '{system}', 'name': 'host', \
             'power_state': 'On', 'nics': []}}]\n"
        );
        fs::write(path("conf.py"), config).unwrap();
        let fingerprint = Fingerprint(Sha256::digest(certificate.der()).into());
        Self { directory, fingerprint }
    }

    /// The command that runs it, its power supply at `supply` of loopback; `before` are the words
    /// of a command that runs it somewhere else.
    pub fn spawn(&self, before: &[&str], supply: u16) -> Child {
        let mut words: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/sushy.py");
        words.push(python().display().to_string());
        words.push(driver.display().to_string());
        words.push(self.directory.join("conf.py").display().to_string());
        words.push(supply.to_string());
        let output = File::create(self.directory.join("output")).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).process_group(0);
        command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap()
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.directory.join("output")).unwrap_or_default()
    }
}

/// Ends what [`Sushy::spawn`] began.
pub fn end(mut child: Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
    killpg(group, Signal::SIGKILL).ok();
    child.wait().ok();
}
