//! Networks.
//!
//! `host` and `none` are listed as docker lists them, though they are no networks of the engine's.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoints::{Endpoint, HOST_ID, NONE_ID, endpoint_id};
use super::null::or_null;
use super::{Answer, has_labels};
use crate::engine::Engine;
use crate::engine::container::lock;
use crate::engine::docker::asked::{Asked, Sent};
use crate::engine::docker::refusal::Refusal;
use crate::engine::docker::{Arced, time};
use crate::engine::error::Error;
use crate::engine::networks as engine_networks;
use crate::network::{NetworkRecord, Networks};

pub async fn list(Shared(engine): Arced, asked: Asked) -> Answer<Json<Vec<Value>>> {
    let known = [
        "name", "id", "driver", "label", "label!", "scope", "type", "dangling",
    ];
    let filters = asked.filters(&known)?;
    let dangling = filters.truth("dangling")?;
    let networks = engine.networks.lock().await;
    let mut shown: Vec<(bool, Value, BTreeMap<String, String>)> = networks
        .records()
        .map(|r| {
            let used = !networks.users(&r.id).is_empty() || r.is_default();
            (used, view(r, json!({})), r.labels.clone())
        })
        .collect();
    for (name, id, driver) in PREDEFINED {
        shown.push((true, predefined(name, id, driver), BTreeMap::new()));
    }
    shown.retain(|(used, network, labels)| {
        let field = |key: &str| network[key].as_str().unwrap_or_default().to_string();
        filters.any("name", |name| field("Name").contains(name))
            && filters.any("id", |id| field("Id").starts_with(id))
            && filters.any("driver", |driver| field("Driver") == driver)
            && filters.any("scope", |scope| scope == "local")
            && filters.any("type", |kind| {
                (kind == "builtin") == is_predefined(&field("Name"))
            })
            && dangling.is_none_or(|dangling| dangling != *used)
            && has_labels(&filters, labels)
    });
    shown.sort_by_key(|(_, network, _)| network["Name"].as_str().unwrap_or_default().to_string());
    Ok(Json(
        shown.into_iter().map(|(_, network, _)| network).collect(),
    ))
}

const PREDEFINED: [(&str, &str, &str); 2] = [("host", HOST_ID, "host"), ("none", NONE_ID, "null")];

fn is_predefined(name: &str) -> bool {
    matches!(name, "bridge" | "host" | "none")
}

pub async fn inspect(Shared(engine): Arced, Path(id): Path<String>) -> Answer<Json<Value>> {
    for (name, own, driver) in PREDEFINED {
        if id == name || (id.len() >= 4 && own.starts_with(&id)) {
            return Ok(Json(predefined(name, own, driver)));
        }
    }
    let networks = engine.networks.lock().await;
    let record = engine_networks::find(&networks, &id)?;
    let containers = members(&engine, &networks, &record);
    Ok(Json(view(&record, containers)))
}

fn members(engine: &Engine, networks: &Networks, record: &NetworkRecord) -> Value {
    let all = lock(&engine.containers);
    let users = networks.users(&record.id).into_iter();
    let one = |id: &str| {
        let container = all.get(id)?;
        let place = container.state().network?.place_in(&record.id)?;
        let ip = format!("{}/{}", place.ip, place.prefix);
        let member = json!({
            "Name": container.config.name,
            "EndpointID": endpoint_id(id, &record.id),
            "MacAddress": place.mac.to_string(),
            "IPv4Address": ip,
            "IPv6Address": "",
        });
        Some((id.to_string(), member))
    };
    Value::Object(users.filter_map(one).collect())
}

fn view(record: &NetworkRecord, containers: Value) -> Value {
    let mut config = json!({
        "Subnet": record.subnet.to_string(),
        "Gateway": record.gateway.to_string(),
    });
    if let Some(range) = &record.range {
        config["IPRange"] = json!(range.to_string());
    }
    if !record.reserved.is_empty() {
        config["AuxiliaryAddresses"] = json!(record.reserved);
    }
    shape(&Shape {
        name: &record.name,
        id: &record.id,
        driver: "bridge",
        created: time::rfc3339(record.created_ns),
        config: json!([config]),
        internal: record.internal,
        containers,
        options: json!(record.options),
        labels: json!(record.labels),
    })
}

