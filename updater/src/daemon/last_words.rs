//! What a failed boot said last, from PID 1's journal on STATE, for the history.
//!
//! It only reads. A boot that died before STATE was up left its words in the firmware, and PID 1 has
//! put them into the journal; of one that left none there is nothing to tell.

use formats::journal::{Boot, KERNEL, Line, boots, segment_name, segment_number};
use formats::update::{LONGEST_LINE, MOST_LINES};
use formats::version::Version;
use std::fs;
use std::path::Path;

/// No more segments are read, the newest ones: a trial is at most a few boots ago.
const MOST_SEGMENTS: usize = 6;
/// PID 1 keeps each below a quarter MiB, in bytes.
const LONGEST_SEGMENT: u64 = 512 << 10;
/// A panic that far from the end is the end: what comes behind it is its trace.
const TRACE: usize = 80;
/// Lines that are kept from before a panic.
const BEFORE: usize = 5;
/// Levels of syslog(3) that only a kernel that dies uses.
const EMERGENCY: u8 = 0;

/// The last lines of the last boot of `version`, which came before the boot `this`.
#[must_use]
pub fn of(journal: &Path, version: Version, this: &str) -> Vec<String> {
    let mut numbers: Vec<u64> = fs::read_dir(journal)
        .into_iter()
        .flatten()
        .filter_map(|entry| segment_number(entry.ok()?.file_name().to_str()?))
        .collect();
    numbers.sort_unstable();
    let newest = &numbers[numbers.len().saturating_sub(MOST_SEGMENTS)..];
    let segments = newest.iter().filter_map(|number| {
        let path = journal.join(segment_name(*number));
        let short = fs::metadata(&path).is_ok_and(|about| about.len() <= LONGEST_SEGMENT);
        short.then(|| fs::read(&path).ok()).flatten()
    });
    let version = version.to_string();
    let boots = boots(segments);
    // A crash of which nothing else is known has no version; the trial's boots are the last ones.
    let found = boots
        .iter()
        .rev()
        .filter(|boot| boot.header.boot != this)
        .take_while(|boot| [&*version, "-"].contains(&&*boot.header.version))
        .find(|boot| !boot.lines.is_empty());
    found.map_or_else(Vec::new, |boot| end(boot).iter().map(told).collect())
}

/// The lines at the end; around the panic, if it ended by one.
fn end(boot: &Boot) -> &[Line] {
    let lines = &boot.lines;
    let near = lines.len().saturating_sub(TRACE);
    let panics = |line: &Line| line.unit == KERNEL && line.priority == EMERGENCY;
    let from = match lines[near..].iter().position(panics) {
        Some(at) => (near + at).saturating_sub(BEFORE),
        None => lines.len().saturating_sub(MOST_LINES),
    };
    &lines[from..lines.len().min(from + MOST_LINES)]
}

/// `12.345678 kernel: text`, in plain characters.
fn told(line: &Line) -> String {
    let (seconds, micros) = (line.mono_us / 1_000_000, line.mono_us % 1_000_000);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = line.text.chars().map(plain).collect();
    let mut told = format!("{seconds}.{micros:06} {}: {text}", line.unit);
    let mut most = LONGEST_LINE.min(told.len());
    while !told.is_char_boundary(most) {
        most -= 1;
    }
    told.truncate(most);
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::journal::{Header, INIT, push};

    /// A journal of boots: id, version, lines of unit, priority, text.
    type Told<'a> = (&'a str, &'a str, Vec<(&'a str, u8, String)>);

    fn journal(boots: &[Told<'_>]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, (boot, version, lines)) in boots.iter().enumerate() {
            let (boot, version) = ((*boot).to_owned(), (*version).to_owned());
            let mut bytes = Header { boot, version }.to_string().into_bytes();
            for (at, (unit, priority, text)) in lines.iter().enumerate() {
                push(&mut bytes, (9, at as u64), unit, *priority, text);
            }
            fs::write(folder.path().join(segment_name(number as u64)), bytes).unwrap();
        }
        folder
    }

    fn many(
        unit: &'static str,
        priority: u8,
        what: &str,
        n: usize,
    ) -> Vec<(&'static str, u8, String)> {
        (0..n)
            .map(|n| (unit, priority, format!("{what} {n}")))
            .collect()
    }

    fn last(boots: &[Told<'_>]) -> Vec<String> {
        of(journal(boots).path(), "1.1.0".parse().unwrap(), "now")
    }

    #[test]
    fn the_last_boot_of_the_failed_release_is_told_by_its_end() {
        let boots = [
            ("a", "1.1.0", many(INIT, 6, "first", 3)),
            ("b", "1.1.0", many(INIT, 6, "second", 40)),
            ("now", "1.0.0", many(INIT, 6, "old", 3)),
        ];
        let told = last(&boots);
        assert_eq!(told.len(), MOST_LINES);
        assert_eq!(told[MOST_LINES - 1], "0.000039 init: second 39");
    }

    #[test]
    fn a_panic_is_shown_and_not_the_end_of_its_trace() {
        let mut lines = many(INIT, 6, "before", 9);
        lines.push((KERNEL, 0, "Kernel panic - not syncing".into()));
        lines.extend(many(KERNEL, 4, "trace", 60));
        let told = last(&[("crashed-7", "-", lines), ("now", "1.0.0", Vec::new())]);
        assert_eq!(told[0], "0.000004 init: before 4");
        assert!(told[BEFORE].contains("Kernel panic"), "{told:?}");
        assert_eq!(told.len(), MOST_LINES);
    }

    #[test]
    fn a_boot_of_another_release_is_never_shown_for_it() {
        let old = ("a", "1.1.0", many(INIT, 6, "months ago", 3));
        let between = ("b", "1.0.0", many(INIT, 6, "since then", 3));
        assert!(last(&[old, between]).is_empty());
        assert!(last(&[]).is_empty());
        assert!(of(Path::new("/nonexistent"), "1.1.0".parse().unwrap(), "now").is_empty());
    }

    #[test]
    fn a_line_is_bounded_and_plain_whatever_it_holds() {
        let line = (INIT, 6, format!("\u{1b}[2J{}", "\u{e4}".repeat(400)));
        let told = last(&[("a", "1.1.0", vec![line])]);
        assert!(told[0].len() <= LONGEST_LINE, "{}", told[0].len());
        assert!(!told[0].contains('\u{1b}'), "{told:?}");
    }
}
