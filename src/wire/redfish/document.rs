//! The JSON documents of a Redfish service: its root, collections, a ComputerSystem, errors.
//!
//! Only what fencing needs is looked at. A document that lacks it, or has something else in its
//! place, is not guessed at.

use serde_json::Value;

use crate::types::Power;
use crate::wire::guid;

/// The most members of a collection that are looked at.
pub const MEMBERS_MAX: usize = 64;
/// The longest path in bytes.
pub const PATH_LEN_MAX: usize = 512;
/// The most kinds of reset that are looked at.
const RESETS_MAX: usize = 32;
/// The reset that cuts the power at once, without asking the operating system (DSP2046, Resource).
pub const FORCE_OFF: &str = "ForceOff";
/// The resets that restore the power, the better one first.
pub const ONS: [&str; 2] = ["On", "ForceOn"];

/// The service's root (`/redfish/v1/`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// The path of the collection of ComputerSystems.
    pub systems: String,
    /// The path of the collection of sessions; nothing if the service has none.
    pub sessions: Option<String>,
}

/// One ComputerSystem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct System {
    /// `On` and `Off` are what they say; `PoweringOn`, `PoweringOff`, `Paused` and nothing at all
    /// are [`Power::Unknown`].
    pub power: Power,
    /// How it is reset; nothing if it cannot be.
    pub reset: Option<Reset>,
    /// Which machine it is: that of SMBIOS (DSP2046, ComputerSystem, `UUID`).
    pub uuid: Option<[u8; guid::LEN]>,
}

/// How a ComputerSystem is reset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reset {
    /// The path to which a reset is posted.
    pub target: String,
    /// The kinds of reset; nothing if the document does not list them.
    pub kinds: Option<Vec<String>>,
    /// The path of the document that lists them instead.
    pub info: Option<String>,
}

/// Reads the service's root. Nothing if it has no systems.
pub fn root(document: &Value) -> Option<Root> {
    let sessions = document.get("Links").and_then(|links| links.get("Sessions"));
    Some(Root { systems: link(document.get("Systems")?)?, sessions: sessions.and_then(link) })
}

/// The paths of a collection's members, at most [`MEMBERS_MAX`]. Nothing if it is no collection.
pub fn members(document: &Value) -> Option<Vec<String>> {
    let members = document.get("Members")?.as_array()?;
    Some(members.iter().take(MEMBERS_MAX).filter_map(link).collect())
}

/// Reads a ComputerSystem. Nothing if it is none: it has neither a power state nor actions.
pub fn system(document: &Value) -> Option<System> {
    let state = document.get("PowerState");
    let reset = document.get("Actions").and_then(|all| all.get("#ComputerSystem.Reset"));
    if state.is_none() && reset.is_none() {
        return None;
    }
    let power = match state.and_then(Value::as_str) {
        Some("On") => Power::On,
        Some("Off") => Power::Off,
        Some(_) | None => Power::Unknown,
    };
    let uuid = document.get("UUID").and_then(Value::as_str).and_then(guid::parse);
    Some(System { power, reset: reset.and_then(read_reset), uuid })
}

fn read_reset(action: &Value) -> Option<Reset> {
    let target = action.get("target").and_then(Value::as_str).and_then(path)?;
    let kinds = action.get("ResetType@Redfish.AllowableValues").and_then(Value::as_array);
    let info = action.get("@Redfish.ActionInfo").and_then(Value::as_str).and_then(path);
    Some(Reset { target, kinds: kinds.map(|kinds| texts(kinds)), info })
}

/// The kinds of reset that an ActionInfo document lists, if it does.
pub fn kinds_of_info(document: &Value) -> Option<Vec<String>> {
    let parameters = document.get("Parameters")?.as_array()?;
    let is_type = |p: &&Value| p.get("Name").and_then(Value::as_str) == Some("ResetType");
    let parameter = parameters.iter().find(is_type)?;
    Some(texts(parameter.get("AllowableValues")?.as_array()?))
}

