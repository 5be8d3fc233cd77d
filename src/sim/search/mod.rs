//! The exhaustive search: every state that a small world can reach, each visited once.
//!
//! The random worlds have clocks that agree and networks that mostly work. Here clocks go as they
//! like, messages stay under way as long as they like, and every order of events is tried: nothing
//! that is found safe here rests on time. What bounds a world is how many messages are under way,
//! and how often each fault may strike ([`Budget`]).
//!
//! ```text
//!   state ──► all moves ──► copies, each with one move made ──► fingerprint ──► seen before?
//!     ▲         [moves]          the world's checks                [canon]        │ no
//!     └─────────────────────────────────── next round ◄──────────────────────────┘
//! ```
//!
//! This module makes moves and fingerprints; the rounds, the threads and the memory belong to
//! whoever runs it (`tests/search.rs`).

mod canon;
mod fingerprint;
mod hash;
mod moves;
mod roots;
mod rules;

pub use fingerprint::Fingerprints;
pub use moves::{Budget, Move, State};
pub use roots::{Root, roots, small_plan};
