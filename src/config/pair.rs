//! The whole pair as checked: every default filled in, the same seen from either node.
//!
//! It holds where secrets are, and none of them; it knows nothing of the machine it is read on.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::device::{Login, Suite, Trust};
use super::finding::{At, Place};
use super::link::Baud;
use super::network::{ServiceNic, Vip};
use super::plan::{Runtime, Timing};
use super::raw::Fencing;
use crate::engine::settings::AfterFence;
use crate::types::NodeId;

/// The whole pair. What is missing was told about.
pub(super) struct Pair {
    pub(super) cluster: Option<String>,
    pub(super) key_file: Option<At<PathBuf>>,
    pub(super) preferred: Option<NodeId>,
    pub(super) after_fence: AfterFence,
    pub(super) timing: Timing,
    pub(super) nodes: Vec<PairNode>,
    pub(super) nodes_place: Place,
    pub(super) links: Vec<PairLink>,
    pub(super) nics: Vec<At<ServiceNic>>,
    pub(super) vips: Vec<At<Vip>>,
    pub(super) devices: Vec<PairDevice>,
    pub(super) runtime: Runtime,
    /// Where the runtime-dir is written, or would be.
    pub(super) runtime_dir_place: Place,
}

/// One node.
pub(super) struct PairNode {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) id: NodeId,
    pub(super) fence_delay: Duration,
    pub(super) fencing: Fencing,
}

/// One heartbeat link.
pub(super) struct PairLink {
    pub(super) name: At<String>,
    pub(super) rhythm: Rhythm,
    pub(super) backup: bool,
    pub(super) carrier: PairCarrier,
}

/// What carries a link.
pub(super) enum PairCarrier {
    Udp { nic: At<String>, port: u16, group: Option<IpAddr>, addresses: Vec<(NodeId, At<IpAddr>)> },
    Serial { baud: Baud, rtscts: bool, devices: Vec<(NodeId, At<PathBuf>)> },
}

impl PairLink {
    /// The addresses of the nodes on it; none on a serial line.
    pub(super) fn addresses(&self) -> &[(NodeId, At<IpAddr>)] {
        match &self.carrier {
            PairCarrier::Udp { addresses, .. } => addresses,
            PairCarrier::Serial { .. } => &[],
        }
    }
}

/// The heartbeats' rhythm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rhythm {
    pub(super) keepalive: Duration,
    pub(super) warntime: Duration,
    pub(super) deadtime: Duration,
}

impl Rhythm {
    /// The same rhythm, so many times slower.
    pub(super) fn slowed(self, times: u32) -> Self {
        let slowed = |duration: Duration| duration.saturating_mul(times);
        Self {
            keepalive: slowed(self.keepalive),
            warntime: slowed(self.warntime),
            deadtime: slowed(self.deadtime),
        }
    }
}

/// One fence device.
pub(super) struct PairDevice {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) node: NodeId,
    pub(super) level: u8,
    pub(super) timeout: Duration,
    pub(super) kind: PairKind,
}

/// What belongs to one type of fence device.
pub(super) enum PairKind {
    Ipmi {
        address: SocketAddr,
        user: String,
        password_file: At<PathBuf>,
        suite: Suite,
    },
    Redfish {
        host: String,
        port: u16,
        user: String,
        password_file: At<PathBuf>,
        system: Option<String>,
        trust: At<Trust>,
        login: Login,
    },
    Agent {
        /// As written: a name or an absolute path.
        agent: At<String>,
        program: PathBuf,
        params: Vec<(String, String)>,
        /// Where each of them is written.
        param_places: Vec<(String, Place)>,
        secret_files: Vec<(String, At<PathBuf>)>,
    },
}

impl Pair {
    /// The name of the node numbered `id`.
    pub(super) fn node_name(&self, id: NodeId) -> &str {
        self.nodes.iter().find(|node| node.id == id).map_or("?", |node| node.name.as_str())
    }

    /// The name of the service NIC of a VIP.
    pub(super) fn nic_name(&self, vip: &Vip) -> &str {
        self.nics.get(vip.nic.index()).map_or("?", |nic| nic.value.name.as_str())
    }
}
