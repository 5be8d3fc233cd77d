//! What a fence agent tells of its parameters, and whether what is configured for it fits.
//!
//! Agents ignore names that they do not know, and fail in the moment of need where one is missing:
//! both is better known before. The metadata is the XML that the agent prints for the action
//! `metadata` (ClusterLabs, *Fence Agent API*); running the agent is the caller's affair.

use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, ParsingOptions};
use serde::{Deserialize, Serialize};

use super::device::{Device, DeviceKind};
use super::finding::{At, Place, Severity};
use super::nearest::nearest;
use super::pair::{Pair, PairKind};
use super::vocabulary::same;

/// The longest metadata in bytes.
pub const METADATA_LEN_MAX: usize = 256 << 10;
/// The most elements and attributes of it.
const NODES_MAX: u32 = 20_000;
/// The most parameters of one agent.
const PARAMETERS_MAX: usize = 512;
/// How many names are listed where none is near.
const LISTED_MAX: usize = 60;
/// What agents take for true and false (`fencing.py`, in any case).
const FLAGS: [&str; 8] = ["1", "yes", "on", "true", "0", "no", "off", "false"];
/// Parameters with which an agent prints something and does nothing.
const PRINTS: [&str; 2] = ["help", "version"];
/// Parts of names of parameters that hold secrets.
const SECRETS: [&str; 6] = ["passwd", "password", "passphrase", "secret", "token", "community"];
/// Parts of names of parameters that say where a secret is.
const PLACES: [&str; 4] = ["script", "file", "path", "url"];
/// Where agents are that belong to the system: only these are asked. Another one may take a word
/// that it does not know for one that switches the power.
const ASKED_DIR: &str = "/usr/sbin";

/// An agent, and what it is to be told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgentUse {
    /// The program's absolute path.
    pub program: PathBuf,
    /// Where it is named.
    pub place: Place,
    /// The parameters of `params`.
    pub params: Vec<Given>,
    /// The names of those in `secret-files`, their values left out.
    pub secrets: Vec<Given>,
}

/// One parameter, as configured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Its value; empty for a secret.
    pub value: String,
}

/// Something that does not fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Misfit {
    /// Whether the agent could not do its work with it.
    pub is_error: bool,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub wrong: String,
    /// What to write instead.
    pub instead: String,
}

impl Misfit {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        if self.is_error { Severity::Error } else { Severity::Warning }
    }
}

impl AgentUse {
    /// The agent that `device` is, if it is one. Places are the device and the parameter.
    pub fn of(device: &Device) -> Option<Self> {
        let DeviceKind::Agent { program, params, secrets } = &device.kind else { return None };
        let place = Place { line: 0, key: device.name.clone() };
        let given = |name: &String, value: &str| Given {
            name: name.clone(),
            place: place.child(name),
            value: value.to_owned(),
        };
        Some(Self {
            program: program.clone(),
            params: params.iter().map(|(name, value)| given(name, value)).collect(),
            secrets: secrets.iter().map(|(name, _)| given(name, "")).collect(),
            place,
        })
    }

    /// Whether it is of the system, and so may be asked.
    pub fn is_asked(&self) -> bool {
        self.program.parent() == Some(Path::new(ASKED_DIR))
    }

    /// Its name, without the directory.
    pub fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }

    fn misfit(&self, is_error: bool, wrong: String, instead: String) -> Misfit {
        Misfit { is_error, place: self.place.clone(), wrong, instead }
    }

    /// What to tell of an agent that gave no metadata, for the reason `why`.
    pub fn untold(&self, why: &str) -> Misfit {
        let wrong = format!("{} tells nothing of its parameters: {why}", self.name());
        let program = self.program.display();
        let instead = format!("see for yourself: echo action=metadata | {program}");
        self.misfit(false, wrong, instead)
    }
}

/// The agents of `pair`.
pub(super) fn uses(pair: &Pair) -> Vec<AgentUse> {
    let agents = pair.devices.iter().filter_map(|device| match &device.kind {
        PairKind::Agent { agent, program, params, param_places, secret_files } => {
            let given = |(name, value): &(String, String)| {
                let place = param_places.iter().find(|(known, _)| known == name);
                let place = place.map_or_else(|| agent.place.clone(), |(_, place)| place.clone());
                Given { name: name.clone(), place, value: value.clone() }
            };
            let secret = |(name, file): &(String, At<PathBuf>)| Given {
                name: name.clone(),
                place: file.place.clone(),
                value: String::new(),
            };
            Some(AgentUse {
                program: program.clone(),
                place: agent.place.clone(),
                params: params.iter().map(given).collect(),
                secrets: secret_files.iter().map(secret).collect(),
            })
        }
        PairKind::Ipmi { .. } | PairKind::Redfish { .. } => None,
    });
    agents.collect()
}

