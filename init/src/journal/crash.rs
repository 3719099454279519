//! What a kernel that crashed has left in the firmware (pstore): into the journal of its boot, then
//! out of the firmware. For a copy of PID 1 only.
//!
//! It clears nothing that it has not written to the disk.

use super::segments::{append, segments};
use formats::journal::{Header, KERNEL, boots, push, segment_name};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the kernel shows what the firmware has kept.
pub const PSTORE: &str = "/sys/fs/pstore";
/// More than one crash leaves; firmware has room for less.
const MOST_BYTES: u64 = 64 << 10;

/// One file of a crash: `Panic#1 Part2`, then a piece of the log; the last piece is part 1.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    part: u32,
    at_us: u64,
    text: String,
}

/// Takes a crash over, if there is one, and returns whether there was.
///
/// # Errors
/// What the file system of the journal says; the firmware's copy stays then.
pub fn take_over(journal: &Path) -> io::Result<bool> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount(c"pstore", PSTORE, c"pstore", flags, c"").is_err() {
        return Ok(false);
    }
    let taken = from(Path::new(PSTORE), journal);
    let _ = unmount(PSTORE, UnmountFlags::DETACH);
    taken
}

fn from(pstore: &Path, journal: &Path) -> io::Result<bool> {
    let parts = parts(pstore)?;
    if parts.is_empty() {
        return Ok(false);
    }
    let lines = lines(&parts);
    let header = whose(journal, &lines).unwrap_or_else(|| stranger(&parts));
    append(journal, &header, &lines)?;
    for part in &parts {
        // What a firmware does not let go of is told again by the next boot, and shown once.
        let _ = fs::remove_file(&part.path);
    }
    Ok(true)
}

/// The pieces in the order in which they were said.
fn parts(pstore: &Path) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(pstore)?.flatten() {
        let about = entry.metadata()?;
        let named = entry.file_name().to_string_lossy().starts_with("dmesg-");
        if !named || about.len() > MOST_BYTES {
            continue;
        }
        let text = fs::read(entry.path())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let Some((first, rest)) = text.split_once('\n') else {
            continue;
        };
        let number = first.rsplit_once("Part").map(|(_, number)| number.trim());
        let at = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        parts.push(Part {
            path: entry.path(),
            part: number.and_then(|n| n.parse().ok()).unwrap_or(0),
            at_us: u64::try_from(at.as_micros()).unwrap_or(0),
            text: rest.to_owned(),
        });
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.part));
    Ok(parts)
}

fn lines(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = 0;
    for (at_us, line) in parts
        .iter()
        .flat_map(|p| p.text.lines().map(|l| (p.at_us, l)))
    {
        let (priority, mono_us, text) = parse(line).unwrap_or((6, before, line));
        before = mono_us;
        push(&mut out, (at_us, mono_us), KERNEL, priority, text);
    }
    out
}

/// `<4>[   12.345678] text`, with `[   12.345678][   T1]` where the kernel names callers.
fn parse(line: &str) -> Option<(u8, u64, &str)> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    let number: u32 = number.parse().ok()?;
    let (stamp, text) = rest.strip_prefix('[')?.split_once(']')?;
    let (seconds, micros) = stamp.trim().split_once('.')?;
    let (seconds, micros): (u64, u64) = (seconds.parse().ok()?, micros.parse().ok()?);
    let text = text.strip_prefix(' ').unwrap_or(text);
    Some((
        u8::try_from(number & 7).ok()?,
        seconds.checked_mul(1_000_000)?.checked_add(micros)?,
        text,
    ))
}

/// The boot that has said one of the lines at the same microsecond: the journal's last, or none when a
/// boot crashed before it kept anything.
fn whose(journal: &Path, lines: &[u8]) -> Option<Header> {
    let all = segments(journal).ok()?;
    let (_, last) = all.last()?;
    let of_last = all.iter().filter(|(_, boot)| boot == last);
    let read = of_last.filter_map(|(n, _)| fs::read(journal.join(segment_name(*n))).ok());
    let last = boots(read).pop()?;
    let crash = String::from_utf8_lossy(lines).into_owned();
    let said = crash.lines().filter_map(formats::journal::Line::parse);
    let mut known = said.filter(|line| {
        let same = |l: &formats::journal::Line| l.unit == KERNEL && l.text == line.text;
        let at = last.lines.partition_point(|l| l.mono_us < line.mono_us);
        last.lines[at..]
            .iter()
            .take_while(|l| l.mono_us == line.mono_us)
            .any(same)
    });
    known.next().map(|_| last.header)
}

