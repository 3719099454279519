//! Which image of an index runs on this machine.
//!
//! Pure: the machine's platform is a value. Emulation is never assumed.

use std::fmt;

use serde::Deserialize;

use super::manifest::Descriptor;

/// Operating system and processor, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v8`, `v7`, …
    pub variant: Option<String>,
}

/// No image of an index fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no image for {wanted}; there is: {}", listed(.there))]
pub struct NoPlatform {
    /// This machine's.
    pub wanted: Platform,
    /// Those that the index has.
    pub there: Vec<Platform>,
}

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// How well an image for `other` runs here: `None` not at all, and less is better.
    fn rank(&self, other: &Self) -> Option<u32> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let number = |variant: &Option<String>, default| match variant {
            None => Some(default),
            Some(text) => text.strip_prefix('v').and_then(|n| n.parse::<u32>().ok()),
        };
        // Without a variant an image is for the architecture's baseline.
        let baseline = match self.architecture.as_str() {
            "arm64" => 8,
            "arm" => 7,
            _ => 1,
        };
        let (own, its) = (
            number(&self.variant, baseline)?,
            number(&other.variant, baseline)?,
        );
        own.checked_sub(its)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

/// Picks the image that fits best; of two that fit equally, the first.
///
/// # Errors
/// When none fits, with a list of what is there.
pub fn select<'a>(
    manifests: &'a [Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, NoPlatform> {
    let ranked = manifests
        .iter()
        .filter_map(|m| Some((wanted.rank(m.platform.as_ref()?)?, m)));
    if let Some((_, best)) = ranked.min_by_key(|(rank, _)| *rank) {
        return Ok(best);
    }
    // An index of one image need not say what it is for; its configuration will.
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let there = manifests.iter().filter_map(|m| m.platform.clone());
    Err(NoPlatform {
        wanted: wanted.clone(),
        there: there.collect(),
    })
}

fn listed(there: &[Platform]) -> String {
    // Attestations are manifests for `unknown/unknown`.
    let named = there
        .iter()
        .filter(|p| p.os != "unknown")
        .map(ToString::to_string);
    let mut all: Vec<_> = named.collect();
    all.dedup();
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digest;
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
        Platform {
            os,
            architecture,
            variant: parts.next(),
        }
    }

    fn pick(wanted: &str, there: &[&str]) -> Result<usize, String> {
        let manifests: Vec<_> = there
            .iter()
            .enumerate()
            .map(|(i, text)| Descriptor {
                media_type: String::new(),
                digest: Digest::of(b""),
                size: i as u64,
                platform: Some(*text).filter(|t| !t.is_empty()).map(platform),
            })
            .collect();
        let picked = select(&manifests, &platform(wanted)).map(|d| d.size as usize);
        picked.map_err(|e| e.to_string())
    }

    #[test]
    fn the_best_fit_wins_and_never_a_newer_processor() {
        for (wanted, there, index) in [
            ("linux/amd64", &["linux/arm64/v8", "linux/amd64"][..], 1),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], 1),
            ("linux/amd64", &["windows/amd64", "linux/amd64"], 1),
            ("linux/arm64/v8", &["linux/arm/v7", "linux/arm64"], 1),
            ("linux/arm64/v8", &["linux/arm64/v9", "linux/arm64/v8"], 1),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], 1),
            (
                "linux/amd64",
                &["unknown/unknown", "linux/amd64", "linux/amd64"],
                1,
            ),
            ("linux/amd64", &[""], 0),
        ] {
            assert_eq!(pick(wanted, there), Ok(index), "{wanted} of {there:?}");
        }
    }

    #[test]
    fn without_a_fit_the_error_lists_what_is_there() {
        let there = ["linux/arm64/v8", "unknown/unknown", "windows/amd64"];
        let error = pick("linux/amd64", &there).unwrap_err();
        assert_eq!(
            error,
            "no image for linux/amd64; there is: linux/arm64/v8, windows/amd64"
        );
        assert!(
            pick("linux/amd64", &[])
                .unwrap_err()
                .ends_with("there is: nothing")
        );
        assert!(pick("linux/amd64", &["linux/amd64/v3"]).is_err());
    }
}
