//! What goes wrong on the command line of the OCI runtime.
//!
//! Callers match on some of the texts; those are marked here and must not change.

use std::io;
use std::path::Path;

use crate::container::cgroup;
use crate::container::failure::Failure;

/// One error, told once at the end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// podman and containerd look for "does not exist".
    #[error("container `{0}` does not exist: no such file or directory")]
    Missing(String),
    /// containerd and others look for "already exists".
    #[error("container with id `{0}` already exists")]
    Exists(String),
    /// containerd looks for "container not running".
    #[error("container not running: `{id}` is {status}")]
    NotRunning { id: String, status: String },
    /// The file or what was asked of it.
    #[error("{what} `{path}`: {source}")]
    File {
        what: &'static str,
        path: String,
        source: io::Error,
    },
    /// The configuration asks for something that cannot be.
    #[error("{0}")]
    Spec(String),
    #[error("{0}")]
    Cgroup(#[from] cgroup::Error),
    /// Docker and the CRI look for "executable file not found in $PATH" to tell 127 from others.
    #[error("{}", told(.0))]
    Step(Failure),
    #[error("{0}")]
    Other(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Step(failure)
    }
}

impl Error {
    pub(super) fn file(what: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File {
            what,
            path: path.display().to_string(),
            source: source.into(),
        }
    }

    pub(super) fn io(what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Other(format!("{what}: {}", source.into()))
    }

    /// crun and runc exit with 1, whatever it was.
    pub(super) fn code(&self) -> u8 {
        1
    }
}

/// The text that crun and runc have for a program that is not there.
fn told(failure: &Failure) -> String {
    let name = &failure.path;
    match (failure.operation.as_str(), failure.errno) {
        ("execve", 2) if !name.contains('/') => {
            format!("executable file `{name}` not found in $PATH: No such file or directory")
        }
        ("execve", 2) => format!("executable file `{name}` not found: No such file or directory"),
        ("execve", 13) => format!("open executable: `{name}`: Permission denied"),
        _ => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_callers_match_on_are_there() {
        let missing = Error::Missing("web".into()).to_string();
        assert!(missing.contains("does not exist"), "{missing}");
        let stopped = Error::NotRunning {
            id: "web".into(),
            status: "stopped".into(),
        };
        assert!(stopped.to_string().starts_with("container not running"));
        let failure = Failure {
            errno: 2,
            ..Failure::refused("execve", "serve", "not found in PATH=/bin")
        };
        let text = Error::from(failure).to_string();
        assert!(
            text.contains("executable file `serve` not found in $PATH"),
            "{text}"
        );
    }
}
