//! The boot timeline, read from PID 1's console lines: `skeg: [   1.450] init`.
//!
//! It knows no stage by name: what PID 1 stamps is shown.

use std::fmt::Write;

/// A stage and when it was reached, in seconds since the kernel started.
pub type Stage = (f64, String);

/// The stages among a console's lines, in their order.
#[must_use]
pub fn stages(lines: &[String]) -> Vec<Stage> {
    lines.iter().filter_map(|line| stage(line)).collect()
}

fn stage(line: &str) -> Option<Stage> {
    let rest = &line[line.find("skeg: [")? + "skeg: [".len()..];
    let (at, name) = rest.split_once("] ")?;
    let one_word = !name.is_empty() && !name.contains(' ');
    let at = at.trim().parse().ok()?;
    one_word.then(|| (at, name.to_owned()))
}

/// Draws the stages: when, how long since the one before, and a bar.
#[must_use]
pub fn draw(stages: &[Stage]) -> String {
    let end = stages.iter().fold(0.0_f64, |end, (at, _)| end.max(*at));
    let mut text = String::new();
    let mut before = 0.0;
    for (at, name) in stages {
        let _ = writeln!(
            text,
            "{at:8.3} s  +{:6.3}  {:40} {name}",
            at - before,
            bar(before, *at, end)
        );
        before = *at;
    }
    text
}

/// 40 columns: blank up to `from`, filled up to `to`.
fn bar(from: f64, to: f64, end: f64) -> String {
    let column = |at: f64| {
        let columns = if end > 0.0 { at / end * 40.0 } else { 0.0 };
        // In range: 0 ≤ at ≤ end.
        columns.round() as usize
    };
    let (from, to) = (column(from), column(to));
    " ".repeat(from) + &"━".repeat(to.saturating_sub(from).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_told_from_other_lines() {
        let lines = [
            "[    0.5] skeg: [ no",
            "skeg: [   1.450] init",
            "skeg: [   1.500] degraded: no watchdog",
            "\u{fffd}skeg: [   3.200] container:web",
        ]
        .map(str::to_owned);
        let found = stages(&lines);
        assert_eq!(
            found,
            [(1.45, "init".into()), (3.2, "container:web".into())]
        );
        assert!(draw(&found).ends_with(" container:web\n"));
    }
}
