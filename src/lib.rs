//! tandem: two-node high availability for bare-metal appliances, with proof before takeover.
//!
//! In the middle a pure **engine** decides; around it a **shell** carries out. An event goes in
//! with the time; effects come out; each effect that needs an answer gets exactly one.
//!
//! ```text
//!    kernel / devices               daemon (one thread, mio)                engine (pure)
//!    UDP, netlink,       ready    1 wait until the next deadline
//!    packets, BMC,     ────────►  2 read the boot clock once          Input + now
//!    children, control,           3 woke too late? tell the engine ───────────────► Node::step
//!    signals                        first: Stalled { late_by }                      next_deadline
//!         ▲                       4 drain sources (bounded), then     ◄───────────── Effects
//!         │      carry out          time; one input, drain all its
//!         └───────────────────────  effects; answers come back as
//!                                   Done or Reading
//! ```
//!
//! The layers, and what may import what (an arrow too many fails `tests/tidy.rs`):
//!
//! ```text
//!   main ─► cli ─► daemon ─► io ─► sys          only sys may hold `unsafe`
//!            │       │        ├──► wire          bytes ⇄ types, pure
//!            ▼       ▼        ▼      │
//!          config ─► engine ─► types ◄┘
//! ```
//!
//! | to find | look in |
//! |---|---|
//! | who becomes active, and when | [`engine`]: `decision`, `holder`, `collision` |
//! | what a proof is, and who can make one | [`engine::proof`] |
//! | the states and the ways between them | [`engine::role`] |
//! | how power is cut and read back, frozen | `engine::fence`, carried out by [`io::fence`] |
//! | who is heard, replays, incarnations | `engine::peer`, `engine::link`, `engine::freshness` |
//! | heartbeats on the wire, keys | [`wire::heartbeat`], [`wire::short`], [`wire::auth`] |
//! | links: UDP, serial lines | [`io::link`], [`io::udp`], [`io::serial`], [`wire::serial_frame`] |
//! | virtual IPs, announcements, carriers | [`io::vips`], [`io::announce`], [`io::network`] |
//! | the BMC's language | [`wire::ipmi`] |
//! | the configuration file and its errors | [`config`] |
//! | the loop | [`daemon`] |
//! | what the operator sees | [`cli`], [`wire::control`], `daemon::status` |
//! | what an engine was given, and running it again | [`flight`], recorded by [`io::flight`] |
//! | what outlives the daemon | [`io::state_files`], `engine::memory` |
//!
//! `docs/ARCHITECTURE.md` tells the reasons.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod flight;
pub mod io;
pub mod sim;
pub mod sys;
pub mod types;
pub mod wire;
