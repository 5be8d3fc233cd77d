//! The kernel's resources, one file each, one safe function per system call.
//!
//! The only place where `unsafe` may stand. Nothing here decides anything.

pub mod clock;
pub mod ipmi;
pub mod packet;
pub mod peer_groups;
pub mod pidfd;
pub mod priority;
pub mod secrecy;
pub mod spawn;
pub mod timer;
pub mod tty;
