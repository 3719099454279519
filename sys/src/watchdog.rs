//! The hardware watchdog's one request that is not a plain write: its timeout.
//!
//! Feeding is `write(2)` of any byte but `V`, and needs nothing from here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

mod request {
    nix::ioctl_readwrite!(set_timeout, b'W', 6, i32);
    nix::ioctl_read!(get_timeout, b'W', 7, i32);
}

/// Asks for a timeout in seconds and returns the one that the device took.
///
/// # Errors
/// As ioctl(2); a device with a fixed timeout answers `EOPNOTSUPP`, see [`timeout`].
pub fn set_timeout(device: BorrowedFd<'_>, seconds: i32) -> io::Result<i32> {
    let mut value = seconds;
    // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, which outlives the call.
    unsafe { request::set_timeout(device.as_raw_fd(), &raw mut value)? };
    Ok(value)
}

/// The device's timeout in seconds.
///
/// # Errors
/// As ioctl(2).
pub fn timeout(device: BorrowedFd<'_>) -> io::Result<i32> {
    let mut value = 0;
    // SAFETY: WDIOC_GETTIMEOUT writes one int, which outlives the call.
    unsafe { request::get_timeout(device.as_raw_fd(), &raw mut value)? };
    Ok(value)
}
