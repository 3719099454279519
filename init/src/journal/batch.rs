//! Lines that wait to be written: bounded in size and in time, kept until they are on the disk.
//!
//! Pure. It drops what comes when it is full, and counts it: a dead disk costs lines, never memory.

use crate::clock::Moment;
use formats::journal;
use std::time::Duration;

/// A line waits that long at most: a crash costs no more, and a flash no more than six writes a minute.
pub const PERIOD: Duration = Duration::from_secs(10);
/// The same on a trial boot, whose end may be near.
pub const TRIAL_PERIOD: Duration = Duration::from_secs(1);
/// So many bytes do not wait.
pub const PLENTY: usize = 16 << 10;
/// More are not held.
pub const MOST: usize = 48 << 10;
/// How long after a write that failed the next is tried.
pub const AGAIN: Duration = Duration::from_secs(60);

/// What waits.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The kernel has said something since it was read last.
    kernel: bool,
    /// Bytes of the write that is under way.
    flying: Option<usize>,
    lost: u32,
    hurried: bool,
    /// When it is to be written.
    due: Option<Moment>,
    not_before: Moment,
}

impl Batch {
    /// Takes a line. What the clock says is added when it is written: it may be set meanwhile.
    pub fn push(&mut self, now: Moment, unit: &str, priority: u8, text: &str) {
        let times = (0, micros(now));
        let room = |bytes: &Vec<u8>, text: &str| bytes.len() + unit.len() + text.len() + 64 <= MOST;
        if !room(&self.bytes, text) {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if self.lost > 0 {
            let text = format!("{} lines were not kept", self.lost);
            journal::push(&mut self.bytes, times, journal::INIT, 4, &text);
            self.lost = 0;
        }
        journal::push(&mut self.bytes, times, unit, priority, text);
        self.wait_until(now);
    }

    /// This boot is on trial, or no longer.
    pub fn hurry(&mut self, hurried: bool) {
        self.hurried = hurried;
    }

    /// The kernel has said something, which lies in the kernel until it is read.
    pub fn kernel_spoke(&mut self, now: Moment) {
        self.kernel = true;
        self.wait_until(now);
    }

    fn wait_until(&mut self, now: Moment) {
        let patience = match self.hurried {
            _ if self.bytes.len() >= PLENTY => Duration::ZERO,
            true => TRIAL_PERIOD,
            false => PERIOD,
        };
        let due = (now + patience).max(self.not_before);
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// When [`Batch::start`] is due; never while a write is under way.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.due.filter(|_| self.flying.is_none())
    }

    /// What no write has taken yet.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.flying.unwrap_or(0)..]
    }

    /// A write of all that waits begins.
    pub fn start(&mut self) {
        self.flying = Some(self.bytes.len());
        self.kernel = false;
        self.due = None;
    }

    /// The write has ended. What it did not write stays for the next one.
    pub fn end(&mut self, written: bool, now: Moment) {
        let Some(flying) = self.flying.take() else {
            return;
        };
        if written {
            self.bytes.drain(..flying);
        } else {
            self.not_before = now + AGAIN;
            self.due = None;
        }
        if self.kernel || !self.bytes.is_empty() {
            self.wait_until(now);
        }
    }
}

/// Microseconds of a moment.
#[must_use]
pub fn micros(moment: Moment) -> u64 {
    u64::try_from(moment.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn say(batch: &mut Batch, now: Moment, text: &str) {
        batch.push(now, "engine", 6, text);
    }

    #[test]
    fn lines_wait_together_and_an_idle_host_has_no_deadline() {
        let mut batch = Batch::default();
        assert_eq!(batch.due(), None);
        say(&mut batch, SECOND, "a");
        say(&mut batch, 2 * SECOND, "b");
        assert_eq!(batch.due(), Some(SECOND + PERIOD));
        batch.start();
        assert_eq!(batch.due(), None);
        batch.end(true, 11 * SECOND);
        assert_eq!((batch.due(), batch.waiting()), (None, &b""[..]));
        batch.kernel_spoke(12 * SECOND);
        assert_eq!(batch.due(), Some(12 * SECOND + PERIOD));
        batch.hurry(true);
        batch.kernel_spoke(13 * SECOND);
        assert_eq!(batch.due(), Some(13 * SECOND + TRIAL_PERIOD));
    }

    #[test]
    fn what_was_not_written_is_written_later_and_before_what_came_meanwhile() {
        let mut batch = Batch::default();
        say(&mut batch, SECOND, "a");
        batch.start();
        say(&mut batch, 2 * SECOND, "b");
        assert_eq!(batch.waiting(), b"0 2000000 engine 6 b\n");
        batch.end(false, 3 * SECOND);
        let both = "0 1000000 engine 6 a\n0 2000000 engine 6 b\n";
        assert_eq!(batch.waiting(), both.as_bytes());
        assert_eq!(batch.due(), Some(3 * SECOND + AGAIN));
    }

    #[test]
    fn what_is_lost_is_counted_where_there_is_room_again() {
        let mut batch = Batch::default();
        let text = "x".repeat(500);
        for _ in 0..200 {
            say(&mut batch, SECOND, &text);
        }
        assert_eq!(batch.due(), Some(SECOND));
        batch.start();
        batch.end(true, SECOND);
        say(&mut batch, SECOND, "b");
        let text = String::from_utf8(batch.waiting().to_vec()).unwrap();
        assert!(
            text.contains("lines were not kept\n0 1000000 engine 6 b\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_every_line_has_a_deadline(
            steps in prop::collection::vec((0u8..4, 0usize..9000), 0..60)
        ) {
            let mut batch = Batch::default();
            let mut now = SECOND;
            for (what, length) in steps {
                now += SECOND;
                match what {
                    0 => batch.start(),
                    1 => batch.end(length % 2 == 0, now),
                    2 => batch.kernel_spoke(now),
                    _ => say(&mut batch, now, &"x".repeat(length)),
                }
                prop_assert!(batch.bytes.len() <= MOST);
                let waits = !batch.bytes.is_empty() && batch.flying.is_none();
                prop_assert!(!waits || batch.due().is_some());
            }
        }
    }
}
