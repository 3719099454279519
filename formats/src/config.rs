//! The resolved host configuration: what the host is told to be, as a folder on STATE.
//!
//! ```text
//! /var/lib/skeg-config/
//!     current -> 7          symlink, switched by rename: a boot sees one generation, whole
//!     7/config.json         [`Config`]
//!     7/etc/…               laid over the image's /etc at each boot
//!     7/append/…            put at the end of what /etc has then
//!     7/tree.txt            what it comes to, for people: no content that only its owner may read
//! ```
//!
//! PID 1 only copies `etc/` and `append/`, and never reads `config.json`; whoever writes a generation
//! (the image builder for the first, `skeg config` later) writes all of it and then switches `current`.

use std::collections::BTreeMap;

/// Version of the layout. A boot that finds another ignores the generation and shows it as degraded.
pub const FORMAT: u32 = 1;
/// The file that describes a generation, within its folder.
pub const FILE: &str = "config.json";
/// The folder that is laid over `/etc`, within a generation.
pub const ETC: &str = "etc";

/// The folder whose files are put at the end of those in `/etc`, within a generation.
pub const APPEND: &str = "append";
/// What a generation comes to, a line an entry, within a generation.
pub const TREE: &str = "tree.txt";

/// What a generation is and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Config {
    /// [`FORMAT`].
    pub format: u32,
    /// Number of the generation: the folder's name. It only grows.
    pub generation: u64,
    /// Where it came from, e.g. `image`, `fw_cfg`, or a URL without credentials.
    pub source: String,
    /// The host's name, which also stands in `etc/hostname`; none: `skeg`.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub hostname: Option<String>,
    /// Labels of this machine, e.g. for the scheduler.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "BTreeMap::is_empty")
    )]
    pub labels: BTreeMap<String, String>,
    /// The SHA-256 of the document that it was made of, in hexadecimal digits.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub digest: Option<String>,
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let config = Config {
            format: FORMAT,
            generation: 7,
            source: "image".into(),
            hostname: Some("web-1".into()),
            labels: [("rack".into(), "a".into())].into(),
            digest: Some("00ff".into()),
        };
        let text = r#"{"format":1,"generation":7,"source":"image","hostname":"web-1","labels":{"rack":"a"},"digest":"00ff"}"#;
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
        assert_eq!(serde_json::from_str::<Config>(text).unwrap(), config);
    }

    #[test]
    fn what_may_be_left_out_may_be_left_out_and_nothing_else() {
        let least = r#"{"format":1,"generation":1,"source":"image"}"#;
        assert_eq!(
            serde_json::from_str::<Config>(least).unwrap().hostname,
            None
        );
        assert!(serde_json::from_str::<Config>(r#"{"format":1,"generation":1}"#).is_err());
        let unknown = r#"{"format":1,"generation":1,"source":"image","hostnmae":"x"}"#;
        let error = serde_json::from_str::<Config>(unknown)
            .unwrap_err()
            .to_string();
        assert!(error.contains("hostnmae"), "{error}");
    }
}
