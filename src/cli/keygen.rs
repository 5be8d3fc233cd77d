//! `tandem keygen`: a new random heartbeat key, in a file that only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};

use super::{Failure, OK, say};
use zeroize::Zeroizing;

use crate::config::key_file::KEY_LEN;
use crate::config::{HeartbeatKey, KeyFile};

/// Shown by `tandem help keygen`.
pub(super) const HELP: &str = "\
Usage: tandem keygen [FILE]

Makes a new random heartbeat key and writes it to FILE (default /etc/tandem/key), readable by its
owner alone. An existing file is never overwritten. With - as FILE the key goes to the standard
output.

Both nodes need the same key. To change the key of a running pair see: tandem help key

Options:
  -h, --help   show this

Exit status:
  0   the key is written
  1   it is not: the file exists, or cannot be written
  2   the command line is wrong
";

/// Where the key goes unless the command line says another place.
const PATH_DEFAULT: &str = "/etc/tandem/key";

/// Runs the command.
pub(super) fn run(parser: &mut Parser) -> Result<u8, Failure> {
    let mut path = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                say(HELP)?;
                return Ok(OK);
            }
            Arg::Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let path = path.unwrap_or_else(|| PathBuf::from(PATH_DEFAULT));
    if path.as_os_str() == "-" {
        say(&draw()?)?;
        return Ok(OK);
    }
    let file = create(&path)?;
    let key = draw().and_then(|key| write(file, &key, &path));
    if let Err(failure) = key {
        // Only the empty or cut file made just now: it must not pass for a key.
        return Err(match std::fs::remove_file(&path) {
            Ok(()) => failure,
            Err(error) => Failure::failed(format!(
                "{} is not a whole key and cannot be removed: {error}",
                path.display()
            )),
        });
    }
    let shown = path.display();
    say(&format!(
        "{shown}: a new heartbeat key\n\
         Both nodes need the same one. Copy it to the other node, over a safe way:\n    \
         scp -p {shown} root@OTHER:{shown}\n\
         Then name it in the configuration of both: key-file = \"{shown}\"\n"
    ))?;
    Ok(OK)
}

fn create(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| {
        let shown = path.display();
        let kind = error.kind();
        Failure::failed(if kind == io::ErrorKind::AlreadyExists {
            format!("{shown} exists and is not overwritten: write to another file, then move it")
        } else if kind == io::ErrorKind::NotFound {
            format!("{shown}: its directory does not exist: make it with mkdir -p")
        } else {
            format!("cannot make {shown}: {error}")
        })
    })
}

fn write(mut file: File, key: &str, path: &Path) -> Result<(), Failure> {
    let written = file.write_all(key.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

/// A new random key.
///
/// # Errors
/// If the kernel gives no random bytes.
pub(super) fn draw_key() -> Result<HeartbeatKey, Failure> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    getrandom::fill(key.as_mut_slice())
        .map_err(|error| Failure::failed(format!("the kernel gives no random bytes: {error}")))?;
    Ok(HeartbeatKey::new(*key))
}

/// A new key: 64 hexadecimal digits and a line break.
fn draw() -> Result<Zeroizing<String>, Failure> {
    let key = KeyFile { first: draw_key()?, second: None };
    Ok(key.to_text())
}
