//! A program for containers that writes numbered lines at a rate, and one that reads them back from the
//! engine; both are the agent's program, called by another word.
//!
//! What a writer says that it wrote is on a volume: no engine has its hands on it.

use crate::protocol::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two bursts of lines.
const BURST: Duration = Duration::from_millis(20);

/// What was written, or read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Lines; the last one's number, when they are contiguous from 1.
    pub lines: u64,
    /// SHA-256 over all bytes, in hexadecimal digits.
    pub sha256: String,
    /// From the first to the last, in milliseconds; 0 when read back.
    pub took_ms: u64,
    /// The first line that is not the one after the line before, in words.
    pub broken: Option<String>,
}

/// Writes numbered lines to standard output, `rate` a second on average, until the file `stop` is there;
/// then its tally goes into the file `tally`.
///
/// # Errors
/// The pipe or the volume cannot be written.
pub fn write(rate: u64, stop: &Path, tally: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut hash = Sha256::new();
    let begun = Instant::now();
    let mut lines = 0u64;
    let mut burst = Vec::new();
    while !stop.exists() {
        // By the clock, so that a writer that was held up by a full pipe makes up for it.
        let due = begun.elapsed().as_millis() * u128::from(rate) / 1000 + 1;
        burst.clear();
        while u128::from(lines) < due && burst.len() < 4096 {
            lines += 1;
            writeln!(burst, "{lines}")?;
        }
        hash.update(&burst);
        out.write_all(&burst)?;
        out.flush()?;
        if u128::from(lines) >= due {
            std::thread::sleep(BURST);
        }
    }
    let written = Tally {
        lines,
        sha256: hex(&hash.finalize()),
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        broken: None,
    };
    std::fs::write(tally, serde_json::to_vec(&written)?)
}

/// Reads a container's lines by `skeg logs` and tallies them.
///
/// # Errors
/// `skeg` cannot be run, or fails.
pub fn read_back(container: &str) -> io::Result<Tally> {
    let mut command = Command::new("/usr/bin/skeg");
    command.args(["logs", container]).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let out = child.stdout.take();
    let out = out.ok_or_else(|| io::Error::other("no pipe from skeg"))?;
    let tally = count(BufReader::with_capacity(64 << 10, out))?;
    match child.wait()? {
        status if status.success() => Ok(tally),
        status => Err(io::Error::other(format!("skeg logs {container}: {status}"))),
    }
}

fn count(mut lines: impl BufRead) -> io::Result<Tally> {
    let mut hash = Sha256::new();
    let mut tally = Tally {
        lines: 0,
        sha256: String::new(),
        took_ms: 0,
        broken: None,
    };
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        hash.update(&line);
        tally.lines += 1;
        let wanted = tally.lines;
        let found = String::from_utf8_lossy(&line);
        if tally.broken.is_none() && *found != format!("{wanted}\n") {
            tally.broken = Some(format!("line {wanted} is {found:?}"));
        }
        line.clear();
    }
    tally.sha256 = hex(&hash.finalize());
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_doubled_and_a_torn_line_are_found() {
        let broken = |text: &[u8]| count(text).unwrap().broken;
        assert_eq!(broken(b"1\n2\n3\n"), None);
        for (text, line) in [("1\n3\n", 2), ("1\n2\n2\n", 3), ("1\n2", 2), ("12\n", 1)] {
            let said = broken(text.as_bytes()).unwrap();
            assert!(said.starts_with(&format!("line {line} ")), "{said}");
        }
        let tally = count(&b"1\n2\n"[..]).unwrap();
        assert_eq!(
            (tally.lines, &tally.sha256[..]),
            (2, &hex(&Sha256::digest("1\n2\n"))[..])
        );
    }
}
