//! The kernel's own log, `/dev/kmsg`, as lines of the journal.
//!
//! It reads records that it has not read yet, and never waits for more.

use formats::journal::{self, KERNEL};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// Records that are read at once: more than the kernel's buffer holds.
const MOST: usize = 20_000;
/// No record is longer (`PRINTK_MESSAGE_MAX`).
const LONGEST: usize = 2048;

/// Opens it at its oldest record. Copies of this process share the place, so that what a copy has read
/// is not read again.
///
/// # Errors
/// As open(2).
pub fn open() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/kmsg", flags, Mode::empty())
}

/// Appends what is new. `offset_us` is what the clock says more than the time since the boot.
pub fn read_new(kmsg: impl AsFd, offset_us: u64, out: &mut Vec<u8>) {
    let mut record = [0u8; LONGEST];
    for _ in 0..MOST {
        match rustix::io::read(&kmsg, &mut record[..]) {
            Ok(0) => return,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                if let Some((priority, mono_us, text)) = journal::kernel_record(&text) {
                    let times = (mono_us.saturating_add(offset_us), mono_us);
                    journal::push(out, times, KERNEL, priority, text);
                }
            }
            // Records were overwritten before they were read: the next read goes on after them.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_read_and_the_end_is_no_wait() {
        // A pipe has no records: one read takes all, as one record.
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        rustix::io::write(&writer, b"4,1,2000,-;careful\n").unwrap();
        let mut out = Vec::new();
        read_new(&reader, 500, &mut out);
        assert_eq!(out, b"2500 2000 kernel 4 careful\n");
    }
}
