//! Placeholder documentation is written with the module.

pub mod arp;
pub mod echo;
pub mod ndp;
pub mod sock_diag;
