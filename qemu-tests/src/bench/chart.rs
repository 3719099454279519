//! Draws a benchmark as SVG: each row as two bars, and the timeline of Skeg's boot.
//!
//! A bar's length is its share of the row's longest: rows have units of their own.

use super::table::Table;
use crate::timeline::Stage;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 300.0;
const LENGTH: f64 = 500.0;
const HEAD: f64 = 76.0;
const ROW: f64 = 50.0;
const STAGE: f64 = 22.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#24323f}.t{font-size:19px;\
    font-weight:600}.s{fill:#6b7a88;font-size:12px}.v{font-variant-numeric:tabular-nums}";
const SKEG: &str = "#2f6fb5";
const PEER: &str = "#b9c3cc";

/// The whole picture.
#[must_use]
pub fn draw(table: &Table, stages: &[Stage]) -> String {
    let bars = HEAD + ROW * count(table.rows.len());
    let height = bars + 66.0 + STAGE * count(stages.len()) + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"boot benchmark\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#fcfdfe\"/>\n\
         <text class=\"t\" x=\"24\" y=\"36\">Skeg and {}</text>\n\
         <text class=\"s\" x=\"24\" y=\"56\">{}; {}</text>\n",
        plain(&table.peer_name),
        plain(&table.machine),
        plain(&table.date),
    );
    for (number, row) in table.rows.iter().enumerate() {
        let top = HEAD + ROW * count(number);
        let name = format!("{}, {}", row.what, row.unit);
        text(&mut svg, "", [LEFT - 14.0, top + 22.0], "end", &name);
        let longest = row.skeg.max(row.peer);
        let ratio = format!("{:.1} % of the peer's", row.ratio * 100.0);
        bar(
            &mut svg,
            top + 6.0,
            row.skeg / longest,
            SKEG,
            &figure(row.skeg),
            &ratio,
        );
        bar(
            &mut svg,
            top + 23.0,
            row.peer / longest,
            PEER,
            &figure(row.peer),
            "",
        );
    }
    timeline(&mut svg, bars, stages);
    svg + "</svg>\n"
}

fn timeline(svg: &mut String, top: f64, stages: &[Stage]) {
    text(svg, "t", [24.0, top + 30.0], "start", "Skeg's boot");
    let note = "seconds since the kernel's start, one nanosecond an instruction; each bar is what the boot waited for";
    text(svg, "s", [24.0, top + 50.0], "start", note);
    let end = stages.iter().fold(0.0_f64, |end, (at, _)| end.max(*at));
    let x = |at: f64| LEFT + at / end * LENGTH;
    let mut before = 0.0;
    for (number, (at, name)) in stages.iter().enumerate() {
        let y = top + 62.0 + STAGE * count(number);
        text(svg, "", [LEFT - 14.0, y + 13.0], "end", name);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"14\" rx=\"3\" fill=\"{SKEG}\"/>",
            x(before),
            (x(*at) - x(before)).max(2.0)
        );
        let figure = format!("{at:.3}  +{:.3}", at - before);
        text(svg, "s v", [x(*at) + 8.0, y + 12.0], "start", &figure);
        before = *at;
    }
}

fn bar(svg: &mut String, y: f64, share: f64, colour: &str, value: &str, note: &str) {
    let width = (share * LENGTH).max(2.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"14\" rx=\"3\" fill=\"{colour}\"/>"
    );
    let words = format!("{value}  {note}");
    text(
        svg,
        "s v",
        [LEFT + width + 8.0, y + 12.0],
        "start",
        words.trim(),
    );
}

fn text(svg: &mut String, class: &str, [x, y]: [f64; 2], anchor: &str, words: &str) {
    let words = plain(words);
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

fn figure(value: f64) -> String {
    match value {
        v if v < 100.0 => format!("{v:.2}"),
        v => format!("{v:.0}"),
    }
}

fn plain(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::table::Row;

    #[test]
    fn every_row_and_every_stage_is_drawn() {
        let table = Table {
            machine: "m".into(),
            commit: "c".into(),
            date: "d".into(),
            peer_name: "a & b".into(),
            rows: vec![Row::new("memory", "MiB", [40.0, 120.0], None)],
        };
        let svg = draw(&table, &[(1.5, "init".into()), (3.0, "unit:probe".into())]);
        assert!(
            svg.contains("a &amp; b") && svg.contains("33.3 % of the peer's"),
            "{svg}"
        );
        assert!(
            svg.contains(">init<") && svg.contains("3.000  +1.500"),
            "{svg}"
        );
    }
}
