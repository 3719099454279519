//! The host's journal on STATE: what the kernel, PID 1 and the services said, boot by boot.
//!
//! Text, a line each, so that a rescue system needs no tool; a torn line is skipped, never repaired.
//! Segments are numbered over all boots, and only ever appended to:
//!
//! ```text
//! skeg-journal 1 BOOT-ID IMAGE-VERSION
//! REALTIME-US MONOTONIC-US UNIT PRIORITY TEXT
//! ```

use std::fmt;

/// Version of the format, in each segment's first line. Readers skip segments of others.
pub const FORMAT: u32 = 1;
/// The unit of the kernel's lines.
pub const KERNEL: &str = "kernel";
/// The unit of PID 1's lines.
pub const INIT: &str = "init";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Microseconds since the epoch, by the clock of that moment, right or wrong.
    pub real_us: u64,
    /// Microseconds since the kernel started: never falls within a boot.
    pub mono_us: u64,
    /// [`KERNEL`], [`INIT`], or a service's name; without blanks.
    pub unit: String,
    /// syslog(3)'s level: 0 emergency to 7 debug.
    pub priority: u8,
    /// One line of text.
    pub text: String,
}

/// Appends one line to a batch of them; a line break in `text` becomes a blank.
pub fn push(out: &mut Vec<u8>, times_us: (u64, u64), unit: &str, priority: u8, text: &str) {
    use std::io::Write;
    let (real, mono) = times_us;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{real} {mono} {unit} {priority} ");
    let plain = |b: u8| if b == b'\n' { b' ' } else { b };
    out.extend(text.bytes().map(plain));
    out.push(b'\n');
}

impl Line {
    /// Reads a line; none when it is torn.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(5, ' ');
        let mut next = || fields.next();
        Some(Self {
            real_us: next()?.parse().ok()?,
            mono_us: next()?.parse().ok()?,
            unit: next().filter(|unit| !unit.is_empty())?.to_owned(),
            priority: next()?.parse().ok().filter(|level| *level < 8)?,
            text: next()?.to_owned(),
        })
    }
}

/// A record of `/dev/kmsg` as (priority, microseconds since the kernel started, text):
/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, then lines for machines; the facility is above the
/// priority's three bits.
#[must_use]
pub fn kernel_record(record: &str) -> Option<(u8, u64, &str)> {
    let (head, rest) = record.split_once(';')?;
    let mut fields = head.split(',');
    let number: u32 = fields.next()?.parse().ok()?;
    let mono_us = fields.nth(1)?.parse().ok()?;
    let text = rest.lines().next()?;
    Some((u8::try_from(number & 7).ok()?, mono_us, text))
}

/// A segment's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The kernel's `boot_id`.
    pub boot: String,
    /// `IMAGE_VERSION` of the image that ran, or `-`.
    pub version: String,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "skeg-journal {FORMAT} {} {}", self.boot, self.version)
    }
}

impl Header {
    /// Reads a segment's first line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let ours = words.next()? == "skeg-journal" && words.next()?.parse() == Ok(FORMAT);
        let (boot, version) = (words.next()?.to_owned(), words.next()?.to_owned());
        (ours && !boot.is_empty()).then_some(Self { boot, version })
    }
}

/// A segment's file name.
#[must_use]
pub fn segment_name(number: u64) -> String {
    format!("{number:08}.log")
}

/// The number in a segment's file name.
#[must_use]
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// One boot, with all that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Who it was.
    pub header: Header,
    /// In the order of their monotonic times.
    pub lines: Vec<Line>,
}

/// The boots of segments that come in the order of their numbers, the oldest first. What a crash left
/// in the firmware is among its boot's lines, each once.
#[must_use]
pub fn boots<T: AsRef<[u8]>>(segments: impl IntoIterator<Item = T>) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    for segment in segments {
        let text = String::from_utf8_lossy(segment.as_ref());
        let mut lines = text.lines();
        let Some(header) = lines.next().and_then(Header::parse) else {
            continue;
        };
        let found = boots.iter().position(|b| b.header.boot == header.boot);
        let at = found.unwrap_or(boots.len());
        if found.is_none() {
            let lines = Vec::new();
            boots.push(Boot { header, lines });
        }
        boots[at].lines.extend(lines.filter_map(Line::parse));
    }
    for boot in &mut boots {
        boot.order();
    }
    boots
}

impl Boot {
    /// Puts the lines in the order of their times. Of kernel lines that came more than one way the
    /// first stays.
    pub fn order(&mut self) {
        self.lines.sort_by_key(|line| line.mono_us);
        drop_doubles(&mut self.lines);
    }
}

