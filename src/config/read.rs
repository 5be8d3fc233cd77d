//! Single values of the file: addresses, paths, names, words. Text in, value or remedy out.

use std::net::IpAddr;
use std::path::PathBuf;

use super::network::NIC_NAME_LEN_MAX;
use crate::engine::settings::AfterFence;
use crate::types::IpNet;

/// The longest path in bytes (the kernel's PATH_MAX without its closing zero).
pub(super) const PATH_LEN_MAX: usize = 4095;
/// The longest name of a cluster, node, link or fence device in bytes; host names have the same
/// bound.
pub(super) const NAME_LEN_MAX: usize = 64;

/// Why a value is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    /// What is wrong.
    pub(super) wrong: String,
    /// What to write instead.
    pub(super) instead: String,
}

impl Wrong {
    pub(super) fn new(wrong: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), instead: instead.into() }
    }
}

/// What becomes of a node that was fenced.
pub(super) fn after_fence(text: &str) -> Result<AfterFence, Wrong> {
    match text {
        "off" => Ok(AfterFence::StaysOff),
        "on" => Ok(AfterFence::PowersOn),
        _ => Err(Wrong::new(
            format!("{text:?} is not what can become of a fenced node"),
            "write \"off\" (it stays off, for somebody to look at it) or \"on\" (it is powered \
             on again once its service runs on the other node)",
        )),
    }
}

/// A plain address, without prefix length.
pub(super) fn address(text: &str) -> Result<IpAddr, Wrong> {
    let shown = format!("{text:?} is not an IP address");
    if let Ok(addr) = text.parse() {
        return unmapped(addr).map(|()| addr);
    }
    if let Some((addr, _)) = text.split_once('/')
        && addr.parse::<IpAddr>().is_ok()
    {
        return Err(Wrong::new(
            format!("{text:?} has a prefix length, and none belongs here"),
            format!("write \"{addr}\""),
        ));
    }
    if text.chars().any(|c| c.is_ascii_alphabetic()) && !text.contains(':') {
        return Err(Wrong::new(
            shown,
            "write the address itself: names are not looked up, a failover cannot wait for DNS",
        ));
    }
    Err(Wrong::new(shown, "write such as \"10.0.0.1\" or \"fd00::1\""))
}

/// An address with its prefix length.
pub(super) fn net(text: &str) -> Result<IpNet, Wrong> {
    match text.parse::<IpNet>() {
        Ok(net) => unmapped(net.addr()).map(|()| net),
        Err(_) if text.parse::<IpAddr>().is_ok() => Err(Wrong::new(
            format!("{text:?} has no prefix length"),
            format!("write \"{text}/{}\"", if text.contains(':') { 64 } else { 24 }),
        )),
        Err(error) => {
            let shown = error.to_string();
            let (wrong, instead) = shown.split_once(": ").unwrap_or((&shown, "write it otherwise"));
            Err(Wrong::new(format!("{text:?}: {wrong}"), instead))
        }
    }
}

fn unmapped(addr: IpAddr) -> Result<(), Wrong> {
    let canonical = addr.to_canonical();
    if canonical == addr {
        return Ok(());
    }
    Err(Wrong::new(
        format!("{addr} is an IPv4 address in IPv6 form"),
        format!("write the IPv4 address {canonical}"),
    ))
}

/// An absolute path.
pub(super) fn path(text: &str) -> Result<PathBuf, Wrong> {
    let shown = || format!("{text:?} is not an absolute path");
    if text.is_empty() || !text.starts_with('/') {
        return Err(Wrong::new(shown(), "write the whole path, from / on"));
    }
    if text.len() > PATH_LEN_MAX {
        let instead = format!("write at most {PATH_LEN_MAX} bytes");
        return Err(Wrong::new(format!("the path has {} bytes", text.len()), instead));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new(shown(), "leave out control characters"));
    }
    Ok(PathBuf::from(text))
}

/// The name of a node, link or fence device: what a host name may hold, so that it needs no
/// quoting anywhere.
pub(super) fn name(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || !text.chars().all(fits) || text.len() > NAME_LEN_MAX {
        return Err(Wrong::new(
            format!("{text:?} is not a name"),
            format!("write 1 to {NAME_LEN_MAX} letters, digits, '-', '_' and '.', no mark first"),
        ));
    }
    Ok(text.to_owned())
}

/// The name of a network interface, by the kernel's rules.
pub(super) fn nic_name(text: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '"' | '\\');
    let is_dots = matches!(text, "." | "..");
    if text.is_empty() || !text.chars().all(fits) || is_dots || text.len() > NIC_NAME_LEN_MAX {
        return Err(Wrong::new(
            format!("{text:?} is not the name of a network interface"),
            format!("write 1 to {NIC_NAME_LEN_MAX} characters, as `ip link` shows it: \"eth0\""),
        ));
    }
    Ok(text.to_owned())
}

/// Any text of one line, not empty, at most `len_max` bytes.
pub(super) fn line(text: &str, len_max: usize) -> Result<String, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("empty", "write something, or leave the key out"));
    }
    if text.len() > len_max {
        return Err(Wrong::new(
            format!("{text:?} has {} bytes", text.len()),
            format!("write at most {len_max}"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new(
            format!("{text:?} holds a line break or control character"),
            "write one line of plain text",
        ));
    }
    Ok(text.to_owned())
}
