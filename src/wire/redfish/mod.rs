//! What a Redfish BMC is asked and answers: HTTP/1.1 messages, JSON documents, and the relay
//! between the daemon and the child process that speaks to the BMC (DMTF DSP0266, DSP0268).
//!
//! Pure: bytes in, facts out. It knows neither sockets nor TLS; every message is bounded.

pub mod document;
pub mod http;
pub mod relay;
