//! Secrets from their files: heartbeat keys, passwords of fence devices.
//!
//! What a file holds, and who may read it, is judged here; reading it is [`Files`]' affair. No
//! content of a secret file ever gets into a finding.

use std::collections::BTreeMap;
use std::path::Path;

use super::device::{
    AGENT_LINE_LEN_MAX, Device, DeviceKind, IPMI_PASSWORD_LEN_MAX, REDFISH_PASSWORD_LEN_MAX, Secret,
};
use super::finding::{At, Findings, Place};
use super::key_file::{HeartbeatKeys, KeyFile};
use super::pair::{Pair, PairKind};

/// The longest secret file in bytes.
pub const SECRET_LEN_MAX: usize = 4096;
/// Permission bits that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// What is asked of the disk.
pub trait Files {
    /// The file at `path`: at most [`SECRET_LEN_MAX`] bytes of it, and whose it is.
    ///
    /// # Errors
    /// A [`FileFault`], if it cannot be had.
    fn read(&self, path: &Path) -> Result<FileFacts, FileFault>;

    /// Whether there is a program at `path` that can be started.
    fn is_program(&self, path: &Path) -> bool;

    /// Whether what is written below `path`, which need not exist, is kept in memory alone.
    fn is_in_memory(&self, path: &Path) -> bool;

    /// The kernel's name of the character device at `path`, links followed, as in `ttyS0`; nothing
    /// if there is none.
    fn device_name(&self, path: &Path) -> Option<String>;
}

/// A file that was read.
#[derive(Clone)]
pub struct FileFacts {
    /// What it holds.
    pub content: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// The user number of its owner.
    pub owner: u32,
}

/// Why a file was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileFault {
    /// There is none.
    Missing,
    /// It is a directory, a device or a pipe.
    NotAFile,
    /// It is longer than [`SECRET_LEN_MAX`].
    TooLong,
    /// The system refuses, with its reason.
    Refused(String),
}

/// All secrets of a pair, in their places.
pub(super) struct Secrets {
    pub(super) keys: HeartbeatKeys,
    pub(super) devices: Vec<Device>,
}

/// Loads every secret of `pair`. Nothing if any is missing: all faults are told.
pub(super) fn load(pair: &Pair, files: &dyn Files, findings: &mut Findings) -> Option<Secrets> {
    let mut store = Store { files, findings, read: BTreeMap::new() };
    let keys = pair.key_file.as_ref().and_then(|at| store.keys(at));
    let mut devices = Vec::new();
    let mut complete = true;
    for device in &pair.devices {
        let kind = store.device_kind(&device.kind);
        complete &= kind.is_some();
        devices.extend(kind.map(|kind| Device {
            name: device.name.clone(),
            node: device.node,
            role: device.role,
            identity: device.identity,
            kind,
        }));
    }
    complete.then_some(Secrets { keys: keys?, devices })
}

/// Reads each file once, and tells each fault once.
struct Store<'a> {
    files: &'a dyn Files,
    findings: &'a mut Findings,
    read: BTreeMap<std::path::PathBuf, Option<String>>,
}

