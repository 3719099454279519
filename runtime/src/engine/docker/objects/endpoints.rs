//! A container's places in networks, as a client asks for them and as it sees them.
//!
//! Looks at what the engine knows; changes nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::null::or_null;
use crate::engine::Engine;
use crate::engine::container::{Container, lock};
use crate::engine::error::Error;
use crate::engine::options::{NetworkJoin, NetworkMode};
use crate::network::Place;

/// The id of what is no network of the engine's.
pub const HOST_ID: &str = "993e30c9b2626414fd0dd843558d0f4da95b6b925200ec5000375009d114d57f";
/// As [`HOST_ID`].
pub const NONE_ID: &str = "76cea80cf325481117fa480aeebc2c26987ada48221e9ec8bfa7ac5a36ac7c3a";

/// A container's place in a network, as a client asks for it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    #[serde(rename = "IPAMConfig", deserialize_with = "or_null")]
    ipam: EndpointIpam,
    #[serde(deserialize_with = "or_null")]
    aliases: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct EndpointIpam {
    #[serde(rename = "IPv4Address", deserialize_with = "or_null")]
    ipv4: String,
}

impl Endpoint {
    /// For the engine.
    ///
    /// # Errors
    /// When its address is none.
    pub fn join(self, network: &str) -> Result<NetworkJoin, Error> {
        let ip = match self.ipam.ipv4.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| Error::invalid(format!("invalid IPv4 address: {text}")))?,
            ),
        };
        Ok(NetworkJoin {
            network: network.to_string(),
            aliases: self.aliases,
            ip,
        })
    }
}

/// A container's `NetworkSettings`: `Networks`, `Ports`, and what the default bridge's fields say.
pub async fn network_settings(engine: &Engine, container: &Container) -> Value {
    let networks = engine.networks.lock().await;
    let state = container.state();
    let place_in = |id: &str| state.network.as_ref().and_then(|n| n.place_in(id));
    let mut all = serde_json::Map::new();
    match container.config.options.network {
        NetworkMode::Host => {
            drop(all.insert("host".into(), endpoint(container, HOST_ID, &[], None)));
        }
        NetworkMode::None => {
            drop(all.insert("none".into(), endpoint(container, NONE_ID, &[], None)));
        }
        NetworkMode::Bridge => {
            for join in lock(&container.joins).iter() {
                let record = networks.records().find(|r| r.id == join.network);
                let name = record.map_or(join.network.as_str(), |r| r.name.as_str());
                let seen = endpoint(
                    container,
                    &join.network,
                    &join.aliases,
                    place_in(&join.network),
                );
                all.insert(name.to_string(), seen);
            }
        }
    }
    let default = place_in(crate::network::record::DEFAULT_ID);
    let flat = default.as_ref();
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": ports(container),
        "EndpointID": flat.map(|p| endpoint_id(&container.config.id, &p.network)).unwrap_or_default(),
        "Gateway": flat.map(|p| p.gateway.to_string()).unwrap_or_default(),
        "IPAddress": flat.map(|p| p.ip.to_string()).unwrap_or_default(),
        "IPPrefixLen": flat.map_or(0, |p| p.prefix),
        "MacAddress": flat.map(|p| p.mac.to_string()).unwrap_or_default(),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPv6Gateway": "",
        "Networks": all,
    })
}

fn endpoint(
    container: &Container,
    network: &str,
    aliases: &[String],
    place: Option<Place>,
) -> Value {
    let id = &container.config.id;
    let up = place.as_ref();
    json!({
        "IPAMConfig": null,
        "Links": null,
        "Aliases": (!aliases.is_empty()).then_some(aliases),
        "DriverOpts": null,
        "NetworkID": network,
        "EndpointID": up.map(|_| endpoint_id(id, network)).unwrap_or_default(),
        "Gateway": up.map(|p| p.gateway.to_string()).unwrap_or_default(),
        "IPAddress": up.map(|p| p.ip.to_string()).unwrap_or_default(),
        "IPPrefixLen": up.map_or(0, |p| p.prefix),
        "MacAddress": up.map(|p| p.mac.to_string()).unwrap_or_default(),
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": up.map(|p| p.names.clone()),
    })
}

/// `"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]`.
fn ports(container: &Container) -> Value {
    let state = container.state();
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in state.network.iter().flat_map(|network| &network.ports) {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let ip = port
            .host_ip
            .map_or_else(|| "0.0.0.0".to_string(), |ip| ip.to_string());
        let bound = json!({ "HostIp": ip, "HostPort": port.host_port.to_string() });
        all.entry(key).or_default().push(bound);
    }
    json!(all)
}

/// The id of a place: of a container and a network there is one.
pub fn endpoint_id(container: &str, network: &str) -> String {
    let digest = Sha256::digest(format!("{container} in {network}").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
