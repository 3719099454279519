//! One machine, from power-on to what the probe in its container says.
//!
//! Both systems are asked the same way: through the kernel's log, on the serial console.

use super::subject::Subject;
use crate::artefacts::Test;
use crate::timeline::{self, Stage};
use crate::{Disk, Running};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// From power-on to a container, emulated, on a busy host.
pub const BOOT: Duration = Duration::from_secs(600);
/// Until both measures of memory are taken.
const SETTLED: Duration = Duration::from_secs(600);

/// How a machine's time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// One nanosecond an instruction.
    Counted,
    /// As on this machine, emulated.
    Plain,
}

/// What one boot gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The container's main process, on the kernel's clock, in microseconds.
    pub runs: u64,
    /// The kernel starts PID 1, on the same clock; of an initramfs if there is one.
    pub first: u64,
    /// systemd's own first line; 0 where there is none.
    pub systemd: u64,
    /// From QEMU's start to the probe's line, in milliseconds of this machine.
    pub wall_ms: u64,
    /// MemTotal − MemFree in KiB, half a minute later.
    pub idle: u64,
    /// The same after `drop_caches`.
    pub dropped: u64,
    /// PID 1's stages, where it tells them.
    pub stages: Vec<Stage>,
}

impl Trial {
    /// From PID 1 to the container, in microseconds.
    #[must_use]
    pub fn interval(&self) -> u64 {
        self.runs.saturating_sub(self.first)
    }

    /// From systemd's first line, or PID 1's start, to the container, in microseconds.
    #[must_use]
    pub fn without_initramfs(&self) -> u64 {
        let from = if self.systemd > 0 {
            self.systemd
        } else {
            self.first
        };
        self.runs.saturating_sub(from)
    }
}

/// Boots a copy of the subject's disk and listens to the probe.
///
/// # Errors
/// No container ran in time, or the guest's kernel broke.
pub fn run(test: &Test, subject: &Subject, clock: Clock, memory: u32) -> Result<Trial> {
    let disk = Disk::at(&subject.disk).copy(test)?;
    let started = Instant::now();
    let machine = start(test, subject, &disk, clock, memory)?;
    let console = machine.console();
    let times = console.wait("skeg-probe: times ", BOOT)?;
    let wall = started.elapsed();
    let idle = console.wait("skeg-probe: idle ", SETTLED)?;
    let dropped = console.wait("skeg-probe: dropped ", SETTLED)?;
    let stages = timeline::stages(&console.lines());
    let trial = Trial {
        runs: number(&times, "runs")?,
        first: number(&times, "first")?,
        systemd: number(&times, "systemd")?,
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        idle: used(&idle)?,
        dropped: used(&dropped)?,
        stages,
    };
    let _ = std::fs::remove_file(disk.path());
    if trial.first == 0 || trial.runs <= trial.first {
        bail!("the kernel's log does not say when PID 1 began: {times}");
    }
    Ok(trial)
}

/// Whether a machine of this size runs the container, and still does a few seconds later.
///
/// # Errors
/// It cannot be started at all.
pub fn fits(test: &Test, subject: &Subject, memory: u32) -> Result<bool> {
    let disk = Disk::at(&subject.disk).copy(test)?;
    let machine = start(test, subject, &disk, Clock::Plain, memory)?;
    let console = machine.console();
    let ran = console.wait("skeg-probe: times ", subject.patience).is_ok();
    let killed = |within| console.wait("Out of memory", within).is_ok();
    let fits = ran && !killed(Duration::from_secs(5)) && console.check_for_oops().is_ok();
    drop(machine);
    let _ = std::fs::remove_file(disk.path());
    Ok(fits)
}

fn start(
    test: &Test,
    subject: &Subject,
    disk: &Disk,
    clock: Clock,
    memory: u32,
) -> Result<Running> {
    let machine = test.boot(&subject.image).with_disk(disk).memory(memory);
    let machine = match clock {
        Clock::Counted => machine.counted().kernel_option("nokaslr"),
        Clock::Plain => machine.emulated(),
    };
    machine.start()
}

fn used(line: &str) -> Result<u64> {
    Ok(number(line, "total")?.saturating_sub(number(line, "free")?))
}

/// The number behind a word.
fn number(line: &str, word: &str) -> Result<u64> {
    let mut words = line.split_whitespace().skip_while(|w| *w != word).skip(1);
    let number = words.next().and_then(|text| text.parse().ok());
    number.with_context(|| format!("no number behind `{word}` in {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_words_are_read() {
        let line = "[    3.1] skeg-probe: times first 1450000 systemd 0 runs 3100000";
        assert_eq!(number(line, "first").unwrap(), 1_450_000);
        assert_eq!(number(line, "runs").unwrap(), 3_100_000);
        assert_eq!(used("x: idle total 100 free 30").unwrap(), 70);
        assert!(number(line, "last").is_err());
    }
}
