//! `bench boot`: from PID 1 to a container's main process, memory, the smallest machine, bytes.
//!
//! Every measure is kept, so that a second call only measures what has changed.

use super::chart;
use super::kept::or_measure;
use super::smallest::smallest;
use super::subject::{self, Subject};
use super::table::{Row, Table};
use super::trial::{self, Clock, Trial};
use crate::artefacts::Test;
use crate::fixtures::probe;
use crate::image::workspace;
use crate::narrate::step;
use anyhow::{Context, Result};
use std::path::Path;

/// Memory of the compared machines in MiB.
const MEMORY: u32 = 1024;
/// Runs by counted instructions; they shall agree.
const COUNTED: u32 = 2;
/// Runs by the clock on the wall, which differ.
const PLAIN: u32 = 3;
const MIB: f64 = 1024.0 * 1024.0;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Whole,
    /// Without the search for the smallest machine, and one run of each kind.
    Quick,
}

/// Measures both, prints the table, and writes it, as JSON and as a picture.
///
/// # Errors
/// A part is missing, or a system does not run its container.
pub fn run(program: &Path, extent: Extent) -> Result<()> {
    let test = Test::named("bench-boot")?;
    let probe = probe::image(program)?;
    let _registry = step("start a registry and push the probe", || {
        subject::registry(&probe)
    })?;
    let peer = subject::peer(&test, &probe)?;
    let skeg = subject::skeg(&test, &probe)?;
    let both = [&skeg, &peer];
    let mut table = Table::new(peer.name)?;
    let counted = runs(&test, both, Clock::Counted, extent)?;
    times(&mut table, &counted);
    let plain = runs(&test, both, Clock::Plain, extent)?;
    let walls = plain
        .each_ref()
        .map(|runs| values(runs, |t| seconds(t.wall_ms * 1000)));
    table.rows.push(Row::of_runs(
        "power-on → container, as felt",
        "s",
        [&walls[0], &walls[1]],
        None,
    ));
    memory(&mut table, &counted);
    if extent == Extent::Whole {
        machines(&mut table, &test, both)?;
    }
    let bytes = both.map(|subject| bytes_in_mib(subject.bytes));
    table
        .rows
        .push(Row::new("bytes on disk", "MiB", bytes, None));
    println!("\n{}", table.text());
    publish(&table, &counted[0][0])?;
    test.passed();
    Ok(())
}

/// Skeg's runs and the peer's, in turn.
fn runs(test: &Test, both: [&Subject; 2], clock: Clock, extent: Extent) -> Result<[Vec<Trial>; 2]> {
    let (name, wanted) = match clock {
        Clock::Counted => ("counted", COUNTED),
        Clock::Plain => ("plain", PLAIN),
    };
    let wanted = if extent == Extent::Quick { 1 } else { wanted };
    let mut runs = [Vec::new(), Vec::new()];
    for number in 1..=wanted {
        for (subject, runs) in both.into_iter().zip(&mut runs) {
            let what = format!("{name} run {number}");
            let trial = || trial::run(test, subject, clock, MEMORY);
            runs.push(or_measure(subject, &what, trial)?);
        }
    }
    Ok(runs)
}

fn times(table: &mut Table, runs: &[Vec<Trial>; 2]) {
    let mut row = |what, goal, interval: fn(&Trial) -> u64| {
        let both = runs
            .each_ref()
            .map(|runs| values(runs, |t| seconds(interval(t))));
        table
            .rows
            .push(Row::of_runs(what, "s", [&both[0], &both[1]], goal));
    };
    row("PID 1 → container", Some(0.10), Trial::interval);
    row(
        "the same, the peer without its initramfs",
        None,
        Trial::without_initramfs,
    );
}

fn memory(table: &mut Table, runs: &[Vec<Trial>; 2]) {
    let mut row = |what, goal, kib: fn(&Trial) -> u64| {
        let both = runs
            .each_ref()
            .map(|runs| values(runs, |t| bytes_in_mib(kib(t) * 1024)));
        table
            .rows
            .push(Row::of_runs(what, "MiB", [&both[0], &both[1]], Some(goal)));
    };
    row("memory at idle", 0.42, |t| t.idle);
    row("memory after drop_caches", 0.76, |t| t.dropped);
}

fn machines(table: &mut Table, test: &Test, both: [&Subject; 2]) -> Result<()> {
    let mut found = [f64::NAN; 2];
    for (subject, found) in both.into_iter().zip(&mut found) {
        let least = or_measure(subject, "smallest machine", || {
            smallest(64, 448, 8, |memory| {
                let fits = trial::fits(test, subject, memory)?;
                println!("  {memory} MiB: {}", if fits { "runs" } else { "does not" });
                Ok::<_, anyhow::Error>(fits)
            })
        })?;
        *found = least.map_or(f64::NAN, f64::from);
    }
    table
        .rows
        .push(Row::new("smallest machine", "MiB", found, None));
    Ok(())
}

fn publish(table: &Table, skeg: &Trial) -> Result<()> {
    let json = subject::folder().join("boot.json");
    table.write(&json)?;
    let svg = workspace().join("docs/bench-boot.svg");
    std::fs::write(&svg, chart::draw(table, &skeg.stages))
        .with_context(|| format!("write {}", svg.display()))?;
    println!(
        "Skeg's boot, counted:\n\n{}",
        crate::timeline::draw(&skeg.stages)
    );
    println!("figures  {}\npicture  {}", json.display(), svg.display());
    Ok(())
}

fn values(runs: &[Trial], value: impl Fn(&Trial) -> f64) -> Vec<f64> {
    runs.iter().map(value).collect()
}

/// Microseconds → seconds. Exact: no boot takes 2⁵³ µs.
#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn bytes_in_mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
