//! This machine's own BMC, through the kernel's driver: one request, one answer.
//!
//! The structures are those of the kernel's `linux/ipmi.h`. What is asked, and what the answer
//! means, is the caller's affair.
#![allow(unsafe_code, reason = "these ioctls have no safe wrapper")]

use core::time::Duration;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// IPMI_IOC_MAGIC.
const IOCTL_TYPE: u32 = 0x69;
/// The longest answer in bytes (IPMI_MAX_MSG_LENGTH).
pub const ANSWER_LEN_MAX: usize = 272;
/// The BMC itself (IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL).
const ADDRESS_TYPE: libc::c_int = 0x0c;
const CHANNEL: libc::c_short = 0x0f;
/// An answer to a request of ours (IPMI_RESPONSE_RECV_TYPE).
const RECEIVED_ANSWER: libc::c_int = 1;

/// `struct ipmi_system_interface_addr`.
#[repr(C)]
struct Address {
    kind: libc::c_int,
    channel: libc::c_short,
    lun: u8,
}

/// `struct ipmi_msg`.
#[repr(C)]
struct Message {
    net_fn: u8,
    command: u8,
    len: u16,
    data: *mut u8,
}

/// `struct ipmi_req`.
#[repr(C)]
struct Request {
    address: *mut Address,
    address_len: libc::c_uint,
    id: libc::c_long,
    message: Message,
}

/// `struct ipmi_recv`.
#[repr(C)]
struct Received {
    kind: libc::c_int,
    address: *mut Address,
    address_len: libc::c_uint,
    id: libc::c_long,
    message: Message,
}

const SEND_COMMAND: libc::Ioctl = libc::_IOR::<Request>(IOCTL_TYPE, 13);
/// An answer that is too long is cut off.
const RECEIVE_CUT: libc::Ioctl = libc::_IOWR::<Received>(IOCTL_TYPE, 11);

/// Asks the BMC behind `device` for `command` of `net_fn`, without data, and waits for its answer:
/// the completion code and what follows it.
///
/// # Errors
/// Those of the driver: it is no IPMI device, the BMC does not answer within `limit` (`ETIMEDOUT`).
pub fn ask(device: &File, net_fn: u8, command: u8, limit: Duration) -> nix::Result<Vec<u8>> {
    let mut to = Address { kind: ADDRESS_TYPE, channel: CHANNEL, lun: 0 };
    let mut request = Request {
        address: &raw mut to,
        address_len: length(size_of::<Address>()),
        id: 1,
        message: Message { net_fn, command, len: 0, data: core::ptr::null_mut() },
    };
    // SAFETY: the descriptor is open for as long as it is borrowed; the driver reads the request
    // and the address that it points to, both of which live longer than the call, and no data.
    let sent = unsafe { libc::ioctl(device.as_raw_fd(), SEND_COMMAND, &raw mut request) };
    Errno::result(sent)?;
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
    let mut waiting = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    if poll(&mut waiting, timeout)? == 0 {
        return Err(Errno::ETIMEDOUT);
    }
    receive(device)
}

fn receive(device: &File) -> nix::Result<Vec<u8>> {
    let mut from = Address { kind: 0, channel: 0, lun: 0 };
    let mut answer = vec![0; ANSWER_LEN_MAX];
    let mut received = Received {
        kind: 0,
        address: &raw mut from,
        address_len: length(size_of::<Address>()),
        id: 0,
        message: Message {
            net_fn: 0,
            command: 0,
            len: u16::try_from(answer.len()).unwrap_or(0),
            data: answer.as_mut_ptr(),
        },
    };
    // SAFETY: the descriptor is open for as long as it is borrowed; the driver writes at most
    // `address_len` bytes to `from` and `len` bytes to `answer`, both of which live longer than the
    // call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), RECEIVE_CUT, &raw mut received) };
    Errno::result(done)?;
    if received.kind != RECEIVED_ANSWER {
        return Err(Errno::EBADMSG);
    }
    answer.truncate(usize::from(received.message.len));
    Ok(answer)
}

fn length(size: usize) -> libc::c_uint {
    libc::c_uint::try_from(size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// As the kernel has them on every 64-bit machine; the numbers of the ioctls hold the sizes.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_structures_are_the_kernels() {
        assert_eq!(size_of::<Address>(), 8);
        assert_eq!(size_of::<Message>(), 16);
        assert_eq!(size_of::<Request>(), 40);
        assert_eq!(size_of::<Received>(), 48);
        #[cfg(target_arch = "x86_64")]
        assert_eq!((SEND_COMMAND, RECEIVE_CUT), (0x8028_690d, 0xc030_690b));
    }

    #[test]
    fn what_is_no_bmc_is_told() {
        let device = File::open("/dev/null").unwrap();
        assert_eq!(ask(&device, 6, 0x37, Duration::ZERO), Err(Errno::ENOTTY));
    }
}
