//! The commands as somebody runs them: output, exit status, files left behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tandem(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_tandem")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A directory of its own for one test; removed with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn help_and_version_are_told_and_succeed() {
    let (status, out, err) = tandem(&["--help"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("  check  ") && out.contains("  keygen  "), "{out}");
    let version = format!("tandem {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(tandem(&["--version"]), (0, version, String::new()));
    for command in ["check", "key", "keygen", "replay"] {
        let (status, out, _) = tandem(&["help", command]);
        assert_eq!(status, 0);
        assert!(out.starts_with(&format!("Usage: tandem {command}")), "{out}");
        assert!(out.contains("Exit status:"), "{out}");
        assert_eq!(tandem(&[command, "--help"]).1, out);
    }
}

#[test]
fn a_wrong_command_line_says_what_was_meant_and_exits_with_two() {
    let (status, out, err) = tandem(&["chekc"]);
    assert_eq!((status, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "tandem: no command is called \"chekc\"; did you mean \"check\"?\nTry: tandem --help\n"
    );
    assert_eq!(tandem(&[]).0, 2);
    assert_eq!(tandem(&["--nonsense"]).0, 2);
    assert_eq!(tandem(&["check", "--nonsense"]).0, 2);
    assert_eq!(tandem(&["check", "--config"]).0, 2);
    assert_eq!(tandem(&["keygen", "a", "b"]).0, 2);
    assert_eq!(tandem(&["help", "nonsense"]).0, 2);
}

#[test]
fn a_new_key_is_random_private_and_never_overwritten() {
    let scratch = Scratch::new("keygen");
    let path = scratch.path("key");
    let (status, out, err) = tandem(&["keygen", &path]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains(&format!("scp -p {path} root@OTHER:{path}")), "{out}");
    let key = fs::read_to_string(&path).unwrap();
    assert_eq!(key.len(), 65);
    assert!(key.trim_end().chars().all(|c| c.is_ascii_hexdigit()), "{key}");
    assert!(!out.contains(key.trim_end()), "the key is not for the screen");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);

    let (status, out, err) = tandem(&["keygen", &path]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("exists and is not overwritten"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), key);

    let (status, shown, _) = tandem(&["keygen", "-"]);
    assert_eq!((status, shown.len()), (0, 65));
    assert_ne!(shown, key);
    let (status, _, err) = tandem(&["keygen", &scratch.path("none/key")]);
    assert_eq!(status, 1);
    assert!(err.contains("its directory does not exist"), "{err}");
}

#[test]
fn a_configuration_that_cannot_be_read_exits_with_two() {
    let scratch = Scratch::new("unreadable");
    let (status, _, err) = tandem(&["check", "--config", &scratch.path("none.toml")]);
    assert_eq!(status, 2);
    assert!(err.contains("there is no such file"), "{err}");
    let dir = scratch.0.to_str().unwrap().to_owned();
    assert!(tandem(&["check", "--config", &dir]).2.contains("it is not a regular file"));
    fs::write(scratch.path("latin1.toml"), b"cluster = \"\xe9\"").unwrap();
    let (status, _, err) = tandem(&["check", "--config", &scratch.path("latin1.toml")]);
    assert_eq!(status, 2);
    assert!(err.contains("it is not UTF-8 text"), "{err}");
    let open = scratch.path("open.toml");
    fs::write(&open, "cluster = \"x\"").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    let (status, _, err) = tandem(&["check", "--config", &open]);
    assert_eq!(status, 2);
    assert!(err.contains("others may change it (mode 0666)"), "{err}");
}

/// A pair of this host and a made-up one, seen as the other: so that it needs no NICs here.
fn pair(scratch: &Scratch) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let key = scratch.path("key");
    assert_eq!(tandem(&["keygen", &key]).0, 0);
    let path = scratch.path("tandem.toml");
    let text = format!(
        "cluster = \"test\"\nkey-file = {key:?}\n\
         [nodes.{host:?}]\nfencing = \"none-accept-frozen\"\nlinks = {{ hb0 = \"10.88.0.1\" }}\n\
         [nodes.tandem-test-other]\nfencing = \"none-accept-frozen\"\n\
         links = {{ hb0 = \"10.88.0.2\" }}\n\
         [links.hb0]\nnic = \"eth6\"\n[nics.eth0]\n\
         [[vips]]\naddress = \"10.0.0.100/24\"\nnic = \"eth0\"\n"
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn check_reads_the_file_the_key_and_tells_the_verdict_by_its_status() {
    let scratch = Scratch::new("check");
    let path = pair(&scratch);
    let args = ["check", "--config", &path, "--node", "tandem-test-other"];
    let (status, out, err) = tandem(&args);
    let is_root = fs::metadata(&path).unwrap().uid() == 0;
    if !is_root {
        assert_eq!((status, out.as_str()), (1, ""));
        assert!(err.contains("not to root"), "{err}");
        return;
    }
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("ok: node tandem-test-other"), "{out}");
    assert!(out.contains("1 link, 1 service NIC, 1 virtual IP, no fence device"), "{out}");
    assert!(err.contains("the NICs of tandem-test-other are not checked"), "{err}");

    let mut print = args.to_vec();
    print.push("--print");
    let (status, printed, _) = tandem(&print);
    assert_eq!(status, 0);
    let again = scratch.path("again.toml");
    fs::write(&again, &printed).unwrap();
    let again = ["check", "--config", &again, "--node", "tandem-test-other", "--print"];
    assert_eq!(tandem(&again).1, printed);

    fs::set_permissions(scratch.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (status, out, err) = tandem(&print);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("may be read or changed by others (mode 0644)"), "{err}");
}

/// The unit as systemd reads it: key and value of each line.
fn unit() -> Vec<(String, String)> {
    let lines = include_str!("../systemd/tandem.service").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A daemon that was killed comes back whatever else is broken: late NICs, full disks, many tries.
#[test]
fn nothing_in_the_unit_keeps_a_killed_daemon_from_coming_back() {
    let unit = unit();
    let value =
        |wanted: &str| unit.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
    for needs_more in ["ExecStartPre", "StateDirectory", "PrivateTmp", "ConditionPathExists"] {
        assert_eq!(value(needs_more), None, "{needs_more}");
    }
    assert_eq!(value("StartLimitIntervalSec"), Some("0"));
    assert_eq!(value("Restart"), Some("always"));
    assert_eq!(value("RuntimeDirectoryPreserve"), Some("yes"));
}

#[test]
fn systemd_understands_the_unit() {
    let scratch = Scratch::new("unit");
    let binary = env!("CARGO_BIN_EXE_tandem");
    let text = include_str!("../systemd/tandem.service").replace("/usr/bin/tandem", binary);
    // The manual pages may not be installed.
    let text = text.replace("Documentation=", "# ");
    let path = scratch.path("tandem.service");
    fs::write(&path, text).unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(["verify", &path]).output() else {
        return;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("Unknown"), "{told}");
}

/// Systemd tries ten times a second, which is for a daemon that was killed.
#[test]
fn a_daemon_with_a_broken_file_does_not_flood_the_log_under_systemd() {
    let scratch = Scratch::new("rest");
    let path = scratch.path("tandem.toml");
    fs::write(&path, "cluster = 1\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let begun = std::time::Instant::now();
    let run = |variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(["run", "--config", &path]).env_remove("INVOCATION_ID").env(variable, "1");
        assert_eq!(command.output().unwrap().status.code(), Some(1));
        begun.elapsed().as_millis()
    };
    assert!(run("OTHER") < 1000);
    assert!(run("INVOCATION_ID") >= 2000);
}

#[test]
fn a_daemon_whose_log_is_a_file_says_what_that_costs() {
    let scratch = Scratch::new("log");
    let path = scratch.path("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.args(["run", "--config", &scratch.path("missing")]).env_remove("INVOCATION_ID");
    assert_eq!(command.stderr(fs::File::create(&path).unwrap()).status().unwrap().code(), Some(2));
    let told = fs::read_to_string(&path).unwrap();
    assert!(told.contains("the log goes to a file"), "{told}");
    assert!(!tandem(&["run", "--config", &scratch.path("missing")]).2.contains("to a file"));
}

#[test]
fn the_key_command_says_what_is_wrong_with_its_line() {
    for words in [
        &["key", "steal"][..],
        &["key", "reload", "now"],
        &["key", "--force"],
        &["key", "use", "a", "b"],
    ] {
        let (status, out, err) = tandem(words);
        assert_eq!((status, out.as_str()), (2, ""), "{words:?}: {err}");
    }
    let (status, _, err) = tandem(&["key", "--socket", "/nonexistent/socket"]);
    assert_eq!(status, 4, "{err}");
    assert!(err.contains("the daemon cannot be asked"), "{err}");
}
