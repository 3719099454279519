//! What the engine answers when it does not do what was asked.

use super::api::ErrorBody;
use crate::zygote;

/// An error, with what a client makes of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// One line, the whole chain.
    pub message: String,
    /// Status of the HTTP answer.
    pub status: u16,
    /// Exit status for a command line.
    pub exit: u8,
}

impl Error {
    /// Nothing of that name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// Not in this state.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    /// It should have worked.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }

    /// A file operation, by its path.
    pub fn file(operation: &str, path: &std::path::Path, e: &std::io::Error) -> Self {
        Self::failed(format!("{operation} {}: {e}", path.display()))
    }

    fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            status,
            exit: 125,
        }
    }

    /// For the wire.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: self.message.clone(),
            exit: self.exit,
        }
    }
}

/// A start that failed at the program itself has docker's exit statuses 126 and 127.
impl From<zygote::Error> for Error {
    fn from(e: zygote::Error) -> Self {
        let mut error = Self::failed(e.to_string());
        if let zygote::Error::Failed { failure, .. } = &e
            && failure.operation.contains("exec")
        {
            error.exit = if failure.errno == rustix::io::Errno::NOENT.raw_os_error() {
                127
            } else {
                126
            };
            error.status = 400;
        }
        error
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::failed(e.to_string())
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(e: rustix::io::Errno) -> Self {
        std::io::Error::from(e).into()
    }
}
