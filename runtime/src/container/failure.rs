//! What failed in a container's set-up: which operation, on which path, with which error.
//!
//! It crosses the status pipe as JSON, so it holds text and numbers only.

use std::io;
use std::path::Path;

/// One failed step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{operation}{}{path}: {reason}", if path.is_empty() { "" } else { " " })]
pub struct Failure {
    /// The kernel operation or the plan's step, e.g. `move_mount`.
    pub operation: String,
    /// The path or name that it was about, else empty.
    pub path: String,
    /// `errno`, 0 when the kernel was not the one to refuse.
    pub errno: i32,
    /// The error in words.
    pub reason: String,
}

impl Failure {
    /// The kernel refused.
    pub fn kernel(operation: &str, path: impl AsRef<Path>, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let errno = error.raw_os_error().unwrap_or(0);
        let text = error.to_string();
        let reason = text
            .strip_suffix(&format!(" (os error {errno})"))
            .unwrap_or(&text);
        Self {
            operation: operation.into(),
            path: path.as_ref().display().to_string(),
            errno,
            reason: lower_first(reason),
        }
    }

    /// We refused, for this reason.
    pub fn refused(operation: &str, path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            path: path.as_ref().display().to_string(),
            errno: 0,
            reason: reason.into(),
        }
    }
}

/// Says what was done when the kernel refuses.
pub(crate) trait Doing<T> {
    /// Names the operation and its path.
    fn doing(self, operation: &str, path: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, operation: &str, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| Failure::kernel(operation, path, error))
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_operation_path_and_reason() {
        let missing = io::Error::from_raw_os_error(2);
        let failure = Failure::kernel("open_tree", "/srv/data", missing);
        assert_eq!(
            failure.to_string(),
            "open_tree /srv/data: no such file or directory"
        );
        assert_eq!(failure.errno, 2);
        let refused = Failure::refused("setsid", "", "not a leader");
        assert_eq!(refused.to_string(), "setsid: not a leader");
    }
}
