//! What a client of Docker's API is told when it does not get what it asked for.
//!
//! The body is `{"message": …}`, whatever went wrong.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::engine::error::Error;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Status of the answer.
    pub status: u16,
    /// One line.
    pub message: String,
}

impl Refusal {
    /// With a status of its own.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// Nothing of that name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// Not in this state.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    /// `what` is not done here; `instead` says what is.
    pub fn unsupported(what: &str, instead: &str) -> Self {
        Self::new(501, format!("{what} is not supported by Skeg: {instead}"))
    }
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        Self::new(e.status, e.message)
    }
}

impl From<std::io::Error> for Refusal {
    fn from(e: std::io::Error) -> Self {
        Self::new(500, e.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::json!({ "message": self.message });
        (status, Json(body)).into_response()
    }
}
