//! The power button: input devices that have the key, and their events.
//!
//! Needs the kernel's `button` and `evdev`. A machine without one is no degraded state.

use rustix::fs::{Mode, OFlags};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Devices that are listened to at most.
pub const MOST_BUTTONS: usize = 8;

const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// Bytes of one `struct input_event` on a 64-bit machine.
const EVENT: usize = 24;

/// The open devices, with their names (`event0`).
#[derive(Debug, Default)]
pub struct Buttons {
    open: Vec<(String, OwnedFd)>,
}

impl Buttons {
    /// Opens devices that have come since the last look; the number of the first new one.
    pub fn look(&mut self, class: &Path, dev: &Path) -> usize {
        let before = self.open.len();
        let names = fs::read_dir(class).into_iter().flatten().flatten();
        for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
            let known = self.open.iter().any(|(open, _)| *open == name);
            let full = self.open.len() >= MOST_BUTTONS;
            let keys = class.join(&name).join("device/capabilities/key");
            let keys = fs::read_to_string(keys).unwrap_or_default();
            if known || full || !name.starts_with("event") || !has_power_key(&keys) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(fd) = rustix::fs::open(dev.join(&name), flags, Mode::empty()) {
                self.open.push((name, fd));
            }
        }
        before
    }

    /// The device's descriptor.
    #[must_use]
    pub fn fd(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.open.get(index).map(|(_, fd)| fd.as_fd())
    }

    /// Reads what has come. `None` when the device is gone and nobody should wait on it.
    pub fn pressed(&self, index: usize) -> Option<bool> {
        let fd = self.fd(index)?;
        let mut buffer = [0u8; EVENT * 16];
        let mut pressed = false;
        loop {
            match rustix::io::read(fd, &mut buffer[..]) {
                Ok(0) => return None,
                Ok(length) => pressed |= buffer[..length].chunks_exact(EVENT).any(is_press),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Some(pressed),
                Err(_) => return None,
            }
        }
    }
}

fn is_press(event: &[u8]) -> bool {
    let word = |at: usize| u16::from_le_bytes([event[at], event[at + 1]]);
    word(16) == EV_KEY && word(18) == KEY_POWER && word(20) == 1
}

/// Whether the bit map of keys, hexadecimal words with the lowest last, holds the power key.
fn has_power_key(map: &str) -> bool {
    let word = map
        .split_whitespace()
        .rev()
        .nth(usize::from(KEY_POWER) / 64);
    let bits = word.and_then(|word| u64::from_str_radix(word, 16).ok());
    bits.is_some_and(|bits| bits >> (KEY_POWER % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acpi_button_is_known_by_its_key_and_a_mouse_is_not() {
        assert!(has_power_key("10000000000000 0\n"));
        assert!(!has_power_key("70000 0 0 0 0"));
        assert!(!has_power_key(""));
    }

    #[test]
    fn a_press_counts_and_its_release_does_not() {
        let event = |kind: u8, code: u8, value: u8| {
            let mut bytes = [0u8; EVENT];
            (bytes[16], bytes[18], bytes[20]) = (kind, code, value);
            bytes
        };
        assert!(is_press(&event(1, 116, 1)));
        assert!(!is_press(&event(1, 116, 0)));
        assert!(!is_press(&event(1, 115, 1)));
        assert!(!is_press(&event(0, 116, 1)));
    }
}
