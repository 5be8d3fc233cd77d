//! A world for engines: machines, networks and fence devices in virtual time, and every fault.
//!
//! Each machine runs the real [`crate::engine::Node`]; around it everything is simulated, and what
//! is told is kept apart from what is true: what a node believes it holds and what its kernel
//! holds, what a fence device reads and whether the power is on, what an operator says and what is
//! so. After every step the world checks what must always be true ([`check`]).
//!
//! ```text
//!             Input                        ┌ machine   power, kernel, disk, mark, daemon
//!   world ─────────────► engine::Node      │ device    what it does, what it says
//!    ▲ │                     │             │ network   links, noise, service networks
//!    │ └─ queue ◄── carry ◄──┘ Effects     └ queue     what is under way, and when it arrives
//!    │
//!    └─ faults (causes), chosen by a test, a scenario, a seed ([`seeds`]), or one after the other
//!       by the exhaustive search
//! ```
//!
//! The same seed gives the same world, step by step, on every machine. There is no clock, thread
//! or randomness in here but the seed's.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever a world does not expect ends it: that is what a world is for"
)]

mod carry;
mod causes;
pub mod check;
pub mod device;
mod ends;
mod handovers;
mod happen;
mod ledger;
pub mod machine;
pub mod network;
mod paths;
pub mod plan;
mod power_checks;
mod powers;
mod pulses;
pub mod queue;
mod random;
pub mod search;
mod second_faults;
pub mod seeds;
mod senses;
mod story;
mod views;
pub mod walks;
mod world;

pub use device::{Device, Mode};
pub use ledger::Ledger;
pub use machine::{Daemon, Disk, Machine, Taking, Vips};
pub use network::{Network, Noise};
pub use plan::{Plan, Timing, ms};
pub use queue::{Happening, Queue, Work};
pub use random::Random;
pub use story::{Step, Story};
pub use world::World;
