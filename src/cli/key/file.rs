//! The key file on the disk: read, and replaced in one moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::Failure;
use crate::config::key_file::{Fault, Second};
use crate::config::{FileFault, Files, KeyFile, disk};
use crate::wire::auth::Keys;

/// Permission bits that let others than the owner read or write.
const OTHERS: u32 = 0o077;

/// A key file as it was read.
#[derive(Debug)]
pub(super) struct Held {
    path: PathBuf,
    /// What it holds.
    pub(super) file: KeyFile,
    /// Nobody else changes it as long as this is held.
    _lock: Option<File>,
}

/// A new content, safe on the disk, under another name.
#[derive(Debug)]
pub(super) struct Written<'a> {
    beside: PathBuf,
    held: &'a Held,
}

/// The text of a file with a key, which only root may read.
pub(super) fn text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let shown = path.display();
    let failed = |why: &str| Failure::failed(format!("{shown}: {why}"));
    let facts = disk::Disk.read(path).map_err(|fault| match fault {
        FileFault::Missing => failed(
            "there is no such file\n  do: write the path of the other node's key file, or - for \
             the standard input",
        ),
        FileFault::NotAFile => failed("it is not a regular file"),
        FileFault::TooLong => failed("it is too long for a key file"),
        FileFault::Refused(why) => failed(&why),
    })?;
    let content = Zeroizing::new(facts.content);
    if facts.owner != 0 || facts.mode & OTHERS != 0 {
        return Err(failed(
            "others than root may read it: the key is known to them, make another one; and for \
             this file: chown root:, chmod 600",
        ));
    }
    let text = core::str::from_utf8(&content).map_err(|_error| failed("it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What is wrong with the text of `path`.
pub(super) fn explain(path: &Path, faults: &[Fault]) -> Failure {
    let told = faults.iter().map(|fault| {
        let (wrong, instead) = fault.explain(path);
        format!("{wrong}\n  do: {instead}")
    });
    Failure::failed(told.collect::<Vec<_>>().join("\n"))
}

/// Reads it.
pub(super) fn read(path: &Path) -> Result<Held, Failure> {
    let file = KeyFile::parse(&text(path)?).map_err(|faults| explain(path, &faults))?;
    Ok(Held { path: path.to_owned(), file, _lock: None })
}

/// Reads it, and keeps others from changing it: the lock is on its directory.
pub(super) fn lock(path: &Path) -> Result<Held, Failure> {
    let directory = directory_of(path)?;
    let lock = File::open(&directory)
        .map_err(|error| Failure::failed(format!("{}: {error}", directory.display())))?;
    if lock.try_lock().is_err() {
        return Err(Failure::failed(format!(
            "not done: another `tandem key` is at work on {}\n  do: wait for its end",
            path.display()
        )));
    }
    Ok(Held { _lock: Some(lock), ..read(path)? })
}

fn directory_of(path: &Path) -> Result<PathBuf, Failure> {
    let directory = path.parent().filter(|_| path.file_name().is_some());
    directory
        .map(Path::to_owned)
        .ok_or_else(|| Failure::failed(format!("{} is not the path of a file", path.display())))
}

impl Held {
    /// What the second key is.
    pub(super) fn second(&self) -> Option<Second> {
        self.file.second.as_ref().map(|(_, what)| *what)
    }

    /// The fingerprints of the first key and of the second, which is empty if there is none.
    pub(super) fn fingerprints(&self) -> Result<(String, String), Failure> {
        let second = self.file.second.as_ref().map(|(key, _)| &key.reveal()[..]);
        let keys = Keys::new(&self.file.first.reveal()[..], second)
            .map_err(|error| Failure::failed(error.to_string()))?;
        let other = keys.other().map(|key| key.to_string());
        Ok((keys.sending().to_string(), other.unwrap_or_default()))
    }

    /// Writes `text` beside it, with the same permissions, and lets the disk have it.
    pub(super) fn write_beside(&self, text: &str) -> Result<Written<'_>, Failure> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        let failed = |error: io::Error| {
            Failure::failed(format!("cannot write {}: {error}", beside.display()))
        };
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&beside);
        let written = Written { beside: beside.clone(), held: self };
        let mut file = file.map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(written)
    }
}

impl Written<'_> {
    /// Puts it in the place of the old content, in one moment.
    pub(super) fn put_in_place(&self) -> Result<(), Failure> {
        let path = &self.held.path;
        let failed = |error: io::Error| {
            Failure::failed(format!("cannot replace {}: {error}", path.display()))
        };
        fs::rename(&self.beside, path).map_err(failed)?;
        File::open(directory_of(path)?).and_then(|dir| dir.sync_all()).map_err(failed)
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        // Nothing that holds a key is left behind; after the replacement there is none.
        drop(fs::remove_file(&self.beside));
    }
}
