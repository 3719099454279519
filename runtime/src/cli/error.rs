//! A command line's error: one line, and the exit status that goes with it.

use std::fmt;

use crate::engine::api::ErrorBody;

/// Exit status when the engine, and not the program, failed; as docker's.
pub const ENGINE_FAILED: u8 = 125;

/// What is printed after `skeg: error: `.
#[derive(Debug)]
pub struct CliError {
    /// One line, the whole chain, and what to do.
    pub message: String,
    /// The exit status.
    pub code: u8,
}

impl CliError {
    /// Exit status 125.
    pub fn engine(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: ENGINE_FAILED,
        }
    }

    /// Exit status 2: the user has to write something else.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 2,
        }
    }
}

impl From<ErrorBody> for CliError {
    fn from(body: ErrorBody) -> Self {
        Self {
            message: body.error,
            code: body.exit,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
