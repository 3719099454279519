//! What is answered when something is wrong: fleet's `{"error": {"code", "message"}}`.
//!
//! A message says what was expected and found; never a token, never a unit's text.

use crate::etcd::Trouble;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A failure.
#[derive(Debug, Clone)]
pub struct Failure {
    code: u16,
    message: String,
}

impl Failure {
    /// With this status.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is wrong, in words.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was sent is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// etcd did not do it, or nobody knows.
    pub fn etcd(trouble: Trouble) -> Self {
        let code = match trouble {
            Trouble::NoSpace => 507,
            Trouble::Refused(_) => 400,
            _ => 503,
        };
        Self::new(code, trouble.to_string())
    }

    /// Somebody else changed it meanwhile.
    pub fn raced() -> Self {
        Self::new(409, "it was changed by somebody else meanwhile: look again")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        (self.status(), Json(body)).into_response()
    }
}