fn predefined(name: &str, id: &str, driver: &str) -> Value {
    shape(&Shape {
        name,
        id,
        driver,
        created: time::rfc3339(0),
        config: Value::Null,
        internal: false,
        containers: json!({}),
        options: json!({}),
        labels: json!({}),
    })
}

struct Shape<'a> {
    name: &'a str,
    id: &'a str,
    driver: &'a str,
    created: String,
    config: Value,
    internal: bool,
    containers: Value,
    options: Value,
    labels: Value,
}

fn shape(of: &Shape<'_>) -> Value {
    json!({
        "Name": of.name,
        "Id": of.id,
        "Created": of.created,
        "Scope": "local",
        "Driver": of.driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": of.config },
        "Internal": of.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": of.containers,
        "Options": of.options,
        "Labels": of.labels,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub struct Create {
    name: String,
    #[serde(deserialize_with = "or_null")]
    driver: String,
    #[serde(deserialize_with = "or_null")]
    internal: bool,
    #[serde(deserialize_with = "or_null")]
    ingress: bool,
    #[serde(deserialize_with = "or_null")]
    config_only: bool,
    #[serde(rename = "EnableIPv6", deserialize_with = "or_null")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM", deserialize_with = "or_null")]
    ipam: Ipam,
    #[serde(deserialize_with = "or_null")]
    options: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_null")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    #[serde(deserialize_with = "or_null")]
    driver: String,
    #[serde(deserialize_with = "or_null")]
    config: Vec<IpamConfig>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct IpamConfig {
    #[serde(deserialize_with = "or_null")]
    subnet: String,
    #[serde(rename = "IPRange", deserialize_with = "or_null")]
    ip_range: String,
    #[serde(deserialize_with = "or_null")]
    gateway: String,
    #[serde(deserialize_with = "or_null")]
    auxiliary_addresses: BTreeMap<String, String>,
}

pub async fn create(
    Shared(engine): Arced,
    Sent(create): Sent<Create>,
) -> Answer<(StatusCode, Json<Value>)> {
    let wish = wish(create)?;
    let record = engine_networks::create(&engine, wish).await?;
    let answer = json!({ "Id": record.id, "Warning": "" });
    Ok((StatusCode::CREATED, Json(answer)))
}

fn wish(create: Create) -> Result<engine_networks::Wish, Refusal> {
    if create.enable_ipv6 {
        return Err(Refusal::unsupported(
            "a network with IPv6",
            "create it without --ipv6",
        ));
    }
    if create.ingress || create.config_only {
        return Err(Refusal::unsupported(
            "a network for a swarm",
            "create one of driver bridge",
        ));
    }
    if !matches!(create.ipam.driver.as_str(), "" | "default") {
        let driver = create.ipam.driver;
        return Err(Error::invalid(format!(
            "IPAM driver '{driver}' is not there: expected default"
        ))
        .into());
    }
    let mut configs = create.ipam.config.into_iter();
    let config = configs.next().unwrap_or_default();
    if configs.next().is_some() {
        return Err(Error::invalid("expected one subnet for a network, found more").into());
    }
    let address = |text: &str| match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Error::invalid(format!("expected an IPv4 address, found '{text}'"))),
    };
    let subnet = |text: &str| match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(Error::invalid),
    };
    let mut reserved = BTreeMap::new();
    for (name, text) in config.auxiliary_addresses {
        reserved.extend(address(&text)?.map(|ip| (name, ip)));
    }
    Ok(engine_networks::Wish {
        name: create.name,
        driver: create.driver,
        subnet: subnet(&config.subnet)?,
        gateway: address(&config.gateway)?,
        range: subnet(&config.ip_range)?,
        reserved,
        internal: create.internal,
        labels: create.labels,
        options: create.options,
    })
}

pub async fn remove(Shared(engine): Arced, Path(id): Path<String>) -> Answer<StatusCode> {
    if let Some((name, ..)) = PREDEFINED
        .iter()
        .find(|(name, own, _)| id == *name || id == *own)
    {
        return Err(Refusal::new(
            403,
            format!("{name} is a pre-defined network and cannot be removed"),
        ));
    }
    engine_networks::remove(&engine, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connect {
    container: String,
    #[serde(deserialize_with = "or_null")]
    endpoint_config: Endpoint,
}

pub async fn connect(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Sent(asked): Sent<Connect>,
) -> Answer<StatusCode> {
    let container = engine.find(&asked.container)?;
    let join = asked.endpoint_config.join(&id)?;
    engine_networks::connect(&engine, &container, join).await?;
    Ok(StatusCode::OK)
}

pub async fn disconnect(
    Shared(engine): Arced,
    Path(id): Path<String>,
    Sent(asked): Sent<Connect>,
) -> Answer<StatusCode> {
    let container = engine.find(&asked.container)?;
    engine_networks::disconnect(&engine, &container, &id).await?;
    Ok(StatusCode::OK)
}

pub async fn prune(Shared(engine): Arced, asked: Asked) -> Answer<Json<Value>> {
    let filters = asked.filters(&["label", "label!"])?;
    let mut unused: Vec<NetworkRecord> = {
        let networks = engine.networks.lock().await;
        let records = networks.records();
        records
            .filter(|r| !r.is_default() && has_labels(&filters, &r.labels))
            .cloned()
            .collect()
    };
    // A container that does not run wants its network back when it does.
    let wanted = |id: &str| {
        let all = engine.all();
        all.iter()
            .any(|c| lock(&c.joins).iter().any(|join| join.network == id))
    };
    unused.retain(|record| !wanted(&record.id));
    let mut deleted = Vec::new();
    for record in unused {
        if engine_networks::remove(&engine, &record.id).await.is_ok() {
            deleted.push(record.name);
        }
    }
    Ok(Json(json!({ "NetworksDeleted": deleted })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_body_of_a_network() {
        let record = NetworkRecord {
            id: "ab".to_string(),
            name: "back".to_string(),
            created_ns: 1_700_000_000_000_000_000,
            subnet: "10.90.0.0/24".parse().unwrap(),
            gateway: "10.90.0.1".parse().unwrap(),
            internal: true,
            ..NetworkRecord::default_bridge()
        };
        assert_eq!(
            view(&record, json!({})).to_string(),
            r#"{"Attachable":false,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":{},"Created":"2023-11-14T22:13:20Z","Driver":"bridge","EnableIPv4":true,"EnableIPv6":false,"IPAM":{"Config":[{"Gateway":"10.90.0.1","Subnet":"10.90.0.0/24"}],"Driver":"default","Options":null},"Id":"ab","Ingress":false,"Internal":true,"Labels":{},"Name":"back","Options":{},"Scope":"local"}"#
        );
    }

    fn asked(text: &str) -> Result<engine_networks::Wish, Refusal> {
        wish(crate::engine::docker::asked::json(text.as_bytes())?)
    }

    #[test]
    fn what_the_cli_and_compose_send_is_read() {
        let cli = asked(r#"{"Name":"n","CheckDuplicate":true,"Driver":"bridge","Scope":"","EnableIPv6":false,"IPAM":{"Driver":"default","Options":{},"Config":[{"Subnet":"10.90.0.0/24","IPRange":"10.90.0.128/25","Gateway":"10.90.0.9","AuxiliaryAddresses":{"router":"10.90.0.2"}}]},"Internal":true,"Attachable":false,"Ingress":false,"ConfigOnly":false,"ConfigFrom":null,"Options":{"com.docker.network.driver.mtu":"1400"},"Labels":{"a":"b"}}"#).unwrap();
        assert_eq!(cli.subnet.unwrap().to_string(), "10.90.0.0/24");
        assert_eq!(cli.reserved["router"].to_string(), "10.90.0.2");
        assert!(cli.internal && cli.labels["a"] == "b");
        let compose = asked(r#"{"Name":"p_default","Driver":"bridge","IPAM":{},"Options":null,"Labels":{"com.docker.compose.network":"default"},"EnableIPv6":null}"#).unwrap();
        assert_eq!((compose.name.as_str(), compose.subnet), ("p_default", None));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (body, status, named) in [
            (r#"{"Name":"n","EnableIPv6":true}"#, 501, "IPv6"),
            (r#"{"Name":"n","IPAM":{"Driver":"dhcp"}}"#, 400, "dhcp"),
            (
                r#"{"Name":"n","IPAM":{"Config":[{"Subnet":"fd00::/64"}]}}"#,
                400,
                "fd00::/64",
            ),
            (
                r#"{"Name":"n","IPAM":{"Config":[{},{}]}}"#,
                400,
                "one subnet",
            ),
            (r#"{"Name":7}"#, 400, "JSON"),
        ] {
            let error = asked(body).expect_err("refused");
            assert_eq!(error.status, status, "{error}");
            assert!(error.message.contains(named), "{error}");
        }
    }
}
