//! The hands of the daemon: files, sockets, devices.
pub mod log;
pub mod state_files;
