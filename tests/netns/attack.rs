//! Attackers at the door: forged, replayed and foreign input against a running pair (rows 15 and
//! 28). Nothing that comes from outside may change a role, delay a fence or end a daemon.

mod control;
pub mod devices;
mod files;
mod floods;
pub(crate) mod heartbeats;
pub(crate) mod intruder;
