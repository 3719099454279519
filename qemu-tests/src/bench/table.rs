//! A benchmark's rows: as a table for a person, and as JSON.
//!
//! Ratios are Skeg's value by the peer's; a row that does not hold stays in.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// One thing that was measured on both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What.
    pub what: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Skeg's value.
    pub skeg: f64,
    /// The peer's value.
    pub peer: f64,
    /// Largest difference between runs, by the median, in percent: Skeg's and the peer's.
    pub spread: Option<[f64; 2]>,
    /// Skeg's value by the peer's.
    pub ratio: f64,
    /// What the ratio shall be at most.
    pub goal: Option<f64>,
    /// Whether it is.
    pub holds: Option<bool>,
}

impl Row {
    /// A row with the largest ratio that is good enough, if there is one.
    #[must_use]
    pub fn new(what: &'static str, unit: &'static str, both: [f64; 2], goal: Option<f64>) -> Self {
        let [skeg, peer] = both;
        let ratio = skeg / peer;
        Self {
            what,
            unit,
            skeg,
            peer,
            spread: None,
            ratio,
            goal,
            holds: goal.map(|goal| ratio <= goal),
        }
    }

    /// The same, of several runs of both: medians and spreads.
    #[must_use]
    pub fn of_runs(
        what: &'static str,
        unit: &'static str,
        runs: [&[f64]; 2],
        goal: Option<f64>,
    ) -> Self {
        Self {
            // One run says nothing of how runs differ.
            spread: runs.iter().all(|r| r.len() > 1).then(|| runs.map(spread)),
            ..Self::new(what, unit, runs.map(median), goal)
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (most - least) / median(values) * 100.0
}

/// All rows, and where they were measured.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The emulator; every machine is emulated, so the host's processor matters little.
    pub machine: String,
    /// The commit that was measured.
    pub commit: String,
    /// The day.
    pub date: String,
    /// Whom Skeg is compared with.
    pub peer_name: String,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// An empty table of today.
    ///
    /// # Errors
    /// QEMU cannot be run.
    pub fn new(peer_name: &str) -> Result<Self> {
        let version = super::subject::qemu_version()?;
        Ok(Self {
            machine: format!("QEMU {version}, q35, qemu64, 1 processor, 1 GiB, TCG"),
            commit: said("git", &["rev-parse", "--short", "HEAD"]),
            date: said("date", &["-u", "+%F"]),
            peer_name: peer_name.to_owned(),
            rows: Vec::new(),
        })
    }

    /// The table as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:44} {:>9} {:>9} {:>6} {:>7}\n",
            "", "Skeg", "peer", "ratio", "goal"
        );
        for row in &self.rows {
            let goal = row
                .goal
                .map_or(String::new(), |goal| format!("≤ {goal:.2}"));
            let mark = match row.holds {
                Some(true) => " ✓",
                Some(false) => " ✗",
                None => "",
            };
            let what = format!("{}, {}", row.what, row.unit);
            let digits = usize::from(row.skeg < 100.0) * 2;
            let _ = write!(
                text,
                "{what:44} {:9.digits$} {:9.digits$} {:6.3} {goal:>7}{mark}",
                row.skeg, row.peer, row.ratio
            );
            if let Some([skeg, peer]) = row.spread {
                let _ = write!(text, "  (runs differ by {skeg:.2} % and {peer:.2} %)");
            }
            text.push('\n');
        }
        let _ = writeln!(text, "peer: {}; {}", self.peer_name, self.machine);
        text
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write a table")?;
        std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(crate::image::workspace());
    let output = command.output().map(|output| output.stdout);
    let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_does_not_hold_says_so_and_stays() {
        let table = Table {
            machine: "m".into(),
            commit: "c".into(),
            date: "d".into(),
            peer_name: "p".into(),
            rows: vec![
                Row::new("a", "s", [1.0, 20.0], Some(0.1)),
                Row::of_runs("b", "s", [&[3.0, 1.0, 2.0], &[10.0, 10.0]], Some(0.1)),
            ],
        };
        let text = table.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("0.050") && lines[1].contains('✓'),
            "{text}"
        );
        assert!(
            lines[2].contains("0.200") && lines[2].contains('✗'),
            "{text}"
        );
        assert!(lines[2].contains("differ by 100.00 % and 0.00 %"), "{text}");
    }
}
