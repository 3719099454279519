//! `skeg logs -b`, `-k`, `-u`: the host's own log, of this boot and of those before it.
//!
//! It reads PID 1's journal on STATE and the kernel's buffer, and asks nobody.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use formats::journal::{self, Boot, Header, KERNEL, Line};

use super::args::Logs;
use super::containers::now;
use super::error::CliError;
use super::logs::{moment, rfc3339};
use super::session::print;
use super::table::{render, row};

/// The kernel's name for this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

pub fn show(options: &Logs) -> Result<u8, CliError> {
    if options.follow {
        let text = "--follow: the host's log cannot be followed; a container's can";
        return Err(CliError::usage(text));
    }
    let boots = kept(Path::new(formats::paths::JOURNAL))?;
    if options.list_boots {
        print(&mut std::io::stdout().lock(), list(&boots).as_bytes())?;
        return Ok(0);
    }
    let wanted = options.boot.as_deref().unwrap_or("0");
    let at = choose(&boots, wanted)?;
    let since = options.since.as_deref().map(|text| moment(text, now()));
    let since = since.transpose()?.unwrap_or(0);
    let unit = match options.kernel {
        true => Some(KERNEL),
        false => options.unit.as_deref().or(options.container.as_deref()),
    };
    let mut lines: Vec<&Line> = boots[at].lines.iter().collect();
    lines.retain(|line| unit.is_none_or(|unit| line.unit == unit));
    lines.retain(|line| line.real_us / 1_000_000 >= since);
    let tail = options
        .tail
        .map_or(lines.len(), |t| usize::try_from(t).unwrap_or(usize::MAX));
    let last = &lines[lines.len().saturating_sub(tail)..];
    let text: String = last.iter().map(|line| drawn(line)).collect();
    print(&mut std::io::stdout().lock(), text.as_bytes())?;
    Ok(0)
}

/// The boots of the journal, this one last: with what only the kernel has of it yet.
fn kept(folder: &Path) -> Result<Vec<Boot>, CliError> {
    let failed = |e: std::io::Error| CliError::engine(format!("read {}: {e}", folder.display()));
    let mut numbers: Vec<u64> = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| journal::segment_number(entry.ok()?.file_name().to_str()?))
            .collect(),
        // A host whose STATE is missing, or a boot's first seconds.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(failed(e)),
    };
    numbers.sort_unstable();
    let path = |number: u64| folder.join(journal::segment_name(number));
    // One that was removed meanwhile is none.
    let segments = numbers
        .into_iter()
        .filter_map(|n| std::fs::read(path(n)).ok());
    let mut boots = journal::boots(segments);
    let boot = std::fs::read_to_string(BOOT_ID).map_err(failed)?;
    let boot = boot.trim().to_owned();
    let at = boots.iter().position(|b| b.header.boot == boot);
    let mut this = at.map_or_else(|| empty(boot), |at| boots.remove(at));
    this.lines.extend(kernel_lines());
    this.order();
    boots.push(this);
    Ok(boots)
}

fn empty(boot: String) -> Boot {
    let version = "-".to_owned();
    Boot {
        header: Header { boot, version },
        lines: Vec::new(),
    }
}

fn kernel_lines() -> Vec<Line> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = std::fs::OpenOptions::new();
    let kmsg = options
        .read(true)
        .custom_flags(nonblocking)
        .open("/dev/kmsg");
    let Ok(mut kmsg) = kmsg else {
        return Vec::new();
    };
    let micros = |id| {
        let time = rustix::time::clock_gettime(id);
        let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        seconds * 1_000_000 + nanos / 1_000
    };
    let real = micros(rustix::time::ClockId::Realtime);
    let offset = real.saturating_sub(micros(rustix::time::ClockId::Boottime));
    let mut lines = Vec::new();
    let mut record = [0; 2048];
    loop {
        match kmsg.read(&mut record) {
            Ok(0) => return lines,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let parsed = journal::kernel_record(&text);
                lines.extend(parsed.map(|(priority, mono_us, text)| Line {
                    real_us: mono_us.saturating_add(offset),
                    mono_us,
                    unit: KERNEL.to_owned(),
                    priority,
                    text: text.to_owned(),
                }));
            }
            // Overwritten before they were read.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(_) => return lines,
        }
    }
}

/// The place of a boot: `0`, `-1` and so on from the end, or the beginning of an id.
fn choose(boots: &[Boot], wanted: &str) -> Result<usize, CliError> {
    let last = boots.len().saturating_sub(1);
    let back = match wanted.strip_prefix('-').unwrap_or(wanted) {
        "0" => Some(0),
        digits if wanted.starts_with('-') => digits.parse().ok(),
        _ => None,
    };
    let found = match back {
        Some(back) => last.checked_sub(back),
        None => boots
            .iter()
            .position(|b| wanted.len() > 3 && b.header.boot.starts_with(wanted)),
    };
    found.ok_or_else(|| {
        CliError::usage(format!(
            "--boot: expected 0 to -{last} or a boot's id, found '{wanted}'; see skeg logs --list-boots"
        ))
    })
}

/// `2026-01-01T00:00:00.000000Z engine: text`; a terminal is not steered by what is logged.
fn drawn(line: &Line) -> String {
    let text = line
        .text
        .replace(|c: char| c.is_control() && c != '\t', " ");
    let time = rfc3339(line.real_us.saturating_mul(1_000));
    format!("{time} {}: {text}\n", line.unit)
}

fn list(boots: &[Boot]) -> String {
    let mut rows = vec![row(["BOOT", "ID", "VERSION", "FROM", "TO", "LINES"])];
    let last = boots.len().saturating_sub(1);
    for (at, boot) in boots.iter().enumerate() {
        let time = |line: Option<&Line>| {
            let text = line.map(|line| rfc3339(line.real_us.saturating_mul(1_000)));
            text.map_or(String::new(), |text| format!("{}Z", &text[..19]))
        };
        let back = last - at;
        rows.push(row([
            &if back == 0 {
                "0".to_owned()
            } else {
                format!("-{back}")
            },
            &boot.header.boot,
            &boot.header.version,
            &time(boot.lines.first()),
            &time(boot.lines.last()),
            &boot.lines.len().to_string(),
        ]));
    }
    render(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str) -> Boot {
        Boot {
            lines: vec![Line {
                real_us: 1_767_225_600_000_000,
                mono_us: 7,
                unit: "engine".into(),
                priority: 6,
                text: "pulled \u{1b}[2J".into(),
            }],
            ..empty(id.to_owned())
        }
    }

    #[test]
    fn boots_are_counted_back_from_this_one_or_named() {
        let boots = [boot("aaaa-1"), boot("bbbb-2"), boot("cccc-3")];
        let chosen = |wanted: &str| choose(&boots, wanted).ok();
        assert_eq!(["0", "-0", "-1", "-2"].map(chosen), [2, 2, 1, 0].map(Some));
        assert_eq!(chosen("bbbb"), Some(1));
        assert_eq!(["-3", "1", "b", "", "dddd"].map(chosen), [None; 5]);
    }

    #[test]
    fn a_line_has_its_time_and_its_unit_and_steers_no_terminal() {
        let boot = boot("a");
        assert_eq!(
            drawn(&boot.lines[0]),
            "2026-01-01T00:00:00.000000Z engine: pulled  [2J\n"
        );
        let list = list(&[boot, empty("b".into())]);
        assert!(
            list.lines().nth(1).is_some_and(|l| l.starts_with("-1")),
            "{list}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_still_shows_this_boot() {
        let boots = kept(Path::new("/nonexistent/journal")).unwrap();
        assert_eq!(boots.len(), 1);
    }
}
