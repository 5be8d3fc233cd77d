//! Names for people: what a number of the engine is called in the configuration.

use serde::{Deserialize, Serialize};

use super::{DeviceId, LinkId, NicId, NodeId, VipId};

/// The names of the configured things, by their numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// Node names, by node number.
    pub nodes: Vec<(NodeId, String)>,
    /// Link names, by [`LinkId`].
    pub links: Vec<String>,
    /// Service NIC names, by [`NicId`].
    pub nics: Vec<String>,
    /// VIPs as written in the configuration, by [`VipId`].
    pub vips: Vec<String>,
    /// Fence device names, by [`DeviceId`].
    pub devices: Vec<String>,
}

impl Names {
    /// The node's name; `?` if it is not in the configuration.
    pub fn node(&self, id: NodeId) -> &str {
        self.nodes.iter().find(|(node, _)| *node == id).map_or("?", |(_, name)| name)
    }

    /// The link's name; `?` if it is not in the configuration.
    pub fn link(&self, id: LinkId) -> &str {
        self.links.get(id.index()).map_or("?", String::as_str)
    }

    /// The service NIC's name; `?` if it is not in the configuration.
    pub fn nic(&self, id: NicId) -> &str {
        self.nics.get(id.index()).map_or("?", String::as_str)
    }

    /// The VIP as the configuration writes it; `?` if it is not there.
    pub fn vip(&self, id: VipId) -> &str {
        self.vips.get(id.index()).map_or("?", String::as_str)
    }

    /// The fence device's name; `?` if it is not in the configuration.
    pub fn device(&self, id: DeviceId) -> &str {
        self.devices.get(id.index()).map_or("?", String::as_str)
    }
}
