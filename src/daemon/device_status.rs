//! The fence devices in the status document: what they read, how their sessions stand, who they
//! are.

use super::remedy;
use super::status::Sources;
use crate::config::DeviceKind;
use crate::engine::snapshot::DeviceView;
use crate::types::{DeviceId, FenceFault, Power};
use crate::wire::control::status::FenceDevice;
use crate::wire::ipmi::Firmware;

impl Sources<'_> {
    pub(super) fn fence_devices(&self) -> Vec<FenceDevice> {
        self.view.devices.iter().map(|view| self.fence_device(view)).collect()
    }

    /// What a fence device said when it was last asked.
    pub(super) fn last_said(&self, id: DeviceId) -> Option<Result<Power, FenceFault>> {
        let mut devices = self.view.devices.iter();
        devices.find(|device| device.id == id)?.last.map(|(said, _)| said)
    }

    fn fence_device(&self, view: &DeviceView) -> FenceDevice {
        let kind = self.plan.devices.get(view.id.index()).map(|device| match &device.kind {
            DeviceKind::Ipmi { .. } => "ipmi".to_owned(),
            DeviceKind::Redfish { .. } => "redfish".to_owned(),
            DeviceKind::Agent { program, .. } => program
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
        });
        let (reading, fault) = match view.last {
            None => (String::new(), String::new()),
            Some((Ok(power), _)) => (power.to_string(), String::new()),
            Some((Err(fault), _)) => (Power::Unknown.to_string(), fault.to_string()),
        };
        let fault = if view.distrusted {
            "it read off while its host was heard: its off is no proof".to_owned()
        } else {
            fault
        };
        let device = FenceDevice {
            name: self.names().device(view.id).to_owned(),
            node: self.names().node(view.node).to_owned(),
            level: view.level,
            kind: kind.unwrap_or_default(),
            reading,
            read_ms: view.last.map(|(_, at)| self.ago(at)),
            fault,
            distrusted: view.distrusted,
            power: view.power.map(|(power, _)| power.to_string()).unwrap_or_default(),
            power_ms: view.power.map(|(_, at)| self.ago(at)),
            failing_ms: view.failing_since.map(|at| self.ago(at)),
            ..FenceDevice::default()
        };
        self.with_session(device, view.id)
    }

    /// The same with what is known of the BMC.
    fn with_session(&self, device: FenceDevice, id: DeviceId) -> FenceDevice {
        let Some(session) = self.fences.session(id) else { return device };
        let facts = session.facts;
        let warnings = facts.weaknesses.iter().map(|weakness| {
            let (what, remedy) = remedy::of_weakness(*weakness);
            format!("{what}; {remedy}")
        });
        FenceDevice {
            session: if session.is_open { "open" } else { "closed" }.to_owned(),
            session_ms: Some(self.ago(session.since)),
            cipher_suite: session.suite.map(crate::wire::ipmi::CipherSuite::number),
            guid: facts.system_guid.or(session.guid).map(hexadecimal).unwrap_or_default(),
            device_guid: facts.device_guid.map(hexadecimal).unwrap_or_default(),
            firmware: facts.firmware.map(firmware_text).unwrap_or_default(),
            warnings: warnings.collect(),
            ..device
        }
    }
}

/// What a fence device said, in words.
pub(super) fn said_text(said: Result<Power, FenceFault>) -> String {
    match said {
        Ok(power) => format!("it says {power}"),
        Err(fault) => fault.to_string(),
    }
}

fn hexadecimal(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn firmware_text(firmware: Firmware) -> String {
    let Firmware { major, minor, manufacturer } = firmware;
    format!("{major}.{minor:02x} (manufacturer {manufacturer})")
}
