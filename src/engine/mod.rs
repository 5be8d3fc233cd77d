//! The deciding part: events and time go in, effects come out.
//!
//! The contract: [`Node::step`] with one [`Input`] and the time, then drain all [`Effects`], then
//! the next input; [`Node::next_deadline`] says when an [`Input::Tick`] is wanted. An effect with
//! an operation number gets exactly one answer. There is no clock, socket, file, thread,
//! randomness or log call in here, so that the same code runs in the daemon and in a test's world.
//!
//! ```text
//!             Input + now                      ┌ peer  link  freshness   who is heard, and how
//!   shell ───────────────► node ── records ──► │ look  path  devices     what else is known
//!     ▲                     │                  └ memory                  what outlives us
//!     │                     ├── decides ─────► decision ► fence, proof   nothing is held
//!     │                     │                  holder, collision, upkeep something is held
//!     └───── Effects ◄──────┴── tells ───────► speech, health
//! ```
//!
//! The states and their ways are drawn in [`role`]; how a proof is had, and why two nodes never
//! have each other's, in [`proof`].
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

mod attempt;
mod climb;
mod collision;
mod crossing;
mod decision;
mod devices;
pub mod effect;
pub mod event;
mod fence;
pub mod freshness;
pub mod handover;
mod health;
mod holder;
pub mod input;
mod link;
mod look;
mod memory;
mod node;
mod operator;
mod path;
mod peer;
mod power_on;
pub mod proof;
pub mod pulse;
mod purge;
pub mod reasons;
pub mod role;
mod screen;
pub mod settings;
pub mod snapshot;
mod speech;
pub mod telling;
pub mod transcript;
mod upkeep;

pub use effect::{Answer, Denial, Effect, Effects};
pub use event::Event;
pub use input::{Input, Order, Outcome, RequestId, Why};
pub use node::Node;
pub use settings::Settings;
pub use snapshot::Snapshot;
