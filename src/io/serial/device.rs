//! A serial device made ready for heartbeats: raw, ours alone, nothing in its queues.
//!
//! Straight-line work: every step either succeeds or says which one failed and why. Opening never
//! waits for a carrier, and closing never for a line that takes nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::sys::termios::{
    BaudRate, ControlFlags, FlushArg, InputFlags, LocalFlags, SetArg, Termios, cfgetospeed,
    cfmakeraw, cfsetspeed, tcflush, tcgetattr, tcsetattr,
};
use nix::unistd::Pid;

use crate::config::link::{Baud, SerialLinkConfig};
use crate::io::link::{OpenError, Step as _};
use crate::sys::tty;

/// Where programs of old leave a file with their number while they use a line (FHS 3.0 §5.9).
const LOCK_DIR: &str = "/run/lock";
/// Such a file has ten digits and a line break; of a longer one no more is read.
const LOCK_LEN_MAX: u64 = 64;

/// An open line. It is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Line(File);

impl Line {
    /// Opens the device of this link and makes it ready.
    ///
    /// # Errors
    /// If it is not there, is no terminal, is used by another program, or cannot be set so.
    pub(super) fn open(config: &SerialLinkConfig) -> Result<Self, OpenError> {
        // A line that becomes the controlling terminal would end the daemon when it hangs up.
        let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags);
        let file = options.open(&config.device).step("open the device")?;
        let before = tcgetattr(&file).step("use it as a serial line")?;
        refuse_locked(&config.device)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => return Err(error).step("lock the device"),
        }
        tty::set_exclusive(&file).step("keep others off the device")?;
        // From here on what was taken is given back, whatever follows.
        let line = Self(file);
        let wanted = settings(before, config).step("set the speed")?;
        tcsetattr(&line.0, SetArg::TCSANOW, &wanted).step("set the line")?;
        let found = tcgetattr(&line.0).step("read the settings back")?;
        if cfgetospeed(&found) != cfgetospeed(&wanted) {
            return Err(OpenError { step: "set the speed", errno: Errno::EINVAL });
        }
        let handshake = ControlFlags::CRTSCTS;
        if found.control_flags.contains(handshake) != wanted.control_flags.contains(handshake) {
            return Err(OpenError { step: "set rtscts", errno: Errno::EINVAL });
        }
        tcflush(&line.0, FlushArg::TCIOFLUSH).step("empty the queues")?;
        Ok(line)
    }

    /// Reads what is there, as `read(2)`: nothing at the end, which is a line that hung up.
    pub(super) fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (&self.0).read(buffer)
    }

    /// Writes what the kernel takes, as `write(2)`.
    pub(super) fn write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        (&self.0).write(bytes)
    }

    /// How many bytes wait in the kernel for the line.
    pub(super) fn count_unsent(&self) -> nix::Result<usize> {
        tty::count_unsent(&self.0)
    }

    /// Forgets what waits in the kernel for the line.
    pub(super) fn discard_unsent(&self) {
        // A device that is gone has forgotten it already.
        let _gone = tcflush(&self.0, FlushArg::TCOFLUSH);
    }

    /// The descriptor, for the poll.
    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Line {
    /// Closing waits up to half a minute until everything is sent (closing_wait, setserial(8)):
    /// nothing may be left to send.
    fn drop(&mut self) {
        self.discard_unsent();
        let _gone = tty::set_shared(&self.0);
    }
}

fn in_use() -> OpenError {
    OpenError {
        step: "have the device alone (another tandem, a console, minicom?)",
        errno: Errno::EBUSY,
    }
}

/// Eight data bits, no parity, one stop bit; every byte as it is; no carrier needed, no echo, and
/// no flow control unless it was asked for.
fn settings(mut termios: Termios, config: &SerialLinkConfig) -> nix::Result<Termios> {
    cfmakeraw(&mut termios);
    termios.input_flags.remove(InputFlags::IXOFF | InputFlags::IXANY | InputFlags::INPCK);
    termios.input_flags.insert(InputFlags::IGNBRK | InputFlags::IGNPAR);
    termios.local_flags.remove(LocalFlags::TOSTOP);
    let handshake = ControlFlags::CRTSCTS;
    termios.control_flags.remove(ControlFlags::CSTOPB | ControlFlags::HUPCL | handshake);
    termios.control_flags.insert(ControlFlags::CREAD | ControlFlags::CLOCAL);
    if config.rtscts {
        termios.control_flags.insert(handshake);
    }
    cfsetspeed(&mut termios, speed(config.baud))?;
    Ok(termios)
}

fn speed(baud: Baud) -> BaudRate {
    match baud {
        Baud::B9600 => BaudRate::B9600,
        Baud::B19200 => BaudRate::B19200,
        Baud::B38400 => BaudRate::B38400,
        Baud::B57600 => BaudRate::B57600,
        Baud::B115200 => BaudRate::B115200,
        Baud::B230400 => BaudRate::B230400,
        Baud::B460800 => BaudRate::B460800,
        Baud::B921600 => BaudRate::B921600,
    }
}

/// A living program's lock file, as minicom and others leave it.
fn refuse_locked(device: &Path) -> Result<(), OpenError> {
    // A stable name under /dev/serial or from udev is a link to the one that others lock.
    let device = std::fs::canonicalize(device).step("find the device")?;
    let Some(name) = device.file_name() else { return Ok(()) };
    let mut lock = std::ffi::OsString::from("LCK..");
    lock.push(name);
    let Ok(file) = File::open(Path::new(LOCK_DIR).join(lock)) else { return Ok(()) };
    let mut text = String::new();
    let Ok(_) = file.take(LOCK_LEN_MAX).read_to_string(&mut text) else { return Ok(()) };
    let owner = text.split_whitespace().next().and_then(|word| word.parse().ok());
    let is_alive = |pid: &i32| *pid > 0 && kill(Pid::from_raw(*pid), None) != Err(Errno::ESRCH);
    let ours = i32::try_from(std::process::id()).unwrap_or(0);
    match owner.filter(|pid| is_alive(pid) && *pid != ours) {
        Some(_) => Err(in_use()),
        None => Ok(()),
    }
}
