//! Placeholder documentation is written with the module.
pub mod link;
pub mod network;
