//! The syntax of unit files (systemd.syntax(7)): sections, assignments, comments, continuation lines.
//!
//! It knows no key and no section; every entry remembers its line. It never fails as a whole: what
//! is wrong comes as problems beside the entries that were understood.

pub mod words;

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Section without brackets.
    pub section: String,
    /// Key, trimmed.
    pub key: String,
    /// Value, trimmed, continuation lines joined by a space.
    pub value: String,
    /// Line of the key, from 1.
    pub line: usize,
    /// The drop-in that it stands in; none for the unit's own file.
    pub file: Option<std::path::PathBuf>,
}

/// Something wrong at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What was expected and found.
    pub message: String,
    /// The drop-in that it stands in; none for the unit's own file.
    pub file: Option<std::path::PathBuf>,
}

impl Problem {
    /// One of the unit's own file.
    pub fn new(line: usize, message: impl Into<String>) -> Self {
        Self {
            line,
            message: message.into(),
            file: None,
        }
    }
}

/// Reads all assignments of `text`.
pub fn parse(text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let mut section: Option<String> = None;
    for (line, logical) in logical_lines(text) {
        if let Some(rest) = logical.strip_prefix('[') {
            match rest.strip_suffix(']') {
                Some(name) if !name.is_empty() && !name.contains(['[', ']']) => {
                    section = Some(name.to_string());
                }
                _ => {
                    // What follows belongs to a section that nobody can name: not to the one before.
                    section = None;
                    let text = format!("expected [Section], found '{logical}'");
                    problems.push(Problem::new(line, text));
                }
            }
            continue;
        }
        let Some((key, value)) = logical.split_once('=') else {
            let text = format!("expected Key=Value, found '{}'", shortened(&logical));
            problems.push(Problem::new(line, text));
            continue;
        };
        match &section {
            None => {
                let text = format!("'{}' stands before the first [Section]", key.trim());
                problems.push(Problem::new(line, text));
            }
            Some(section) => entries.push(Entry {
                section: section.clone(),
                key: key.trim().to_string(),
                value: value.trim().to_string(),
                line,
                file: None,
            }),
        }
    }
    (entries, problems)
}

/// Lines without comments and blanks, continuations joined; comments inside one are skipped.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let (start, mut joined) = match open.take() {
            Some((start, head)) => (start, head + " "),
            None if line.is_empty() => continue,
            None => (number + 1, String::new()),
        };
        match line.strip_suffix('\\') {
            Some(head) => {
                joined.push_str(head.trim_end());
                open = Some((start, joined));
            }
            None => {
                joined.push_str(line);
                lines.push((start, joined.trim_end().to_string()));
            }
        }
    }
    lines.extend(open);
    lines
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_keep_their_lines_through_comments_and_continuations() {
        let text = "# head\n[A]\n\nx = 1\n; no\ny=a \\\n# inside\n  b\\\n c\n[B]\nz=\n";
        let (entries, problems) = parse(text);
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (e.line, e.section.as_str(), e.key.as_str(), e.value.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (4, "A", "x", "1"),
                (6, "A", "y", "a b c"),
                (11, "B", "z", "")
            ]
        );
        assert_eq!(problems, []);
    }

    #[test]
    fn what_is_no_assignment_is_a_problem_with_its_line() {
        let (entries, problems) = parse("x=1\n[A\n[A]\nhello\n");
        assert_eq!(entries, []);
        let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 2, 4]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\PC|[\\[\\]=\\\\#;\\n \"'%])*") {
            parse(&text);
        }
    }
}