fn drop_doubles(lines: &mut Vec<Line>) {
    let mut kept: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines.drain(..) {
        let mut moment = kept.iter().rev().take_while(|k| k.mono_us == line.mono_us);
        let double = |k: &Line| k.unit == line.unit && k.text == line.text;
        if line.unit != KERNEL || !moment.any(double) {
            kept.push(line);
        }
    }
    *lines = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(boot: &str, lines: &[(u64, &str, &str)]) -> Vec<u8> {
        let (boot, version) = (boot.to_owned(), "1.2.0".to_owned());
        let mut bytes = Header { boot, version }.to_string().into_bytes();
        for (mono, unit, text) in lines {
            push(&mut bytes, (1_000 + mono, *mono), unit, 6, text);
        }
        bytes
    }

    fn texts(boot: &Boot) -> Vec<&str> {
        boot.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn golden_bytes() {
        let bytes = segment("5e2c", &[(7, "engine", "pulled web:1\nand more")]);
        let expected = "skeg-journal 1 5e2c 1.2.0\n1007 7 engine 6 pulled web:1 and more\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        assert_eq!(segment_name(12), "00000012.log");
        assert_eq!(segment_number("00000012.log"), Some(12));
        for other in ["12.log", "00000012", "0000001x.log", ".log"] {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }

    #[test]
    fn a_boot_is_one_whatever_lies_between_its_segments_and_a_double_is_told_once() {
        let first = segment("a", &[(1, KERNEL, "up"), (5, INIT, "state")]);
        let next = segment("a", &[(9, KERNEL, "late"), (9, KERNEL, "later")]);
        let crash = segment("a", &[(9, KERNEL, "late"), (12, KERNEL, "panic")]);
        let other = segment("b", &[(2, KERNEL, "up")]);
        let boots = boots([first, next, other, crash, b"rubbish\n1 2 x 6 y\n".to_vec()]);
        let ids: Vec<&str> = boots.iter().map(|b| b.header.boot.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(texts(&boots[0]), ["up", "state", "late", "later", "panic"]);
    }

    #[test]
    fn a_kernel_s_record_is_its_first_line_without_what_is_for_machines() {
        let record = "6,339,5140900,-;NET: Registered PF_INET6\n SUBSYSTEM=acpi\n";
        let line = "NET: Registered PF_INET6";
        assert_eq!(kernel_record(record), Some((6, 5_140_900, line)));
        let by_a_program = "30,1,7,-,caller=T1;hello\n";
        assert_eq!(kernel_record(by_a_program), Some((6, 7, "hello")));
        for rubbish in ["", "6,1;x", "six,1,2,-;x\n", "6,1,2,-;"] {
            assert_eq!(kernel_record(rubbish), None, "{rubbish}");
        }
    }

    proptest! {
        #[test]
        fn a_segment_that_was_cut_anywhere_gives_the_lines_before_the_cut(
            words in prop::collection::vec("[ -~]{0,30}", 1..8), cut: prop::sample::Index
        ) {
            let lines: Vec<_> = words.iter().map(|w| (7, "engine", w.as_str())).collect();
            let whole = segment("a", &lines);
            let cut = &whole[..cut.index(whole.len() + 1)];
            let ends = cut.iter().filter(|b| **b == b'\n').count();
            let read = boots([cut]);
            let found = read.first().map_or(Vec::new(), texts);
            // Of the line in which the cut lies a part may be there.
            prop_assert!(found.len() + 1 >= ends && found.len() <= ends, "{found:?}");
            for (found, word) in found.iter().zip(&words) {
                prop_assert!(word.starts_with(found), "{found} of {word}");
            }
        }

        #[test]
        fn no_bytes_make_the_reader_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut segment = segment("a", &[]);
            segment.extend(bytes);
            let _ = boots([segment]);
        }

        #[test]
        fn what_is_written_is_read(
            real: u64, mono: u64, unit in "[a-z][a-z0-9-]{0,9}", priority in 0u8..8,
            text in "[^\r\n\u{85}]*"
        ) {
            let mut bytes = Vec::new();
            push(&mut bytes, (real, mono), &unit, priority, &text);
            let line = String::from_utf8(bytes).unwrap();
            let line = Line::parse(line.trim_end_matches('\n')).unwrap();
            prop_assert_eq!(line, Line { real_us: real, mono_us: mono, unit, priority, text });
        }
    }
}
