//! Placeholder documentation is written with the module.
pub mod child;
pub mod fence;
