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
/// The most parameters of one agent, secrets included.
pub const AGENT_PARAMS_MAX: usize = 64;
/// The longest `name=value` line of an agent in bytes.
pub const AGENT_LINE_LEN_MAX: usize = 4096;

/// One thing that can cut the power of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// What people call it.
    pub name: String,
    /// The node whose power it switches.
    pub node: NodeId,
    /// How it is spoken to.
    pub kind: DeviceKind,
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
