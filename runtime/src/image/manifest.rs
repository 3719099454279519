//! Manifests and indexes, OCI's and Docker's version 2, as far as a pull needs them.
//!
//! Parsing only. A document that could be read as both kinds is refused, so that a registry cannot
//! show one image to a scanner and another to us.

use serde::Deserialize;

use super::digest::Digest;
use super::platform::Platform;

/// What a registry may answer, in the `Accept` header's form.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Manifests and indexes beyond this are refused.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Image configurations beyond this are refused.
pub const MAX_CONFIG: u64 = 8 << 20;
const MAX_LAYERS: usize = 512;

/// Names one blob and promises its length and digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it runs on, in an index.
    pub platform: Option<Platform>,
}

/// A manifest of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    /// A choice of manifests by platform.
    Index(Vec<Descriptor>),
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, lowest first.
        layers: Vec<Descriptor>,
    },
}

/// Why a document is no manifest of an image.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or a field is missing or of the wrong kind.
    #[error("manifest is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// A kind that holds no image for us.
    #[error("manifest of type `{0}` is not supported: expected an OCI or Docker v2 image")]
    Type(String),
    /// The header, the document's type and its fields contradict each other.
    #[error("manifest is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// The configuration is not that of a container image.
    #[error("not a container image: its configuration has type `{0}`")]
    Artifact(String),
    /// Too many layers for an overlay.
    #[error("manifest has {0} layers: at most {MAX_LAYERS} are supported")]
    Layers(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest; `content_type` is the registry's header, if it sent one.
///
/// # Errors
/// See [`ManifestError`].
pub fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Manifest, ManifestError> {
    let document: Document = serde_json::from_slice(bytes)?;
    let header = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let header = Some(header).filter(|h| h.starts_with("application/vnd."));
    let own = Some(document.media_type.as_str()).filter(|own| !own.is_empty());
    if let (Some(header), Some(own)) = (header, own)
        && header != own
    {
        return Err(ManifestError::Ambiguous(
            "content-type and mediaType differ",
        ));
    }
    let named = header.or(own);
    if document.schema_version != 2 {
        let version = format!("schema version {}", document.schema_version);
        return Err(ManifestError::Type(named.map_or(version, str::to_owned)));
    }
    match (document.manifests, document.config, document.layers) {
        (Some(manifests), None, None) if is_kind(named, INDEXES) => Ok(Manifest::Index(manifests)),
        (None, Some(config), Some(layers)) if is_kind(named, IMAGES) => image(config, layers),
        (Some(_), _, Some(_)) | (Some(_), Some(_), _) => Err(ManifestError::Ambiguous(
            "it has both `manifests` and `layers` or `config`",
        )),
        _ => Err(ManifestError::Type(named.unwrap_or("unknown").to_owned())),
    }
}

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const IMAGES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

fn is_kind(named: Option<&str>, kinds: [&str; 2]) -> bool {
    named.is_none_or(|name| kinds.contains(&name))
}

fn image(config: Descriptor, layers: Vec<Descriptor>) -> Result<Manifest, ManifestError> {
    if !config.media_type.is_empty() && !CONFIGS.contains(&config.media_type.as_str()) {
        return Err(ManifestError::Artifact(config.media_type));
    }
    if layers.len() > MAX_LAYERS {
        return Err(ManifestError::Layers(layers.len()));
    }
    Ok(Manifest::Image { config, layers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"{D}","size":7}}"#)
    }

    fn image_text(kind: &str) -> String {
        let config = descriptor(CONFIGS[0]);
        format!(r#"{{"schemaVersion":2,{kind}"config":{config},"layers":[]}}"#)
    }

    #[test]
    fn all_four_kinds_are_read_with_and_without_a_type() {
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            descriptor(IMAGES[0])
        );
        for kind in INDEXES {
            assert!(
                matches!(parse(Some(kind), index.as_bytes()), Ok(Manifest::Index(m)) if m.len() == 1)
            );
        }
        for kind in IMAGES {
            let typed = image_text(&format!(r#""mediaType":"{kind}","#));
            let with_charset = format!("{kind}; charset=utf-8");
            for header in [
                None,
                Some("application/json"),
                Some(kind),
                Some(&*with_charset),
            ] {
                assert!(matches!(
                    parse(header, typed.as_bytes()),
                    Ok(Manifest::Image { .. })
                ));
            }
        }
        assert!(parse(None, image_text("").as_bytes()).is_ok());
    }

    #[test]
    fn a_document_that_reads_as_two_kinds_is_refused() {
        let both = image_text(r#""manifests":[],"#);
        assert!(
            parse(None, both.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("ambiguous")
        );
        let typed = image_text(&format!(r#""mediaType":"{}","#, IMAGES[0]));
        let error = parse(Some(IMAGES[1]), typed.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("content-type and mediaType differ"),
            "{error}"
        );
        let error = parse(Some(INDEXES[0]), image_text("").as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not supported"), "{error}");
    }

    #[test]
    fn what_is_no_image_is_refused_by_its_type() {
        let v1 = r#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
        let error = parse(None, v1.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("schema version 1"), "{error}");
        let chart = image_text("").replace(CONFIGS[0], "application/vnd.cncf.helm.config.v1+json");
        let error = parse(None, chart.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("not a container image"), "{error}");
        for bad in ["", "[]", "{}", r#"{"schemaVersion":2}"#] {
            assert!(parse(None, bad.as_bytes()).is_err(), "{bad}");
        }
        let negative = image_text("").replace("\"size\":7", "\"size\":-7");
        assert!(parse(None, negative.as_bytes()).is_err());
        let path = image_text("").replace(D, "sha256:../../etc");
        assert!(parse(None, path.as_bytes()).is_err());
    }
}
