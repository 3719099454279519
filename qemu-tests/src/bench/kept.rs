//! Measures of earlier runs: a benchmark that was interrupted goes on, and the peer is not measured
//! again because Skeg has changed.
//!
//! A measure is kept under what it was measured of; nothing else makes it old.

use super::subject::{Subject, folder};
use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The kept measure, or the one that is made now.
///
/// # Errors
/// Those of `measure`.
pub fn or_measure<T: Serialize + DeserializeOwned>(
    subject: &Subject,
    what: &str,
    measure: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let file = folder().join(&subject.key).join(format!("{what}.json"));
    if let Ok(text) = std::fs::read_to_string(&file)
        && let Ok(value) = serde_json::from_str(&text)
    {
        println!("✓ {}: {what} (kept from an earlier run)", subject.name);
        return Ok(value);
    }
    let value = crate::narrate::step(&format!("{}: {what}", subject.name), measure)?;
    let text = serde_json::to_string(&value).context("write a measure")?;
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(value)
}
