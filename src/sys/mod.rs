//! Placeholder documentation is written with the module.
pub mod pidfd;
