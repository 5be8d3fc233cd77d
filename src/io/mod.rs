//! The hands: sockets and devices of the loop, each driven by readiness and deadlines.
//!
//! Every part takes `now` as an argument, never blocks, does a bounded share of its work per turn,
//! and hands out what happened as values. None of them decides what the node does.

pub mod announce;
pub mod destroy;
pub mod netlink;
pub mod network;
pub mod nic;
pub mod packet;
pub mod ping;
pub mod vips;
