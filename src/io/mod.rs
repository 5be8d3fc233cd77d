//! What touches the world: sockets and devices, each without ever blocking the loop.
//!
//! Nothing here decides. It turns readiness into facts and effects into system calls, and hands
//! every failure on as a value.

pub mod agents;
pub mod announce;
pub mod child;
pub mod control;
pub mod destroy;
pub mod fence;
pub mod flight;
pub mod link;
pub mod log;
pub mod machine;
pub mod netlink;
pub mod network;
pub mod nic;
pub mod packet;
pub mod ping;
pub mod probe;
pub mod pulse;
pub mod receive_clock;
pub mod redfish;
pub mod serial;
pub mod state_files;
pub mod udp;
pub mod vips;
pub mod word_file;