/// What an agent tells of its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    parameters: Vec<Parameter>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Parameter {
    name: String,
    kind: Kind,
    is_required: bool,
    is_deprecated: bool,
    /// The older name of the same thing.
    obsoletes: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Flag,
    Number,
    Choice(Vec<String>),
}

impl Metadata {
    /// The metadata in what an agent printed; it may have printed something around it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn parse(output: &str) -> Result<Self, String> {
        const END: &str = "</resource-agent>";
        let begin = output.find("<?xml").or_else(|| output.find("<resource-agent"));
        let end = output.rfind(END).map(|at| at.saturating_add(END.len()));
        let text = begin.zip(end).and_then(|(begin, end)| output.get(begin..end));
        let text = text.ok_or_else(|| "it prints no metadata".to_owned())?;
        if text.len() > METADATA_LEN_MAX {
            return Err(format!("its metadata has more than {METADATA_LEN_MAX} bytes"));
        }
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| format!("its metadata is not XML ({error})"))?;
        let is_parameter = |node: &Node<'_, '_>| node.has_tag_name("parameter");
        let parameters = document.descendants().filter(is_parameter).take(PARAMETERS_MAX);
        let parameters: Vec<_> = parameters.filter_map(parameter).collect();
        if parameters.is_empty() {
            return Err("its metadata has no parameters".to_owned());
        }
        Ok(Self { parameters })
    }

    /// What does not fit of what `agent` is to be told.
    pub fn judge(&self, agent: &AgentUse) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        for given in agent.params.iter().chain(&agent.secrets) {
            match self.parameters.iter().find(|parameter| same(&parameter.name, &given.name)) {
                None => misfits.push(self.unknown(agent, given)),
                Some(parameter) => {
                    let is_secret = agent.secrets.iter().any(|secret| secret == given);
                    misfits.extend(self.misfits_of(parameter, given, is_secret));
                }
            }
        }
        misfits.extend(self.missing(agent));
        misfits
    }

    fn knows(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| same(&parameter.name, name))
    }

    /// The names in use.
    fn names(&self) -> impl Iterator<Item = &str> {
        let current = self.parameters.iter().filter(|parameter| !parameter.is_deprecated);
        current.map(|parameter| parameter.name.as_str())
    }

    fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.names())
    }

    fn unknown(&self, agent: &AgentUse, given: &Given) -> Misfit {
        let instead = match self.nearest(&given.name) {
            Some(meant) => format!("write {meant}"),
            None => {
                let is_usual = |name: &&str| *name != "action" && !PRINTS.contains(name);
                let listed: Vec<&str> = self.names().filter(is_usual).take(LISTED_MAX).collect();
                format!("leave it out, or write one of: {}", listed.join(", "))
            }
        };
        let wrong = format!("{} knows no parameter {}, and ignores it", agent.name(), given.name);
        Misfit { is_error: true, place: given.place.clone(), wrong, instead }
    }

    fn misfits_of(&self, parameter: &Parameter, given: &Given, is_secret: bool) -> Vec<Misfit> {
        let Given { name, place, value } = given;
        let misfit = |is_error, wrong: String, instead: String| Misfit {
            is_error,
            place: place.clone(),
            wrong,
            instead,
        };
        let mut misfits = Vec::new();
        if PRINTS.contains(&parameter.name.as_str()) {
            let wrong = format!("with {name} the agent prints something, and does nothing");
            misfits.push(misfit(true, wrong, "leave it out".to_owned()));
        }
        if parameter.is_deprecated {
            let new = self
                .parameters
                .iter()
                .find(|new| new.obsoletes.as_deref().is_some_and(|old| same(old, &parameter.name)));
            let instead = match new {
                Some(new) => format!("write {}", new.name),
                None => "leave it out, if the agent works without it".to_owned(),
            };
            misfits.push(misfit(false, format!("{name} is obsolete"), instead));
        }
        if is_secret {
            return misfits;
        }
        let instead = match &parameter.kind {
            Kind::Flag if !FLAGS.contains(&value.to_ascii_lowercase().as_str()) => {
                Some("write 1 or 0".to_owned())
            }
            Kind::Number if value.parse::<i64>().is_err() => {
                Some("write a whole number".to_owned())
            }
            Kind::Choice(choices) if !choices.contains(value) => {
                let quoted: Vec<_> = choices.iter().map(|choice| format!("{choice:?}")).collect();
                Some(match nearest(value, choices.iter().map(String::as_str)) {
                    Some(meant) => format!("write {meant:?}"),
                    None => format!("write one of: {}", quoted.join(", ")),
                })
            }
            Kind::Text | Kind::Flag | Kind::Number | Kind::Choice(_) => None,
        };
        misfits.extend(instead.map(|instead| {
            misfit(true, format!("{value:?} is nothing that {name} may be"), instead)
        }));
        if holds_secret(&parameter.name) {
            let wrong = format!("{name} is a secret in a file that everybody may read");
            let instead = format!("write secret-files = {{ {name} = \"/etc/tandem/NAME.pw\" }}");
            misfits.push(misfit(false, wrong, instead));
        }
        misfits
    }

    /// Those that the agent demands.
    fn missing(&self, agent: &AgentUse) -> Vec<Misfit> {
        let is_given = |name: &str| {
            agent.params.iter().chain(&agent.secrets).any(|given| same(&given.name, name))
        };
        let is_misspelt = |parameter: &Parameter| {
            let given = agent.params.iter().chain(&agent.secrets);
            let unknown = given.filter(|given| !self.knows(&given.name));
            let mut meant = unknown.map(|given| self.nearest(&given.name));
            meant.any(|meant| meant == Some(&parameter.name))
        };
        let missing = self.parameters.iter().filter(|parameter| {
            let older = parameter.obsoletes.as_deref();
            parameter.is_required
                && !parameter.is_deprecated
                && parameter.name != "action"
                && !is_given(&parameter.name)
                && !older.is_some_and(is_given)
                && !is_misspelt(parameter)
        });
        let told = missing.map(|parameter| {
            let wrong = format!("{} needs {}, which is missing", agent.name(), parameter.name);
            agent.misfit(true, wrong, format!("write params = {{ {} = \"...\" }}", parameter.name))
        });
        told.collect()
    }
}