/// A boot of which nothing else is known.
fn stranger(parts: &[Part]) -> Header {
    let at = parts.iter().map(|part| part.at_us).max().unwrap_or(0);
    Header {
        boot: format!("crashed-{}", at / 1_000_000),
        version: "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = "Panic#1 Part1\n<0>[   20.000002] Kernel panic - not syncing: sysrq\n\
                        <4>[   20.000003][    T9] Call Trace:\nno stamp\n";
    const FIRST: &str =
        "Panic#1 Part2\n<6>[    1.500000] up\n<6>[   20.000001] sysrq: Trigger a crash\n";

    /// A firmware that has kept a crash in two pieces, and a folder for the journal.
    fn crashed() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (pstore, journal) = (folder.path().join("pstore"), folder.path().join("journal"));
        fs::create_dir(&pstore).unwrap();
        fs::write(pstore.join("dmesg-efi_pstore-1"), LAST).unwrap();
        fs::write(pstore.join("dmesg-efi_pstore-2"), FIRST).unwrap();
        fs::write(pstore.join("console-efi_pstore-3"), "not ours").unwrap();
        (folder, pstore, journal)
    }

    fn keep(journal: &Path, boot: &str, text: &str) {
        let (boot, version) = (boot.to_owned(), "1".to_owned());
        let mut lines = Vec::new();
        push(&mut lines, (9, 1_500_000), KERNEL, 6, text);
        append(journal, &Header { boot, version }, &lines).unwrap();
    }

    fn read(journal: &Path) -> Vec<(String, Vec<String>)> {
        let all = segments(journal).unwrap();
        let bytes = all
            .iter()
            .map(|(n, _)| fs::read(journal.join(segment_name(*n))).unwrap());
        let texts = |b: formats::journal::Boot| b.lines.into_iter().map(|l| l.text).collect();
        boots(bytes)
            .into_iter()
            .map(|b| (b.header.boot.clone(), texts(b)))
            .collect()
    }

    #[test]
    fn a_crash_is_told_in_its_order_behind_what_its_boot_has_said_and_leaves_the_firmware() {
        let (_folder, pstore, journal) = crashed();
        keep(&journal, "old", "other");
        keep(&journal, "crashed", "up");
        assert!(from(&pstore, &journal).unwrap());
        let read = read(&journal);
        let (boot, texts) = &read[1];
        assert_eq!((read.len(), boot.as_str()), (2, "crashed"));
        let expected = [
            "up",
            "sysrq: Trigger a crash",
            "Kernel panic - not syncing: sysrq",
        ];
        assert_eq!(texts[..3], expected);
        assert_eq!(texts[3..], ["[    T9] Call Trace:", "no stamp"]);
        let left: Vec<_> = fs::read_dir(&pstore)
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(left, ["console-efi_pstore-3"]);
        assert!(!from(&pstore, &journal).unwrap());
    }

    #[test]
    fn a_crash_of_a_boot_that_kept_nothing_is_not_put_to_another_s_account() {
        let (_folder, pstore, journal) = crashed();
        keep(&journal, "good", "up, in another boot");
        assert!(from(&pstore, &journal).unwrap());
        let read = read(&journal);
        assert_eq!(read[0].1, ["up, in another boot"]);
        assert!(read[1].0.starts_with("crashed-"), "{read:?}");
    }

    #[test]
    fn what_could_not_be_kept_stays_in_the_firmware() {
        let (folder, pstore, _) = crashed();
        let journal = folder.path().join("file");
        fs::write(&journal, "").unwrap();
        assert!(from(&pstore, &journal).is_err());
        assert!(pstore.join("dmesg-efi_pstore-1").exists());
    }
}
