//! Questions to registries that fetch no image: logins, and what a name is there.
//!
//! Keeps no login: clients send theirs with each request.

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::Answer;
use super::pull::{self, Auth};
use crate::engine::docker::Arced;
use crate::engine::docker::asked::Sent;
use crate::engine::docker::refusal::Refusal;
use crate::engine::error::Error;
use crate::image::manifest::{self, Manifest};
use crate::image::registry::RegistryError;
use crate::image::{Digest, Reference, Registries};

pub async fn login(Shared(engine): Arced, Sent(auth): Sent<Auth>) -> Answer<Json<Value>> {
    let server = registry_of(&auth.serveraddress);
    let Some(login) = auth.login()? else {
        return Err(Error::invalid("expected a user name").into());
    };
    let name = format!("{server}/x/y");
    let reference: Reference = name
        .parse()
        .map_err(|e| Error::invalid(format!("registry '{server}': {e}")))?;
    let mut endpoint = last_endpoint(&reference)?;
    endpoint.repository.clear();
    let registry = reference.registry().to_string();
    endpoint.registry.clone_from(&registry);
    let client = engine
        .store
        .client(Some((registry, login)))
        .map_err(failed)?;
    client.knock(&endpoint).await.map_err(failed)?;
    Ok(Json(
        json!({ "Status": "Login Succeeded", "IdentityToken": "" }),
    ))
}

/// `https://index.docker.io/v1/` is docker.io; of others, host and port count.
fn registry_of(address: &str) -> String {
    let bare = address
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    match bare.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_string(),
        host => host.to_string(),
    }
}

/// The registry itself, not a mirror of it.
fn last_endpoint(reference: &Reference) -> Result<crate::image::registries::Endpoint, Error> {
    let registries = Registries::load().map_err(|e| Error::failed(e.to_string()))?;
    let endpoints = registries.endpoints(reference);
    let mut endpoints = endpoints.map_err(|e| Error::invalid(e.to_string()))?;
    endpoints
        .pop()
        .ok_or_else(|| Error::failed("no place to ask"))
}

fn failed(e: RegistryError) -> Refusal {
    let status = match &e {
        RegistryError::Denied(_) => 401,
        RegistryError::Status {
            status: 401 | 403, ..
        } => 401,
        RegistryError::Status { status: 404, .. } => 404,
        _ => 500,
    };
    Refusal::new(status, e.to_string())
}

pub async fn inspect(
    Shared(engine): Arced,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<Value>> {
    let reference: Reference = name
        .parse()
        .map_err(|e| Error::invalid(format!("invalid reference format: {e}")))?;
    let login = pull::login(&headers)?.map(|login| (reference.registry().to_string(), login));
    let client = engine.store.client(login).map_err(failed)?;
    let endpoint = last_endpoint(&reference)?;
    let wanted = reference.wanted();
    let raw = client.manifest(&endpoint, &wanted).await.map_err(failed)?;
    let parsed = manifest::parse(raw.content_type.as_deref(), &raw.bytes)
        .map_err(|e| Error::failed(format!("{name}: {e}")))?;
    let platforms = match parsed {
        Manifest::Index(all) => all
            .iter()
            .filter_map(|one| one.platform.as_ref())
            .map(|p| json!({ "architecture": p.architecture, "os": p.os }))
            .collect(),
        Manifest::Image { .. } => Vec::new(),
    };
    let digest = Digest::of(&raw.bytes).to_string();
    let kind = raw.content_type.unwrap_or_default();
    Ok(Json(json!({
        "Descriptor": { "mediaType": kind, "digest": digest, "size": raw.bytes.len() },
        "Platforms": platforms,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_images_name_them() {
        for (address, registry) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://registry.example:5000", "registry.example:5000"),
            ("registry.example/v2/", "registry.example"),
        ] {
            assert_eq!(registry_of(address), registry);
        }
    }
}
