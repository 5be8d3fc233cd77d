//! Placeholder documentation is written with the module.
pub mod device;
pub mod link;
pub mod network;
