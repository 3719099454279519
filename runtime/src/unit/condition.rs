//! Conditions and assertions of units: `ConditionPathExists=` and its like.
//!
//! Reading them is pure; whether one holds is asked of the host when a unit starts.

use std::path::{Path, PathBuf};

use crate::engine::values;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is asked.
    pub test: Test,
    /// Of this.
    pub path: PathBuf,
    /// It must not hold (`!`).
    pub negated: bool,
    /// Of those with `|`, one is enough.
    pub any: bool,
    /// `Assert…=`: what does not hold is a failure.
    pub assert: bool,
}

/// What is asked of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// It is there.
    Exists,
    /// It is a folder.
    IsFolder,
    /// It is a file with something in it.
    FileNotEmpty,
    /// It is a folder with something in it.
    FolderNotEmpty,
}

/// What comes of all conditions of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is started.
    Start,
    /// It is left alone, which is no failure.
    Skip,
    /// It is not started, which is one.
    Fail,
}

impl Condition {
    /// Reads one line; `None` for a key that is none of these.
    ///
    /// # Errors
    /// When the path is not absolute.
    pub fn parse(key: &str, value: &str) -> Result<Option<Self>, String> {
        let (assert, test) = match key {
            "ConditionPathExists" => (false, Test::Exists),
            "AssertPathExists" => (true, Test::Exists),
            "ConditionPathIsDirectory" => (false, Test::IsFolder),
            "ConditionFileNotEmpty" => (false, Test::FileNotEmpty),
            "ConditionDirectoryNotEmpty" => (false, Test::FolderNotEmpty),
            _ => return Ok(None),
        };
        let (any, rest) = cut(value, '|');
        let (negated, path) = cut(rest, '!');
        Ok(Some(Self {
            test,
            path: values::absolute(path)?,
            negated,
            any,
            assert,
        }))
    }
}

fn cut(text: &str, mark: char) -> (bool, &str) {
    match text.strip_prefix(mark) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    }
}

/// Judges all of them by what `holds` says of a path.
pub fn judge(conditions: &[Condition], holds: impl Fn(Test, &Path) -> bool) -> Verdict {
    let met = |c: &&Condition| holds(c.test, &c.path) != c.negated;
    let kind = |assert: bool| {
        let own = || conditions.iter().filter(move |c| c.assert == assert);
        let all = own().filter(|c| !c.any).all(|c| met(&c));
        let mut some = own().filter(|c| c.any).peekable();
        all && (some.peek().is_none() || some.any(|c| met(&c)))
    };
    match (kind(false), kind(true)) {
        (false, _) => Verdict::Skip,
        (true, false) => Verdict::Fail,
        (true, true) => Verdict::Start,
    }
}

/// Asks the host.
pub fn holds(test: Test, path: &Path) -> bool {
    match test {
        Test::Exists => path.exists(),
        Test::IsFolder => path.is_dir(),
        Test::FileNotEmpty => path.metadata().is_ok_and(|m| m.is_file() && m.len() > 0),
        Test::FolderNotEmpty => {
            std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[(&str, &str)]) -> Verdict {
        let read = |(key, value): &(&str, &str)| Condition::parse(key, value).unwrap().unwrap();
        let conditions: Vec<_> = lines.iter().map(read).collect();
        judge(&conditions, |_, path| path == Path::new("/there"))
    }

    #[test]
    fn all_have_to_hold_and_of_those_with_a_bar_one() {
        let path = "ConditionPathExists";
        assert_eq!(verdict(&[]), Verdict::Start);
        assert_eq!(verdict(&[(path, "/there")]), Verdict::Start);
        assert_eq!(verdict(&[(path, "/gone")]), Verdict::Skip);
        assert_eq!(verdict(&[(path, "!/gone")]), Verdict::Start);
        assert_eq!(verdict(&[(path, "/there"), (path, "/gone")]), Verdict::Skip);
        assert_eq!(
            verdict(&[(path, "|/there"), (path, "|/gone")]),
            Verdict::Start
        );
        assert_eq!(
            verdict(&[(path, "|/gone"), (path, "|!/there")]),
            Verdict::Skip
        );
    }

    #[test]
    fn an_assertion_that_does_not_hold_is_a_failure() {
        let assert = "AssertPathExists";
        assert_eq!(verdict(&[(assert, "/gone")]), Verdict::Fail);
        let both = [("ConditionPathExists", "/gone"), (assert, "/gone")];
        assert_eq!(verdict(&both), Verdict::Skip, "conditions come first");
        assert!(Condition::parse(assert, "relative").is_err());
    }

    #[test]
    fn the_host_is_asked_as_the_key_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(!holds(Test::FolderNotEmpty, folder.path()));
        std::fs::write(&file, "").unwrap();
        assert!(holds(Test::FolderNotEmpty, folder.path()) && holds(Test::Exists, &file));
        assert!(!holds(Test::FileNotEmpty, &file) && !holds(Test::IsFolder, &file));
        std::fs::write(&file, "x").unwrap();
        assert!(holds(Test::FileNotEmpty, &file));
    }
}
