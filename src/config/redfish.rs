//! A fence device of type "redfish": what is written of it, and whether it makes sense.

use std::net::IpAddr;
use std::path::PathBuf;

use super::check::no_host;
use super::device::{
    Fingerprint, Login, REDFISH_PORT, REDFISH_SYSTEM_LEN_MAX, REDFISH_USER_LEN_MAX, Trust,
};
use super::finding::{At, Findings, Place};
use super::pair::{Pair, PairKind};
use super::raw::port;
use super::read::{self, Wrong};
use super::tree::Section;
use super::vocabulary as words;

/// The longest host name in bytes (RFC 1123 §2.1).
const HOST_LEN_MAX: usize = 253;

/// What is written.
pub(super) struct RawRedfish {
    address: Option<At<Host>>,
    port: Option<At<u16>>,
    user: Option<At<String>>,
    password_file: Option<At<PathBuf>>,
    system: Option<At<String>>,
    certificate: Option<At<Fingerprint>>,
    ca_file: Option<At<PathBuf>>,
    /// Whether either is there, right or wrong.
    has_trust: bool,
    login: Option<At<Login>>,
}

/// Where a BMC is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Reads the table.
pub(super) fn read(section: &Section<'_>, f: &mut Findings) -> RawRedfish {
    section.refuse_unknown(&words::REDFISH, f);
    section.require("address", "write address = \"10.9.0.1\", where the BMC answers", f);
    section.require("user", "write user = \"tandem\", a user of the BMC", f);
    section.require("password-file", "write password-file = \"/etc/tandem/bmc.pw\"", f);
    let is_written = |key: &str| section.names().iter().any(|name| words::same(name, key));
    let fingerprint = "AB:CD:EF, and so on, as `tandem fence fingerprint ADDRESS` shows it";
    RawRedfish {
        address: section.text("address", host, "10.9.0.1", f),
        port: port(section, f),
        user: section.text("user", user, "tandem", f),
        password_file: section.text("password-file", read::path, "/etc/tandem/bmc.pw", f),
        system: section.text("system", system, "System.Embedded.1", f),
        certificate: section.text("certificate", certificate, fingerprint, f),
        ca_file: section.text("ca-file", read::path, "/etc/tandem/bmc-ca.pem", f),
        has_trust: is_written("certificate") || is_written("ca-file"),
        login: section.text("login", login, "auto", f),
    }
}

fn host(text: &str) -> Result<Host, Wrong> {
    if let Some(rest) = text.strip_prefix("https://") {
        let host = rest.split('/').next().unwrap_or_default();
        let wrong = format!("{text:?} is a URL, and only the address belongs here");
        return Err(Wrong::new(wrong, format!("write {host:?}")));
    }
    let plain = text.trim_start_matches('[');
    if let Some((host, port)) = plain.rsplit_once(':')
        && let host = host.trim_end_matches(']')
        && port.parse::<u16>().is_ok()
        && (plain.len() < text.len() || !host.contains(':'))
    {
        let instead = format!("write address = {host:?} and port = {port}");
        return Err(Wrong::new(format!("{text:?} holds a port, too"), instead));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let has_letter = |text: &str| text.chars().any(|c| c.is_ascii_alphabetic());
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_name = text.chars().all(fits) && text.len() <= HOST_LEN_MAX && has_letter(last);
    if is_name && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(Host::Name(text.to_owned()));
    }
    read::address(text).map(Host::Address)
}

fn user(text: &str) -> Result<String, Wrong> {
    if text.contains(':') {
        // RFC 7617 §2.
        let wrong = format!("{text:?} holds a colon, which HTTP cannot carry in a user's name");
        return Err(Wrong::new(wrong, "make a user without one"));
    }
    read::line(text, REDFISH_USER_LEN_MAX)
}

fn system(text: &str) -> Result<String, Wrong> {
    let is_id = !text.contains('/');
    let is_path = text.starts_with('/') && !text.starts_with("//");
    if text.chars().all(|c| c.is_ascii_graphic()) && (is_id || is_path) {
        return read::line(text, REDFISH_SYSTEM_LEN_MAX);
    }
    Err(Wrong::new(
        format!("{text:?} is neither the Id of a system nor its path"),
        "write such as \"System.Embedded.1\" or \"/redfish/v1/Systems/1\"",
    ))
}

fn certificate(text: &str) -> Result<Fingerprint, Wrong> {
    if let Some(fingerprint) = Fingerprint::parse(text) {
        return Ok(fingerprint);
    }
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    let wrong = match digits {
        40 => "this seems to be a SHA-1 fingerprint, which can be forged".to_owned(),
        _ => format!("{text:?} is not the SHA-256 fingerprint of a certificate"),
    };
    Err(Wrong::new(wrong, "write what this shows: tandem fence fingerprint ADDRESS"))
}

