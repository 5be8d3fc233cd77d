//! Words that every layer shares: identifiers, time, addresses, the heartbeat as facts.
//!
//! Plain data. Nothing here reads a clock, opens a file or decides anything.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod addr;
pub mod heartbeat;
pub mod id;
pub mod machine;
pub mod names;
pub mod power;
pub mod time;

pub use addr::{IpNet, Mac};
pub use heartbeat::{Hears, Heartbeat, PeerState};
pub use id::{
    BootId, DeviceId, Incarnation, LinkId, NicId, NodeId, OpId, Seq, Session, Term, VipId,
};
pub use machine::{Likeness, MachineId, Owner, Stray};
pub use names::Names;
pub use power::{FenceFault, Power};
pub use time::{Instant, Span};
