//! Between a unit file's text and fleet v1's list of options.
//!
//! A value that would become something else in a file is refused: nobody adds a section by a line end.

use formats::unit_file;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One assignment, as v1 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitOption {
    section: String,
    name: String,
    value: String,
}

/// The options of a text.
pub(super) fn of_text(text: &str) -> Vec<UnitOption> {
    let (entries, _) = unit_file::parse(text);
    let option = |entry: unit_file::Entry| UnitOption {
        section: entry.section,
        name: entry.key,
        value: entry.value,
    };
    entries.into_iter().map(option).collect()
}

/// The text of options.
///
/// # Errors
/// Which of them cannot stand in a unit file.
pub(super) fn to_text(options: &[UnitOption]) -> Result<String, String> {
    let mut text = String::new();
    let mut section = None;
    for option in options {
        if section != Some(&option.section) {
            let blank = if section.is_some() { "\n" } else { "" };
            let _ = writeln!(text, "{blank}[{}]", option.section);
            section = Some(&option.section);
        }
        let _ = writeln!(text, "{}={}", option.name, option.value);
    }
    let nameless = options.iter().any(|option| option.name.is_empty());
    if !nameless && of_text(&text) == options {
        return Ok(text);
    }
    let alone = |option: &&UnitOption| {
        let text = format!("[{}]\n{}={}\n", option.section, option.name, option.value);
        of_text(&text) != std::slice::from_ref(*option)
    };
    let wrong = options.iter().find(alone);
    let wrong = wrong.map_or_else(String::new, |option| {
        format!(": {}", option.name.escape_debug())
    });
    Err(format!(
        "expected options that a unit file can hold (no line ends, no spaces around), found another{wrong}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(section: &str, name: &str, value: &str) -> UnitOption {
        UnitOption {
            section: section.into(),
            name: name.into(),
            value: value.into(),
        }
    }

    #[test]
    fn options_become_a_file_and_come_back() {
        let options = [
            option("Service", "ExecStart", "/bin/a b"),
            option("Service", "Restart", "always"),
            option("X-Fleet", "Global", "true"),
        ];
        let text = to_text(&options).unwrap();
        assert_eq!(
            text,
            "[Service]\nExecStart=/bin/a b\nRestart=always\n\n[X-Fleet]\nGlobal=true\n"
        );
        assert_eq!(of_text(&text), options);
    }

    #[test]
    fn no_value_smuggles_in_a_line() {
        for (name, value) in [
            ("A", "x\nExecStart=/bin/evil"),
            ("A", "x\\"),
            ("#A", "x"),
            ("A\nB", "x"),
            ("", ""),
        ] {
            assert!(
                to_text(&[option("Service", name, value)]).is_err(),
                "{name:?} {value:?}"
            );
        }
        assert!(to_text(&[option("Service]\n[X-Fleet", "A", "x")]).is_err());
    }
}