fn login(text: &str) -> Result<Login, Wrong> {
    let found = Login::ALL.iter().find(|(_, name)| *name == text);
    found.map(|(login, _)| *login).ok_or_else(|| {
        Wrong::new(
            format!("{text:?} is not a way to log in"),
            "write \"auto\", \"session\" or \"basic\"",
        )
    })
}

/// Checks it as a whole.
pub(super) fn check(raw: &RawRedfish, place: &Place, findings: &mut Findings) -> Option<PairKind> {
    if let Some(At { place, value }) = &raw.address {
        check_host(place, value, findings);
    }
    let address = raw.address.as_ref().map(|at| match &at.value {
        Host::Address(addr) => addr.to_string(),
        Host::Name(name) => name.clone(),
    });
    let trust = check_trust(raw, place, address.as_deref(), findings);
    Some(PairKind::Redfish {
        host: address?,
        port: raw.port.as_ref().map_or(REDFISH_PORT, |at| at.value),
        user: raw.user.as_ref()?.value.clone(),
        password_file: raw.password_file.clone()?,
        system: raw.system.as_ref().map(|at| at.value.clone()),
        trust: trust?,
        login: raw.login.as_ref().map(|at| at.value).unwrap_or_default(),
    })
}

fn check_host(place: &Place, host: &Host, findings: &mut Findings) {
    match host {
        Host::Address(addr) => {
            if let Some(kind) = no_host(*addr)
                && !addr.is_loopback()
            {
                let instead = "write the address at which the BMC answers";
                findings.error(place, format!("{addr} is {kind}"), instead);
            }
        }
        Host::Name(name) => {
            let wrong = format!("{name} is a name: each fence would wait for it to be looked up");
            let instead = "write the address itself, or keep the name in /etc/hosts";
            findings.warn(place, wrong, instead);
        }
    }
}

/// The files of authorities that devices of `pair` name.
pub(super) fn authorities(pair: &Pair) -> Vec<At<PathBuf>> {
    let files = pair.devices.iter().filter_map(|device| match &device.kind {
        PairKind::Redfish { trust: At { place, value: Trust::Authority(path) }, .. } => {
            Some(At { place: place.clone(), value: path.clone() })
        }
        PairKind::Redfish { .. } | PairKind::Ipmi { .. } | PairKind::Agent { .. } => None,
    });
    files.collect()
}

/// Whoever is not known to be the BMC must not get its password.
fn check_trust(
    raw: &RawRedfish,
    place: &Place,
    address: Option<&str>,
    findings: &mut Findings,
) -> Option<At<Trust>> {
    match (&raw.certificate, &raw.ca_file) {
        (Some(certificate), None) => Some(certificate.clone().map(Trust::Pinned)),
        (None, Some(file)) => Some(file.clone().map(Trust::Authority)),
        (Some(_), Some(file)) => {
            let wrong = "a certificate and a ca-file: which of them shall prove who answers?";
            findings.error(&file.place, wrong, "delete one of them");
            None
        }
        (None, None) => {
            if !raw.has_trust {
                let wrong = "missing: nothing would prove that it is the BMC who gets the password";
                let address = address.unwrap_or("ADDRESS");
                let instead = format!("write what this shows: tandem fence fingerprint {address}");
                findings.error(&place.child("certificate"), wrong, instead);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_nothing_around_them() {
        let address = |text: &str| Ok(Host::Address(text.parse().unwrap()));
        assert_eq!(host("10.9.0.1"), address("10.9.0.1"));
        assert_eq!(host("fd00::1"), address("fd00::1"));
        assert_eq!(host("fd00::623"), address("fd00::623"));
        for name in ["bmc-smw1", "bmc.example.com", "3com.example", "a."] {
            assert_eq!(host(name), Ok(Host::Name(name.to_owned())));
        }
        for (text, instead) in [
            ("https://10.9.0.1/redfish/v1", "write \"10.9.0.1\""),
            ("10.9.0.1:8443", "write address = \"10.9.0.1\" and port = 8443"),
            ("bmc:8443", "write address = \"bmc\" and port = 8443"),
            ("[fd00::1]:8443", "write address = \"fd00::1\" and port = 8443"),
        ] {
            assert_eq!(host(text).unwrap_err().instead, instead);
        }
        for text in ["", "10.9.0.300", "10.9.0.1/24", "a b", "-x", "a_b", "[fd00::1]", "é"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn systems_are_ids_or_paths() {
        for text in ["1", "System.Embedded.1", "/redfish/v1/Systems/1"] {
            assert_eq!(system(text).unwrap(), text);
        }
        for text in ["", "a b", "a/b", "//a", "a\r\nb"] {
            assert!(system(text).is_err(), "{text}");
        }
    }
}
