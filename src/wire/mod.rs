//! Bytes to facts and back: everything that crosses a cable or a socket, as pure functions.
//!
//! It reads no clock and no socket, keeps no state between two messages, and refuses whatever it
//! does not know instead of guessing.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod arp;
pub mod auth;
pub mod control;
pub mod echo;
pub mod guid;
pub mod heartbeat;
pub mod ipmi;
pub mod ndp;
pub mod probe;
pub mod redfish;
pub mod serial_frame;
pub mod short;
pub mod sock_diag;
