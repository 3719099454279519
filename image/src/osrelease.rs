//! os-release(5) of an image: the system's own copy and the UKI's `.osrel` section.
//!
//! The loader sorts by `IMAGE_ID` and `IMAGE_VERSION`, so the first never changes.

use std::fmt;

/// A version: digits, letters, `.`, `~`, `-`, `^`; no `+`, which begins a boot counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

/// Not a version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("version {0:?}: expected digits, letters, `.`, `-`, `~` or `^`, beginning with a digit")]
pub struct VersionError(String);

impl Version {
    /// Accepts a valid version.
    ///
    /// # Errors
    /// For anything else.
    pub fn new(text: &str) -> Result<Self, VersionError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-~^".contains(c);
        let valid = text.starts_with(|c: char| c.is_ascii_digit())
            && text.len() <= 64
            && text.chars().all(allowed);
        valid
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| VersionError(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID` and `IMAGE_ID`.
    pub id: String,
    /// `NAME`.
    pub name: String,
    /// `IMAGE_VERSION`.
    pub version: Version,
    /// `VARIANT_ID`: the profile.
    pub variant: String,
    /// `SKEG_SOURCE_DATE`: seconds since 1970; the clock of a host never falls below.
    pub source_date: u64,
}

impl fmt::Display for OsRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            version,
            variant,
            source_date,
        } = self;
        writeln!(f, "ID={id}")?;
        writeln!(f, "NAME=\"{name}\"")?;
        writeln!(f, "PRETTY_NAME=\"{name} {version}\"")?;
        writeln!(f, "VERSION_ID={version}")?;
        writeln!(f, "VARIANT_ID={variant}")?;
        writeln!(f, "IMAGE_ID={id}")?;
        writeln!(f, "IMAGE_VERSION={version}")?;
        writeln!(f, "SKEG_SOURCE_DATE={source_date}")
    }
}

/// The value of a key in os-release text, without quotes.
#[must_use]
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix('=')?;
        Some(value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_text() {
        let release = OsRelease {
            id: "skeg".into(),
            name: "Skeg".into(),
            version: Version::new("0.1.0").unwrap(),
            variant: "vm".into(),
            source_date: 7,
        };
        let text = release.to_string();
        let expected = "ID=skeg\nNAME=\"Skeg\"\nPRETTY_NAME=\"Skeg 0.1.0\"\nVERSION_ID=0.1.0\n\
                        VARIANT_ID=vm\nIMAGE_ID=skeg\nIMAGE_VERSION=0.1.0\nSKEG_SOURCE_DATE=7\n";
        assert_eq!(text, expected);
        assert_eq!(value(&text, "PRETTY_NAME"), Some("Skeg 0.1.0"));
        assert_eq!(value(&text, "VERSION"), None);
    }

    #[test]
    fn a_version_never_looks_like_a_boot_counter_or_a_path() {
        for bad in ["", "1.0+3", "v1", "1/2", "1.0 x", "1\n"] {
            assert_eq!(Version::new(bad), Err(VersionError(bad.to_owned())));
        }
    }
}
