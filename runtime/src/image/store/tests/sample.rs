//! Images made in memory, each with its layers, configuration and manifest.

use std::io::Write;

use serde_json::{Value, json};

use super::super::super::digest::Digest;
use super::super::super::platform::Platform;
use super::fake::Fake;

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One layer: what a registry has, and what it unpacks to.
#[derive(Clone)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub diff_id: Digest,
    pub kind: &'static str,
}

/// One image.
#[derive(Clone)]
pub struct Sample {
    pub layers: Vec<Layer>,
    pub config: Value,
    pub manifest: Value,
}

/// A tar of files owned by whoever runs the test.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Layer {
    pub fn gzip(tar: &[u8]) -> Self {
        let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
        Self {
            blob: gzip(tar),
            diff_id: Digest::of(tar),
            kind,
        }
    }

    pub fn zstd(tar: &[u8]) -> Self {
        let kind = "application/vnd.oci.image.layer.v1.tar+zstd";
        let blob = zstd::encode_all(tar, 1).unwrap();
        Self {
            blob,
            diff_id: Digest::of(tar),
            kind,
        }
    }

    pub fn plain(tar: &[u8]) -> Self {
        let kind = "application/vnd.oci.image.layer.v1.tar";
        Self {
            blob: tar.to_vec(),
            diff_id: Digest::of(tar),
            kind,
        }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }
}

impl Sample {
    pub fn of(layers: Vec<Layer>) -> Self {
        let ids: Vec<_> = layers.iter().map(|l| l.diff_id.to_string()).collect();
        let host = Platform::host();
        let config = json!({
            "os": host.os, "architecture": host.architecture,
            "config": {"Cmd": ["/hello"], "Healthcheck": {"Test": ["NONE"]}},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let mut sample = Self {
            layers,
            config,
            manifest: json!({}),
        };
        sample.seal();
        sample
    }

    /// One layer of incompressible bytes, so that cuts fall where they are meant to.
    pub fn noise(length: usize, seed: u64) -> Self {
        Self::of(vec![Layer::gzip(&tar(&[("noise", &noise(length, seed))]))])
    }

    /// Makes the manifest fit what is there.
    pub fn seal(&mut self) {
        let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|l| describe(l.kind, &l.blob))
            .collect();
        let config = describe(
            "application/vnd.oci.image.config.v1+json",
            &self.config_bytes(),
        );
        self.manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers,
        });
    }

    pub fn config_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.config).unwrap()
    }

    pub fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap()
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest_bytes())
    }

    pub fn id(&self) -> Digest {
        Digest::of(&self.config_bytes())
    }

    /// Puts it into a registry under a tag and its digest.
    pub fn publish(&self, fake: &Fake, tag: &str) {
        let mut world = fake.world.lock().unwrap();
        let manifest = (IMAGE.to_owned(), self.manifest_bytes());
        world.manifests.insert(tag.to_owned(), manifest.clone());
        world.manifests.insert(self.digest().to_string(), manifest);
        let config = self.config_bytes();
        world.blobs.insert(Digest::of(&config).to_string(), config);
        for layer in &self.layers {
            world
                .blobs
                .insert(layer.digest().to_string(), layer.blob.clone());
        }
    }
}

/// Bytes that no compressor makes smaller.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}
