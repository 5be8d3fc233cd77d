//! A client for BMCs over RMCP+ (IPMI v2.0), made to switch power and to be certain about it.
//!
//! Bytes, moments and a seed go in; bytes, deadlines and one outcome per order come out. It knows
//! no socket and no clock. What it says is what the BMC said in an authenticated session, or why
//! there is no such word: it never takes silence, or a datagram that anybody could have sent, for
//! an answer.
//!
//! - [`client`]: the state machine, with its diagram
//! - `stage`, `tries`: where an order stands; how often one request is sent
//! - `opening`, `handshake`: how a session comes about
//! - `session`, `keeping`: the session itself, and how it is kept
//! - `packet`, `rakp`, `message`: layouts, from outside in
//! - `facts`: what the BMC says of itself in a session that is kept
//! - `crypto`, `refusal`: the cipher suites; what refusals mean
//!
//! Section numbers are those of the *Intelligent Platform Management Interface Specification,
//! Second Generation, v2.0, revision 1.1*.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod client;
mod crypto;
mod facts;
mod handshake;
mod keeping;
mod message;
mod opening;
mod packet;
mod rakp;
mod refusal;
mod session;
mod stage;
mod tries;
#[cfg(test)]
mod vectors;

pub use client::Client;
pub use crypto::CipherSuite;
pub use facts::{Facts, Firmware, Weakness};
pub use handshake::{Login, PASSWORD_LEN_MAX, USER_LEN_MAX};
pub use packet::DATAGRAM_LEN_MAX;
pub use stage::Order;
