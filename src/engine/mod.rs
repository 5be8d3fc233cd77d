//! The deciding part: events and time go in, effects come out.
#![forbid(unsafe_code, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod effect;
pub mod event;
pub mod input;
pub mod settings;

pub use effect::{Answer, Denial, Effect, Effects};
pub use event::Event;
pub use input::{Input, Order, Outcome, RequestId, Why};
pub use settings::Settings;