impl Store<'_> {
    fn device_kind(&mut self, kind: &PairKind) -> Option<DeviceKind> {
        match kind {
            PairKind::Ipmi { address, user, password_file, suite } => {
                let password = self.password(password_file, IPMI_PASSWORD_LEN_MAX)?;
                let (address, user, suite) = (*address, user.clone(), *suite);
                Some(DeviceKind::Ipmi { address, user, password, suite })
            }
            PairKind::Redfish { host, port, user, password_file, system, trust, login } => {
                let password = self.password(password_file, REDFISH_PASSWORD_LEN_MAX)?;
                Some(DeviceKind::Redfish {
                    host: host.clone(),
                    port: *port,
                    user: user.clone(),
                    password,
                    system: system.clone(),
                    trust: trust.value.clone(),
                    login: *login,
                })
            }
            PairKind::Agent { program, params, secret_files, .. } => {
                let mut secrets = Vec::new();
                for (name, file) in secret_files {
                    let max = AGENT_LINE_LEN_MAX.saturating_sub(name.len()).saturating_sub(1);
                    secrets.extend(self.password(file, max).map(|secret| (name.clone(), secret)));
                }
                let complete = secrets.len() == secret_files.len();
                let (program, params) = (program.clone(), params.clone());
                complete.then_some(DeviceKind::Agent { program, params, secrets })
            }
        }
    }

    fn password(&mut self, file: &At<std::path::PathBuf>, len_max: usize) -> Option<Secret> {
        let text = self.text(file)?;
        let path = file.value.display();
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (wrong, instead) = if line.is_empty() {
            (format!("{path} is empty"), "write the password into it, on one line".to_owned())
        } else if line.chars().any(char::is_control) {
            (
                format!("{path} holds more than one line, or a control character"),
                "write the password into it, on one line, and nothing else".to_owned(),
            )
        } else if line.len() > len_max {
            (
                format!("the password in {path} has {} bytes", line.len()),
                format!("set one of at most {len_max} bytes: the device takes no more"),
            )
        } else {
            if line.trim() != line {
                let wrong = format!("the password in {path} begins or ends with a space");
                self.findings.warn(&file.place, wrong, "delete the space, if it is not meant");
            }
            return Some(Secret::new(line.to_owned()));
        };
        self.findings.error(&file.place, wrong, instead);
        None
    }

    fn keys(&mut self, file: &At<std::path::PathBuf>) -> Option<HeartbeatKeys> {
        let text = self.text(file)?;
        match KeyFile::parse(&text) {
            Ok(found) => Some(found.into_keys()),
            Err(faults) => {
                for fault in faults {
                    let (wrong, instead) = fault.explain(&file.value);
                    self.findings.error(&file.place, wrong, instead);
                }
                None
            }
        }
    }

    /// The text of a file that only root may touch.
    fn text(&mut self, file: &At<std::path::PathBuf>) -> Option<String> {
        if let Some(text) = self.read.get(&file.value) {
            return text.clone();
        }
        let text = match self.files.read(&file.value) {
            Ok(facts) => judge(file, facts, self.findings),
            Err(fault) => {
                let (wrong, instead) = explain(&file.value, &file.place, &fault);
                self.findings.error(&file.place, wrong, instead);
                None
            }
        };
        self.read.insert(file.value.clone(), text.clone());
        text
    }
}

fn explain(path: &Path, place: &Place, fault: &FileFault) -> (String, String) {
    let path = path.display();
    match fault {
        FileFault::Missing if place.key == "key-file" => {
            (format!("{path} does not exist"), format!("make it with: tandem keygen {path}"))
        }
        FileFault::Missing => (
            format!("{path} does not exist"),
            format!("make it: install -m 600 /dev/null {path}, then write the password into it"),
        ),
        FileFault::NotAFile => {
            (format!("{path} is not a regular file"), "write the path of a file".to_owned())
        }
        FileFault::TooLong => (
            format!("{path} has more than {SECRET_LEN_MAX} bytes"),
            "write the path of the file that holds the secret alone".to_owned(),
        ),
        FileFault::Refused(why) => {
            (format!("{path} cannot be read: {why}"), "run it as root".to_owned())
        }
    }
}

fn judge(
    file: &At<std::path::PathBuf>,
    facts: FileFacts,
    findings: &mut Findings,
) -> Option<String> {
    let At { place, value: path } = file;
    let path = path.display();
    let mut accepted = true;
    if facts.owner != 0 {
        let wrong = format!("{path} belongs to user {}, not to root", facts.owner);
        findings.error(place, wrong, format!("give it to root: chown root: {path}"));
        accepted = false;
    }
    if facts.mode & OTHERS != 0 {
        let wrong = format!("{path} may be read or changed by others (mode {:04o})", facts.mode);
        findings.error(place, wrong, format!("take that from them: chmod 600 {path}"));
        accepted = false;
    }
    match String::from_utf8(facts.content) {
        Ok(text) => accepted.then_some(text),
        Err(_) => {
            let instead = "write the secret as plain text";
            findings.error(place, format!("{path} is not text"), instead);
            None
        }
    }
}
