//! The clock's floor: no host believes a time before its image was built, or before it last ran.
//!
//! The last time is kept on STATE by a copy of PID 1, since a dead disk may hold it up for ever. A time
//! that is suspect is never kept: it would become the floor.

use crate::clock::{Moment, epoch_ns};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How often the time is kept. No wake-up is for this: the watchdog's are enough.
pub const PERIOD: Duration = Duration::from_secs(900);
/// A jump over more than that needs a second source.
const LEAP: u64 = 366 * 86_400;

/// What to think of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be right.
    Sound,
    /// It cannot be right.
    Below,
    /// It may be right, and more than a year has passed.
    Suspect,
}

/// Judges a time in seconds since the epoch.
#[must_use]
pub fn judge(now: u64, floor: u64) -> Verdict {
    match now {
        now if now < floor => Verdict::Below,
        now if now - floor > LEAP => Verdict::Suspect,
        _ => Verdict::Sound,
    }
}

/// The floor, and where it is kept.
#[derive(Debug, Default)]
pub struct Floor {
    seconds: u64,
    /// What the clock said when it was below.
    said: Option<u64>,
    refused: Option<String>,
    kept: Option<PathBuf>,
    kept_at: Moment,
    writer: Option<u32>,
}

/// A degraded state: its name and its text.
pub type Problem = (&'static str, String);

impl Floor {
    /// The floor of an image, from its os-release.
    #[must_use]
    pub fn of_image(os_release: &str) -> Self {
        let mut lines = os_release.lines();
        let date = lines.find_map(|line| line.strip_prefix("SKEG_SOURCE_DATE="));
        Self {
            seconds: number(date.unwrap_or_default()),
            ..Self::default()
        }
    }

    /// Raises the floor to what was kept at `path`, where the time is kept from now on.
    pub fn keep_at(&mut self, path: PathBuf, now: Moment) {
        let kept = fs::read_to_string(&path).unwrap_or_default();
        self.seconds = self.seconds.max(number(&kept));
        (self.kept, self.kept_at) = (Some(path), now);
    }

    /// Sets a clock that is below the floor.
    pub fn raise(&mut self) {
        let now = seconds_now();
        if judge(now, self.seconds) == Verdict::Below {
            self.said.get_or_insert(now);
            self.refused = set(self.seconds)
                .err()
                .map(|e| format!(", which failed: {e}"));
        }
    }

    /// What is wrong with the clock, now that the floor is known.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        let floor = date(self.seconds);
        if let Some(said) = self.said {
            let failed = self.refused.as_deref().unwrap_or_default();
            let said = date(said);
            let text = format!(
                "the machine's clock said {said}; set to the last known time, {floor}{failed}"
            );
            return Some(("clock-floor", text));
        }
        let now = seconds_now();
        (judge(now, self.seconds) == Verdict::Suspect).then(|| {
            let now = date(now);
            let text = format!(
                "the machine's clock says {now}, over a year after the last known time, {floor}"
            );
            ("clock-suspect", text)
        })
    }

    /// What to write where, for work in a copy; none when the clock is not to be trusted.
    #[must_use]
    pub fn to_keep(&self, epoch_ns: u64) -> Option<(PathBuf, u64)> {
        let now = epoch_ns / 1_000_000_000;
        let path = self.kept.clone()?;
        (judge(now, self.seconds) == Verdict::Sound).then_some((path, now))
    }

    /// Keeps the time when it is due, in a copy of this process; one at a time.
    pub fn tick(&mut self, now: Moment) {
        if now < self.kept_at + PERIOD || self.writer.is_some() {
            return;
        }
        self.kept_at = now;
        if let Some((path, seconds)) = self.to_keep(epoch_ns()) {
            self.seconds = seconds;
            self.writer = sys::reap::run_in_copy(|| u8::from(!keep(&path, seconds))).ok();
        }
    }

    /// A child has ended; true when it was the copy.
    pub fn ended(&mut self, pid: u32) -> bool {
        let own = self.writer == Some(pid);
        if own {
            self.writer = None;
        }
        own
    }
}

/// Writes the time. For a copy only: it waits for the disk.
#[must_use]
pub fn keep(path: &std::path::Path, seconds: u64) -> bool {
    sys::durable::write(path, format!("{seconds}\n").as_bytes(), 0o644).is_ok()
}

fn seconds_now() -> u64 {
    epoch_ns() / 1_000_000_000
}

fn number(text: &str) -> u64 {
    text.trim().trim_matches('"').parse().unwrap_or(0)
}

fn set(seconds: u64) -> rustix::io::Result<()> {
    let time = rustix::time::Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(0),
        tv_nsec: 0,
    };
    rustix::time::clock_settime(rustix::time::ClockId::Realtime, time)
}

/// `2026-01-01 00:00 UTC`: the days of whole eras of 400 years, then years, then months from March on.
fn date(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400 + 719_468, seconds % 86_400 / 60);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (minutes / 60, minutes % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: u64 = 1_767_225_600;

    #[test]
    fn a_clock_below_the_floor_is_wrong_and_one_a_year_above_is_suspect() {
        assert_eq!(judge(0, BUILT), Verdict::Below);
        assert_eq!(judge(BUILT, BUILT), Verdict::Sound);
        assert_eq!(judge(BUILT + LEAP, BUILT), Verdict::Sound);
        assert_eq!(judge(4_102_444_800, BUILT), Verdict::Suspect);
    }

    #[test]
    fn the_floor_is_the_later_of_the_image_and_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("time");
        let image = format!("ID=skeg\nSKEG_SOURCE_DATE={BUILT}\n");
        let floor = |kept: &str| {
            fs::write(&path, kept).unwrap();
            let mut floor = Floor::of_image(&image);
            floor.keep_at(path.clone(), Moment::ZERO);
            floor.seconds
        };
        assert_eq!(floor("1767225700\n"), BUILT + 100);
        assert_eq!(floor("7\n"), BUILT);
        assert_eq!(floor("torn\0"), BUILT);
    }

    #[test]
    fn a_time_that_is_not_trusted_never_becomes_the_floor() {
        let floor = Floor {
            seconds: BUILT,
            kept: Some("/x".into()),
            ..Floor::default()
        };
        let kept = |seconds: u64| floor.to_keep(seconds * 1_000_000_000).map(|(_, s)| s);
        assert_eq!(kept(BUILT + 5), Some(BUILT + 5));
        assert_eq!(kept(BUILT - 5), None);
        assert_eq!(kept(BUILT + 2 * LEAP), None);
        let volatile = Floor {
            kept: None,
            ..floor
        };
        assert_eq!(volatile.to_keep((BUILT + 5) * 1_000_000_000), None);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("time");
        assert!(keep(&path, BUILT + 9));
        let mut floor = Floor::default();
        floor.keep_at(path, Moment::ZERO);
        assert_eq!(floor.seconds, BUILT + 9);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(BUILT + 3_660), "2026-01-01 01:01 UTC");
        assert_eq!(date(4_107_542_399), "2100-02-28 23:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00 UTC");
    }
}