/// What an error document says (DSP0266, *Error responses*): its most specific message.
pub fn message(document: &Value) -> Option<String> {
    let error = document.get("error")?;
    let extended = error.get("@Message.ExtendedInfo").and_then(Value::as_array);
    let texts = extended.into_iter().flatten().filter_map(|info| info.get("Message")?.as_str());
    let mut texts = texts.chain(error.get("message").and_then(Value::as_str));
    texts.find(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// The last part of a path: the Id of what it leads to.
pub fn id_of(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// `text` if it is a path that can be written into a request.
pub fn path(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_graphic();
    let is_path = text.starts_with('/') && !text.starts_with("//") && text.chars().all(fits);
    (is_path && text.len() <= PATH_LEN_MAX).then(|| text.to_owned())
}

fn link(value: &Value) -> Option<String> {
    value.get("@odata.id")?.as_str().and_then(path)
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().take(RESETS_MAX).filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_root_names_its_systems_and_perhaps_its_sessions() {
        let plain = json!({ "Systems": { "@odata.id": "/redfish/v1/Systems" } });
        assert_eq!(root(&plain).unwrap().sessions, None);
        let full = json!({ "Systems": { "@odata.id": "/redfish/v1/Systems" }, "Links": {
            "Sessions": { "@odata.id": "/redfish/v1/SessionService/Sessions" } } });
        assert_eq!(
            root(&full).unwrap().sessions.as_deref(),
            Some("/redfish/v1/SessionService/Sessions")
        );
        for nothing in [json!(null), json!([]), json!({ "Systems": "/x" }), json!("Systems")] {
            assert_eq!(root(&nothing), None, "{nothing}");
        }
    }

    /// Whatever is neither `On` nor `Off` proves nothing.
    #[test]
    fn only_off_is_off() {
        for (state, power) in [
            (json!("On"), Power::On),
            (json!("Off"), Power::Off),
            (json!("off"), Power::Unknown),
            (json!("OFF"), Power::Unknown),
            (json!("PoweringOff"), Power::Unknown),
            (json!("PoweringOn"), Power::Unknown),
            (json!("Paused"), Power::Unknown),
            (json!(null), Power::Unknown),
            (json!(false), Power::Unknown),
            (json!(["Off"]), Power::Unknown),
        ] {
            assert_eq!(system(&json!({ "PowerState": state })).unwrap().power, power, "{state}");
        }
        assert_eq!(system(&json!({ "Power": "Off" })), None);
        assert_eq!(system(&json!(["PowerState"])), None);
    }

    #[test]
    fn a_system_tells_which_machine_it_is_or_does_not() {
        let uuid = |uuid: Value| system(&json!({ "PowerState": "On", "UUID": uuid })).unwrap().uuid;
        let text = "4c4c4544-0042-3510-8052-b4c04f4a4632";
        assert_eq!(uuid(json!(text)), guid::parse(text));
        for nothing in [json!(null), json!(""), json!(7), json!("System.Embedded.1")] {
            assert_eq!(uuid(nothing), None);
        }
    }

    #[test]
    fn the_reset_action_is_read_with_its_kinds_or_where_they_are_listed() {
        let action = |action: Value| {
            let document = json!({ "Actions": { "#ComputerSystem.Reset": action } });
            system(&document).unwrap().reset
        };
        let kinds = action(json!({ "target": "/reset",
            "ResetType@Redfish.AllowableValues": ["On", 7, "ForceOff"] }));
        assert_eq!(kinds.unwrap().kinds.unwrap(), ["On", "ForceOff"]);
        let info = action(json!({ "target": "/reset", "@Redfish.ActionInfo": "/info" }));
        assert_eq!(info.unwrap().info.as_deref(), Some("/info"));
        assert_eq!(action(json!({ "target": "http://elsewhere/" })), None);
        assert_eq!(action(json!({ "target": "/a\r\nX-Header: 1" })), None);
        assert_eq!(action(json!({ "target": "//elsewhere/" })), None);
        let info = json!({ "Parameters": [{ "Name": "Other", "AllowableValues": ["x"] },
            { "Name": "ResetType", "AllowableValues": ["ForceOff"] }] });
        assert_eq!(kinds_of_info(&info).unwrap(), ["ForceOff"]);
        assert_eq!(kinds_of_info(&json!({ "Parameters": {} })), None);
    }

    #[test]
    fn collections_and_messages_are_bounded() {
        let many: Vec<Value> =
            (0..1000).map(|n| json!({ "@odata.id": format!("/s/{n}") })).collect();
        assert_eq!(members(&json!({ "Members": many })).unwrap().len(), MEMBERS_MAX);
        assert_eq!(members(&json!({ "Members": [] })).unwrap(), Vec::<String>::new());
        assert_eq!(members(&json!({ "Name": "none" })), None);
        assert_eq!(id_of("/redfish/v1/Systems/System.Embedded.1/"), "System.Embedded.1");
        let error = json!({ "error": { "message": "general",
            "@Message.ExtendedInfo": [{ "Message": "" }, { "Message": "already off" }] } });
        assert_eq!(message(&error).as_deref(), Some("already off"));
        assert_eq!(
            message(&json!({ "error": { "message": "general" } })).as_deref(),
            Some("general")
        );
        assert_eq!(message(&json!({ "error": [] })), None);
    }
}
