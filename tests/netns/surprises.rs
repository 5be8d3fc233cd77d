//! What nobody planned: two holders by an operator's lie, clocks that jump, daemons that stand
//! still, tools that delete what is ours, disks and NICs that refuse (rows 16, 18 to 22, 26, 30).

mod addresses;
mod clocks;
mod collisions;
mod disks;
mod lives;
mod strays;
