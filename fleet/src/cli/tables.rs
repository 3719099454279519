//! Lists as tables, as fleetctl printed them: a header, columns apart by tabs' width.
//!
//! `--output json` prints what the API said, unchanged.

use serde_json::Value;

/// Prints a table.
pub(super) fn print(header: &[&str], rows: &[Vec<String>], legend: bool) {
    let mut widths: Vec<usize> = header
        .iter()
        .map(|cell| if legend { cell.len() } else { 0 })
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let pad = |(cell, width): (&String, &usize)| format!("{cell:<width$}");
        let cells: Vec<String> = cells.iter().zip(&widths).map(pad).collect();
        println!("{}", cells.join("  ").trim_end());
    };
    if legend {
        line(
            &header
                .iter()
                .map(|&cell| cell.to_owned())
                .collect::<Vec<_>>(),
        );
    }
    rows.iter().for_each(|row| line(row));
}

/// A field as text; `-` for none.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A machine's id, shortened as fleetctl did.
pub(super) fn short(value: &Value) -> String {
    let text = cell(value);
    if text.len() > 8 {
        format!("{}...", &text[..8])
    } else {
        text
    }
}

/// `a=1,b=2`, or `-`.
pub(super) fn pairs(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{key}={}", cell(value)))
        .collect();
    if pairs.is_empty() {
        "-".to_owned()
    } else {
        pairs.join(",")
    }
}
