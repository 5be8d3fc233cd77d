//! The configuration: no text may do worse than be refused, and what is accepted means the same
//! when it is printed and read again.

use std::path::Path;

use tandem::config::{self, FileFacts, FileFault, Files, MachineFacts};

/// Secrets as every path has one.
struct Imagined;

impl Files for Imagined {
    fn read(&self, path: &Path) -> Result<FileFacts, FileFault> {
        let text = path.to_string_lossy();
        if text.contains("missing") {
            return Err(FileFault::Missing);
        }
        let key = "00112233445566778899aabbccddeeff0123456789abcdef0f1e2d3c4b5a6978\n";
        let content = if text.contains("key") { key } else { "secret\n" };
        Ok(FileFacts { content: content.as_bytes().to_vec(), mode: 0o600, owner: 0 })
    }

    fn is_program(&self, path: &Path) -> bool {
        !path.to_string_lossy().contains("missing")
    }

    fn is_in_memory(&self, path: &Path) -> bool {
        path.starts_with("/run")
    }

    fn device_name(&self, path: &Path) -> Option<String> {
        path.file_name().map(|name| name.to_string_lossy().into_owned())
    }
}

/// As every node that the text could mean.
pub fn run(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    for node in [None, Some("smw1")] {
        let host_name = if node.is_none() { "smw1".to_owned() } else { String::new() };
        let facts = MachineFacts { host_name, ..MachineFacts::default() };
        let checked = config::check("tandem.toml", text, node, &facts, &Imagined);
        let told = checked.findings.to_string();
        let is_plain = told.chars().all(|c| c == '\n' || !c.is_control());
        assert!(is_plain, "a message could steer a terminal");
        let Some(plan) = checked.plan else {
            assert!(!told.is_empty(), "a text is refused without a word");
            continue;
        };
        let again = config::check("tandem.toml", &plan.normalised, node, &facts, &Imagined);
        let again = again.plan.unwrap_or_else(|| {
            panic!("what was printed is refused:\n{}\n{}", plan.normalised, again.findings)
        });
        assert_eq!(again.normalised, plan.normalised);
        assert_eq!(again.config_digest, plan.config_digest);
    }
}
