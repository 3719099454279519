//! `skeg boot`: the boot timeline as text bars or SVG.
//!
//! Drawing is pure: a timeline in, text out. Each bar reaches from the stage before to its own
//! moment: what the boot waited for.

use formats::boot::{FORMAT, Stage, Timeline};

use super::args::Boot;
use super::error::CliError;
use super::table::cut;

/// Characters of the longest bar in text.
const TEXT_WIDTH: usize = 50;

pub fn show(options: &Boot) -> Result<u8, CliError> {
    let fail = |message| CliError { message, code: 1 };
    let path = options.from.display();
    let text = std::fs::read_to_string(&options.from)
        .map_err(|e| fail(format!("read the boot timeline {path}: {e}")))?;
    let timeline: Timeline = serde_json::from_slice(text.as_bytes())
        .map_err(|e| fail(format!("read the boot timeline {path}: {e}")))?;
    if timeline.format != FORMAT {
        let found = timeline.format;
        return Err(fail(format!(
            "{path}: expected format {FORMAT}, found {found}"
        )));
    }
    match &options.svg {
        None if options.json => println!("{}", text.trim_end()),
        None => print!("{}", bars(&timeline.stages)),
        Some(file) if file.as_os_str() == "-" => print!("{}", svg(&timeline.stages)),
        Some(file) => {
            let drawn = svg(&timeline.stages);
            std::fs::write(file, drawn)
                .map_err(|e| fail(format!("write {}: {e}", file.display())))?;
        }
    }
    Ok(0)
}

/// One line a stage: its moment, the time since the one before, its name, a bar.
pub fn bars(stages: &[Stage]) -> String {
    let end = end_of(stages);
    let names = stages.iter().map(|s| s.name.chars().count()).max();
    let width = names.unwrap_or(0);
    let mut out = String::new();
    let mut before = 0;
    for stage in stages {
        let gap = stage.at_us.saturating_sub(before);
        let start = scaled(before, end, TEXT_WIDTH);
        let length = scaled(stage.at_us, end, TEXT_WIDTH)
            .saturating_sub(start)
            .max(1);
        out.push_str(&format!(
            "{:>9.3} s {:>+8.3}  {:<width$}  {}{}\n",
            seconds(stage.at_us),
            seconds(gap),
            stage.name,
            " ".repeat(start),
            "█".repeat(length)
        ));
        before = stage.at_us;
    }
    out
}

fn end_of(stages: &[Stage]) -> u64 {
    stages.iter().map(|s| s.at_us).max().unwrap_or(0).max(1)
}

fn scaled(at: u64, end: u64, width: usize) -> usize {
    (at as f64 / end as f64 * width as f64) as usize
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

const ROW: usize = 26;
const LEFT: usize = 190;
const PLOT: usize = 680;
const TOP: usize = 74;

/// A picture that stands by itself: no script, no font but the viewer's.
pub fn svg(stages: &[Stage]) -> String {
    let end = end_of(stages);
    let bottom = TOP + stages.len() * ROW;
    let (width, height) = (LEFT + PLOT + 90, bottom + 56);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"boot timeline\">\n\
         <style>text{{font:13px system-ui,sans-serif;fill:#24323f}}.t{{font-size:19px;font-weight:600}}.s{{fill:#6b7a88;font-size:12px}}.v{{font-variant-numeric:tabular-nums}}line{{stroke:#e3e8ec}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#fcfdfe\"/>\n\
         <text class=\"t\" x=\"24\" y=\"36\">Boot to {} in {:.2} s</text>\n\
         <text class=\"s\" x=\"24\" y=\"55\">each bar: what the boot waited for, up to the moment the stage was reached</text>\n",
        escape(stages.last().map_or("nothing", |s| &s.name)),
        seconds(end)
    );
    grid(&mut out, end, bottom);
    let mut before = 0;
    for (i, stage) in stages.iter().enumerate() {
        bar(&mut out, i, stage, before, end);
        before = stage.at_us;
    }
    legend(&mut out, stages, bottom + 40);
    out.push_str("</svg>\n");
    out
}

