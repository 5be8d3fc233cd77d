//! tandem: two-node high availability with proof before takeover.
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod io;
pub mod sys;
pub mod types;
pub mod wire;
