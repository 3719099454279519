//! Tables and figures for people.
//!
//! Pure: the terminal's width is not asked, so that output is the same in a pipe.

/// Aligns columns; the last one is not padded.
pub fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            rows.iter()
                .filter_map(|r| r.get(c))
                .map(|t| t.chars().count())
                .max()
        })
        .map(|w| w.unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            let gap = width.saturating_sub(cell.chars().count()) + 2;
            line.extend(std::iter::repeat_n(' ', gap));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A row of a table.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// `12 seconds`, `3 minutes`, …: the largest unit only.
pub fn age(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..=59 => (seconds, "second"),
        60..=3599 => (seconds / 60, "minute"),
        3600..=86_399 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// `1.2 MB` in decimal units, as docker shows image sizes.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// The first 12 digits of an id, without `sha256:`.
pub fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

/// A text that fits `width` characters.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_string();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let rows = [
            row(["NAME", "STATE"]),
            row(["a", "up"]),
            row(["längst", ""]),
        ];
        assert_eq!(render(&rows), "NAME    STATE\na       up\nlängst\n");
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(age(1), "1 second");
        assert_eq!(age(7300), "2 hours");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_234_000), "1.23 MB");
        assert_eq!(size(45_600_000), "45.6 MB");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    }
}