fn grid(out: &mut String, end: u64, bottom: usize) {
    let step = tick(end);
    let mut at = 0;
    while at <= end {
        let x = LEFT + scaled(at, end, PLOT);
        out.push_str(&format!(
            "<line x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/><text class=\"s v\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{} s</text>\n",
            TOP - 4,
            bottom + 16,
            seconds(at)
        ));
        at = match at.checked_add(step) {
            Some(next) => next,
            None => break,
        };
    }
}

/// The finest of 1, 2, 5 × 10ⁿ microseconds that gives at most eight lines.
fn tick(end: u64) -> u64 {
    let mut power = 1000_u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if end / step <= 8 {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn bar(out: &mut String, row: usize, stage: &Stage, before: u64, end: u64) {
    let y = TOP + row * ROW;
    let x = LEFT + scaled(before, end, PLOT);
    let width = (LEFT + scaled(stage.at_us, end, PLOT))
        .saturating_sub(x)
        .max(3);
    let name = escape(&stage.name);
    out.push_str(&format!(
        "<g><title>{name}: {:.3} s, {:+.3} s</title>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"16\" rx=\"3\" fill=\"{}\"/>\
         <text class=\"s v\" x=\"{}\" y=\"{}\">{:.3}</text></g>\n",
        seconds(stage.at_us),
        seconds(stage.at_us.saturating_sub(before)),
        LEFT - 12,
        y + 16,
        escape(&cut(&stage.name, 25)),
        y + 3,
        kind(&stage.name).1,
        x + width + 7,
        y + 16,
        seconds(stage.at_us)
    ));
}

/// What a stage belongs to, and its colour.
fn kind(name: &str) -> (&'static str, &'static str) {
    match name.split(':').next() {
        Some("service") => ("service", "#5b7fb9"),
        Some("image") => ("image", "#d9a441"),
        Some("container") => ("container", "#3f9e6d"),
        Some("unit") => ("unit", "#8a63b0"),
        _ => ("system", "#7d8b99"),
    }
}

fn legend(out: &mut String, stages: &[Stage], y: usize) {
    let mut seen = Vec::new();
    for stage in stages {
        let kind = kind(&stage.name);
        if !seen.contains(&kind) {
            seen.push(kind);
        }
    }
    for (i, (name, colour)) in seen.iter().enumerate() {
        let x = LEFT + i * 110;
        out.push_str(&format!(
            "<rect x=\"{x}\" y=\"{}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{colour}\"/><text class=\"s\" x=\"{}\" y=\"{y}\">{name}</text>\n",
            y - 10,
            x + 17
        ));
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages() -> Vec<Stage> {
        let stage = |name: &str, at_us| Stage {
            name: name.into(),
            at_us,
        };
        vec![
            stage("init", 1_000_000),
            stage("service:engine", 1_500_000),
            stage("container:web", 2_000_000),
        ]
    }

    #[test]
    fn bars_begin_where_the_stage_before_ended() {
        let drawn = bars(&stages());
        let full = "█".repeat(25);
        let half = "█".repeat(12);
        let expected = format!(
            "    1.000 s   +1.000  init            {full}\n    \
             1.500 s   +0.500  service:engine  {}{half}\n    \
             2.000 s   +0.500  container:web   {}{half}█\n",
            " ".repeat(25),
            " ".repeat(37)
        );
        assert_eq!(drawn, expected);
    }

    #[test]
    fn the_picture_is_the_one_that_was_agreed() {
        let drawn = svg(&stages());
        assert!(drawn.contains(">Boot to container:web in 2.00 s</text>"));
        assert!(drawn.contains(
            "<rect x=\"530\" y=\"103\" width=\"170\" height=\"16\" rx=\"3\" fill=\"#5b7fb9\"/>"
        ));
        assert_eq!(drawn.matches("<g>").count(), 3);
        assert_eq!(drawn.matches("<line").count(), 5, "{drawn}");
    }

    #[test]
    fn an_empty_or_hostile_timeline_still_draws() {
        assert_eq!(bars(&[]), "");
        assert!(svg(&[]).ends_with("</svg>\n"));
        let odd = [Stage {
            name: "<script>&".into(),
            at_us: u64::MAX,
        }];
        assert!(svg(&odd).contains("&lt;script&gt;&amp;"));
        bars(&odd);
    }
}
