//! Who may do what: a role for each token.
//!
//! Tokens are kept as SHA-256 only. Reading wants `view`, units want `deploy`, machines and the brake
//! want `admin`.

use super::failure::Failure;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What somebody may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    View,
    /// Change units.
    Deploy,
    /// Change machines and the brake.
    Admin,
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "view" => Ok(Self::View),
            "deploy" => Ok(Self::Deploy),
            "admin" => Ok(Self::Admin),
            other => Err(format!(
                "expected a role (view, deploy or admin), found {other:?}"
            )),
        }
    }
}

/// Tokens, or none needed.
#[derive(Debug, Clone)]
pub(super) struct Access(Option<Arc<BTreeMap<String, Role>>>);

impl Access {
    /// Whoever gets here may do everything.
    pub(super) fn everything() -> Self {
        Self(None)
    }

    /// From a file of lines `ROLE SHA256 NAME`.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| format!("read {}: {e}", path.display()))?;
        let mut tokens = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (hash, role) =
                token(line).map_err(|e| format!("{} line {}: {e}", path.display(), number + 1))?;
            tokens.insert(hash, role);
        }
        Ok(Self(Some(Arc::new(tokens))))
    }

    fn role(&self, request: &Request) -> Result<Role, Failure> {
        let Some(tokens) = &self.0 else {
            return Ok(Role::Admin);
        };
        let header = request.headers().get(header::AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| {
            Failure::new(
                401,
                "expected a header Authorization: Bearer TOKEN, found none",
            )
        })?;
        let hash = hexadecimal(&Sha256::digest(token.trim()));
        let role = tokens.get(&hash).copied();
        role.ok_or_else(|| Failure::new(401, "this token is not known here"))
    }
}

fn token(line: &str) -> Result<(String, Role), String> {
    let mut words = line.split_whitespace();
    let (role, hash) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hash.len() != 64 || !hash.bytes().all(digit) {
        return Err("expected ROLE SHA256 NAME with 64 lower-case hexadecimal digits".into());
    }
    Ok((hash.to_owned(), role.parse()?))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn needed(request: &Request) -> Role {
    let path = request.uri().path();
    if request.method() == Method::GET {
        Role::View
    } else if path.contains("/units/") {
        Role::Deploy
    } else {
        Role::Admin
    }
}

/// Lets a request pass, or says who may.
pub(super) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    let needed = needed(&request);
    match access.role(&request) {
        Ok(role) if role >= needed => next.run(request).await,
        Ok(role) => {
            let text = format!("expected role {needed:?} or more, found {role:?}");
            Failure::new(403, text.to_lowercase()).into_response()
        }
        Err(failure) => failure.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_token_names_what_was_expected() {
        let hash = "0".repeat(64);
        assert!(token(&format!("deploy {hash} ci")).is_ok());
        assert!(
            token(&format!("root {hash}"))
                .unwrap_err()
                .contains("view, deploy or admin")
        );
        assert!(token("view abc").unwrap_err().contains("SHA256"));
    }
}
