//! A real agent, `fence_apc_snmp`, and a PDU behind the programs that it runs for SNMP: outlets are
//! files. A host with two supplies hangs on two outlets: two devices of one level.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tandem::config::device::{Device, DeviceKind};
use tandem::io::fence::Order;
use tandem::types::{DeviceId, FenceFault, NodeId, Power};

use crate::ipmi_sim::{TempDir, require};
use crate::pool::Loop;

const TIMEOUT: Duration = Duration::from_secs(30);

/// The SNMP programs of a rack PDU whose outlets are files; what it is told is written down.
/// 1 is on, 2 is off (PowerNet-MIB, rPDUOutletStatusOutletState).
const SNMP: &str = r#"#!/bin/sh
for word; do last=$word; done
case $0 in
*walk) echo ".1.3.6.1.2.1.1.2.0 .1.3.6.1.4.1.318.1.3.4.5" ;;
*get)
  outlet=$D/outlets/${last##*.}
  if [ -e "$outlet" ]; then echo "$last $(cat "$outlet")"; exit; fi
  # As version 2c answers for what does not exist: in words, and with status 0.
  echo "$last No Such Instance currently exists at this OID" ;;
*set)
  oid=$(echo "$*" | sed "s/.*\(\.1\.3[.0-9]*\).*/\1/")
  outlet=$D/outlets/${oid##*.}
  echo "${oid##*.} $last" >>"$D/told"
  [ -e "$D/broken" ] || echo "$last" >"$outlet"
  echo "$oid $last" ;;
esac
"#;

struct Pdu(TempDir);

impl Pdu {
    /// A PDU with outlets 1 to 4, all on.
    fn new() -> Self {
        require("fence_apc_snmp", "fence-agents");
        let directory = TempDir::new();
        fs::create_dir(directory.0.join("outlets")).unwrap();
        for program in ["walk", "get", "set"] {
            let path = directory.0.join(program);
            let text = SNMP.replace("$D", &directory.0.display().to_string());
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let pdu = Self(directory);
        (1..=4).for_each(|outlet| pdu.switch(outlet, true));
        pdu
    }

    fn switch(&self, outlet: u8, on: bool) {
        let state = if on { "1\n" } else { "2\n" };
        fs::write(self.0.0.join("outlets").join(outlet.to_string()), state).unwrap();
    }

    fn states(&self) -> Vec<String> {
        let read = |outlet: u8| {
            fs::read_to_string(self.0.0.join("outlets").join(outlet.to_string())).unwrap()
        };
        (1..=4).map(|outlet| read(outlet).trim().to_owned()).collect()
    }

    fn plug(&self, plug: &str) -> Device {
        let path = |name: &str| self.0.0.join(name).display().to_string();
        let params = [
            ("ip", "192.0.2.9".to_owned()),
            ("plug", plug.to_owned()),
            ("snmp-version", "2c".to_owned()),
            ("snmpwalk-path", path("walk")),
            ("snmpget-path", path("get")),
            ("snmpset-path", path("set")),
        ];
        let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let program = "/usr/sbin/fence_apc_snmp".into();
        let kind = DeviceKind::Agent { program, params, secrets: Vec::new() };
        Device::new(&format!("pdu-{plug}"), NodeId::new(2).unwrap(), kind)
    }
}

/// Two supplies, two outlets, two devices of one level: both are told and read.
#[test]
fn both_outlets_of_a_host_are_switched_and_read_and_no_other() {
    let pdu = Pdu::new();
    let outlets = [(DeviceId(0), pdu.plug("2")), (DeviceId(1), pdu.plug("3"))];
    let mut rig = Loop::new();
    for (order, expected) in
        [(Order::Check, Power::On), (Order::Off, Power::Unknown), (Order::Read, Power::Off)]
    {
        let ops = outlets.each_ref().map(|(id, plug)| rig.start_on(*id, plug, order, TIMEOUT));
        for op in ops {
            assert_eq!(rig.wait_for(op), Ok(expected), "{order:?}");
        }
    }
    assert_eq!(pdu.states(), ["1", "2", "2", "1"]);
    // One of them comes back by a person's hand: it reads on, and the level is not off.
    pdu.switch(3, true);
    let read = rig.start_on(DeviceId(1), &outlets[1].1, Order::Read, TIMEOUT);
    assert_eq!(rig.wait_for(read), Ok(Power::On));
    rig.settle();
}

/// A relay that sticks: the agent itself looks until its own time is over, and fails.
#[test]
fn an_outlet_that_stays_on_is_not_off() {
    let pdu = Pdu::new();
    fs::write(pdu.0.0.join("broken"), "").unwrap();
    let mut plug = pdu.plug("2");
    let DeviceKind::Agent { params, .. } = &mut plug.kind else { unreachable!() };
    params.push(("power-timeout".to_owned(), "2".to_owned()));
    let mut rig = Loop::new();
    let off = rig.run(&plug, Order::Off, TIMEOUT).0;
    assert!(matches!(off, Err(FenceFault::AgentFailed | FenceFault::Unreachable)), "{off:?}");
    assert_eq!(rig.run(&plug, Order::Read, TIMEOUT).0, Ok(Power::On));
    assert_eq!(pdu.states()[1], "1");
}

/// Why a device that reads off while its host is heard is distrusted: this agent takes whatever is
/// not on for off, and what is off already for switched off.
#[test]
fn an_outlet_that_does_not_exist_passes_for_off_with_this_agent() {
    let pdu = Pdu::new();
    let plug = pdu.plug("9");
    let mut rig = Loop::new();
    assert_eq!(rig.run(&plug, Order::Check, TIMEOUT).0, Ok(Power::Off));
    assert_eq!(rig.run(&plug, Order::Off, TIMEOUT).0, Ok(Power::Unknown));
    assert!(!pdu.0.0.join("told").exists(), "nothing was switched");
}