fn parameter(node: Node<'_, '_>) -> Option<Parameter> {
    let is_set = |name: &str| node.attribute(name) == Some("1");
    let content = node.children().find(|child| child.has_tag_name("content"));
    let options = content.iter().flat_map(|content| content.children());
    let options = options.filter(|child| child.has_tag_name("option"));
    let choices: Vec<String> =
        options.filter_map(|option| option.attribute("value")).map(str::to_owned).collect();
    let kind = match content.and_then(|content| content.attribute("type")) {
        Some("boolean") => Kind::Flag,
        Some("integer" | "second") => Kind::Number,
        Some("select") if !choices.is_empty() => Kind::Choice(choices),
        Some(_) | None => Kind::Text,
    };
    let has_default = content.is_some_and(|content| content.has_attribute("default"));
    Some(Parameter {
        name: node.attribute("name")?.to_owned(),
        kind,
        is_required: is_set("required") && !has_default,
        is_deprecated: is_set("deprecated"),
        obsoletes: node.attribute("obsoletes").map(str::to_owned),
    })
}

fn holds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    has(&SECRETS) && !has(&PLACES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const PDU: &str = r#"WARNING: something
<?xml version="1.0" ?>
<resource-agent name="fence_pdu" shortdesc="&amp;">
<parameters>
  <parameter name="action" required="1"><content type="string" /></parameter>
  <parameter name="ip" required="1" obsoletes="ipaddr"><content type="string" /></parameter>
  <parameter name="ipaddr" required="1" deprecated="1"><content type="string" /></parameter>
  <parameter name="ipport" required="1"><content type="integer" default="161" /></parameter>
  <parameter name="power_wait"><content type="second" default="0" /></parameter>
  <parameter name="plug" required="1" obsoletes="port"><content type="string" /></parameter>
  <parameter name="port" required="1" deprecated="1"><content type="string" /></parameter>
  <parameter name="lanplus"><content type="boolean" /></parameter>
  <parameter name="snmp_version"><content type="select"><option value="1" /><option value="2c" />
    <option value="3" /></content></parameter>
  <parameter name="password"><content type="string" /></parameter>
  <parameter name="password_script"><content type="string" /></parameter>
  <parameter name="community"><content type="string" /></parameter>
  <parameter name="debug" deprecated="1"><content type="string" /></parameter>
  <parameter name="help"><content type="boolean" /></parameter>
</parameters>
</resource-agent>
and something else"#;

    fn place(key: &str) -> Place {
        Place { line: 7, key: key.to_owned() }
    }

    fn agent(params: &[(&str, &str)], secrets: &[&str]) -> AgentUse {
        let given = |name: &str, value: &str| Given {
            name: name.to_owned(),
            place: place(name),
            value: value.to_owned(),
        };
        AgentUse {
            program: "/usr/sbin/fence_pdu".into(),
            place: place("agent"),
            params: params.iter().map(|(name, value)| given(name, value)).collect(),
            secrets: secrets.iter().map(|name| given(name, "")).collect(),
        }
    }

    fn judge(params: &[(&str, &str)], secrets: &[&str]) -> Vec<String> {
        let misfits = Metadata::parse(PDU).unwrap().judge(&agent(params, secrets));
        let severity = |misfit: &Misfit| if misfit.is_error { "error" } else { "warning" };
        let told = misfits.iter().map(|misfit| {
            format!(
                "{}: {}: {}; {}",
                severity(misfit),
                misfit.place.key,
                misfit.wrong,
                misfit.instead
            )
        });
        told.collect()
    }

    const RIGHT: [(&str, &str); 2] = [("ip", "10.9.0.9"), ("plug", "3")];

    #[test]
    fn what_fits_is_accepted_without_a_word() {
        assert_eq!(judge(&RIGHT, &["password"]), Vec::<String>::new());
        let all = [("snmp-version", "2c"), ("power-wait", "5"), ("lanplus", "YES")];
        let more =
            [&RIGHT[..], &all, &[("password-script", "/bin/pw"), ("ipport", "161")]].concat();
        assert_eq!(judge(&more, &["community"]), Vec::<String>::new());
    }

    #[test]
    fn what_an_agent_would_ignore_is_an_error() {
        let told =
            judge(&[&RIGHT[..], &[("pulg", "3"), ("lanplu", "1"), ("bogus", "x")]].concat(), &[]);
        assert_eq!(
            told,
            [
                "error: pulg: fence_pdu knows no parameter pulg, and ignores it; write plug",
                "error: lanplu: fence_pdu knows no parameter lanplu, and ignores it; write lanplus",
                "error: bogus: fence_pdu knows no parameter bogus, and ignores it; leave it out, \
                 or write one of: ip, ipport, power_wait, plug, lanplus, snmp_version, password, \
                 password_script, community",
            ]
        );
        assert_eq!(judge(&RIGHT, &["passwordd"]).len(), 1, "the names of secrets, too");
        let misspelt = judge(&[("ip", "10.9.0.9"), ("pulg", "3")], &[]);
        assert_eq!(misspelt.len(), 1, "what is misspelt is not told to be missing: {misspelt:?}");
        assert_eq!(judge(&[&RIGHT[..], &[("help", "1")]].concat(), &[]).len(), 1);
    }

    #[test]
    fn what_is_missing_obsolete_or_of_a_wrong_type_is_told() {
        assert_eq!(
            judge(&[("port", "3")], &[]),
            [
                "warning: port: port is obsolete; write plug",
                "error: agent: fence_pdu needs ip, which is missing; write params = \
                 { ip = \"...\" }",
            ]
        );
        let wrong =
            [("ipport", "snmp"), ("lanplus", "maybe"), ("snmp_version", "2d"), ("debug", "/x")];
        assert_eq!(
            judge(&[&RIGHT[..], &wrong].concat(), &[]),
            [
                "error: ipport: \"snmp\" is nothing that ipport may be; write a whole number",
                "error: lanplus: \"maybe\" is nothing that lanplus may be; write 1 or 0",
                "error: snmp_version: \"2d\" is nothing that snmp_version may be; write \"2c\"",
                "warning: debug: debug is obsolete; leave it out, if the agent works without it",
            ]
        );
    }

    #[test]
    fn secrets_in_plain_sight_are_told_and_never_shown() {
        let told = judge(&[&RIGHT[..], &[("community", "s3cret")]].concat(), &[]);
        assert_eq!(
            told,
            ["warning: community: community is a secret in a file that everybody may read; write \
              secret-files = { community = \"/etc/tandem/NAME.pw\" }"]
        );
    }

    #[test]
    fn what_is_no_metadata_is_told_apart() {
        let why = |text: &str| Metadata::parse(text).unwrap_err();
        assert_eq!(why("usage: fence_x"), "it prints no metadata");
        assert_eq!(why("<?xml?></resource-agent>").get(..24), Some("its metadata is not XML "));
        assert_eq!(why("<resource-agent></resource-agent>"), "its metadata has no parameters");
        let long = format!("<resource-agent>{}</resource-agent>", "x".repeat(METADATA_LEN_MAX));
        assert!(why(&long).contains("more than"));
        let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaa\">]><resource-agent>&a;\
                    </resource-agent>";
        assert!(why(bomb).contains("not XML"), "{}", why(bomb));
        let many = format!("<resource-agent>{}</resource-agent>", "<a/>".repeat(30_000));
        assert!(why(&many).contains("not XML"));
    }

    #[test]
    fn only_agents_of_the_system_are_asked() {
        assert!(agent(&[], &[]).is_asked());
        for own in ["/opt/fence_pdu", "/usr/sbin/../tmp/x", "/usr/sbin/own/fence_pdu"] {
            assert!(!AgentUse { program: own.into(), ..agent(&[], &[]) }.is_asked(), "{own}");
        }
    }
}
