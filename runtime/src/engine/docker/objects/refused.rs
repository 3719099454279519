//! What is not done here, by name, and what to use instead.
//!
//! 501, so that a client tells it from a mistake of its own.

use super::Answer;
use crate::engine::docker::refusal::Refusal;

fn no(what: &str, instead: &str) -> Answer<()> {
    Err(Refusal::unsupported(what, instead))
}

pub async fn search() -> Answer<()> {
    no(
        "image search",
        "look in the registry's own pages, then docker pull",
    )
}

pub async fn load() -> Answer<()> {
    no("docker load", "push the image to a registry and pull it")
}

pub async fn save() -> Answer<()> {
    no(
        "docker save",
        "layers are kept unpacked only; copy from the registry, e.g. with skopeo",
    )
}

pub async fn build() -> Answer<()> {
    no(
        "docker build",
        "run BuildKit in a container or elsewhere and use 'docker buildx create --driver remote', then push",
    )
}

pub async fn build_prune() -> axum::Json<serde_json::Value> {
    // So that 'docker system prune' goes on: there is no cache to clear.
    axum::Json(serde_json::json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }))
}

pub async fn commit() -> Answer<()> {
    no(
        "docker commit",
        "build the image from a Dockerfile with BuildKit and push it",
    )
}

pub fn import() -> Refusal {
    Refusal::unsupported("docker import", "push the image to a registry and pull it")
}

pub async fn push() -> Answer<()> {
    no(
        "docker push",
        "layers are kept unpacked only; copy from the registry that has it, e.g. with skopeo",
    )
}
