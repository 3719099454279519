//! `null` in a body, as Go's decoder has it.
//!
//! Reads only; what is written has no such thing.

use serde::de::{Deserialize, Deserializer};

/// `null` means the default.
///
/// # Errors
/// As the value's own.
pub fn or_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
