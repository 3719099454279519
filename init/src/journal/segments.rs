//! The journal's files: which one is appended to, and which are removed. For a copy of PID 1 only:
//! it waits for the disk.
//!
//! It never rewrites a byte; a cut leaves at most the last line torn.

use formats::journal::{Header, segment_name, segment_number};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// A segment is not appended to beyond this.
pub const SEGMENT: u64 = 256 << 10;
/// Segments that one boot keeps: its first, and the latest of the others.
pub const OF_A_BOOT: usize = 8;
/// Segments of all boots together: 8 MiB.
pub const OF_ALL: usize = 32;

/// Appends lines of one boot, and flushes them to the disk.
///
/// # Errors
/// What the file system says. On a full one the oldest boot's segments make room first.
pub fn append(folder: &Path, header: &Header, lines: &[u8]) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    loop {
        match append_once(folder, header, lines) {
            Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                let mut all = segments(folder)?;
                all.retain(|(_, boot)| *boot != header.boot);
                let Some((oldest, _)) = all.first() else {
                    return Err(e);
                };
                fs::remove_file(folder.join(segment_name(*oldest)))?;
            }
            other => return other,
        }
    }
}

fn append_once(folder: &Path, header: &Header, lines: &[u8]) -> io::Result<()> {
    let all = segments(folder)?;
    let last = all.last().filter(|(_, boot)| *boot == header.boot);
    if let Some((number, _)) = last {
        let path = folder.join(segment_name(*number));
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        if length + lines.len() as u64 <= SEGMENT {
            return write(file, length, lines);
        }
    }
    let next = all.last().map_or(1, |(number, _)| number + 1);
    let path = folder.join(segment_name(next));
    let file = options().create_new(true).open(&path)?;
    let written = write(file, 0, &[header.to_string().as_bytes(), lines].concat());
    match &written {
        // An empty one would be of no boot.
        Err(_) => fs::remove_file(&path)?,
        Ok(()) => remove_old(folder, &header.boot)?,
    }
    written
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}

fn write(mut file: File, length: u64, lines: &[u8]) -> io::Result<()> {
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    // A copy that was killed while it wrote has left a line without its end.
    let end: &[u8] = if last == [b'\n'] { b"" } else { b"\n" };
    file.write_all(&[end, lines].concat())?;
    file.sync_data()
}

/// All segments with their boots, the oldest first.
///
/// # Errors
/// What the file system says of the folder.
pub fn segments(folder: &Path) -> io::Result<Vec<(u64, String)>> {
    let names =
        fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers: Vec<u64> = names.filter_map(|name| segment_number(&name)).collect();
    numbers.sort_unstable();
    let with_boot = |number: u64| (number, boot_of(&folder.join(segment_name(number))));
    Ok(numbers.into_iter().map(with_boot).collect())
}

/// The boot that a segment is of; empty when its first line was torn.
fn boot_of(path: &Path) -> String {
    let first = File::open(path).and_then(|file| {
        let mut line = Vec::new();
        let limited = io::Read::take(file, 256);
        BufReader::new(limited).read_until(b'\n', &mut line)?;
        Ok(line)
    });
    let text = String::from_utf8_lossy(&first.unwrap_or_default()).into_owned();
    let header = Header::parse(text.trim_end());
    header.map(|header| header.boot).unwrap_or_default()
}

fn remove_old(folder: &Path, own: &str) -> io::Result<()> {
    let mut all = segments(folder)?;
    let ours = |all: &[(u64, String)]| all.iter().filter(|(_, boot)| boot == own).count();
    while ours(&all) > OF_A_BOOT {
        // The first tells how the boot began: the second goes.
        let mut of_own = all.iter().enumerate().filter(|(_, (_, boot))| boot == own);
        let Some((at, _)) = of_own.nth(1) else {
            break;
        };
        fs::remove_file(folder.join(segment_name(all.remove(at).0)))?;
    }
    while all.len() > OF_ALL {
        fs::remove_file(folder.join(segment_name(all.remove(0).0)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::journal::{Boot, boots, push};

    fn header(boot: &str) -> Header {
        let (boot, version) = (boot.to_owned(), "1.0.0".to_owned());
        Header { boot, version }
    }

    fn add(folder: &Path, boot: &str, text: &str) {
        let mut lines = Vec::new();
        push(&mut lines, (1, 1), "engine", 6, text);
        append(folder, &header(boot), &lines).unwrap();
    }

    fn read(folder: &Path) -> Vec<Boot> {
        let all = segments(folder).unwrap();
        boots(
            all.iter()
                .map(|(n, _)| fs::read(folder.join(segment_name(*n))).unwrap()),
        )
    }

    #[test]
    fn a_boot_goes_on_in_its_segment_and_the_next_begins_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let folder = &folder.path().join("new/folder");
        add(folder, "a", "one");
        add(folder, "a", "two");
        add(folder, "b", "three");
        assert_eq!(
            segments(folder).unwrap(),
            [(1, "a".into()), (2, "b".into())]
        );
        let lines: Vec<usize> = read(folder).iter().map(|boot| boot.lines.len()).collect();
        assert_eq!(lines, [2, 1]);
    }

    #[test]
    fn a_line_that_a_killed_copy_left_torn_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", "one");
        let path = folder.path().join(segment_name(1));
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"1 1 eng").unwrap();
        add(folder.path(), "a", "two");
        let texts: Vec<String> = read(folder.path())[0]
            .lines
            .iter()
            .map(|l| l.text.clone())
            .collect();
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn a_noisy_boot_keeps_its_beginning_and_its_end_and_leaves_the_others_theirs() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "a", "quiet");
        let long = "x".repeat(100_000);
        add(folder.path(), "b", "first");
        for number in 0..40 {
            add(folder.path(), "b", &format!("{number} {long}"));
        }
        let boots = read(folder.path());
        assert_eq!(boots[0].lines.len(), 1);
        let texts: Vec<&str> = boots[1].lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts[0], "first");
        assert!(texts.last().unwrap().starts_with("39 "));
        assert_eq!(segments(folder.path()).unwrap().len(), 1 + OF_A_BOOT);
    }

    #[test]
    fn boots_without_end_keep_the_latest() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..OF_ALL + 9 {
            add(folder.path(), &number.to_string(), "up");
        }
        let boots = read(folder.path());
        assert_eq!(boots.len(), OF_ALL);
        assert_eq!(boots[0].header.boot, "9");
    }
}
