//! What a request asks: parameters, filters and bodies, read as dockerd reads them.
//!
//! A parameter that is not known is passed over, as by dockerd; a filter that is not is refused.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

/// No body of JSON is larger.
const LARGEST: usize = 4 << 20;

/// The parameters after the `?`.
#[derive(Debug, Default)]
pub struct Asked(Vec<(String, String)>);

impl Asked {
    /// A parameter's first value, unless it is empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(k, _)| k == key);
        found.map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether a parameter is set, in dockerd's sense of it.
    pub fn flag(&self, key: &str) -> bool {
        self.text(key).is_some_and(is_true)
    }

    /// The same for one that is on when it is absent.
    pub fn flag_or(&self, key: &str, default: bool) -> bool {
        self.text(key).map_or(default, is_true)
    }

    /// A number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, key: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let refused = |_| Refusal::invalid(format!("{key}: expected a number, found '{text}'"));
        text.parse().map(Some).map_err(refused)
    }

    /// The parameter `filters`, of which only `known` keys are allowed.
    ///
    /// # Errors
    /// When it is malformed, or has another key.
    pub fn filters(&self, known: &[&str]) -> Result<Filters, Refusal> {
        let text = self.text("filters").unwrap_or("{}");
        let read: BTreeMap<String, Values> = serde_json::from_slice(text.as_bytes())
            .map_err(|e| Refusal::invalid(format!("invalid filter: {e}")))?;
        if let Some(other) = read.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Refusal::invalid(format!("invalid filter '{other}'")));
        }
        let lists = read.into_iter().map(|(key, values)| (key, values.list()));
        Ok(Filters(lists.collect()))
    }
}

fn is_true(text: &str) -> bool {
    !matches!(
        text.trim().to_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

/// `{"a":true}` of all clients since 1.10, `["a"]` of older ones and of some libraries.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Values {
    fn list(self) -> Vec<String> {
        match self {
            Self::Set(set) => set
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(v, _)| v)
                .collect(),
            Self::List(list) => list,
        }
    }
}

/// Filters by key: values of one key are alternatives, keys must all match.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// The values of a key.
    pub fn of(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a key is absent, or one of its values passes `is_match`.
    pub fn any(&self, key: &str, is_match: impl Fn(&str) -> bool) -> bool {
        let values = self.of(key);
        values.is_empty() || values.iter().any(|v| is_match(v))
    }

    /// Whether all `key=value` and bare `key` filters of `key` (`label`) are met by `labels`.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.of(key)
            .iter()
            .all(|wanted| match wanted.split_once('=') {
                Some((k, v)) => labels.get(k).is_some_and(|found| found == v),
                None => labels.contains_key(wanted),
            })
    }

    /// The only value of a key as a truth value, when it is there.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn truth(&self, key: &str) -> Result<Option<bool>, Refusal> {
        match self.of(key) {
            [] => Ok(None),
            [one] if matches!(one.as_str(), "1" | "true" | "True" | "t") => Ok(Some(true)),
            [one] if matches!(one.as_str(), "0" | "false" | "False" | "f") => Ok(Some(false)),
            other => Err(Refusal::invalid(format!(
                "invalid filter '{key}={}'",
                other.join(",")
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let read = read.map_err(|e| Refusal::invalid(format!("read the query: {e}")))?;
        Ok(Self(read.0))
    }
}

/// A body of JSON, whatever its type is called; an empty one is the default value.
pub struct Sent<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let body = axum::body::to_bytes(request.into_body(), LARGEST).await;
        let body = body.map_err(|e| Refusal::invalid(format!("read the body: {e}")))?;
        json(&body).map(Self)
    }
}

/// Reads a body.
///
/// # Errors
/// When it is not what it should be.
pub fn json<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|e| Refusal::invalid(format!("invalid JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        let owned = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Asked(owned.collect())
    }

    #[test]
    fn flags_are_read_as_dockerd_reads_them() {
        for (text, wanted) in [
            ("1", true),
            ("true", true),
            ("0", false),
            ("False", false),
            ("", false),
            ("none", false),
        ] {
            assert_eq!(asked(&[("all", text)]).flag("all"), wanted, "{text}");
        }
        assert!(asked(&[]).flag_or("stdout", true));
        assert!(asked(&[("t", "x")]).number("t").is_err());
    }

    #[test]
    fn filters_come_in_two_shapes_and_unknown_ones_are_refused() {
        let new = asked(&[("filters", r#"{"label":{"a=b":true,"c":true}}"#)]);
        let old = asked(&[("filters", r#"{"label":["a=b","c"]}"#)]);
        let known = &["label"];
        assert_eq!(new.filters(known).unwrap(), old.filters(known).unwrap());
        let labels = [("a", "b"), ("c", "")].map(|(k, v)| (k.to_string(), v.to_string()));
        assert!(new.filters(known).unwrap().labels("label", &labels.into()));
        assert!(
            !new.filters(known)
                .unwrap()
                .labels("label", &BTreeMap::new())
        );
        assert!(new.filters(&["name"]).is_err());
        assert!(asked(&[("filters", "{")]).filters(known).is_err());
    }
}
