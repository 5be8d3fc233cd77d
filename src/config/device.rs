//! A fence device as configured: where it is, how it is spoken to, what it needs to know.
//!
//! Plain data that the configuration fills and `io::fence` uses. It does not know the ladder in
//! which devices stand (that is the engine's), nor how a secret came here (file or credential).

use core::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::types::NodeId;

/// The longest IPMI user name in bytes (IPMI v2.0 §13.20, RAKP message 1).
pub const IPMI_USER_LEN_MAX: usize = 16;
/// The longest IPMI v2.0 password in bytes (IPMI v2.0 §22.30, Set User Password).
pub const IPMI_PASSWORD_LEN_MAX: usize = 20;
/// The UDP port of an IPMI BMC (IPMI v2.0 §13.1.2, primary RMCP port).
pub const IPMI_PORT: u16 = 623;
/// The TCP port of a Redfish service (DSP0266, *Security*: HTTPS).
pub const REDFISH_PORT: u16 = 443;
/// The longest Redfish user name in bytes; no BMC takes one as long.
pub const REDFISH_USER_LEN_MAX: usize = 128;
/// The longest Redfish password in bytes; no BMC takes one as long.
pub const REDFISH_PASSWORD_LEN_MAX: usize = 256;
/// The longest Id or path of a ComputerSystem in bytes.
pub const REDFISH_SYSTEM_LEN_MAX: usize = 512;
/// The most parameters of one agent, secrets included.
pub const AGENT_PARAMS_MAX: usize = 64;
/// The longest `name=value` line of an agent in bytes.
pub const AGENT_LINE_LEN_MAX: usize = 4096;

/// One thing that can cut, or show, the power of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// What people call it.
    pub name: String,
    /// The node whose power it switches or shows.
    pub node: NodeId,
    /// What it is for.
    pub role: Role,
    /// Whether whose it says it is counts.
    pub identity: Identity,
    /// How it is spoken to.
    pub kind: DeviceKind,
}

impl Device {
    /// One that cuts.
    pub fn new(name: &str, node: NodeId, kind: DeviceKind) -> Self {
        let (role, identity) = (Role::Fence, Identity::Compare);
        Self { name: name.to_owned(), node, role, identity, kind }
    }
}

/// What is made of a fence device's word whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Identity {
    /// It is compared with what the nodes read of their machines.
    #[default]
    Compare,
    /// It is a BMC that tells something else than its machine.
    Ignore,
}

impl Identity {
    /// All of them, as they are written.
    pub const ALL: [(Self, &'static str); 2] =
        [(Self::Compare, "compare"), (Self::Ignore, "ignore")];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Ignore => "ignore",
        }
    }
}

/// What a fence device is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Role {
    /// To cut the power, and to tell it.
    #[default]
    Fence,
    /// To tell the power: it is never told to switch anything.
    Witness,
}

impl Role {
    /// All of them, as they are written.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Fence, "fence"), (Self::Witness, "witness")];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::Witness => "witness",
        }
    }
}

/// The ways to speak to a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceKind {
    /// A BMC, spoken to natively over RMCP+ (IPMI v2.0).
    Ipmi {
        /// Literal address and UDP port (usually [`IPMI_PORT`]); names are not looked up.
        address: SocketAddr,
        /// At most [`IPMI_USER_LEN_MAX`] bytes.
        user: String,
        /// At most [`IPMI_PASSWORD_LEN_MAX`] bytes.
        password: Secret,
        /// The cipher suites to use.
        suite: Suite,
    },
    /// A BMC, spoken to over Redfish (DMTF DSP0266) by a child process.
    Redfish {
        /// Its address or name, without port.
        host: String,
        /// Its TCP port (usually [`REDFISH_PORT`]).
        port: u16,
        /// At most [`REDFISH_USER_LEN_MAX`] bytes.
        user: String,
        /// At most [`REDFISH_PASSWORD_LEN_MAX`] bytes.
        password: Secret,
        /// The Id or path of the ComputerSystem; nothing if there is only one.
        system: Option<String>,
        /// How it proves to be itself.
        trust: Trust,
        /// How the user is told to it.
        login: Login,
    },
    /// Any program that speaks the fence agents' language: `name=value` lines on its standard
    /// input. At most [`AGENT_PARAMS_MAX`] parameters; a name is not empty and holds no `=`;
    /// neither name nor value holds a line break or NUL; `action` is tandem's own.
    Agent {
        /// The absolute path of the program.
        program: PathBuf,
        /// What may be shown: address, port, plug.
        params: Vec<(String, String)>,
        /// What may not: passwords.
        secrets: Vec<(String, Secret)>,
    },
}

/// Which RMCP+ cipher suites a BMC is offered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Suite {
    /// 17 first, 3 if the BMC does not know it; what worked is remembered.
    #[default]
    Auto,
    /// 3 alone: HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128.
    Three,
    /// 17 alone: HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128.
    Seventeen,
}

/// How a BMC proves over TLS that it is itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// By the certificate with this fingerprint.
    Pinned(Fingerprint),
    /// By a certificate issued under an authority in this PEM file.
    Authority(PathBuf),
}

/// How a user is told to a Redfish service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Login {
    /// With a session; with each request if there can be none.
    #[default]
    Auto,
    /// With a session alone.
    Session,
    /// With each request alone (HTTP Basic).
    Basic,
}

impl Login {
    /// All of them, as they are written.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Auto, "auto"), (Self::Session, "session"), (Self::Basic, "basic")];
}

/// The SHA-256 fingerprint of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; FINGERPRINT_LEN]);

/// The length of a fingerprint in bytes.
pub const FINGERPRINT_LEN: usize = 32;

impl Fingerprint {
    /// The fingerprint that 64 hexadecimal digits say, with or without colons between the bytes,
    /// and with or without what BMCs and openssl(1) write before them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.rsplit('=').next()?.trim();
        let has_name = digits.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("sha256:"));
        let digits = if has_name { digits.get(7..)? } else { digits };
        let plain: Vec<char> = digits.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
        let mut bytes = [0u8; FINGERPRINT_LEN];
        if plain.len() != FINGERPRINT_LEN.saturating_mul(2) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(plain.chunks_exact(2)) {
            for digit in pair {
                let digit = u8::try_from(digit.to_digit(16)?).ok()?;
                *byte = (*byte << 4) | digit;
            }
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    /// As openssl(1) shows it: `AB:CD:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is never shown: its `Debug` is redacted and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` out of sight.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that hands it to the device.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its length in bytes, for checks that must not see it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_understood_in_the_ways_it_is_shown() {
        let fingerprint = Fingerprint([0xab; FINGERPRINT_LEN]);
        let shown = fingerprint.to_string();
        assert_eq!(shown.len(), 95);
        let plain = "ab".repeat(32);
        let openssl = format!("sha256 Fingerprint={shown}");
        for text in [&shown, &plain, &openssl, &format!("SHA256:{plain}")] {
            assert_eq!(Fingerprint::parse(text), Some(fingerprint), "{text}");
        }
        let sha1 = "ab".repeat(20);
        for text in ["", &sha1, &"zz".repeat(32), &format!("{plain}a"), "é", "sha256:é"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let kind = DeviceKind::Agent {
            program: PathBuf::from("/usr/sbin/fence_ipmilan"),
            params: vec![("ip".to_owned(), "192.0.2.1".to_owned())],
            secrets: vec![("password".to_owned(), Secret::new("hunter2".to_owned()))],
        };
        let text = format!("{kind:?}");
        assert!(text.contains("192.0.2.1"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
