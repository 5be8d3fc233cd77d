//! Placeholder documentation is written with the module.
