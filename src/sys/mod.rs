//! System calls that no crate offers safely: one file per kernel resource, one safe function per
//! call. The only place that may hold `unsafe`.

pub mod peer_groups;
