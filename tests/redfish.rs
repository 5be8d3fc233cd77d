//! Redfish fence devices: the child that speaks to a BMC, and orders to it through the pool,
//! against a BMC of the tests with every vice, and against the emulator of sushy-tools, which
//! `scripts/sushy` installs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    missing_docs,
    reason = "a test may wait, and fail where it cannot go on; what is shared is not all used"
)]

#[path = "support/redfish_bmc.rs"]
mod bmc;
#[path = "support/pool.rs"]
mod pool;

#[path = "support/sushy.rs"]
mod sushy;

#[path = "redfish/child.rs"]
mod child;
#[path = "redfish/emulator.rs"]
mod emulator;
#[path = "redfish/orders.rs"]
mod orders;
