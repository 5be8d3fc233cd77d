//! How the parts of a lab are put together: namespaces, NICs and addresses of everything in it.

use std::path::PathBuf;
use std::sync::Arc;

use super::cable::Cable;
use super::machine::{Machine, Parts};
use super::plan::LabConfig;
use super::switch::{Plug, Switch};
use super::{Node, bmc, netns};

/// What a node of this lab consists of.
pub fn parts(config: &LabConfig, node: Node, namespace: String, dir: PathBuf) -> Parts {
    let real = ["/run/lab/tandem", "run", "--config", "/etc/tandem/tandem.toml", "--node"];
    let daemon = if config.daemon.is_empty() {
        real.into_iter().chain([node.letter()]).map(str::to_owned).collect()
    } else {
        config.daemon.clone()
    };
    Parts {
        node,
        plugs: config.node_plugs(node, &namespace),
        namespace,
        dir,
        addresses: config.node_addresses(node),
        tandem: PathBuf::from(env!("CARGO_BIN_EXE_tandem")),
        daemon,
        environment: config.environment.clone(),
        start: config.start,
    }
}

/// Lays the serial cables. Each node finds its ends in `/etc/tandem`.
pub fn lay_cables(config: &LabConfig, machines: &[Arc<Machine>; 2]) -> Vec<Cable> {
    let lay = |n: usize| {
        let [a, b] =
            [0, 1].map(|node: usize| machines[node].dir().join("etc").join(format!("cable{n}")));
        Cable::lay(&a, &b)
    };
    (0..config.cables.len()).map(lay).collect()
}

/// Makes the namespaces of the client and the observer, with a NIC in every service network.
pub fn connect_watchers(config: &LabConfig, switch: &Switch, name: &impl Fn(&str) -> String) {
    for (suffix, host) in [("c", 100), ("o", 101)] {
        let namespace = name(suffix);
        netns::create(&namespace);
        let plug = |n: u8| Plug {
            port: format!("{suffix}-eth{n}"),
            bridge: format!("svc{n}"),
            namespace: namespace.clone(),
            nic: format!("eth{n}"),
            mac: None,
            cable: None,
        };
        let plugs: Vec<Plug> = (0..config.service_nics).map(plug).collect();
        switch.plug(&plugs);
        let mut lines = vec!["link set lo up".to_owned()];
        for n in 0..config.service_nics {
            lines.push(format!("link set eth{n} up"));
            lines.push(format!("addr add 10.77.{n}.{host}/24 dev eth{n}"));
            lines.push(format!("addr add fd77:{n}::{host}/64 dev eth{n} nodad"));
        }
        netns::ip_batch(&namespace, &lines);
        switch.settle(&plugs.into_iter().map(|plug| plug.port).collect::<Vec<_>>());
    }
}

/// The name of a BMC's port at the switch.
pub fn bmc_port(node: Node) -> String {
    format!("bmc-{node}")
}

/// Makes the namespace of a BMC, with a NIC in the management network.
pub fn connect_bmc(switch: &Switch, node: Node, namespace: &str) {
    netns::create(namespace);
    switch.plug(&[Plug {
        port: bmc_port(node),
        bridge: "mgmt".to_owned(),
        namespace: namespace.to_owned(),
        nic: "lan0".to_owned(),
        mac: None,
        cable: None,
    }]);
    let lines = [
        "link set lo up".to_owned(),
        "link set lan0 up".to_owned(),
        format!("addr add {}/24 dev lan0", bmc::address(node)),
    ];
    netns::ip_batch(namespace, &lines);
    switch.settle(&[bmc_port(node)]);
}
