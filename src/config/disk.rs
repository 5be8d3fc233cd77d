//! The disk behind [`Files`], and the configuration file itself: the one place of the configuration
//! that opens files.
//!
//! It judges nothing but sizes and kinds. Everything is opened without waiting, so that a pipe in
//! the place of a file cannot hang the daemon.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use super::CONFIG_LEN_MAX;
use super::secret::{FileFacts, FileFault, Files, SECRET_LEN_MAX};

/// Permission bits that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The memory file system without a bound, as initial file systems use it (statfs(2)).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<FileFacts, FileFault> {
        let file = open(path)?;
        let metadata = file.metadata().map_err(|error| refused(&error))?;
        let content = read_at_most(file, SECRET_LEN_MAX)?;
        Ok(FileFacts { content, mode: metadata.mode() & 0o7777, owner: metadata.uid() })
    }

    fn is_program(&self, path: &Path) -> bool {
        let executable = |m: std::fs::Metadata| m.is_file() && m.permissions().mode() & 0o111 != 0;
        std::fs::metadata(path).is_ok_and(executable)
    }

    fn is_in_memory(&self, path: &Path) -> bool {
        // What does not exist will be made in the nearest that does.
        let found = path.ancestors().find_map(|path| statfs(path).ok());
        found.is_some_and(|found| {
            let kind = found.filesystem_type();
            kind == TMPFS_MAGIC || kind == RAMFS_MAGIC
        })
    }

    fn device_name(&self, path: &Path) -> Option<String> {
        let device = std::fs::canonicalize(path).ok()?;
        let kind = std::fs::metadata(&device).ok()?.file_type();
        let name = device.file_name()?.to_string_lossy().into_owned();
        kind.is_char_device().then_some(name)
    }
}

/// Why the configuration file could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// There is none, it is no file, it is too long, or the system refuses.
    Fault(FileFault),
    /// It is not UTF-8.
    NotText,
    /// Others than its owner may write to it: they could name programs that root then runs.
    Exposed {
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(FileFault::Missing) => {
                f.write_str("there is no such file: begin with docs/tandem.toml.example")
            }
            Self::Fault(FileFault::NotAFile) => f.write_str("it is not a regular file"),
            Self::Fault(FileFault::TooLong) => {
                write!(f, "it has more than {CONFIG_LEN_MAX} bytes")
            }
            Self::Fault(FileFault::Refused(why)) => f.write_str(why),
            Self::Exposed { mode } => write!(
                f,
                "others may change it (mode {mode:04o}), and it names programs that root runs: \
                 take that from them with chmod go-w"
            ),
            Self::NotText => f.write_str("it is not UTF-8 text"),
        }
    }
}

impl core::error::Error for ReadError {}

/// The text of the configuration file at `path`.
///
/// # Errors
/// If it cannot be had, is longer than [`CONFIG_LEN_MAX`], is not text, or can be changed by others
/// than its owner.
pub fn read_config(path: &Path) -> Result<String, ReadError> {
    let file = open(path).map_err(ReadError::Fault)?;
    let metadata = file.metadata().map_err(|error| ReadError::Fault(refused(&error)))?;
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(ReadError::Exposed { mode });
    }
    let content = read_at_most(file, CONFIG_LEN_MAX).map_err(ReadError::Fault)?;
    String::from_utf8(content).map_err(|_e| ReadError::NotText)
}

fn open(path: &Path) -> Result<File, FileFault> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        if is_missing { FileFault::Missing } else { refused(&error) }
    })?;
    let metadata = file.metadata().map_err(|error| refused(&error))?;
    if metadata.is_file() { Ok(file) } else { Err(FileFault::NotAFile) }
}

fn read_at_most(file: File, len_max: usize) -> Result<Vec<u8>, FileFault> {
    let mut content = Vec::new();
    let limit = u64::try_from(len_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(|error| refused(&error))?;
    if content.len() > len_max { Err(FileFault::TooLong) } else { Ok(content) }
}

fn refused(error: &io::Error) -> FileFault {
    FileFault::Refused(error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_disks_are_told_apart_also_where_nothing_is_yet() {
        assert!(Disk.is_in_memory(Path::new("/dev/shm")));
        assert!(Disk.is_in_memory(Path::new("/dev/shm/not/there/yet")));
        assert!(!Disk.is_in_memory(Path::new("/proc/sys")));
        assert!(!Disk.is_in_memory(Path::new(env!("CARGO_MANIFEST_DIR"))));
    }
}
