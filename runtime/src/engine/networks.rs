//! Networks that users make: their records on disk, and the containers in them.
//!
//! A record is on disk before the network is known, and gone only after its bridge: a death in
//! between leaves a network that works or one that is not there.

mod plan;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::container::{Container, lock, open_pidfd};
use super::error::Error;
use super::machine::Event;
use super::options::{NetworkJoin, NetworkMode};
use super::record::{Config, Phase, Process, State};
use super::{Engine, prepare, resolv, values};
use crate::network::record::DEFAULT_ID;
use crate::network::{Attach, Attachment, Join, NetworkRecord, Networks, Subnet};
pub use plan::Wish;
use plan::plan;

/// Names that mean something else.
const TAKEN_NAMES: [&str; 4] = ["bridge", "host", "none", "default"];

/// Makes a network.
///
/// # Errors
/// When it cannot be, or its name or addresses are taken.
pub async fn create(engine: &Engine, wish: Wish) -> Result<NetworkRecord, Error> {
    let mut networks = engine.networks.lock().await;
    values::volume_name(&wish.name).map_err(|e| Error::invalid(format!("network name: {e}")))?;
    let is_taken = networks.records().any(|record| record.name == wish.name);
    if is_taken || TAKEN_NAMES.contains(&wish.name.as_str()) {
        let name = &wish.name;
        return Err(Error::conflict(format!(
            "network with name {name} already exists"
        )));
    }
    let taken = networks.taken().await.map_err(failed)?;
    let used: Vec<Subnet> = networks.records().map(|record| record.subnet).collect();
    let record = plan(wish, &taken, &used, super::create::new_id()?)?;
    if networks.has_link(&record.link).await.map_err(failed)? {
        let link = &record.link;
        return Err(Error::conflict(format!(
            "the host has a link {link} already: name another one"
        )));
    }
    engine.shelf.save_network_record(&record)?;
    networks.add(record.clone());
    Ok(record)
}

/// A network by id, name or the beginning of its id.
///
/// # Errors
/// When there is none, or more than one.
pub fn find(networks: &Networks, text: &str) -> Result<NetworkRecord, Error> {
    let text = if text == "default" { "bridge" } else { text };
    let all = || networks.records();
    if let Some(record) = all()
        .find(|r| r.id == text)
        .or_else(|| all().find(|r| r.name == text))
    {
        return Ok(record.clone());
    }
    let mut begins = all().filter(|record| record.id.starts_with(text));
    match (begins.next(), begins.next()) {
        (Some(record), None) if !text.is_empty() => Ok(record.clone()),
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "network {text} is ambiguous: more than one id begins so"
        ))),
        _ => Err(Error::not_found(format!("network {text} not found"))),
    }
}

/// Removes a network that no container is in.
///
/// # Errors
/// When there is none, it is in use, or the disk refuses.
pub async fn remove(engine: &Engine, text: &str) -> Result<NetworkRecord, Error> {
    let mut networks = engine.networks.lock().await;
    let record = find(&networks, text)?;
    let refused = |reason: String| Error {
        status: 403,
        ..Error::conflict(reason)
    };
    if record.is_default() {
        let name = &record.name;
        return Err(refused(format!(
            "{name} is a pre-defined network and cannot be removed"
        )));
    }
    let users = networks.users(&record.id);
    if !users.is_empty() {
        let (name, id) = (&record.name, &record.id);
        let users = engine.with_names(users.join(", "));
        return Err(refused(format!(
            "error while removing network: network {name} id {id} has active endpoints: {users}"
        )));
    }
    networks.remove(&record.id).await.map_err(failed)?;
    engine.shelf.remove_network_record(&record.id)?;
    Ok(record)
}

/// The networks that a container that is about to be created asks for, by their ids.
///
/// # Errors
/// When one of them is not there.
pub fn resolve(networks: &Networks, joins: &mut [NetworkJoin]) -> Result<(), Error> {
    for join in joins {
        join.network = find(networks, &join.network)?.id;
    }
    Ok(())
}

/// A container's networks, as it wants them now.
pub fn joins(container: &Container) -> Vec<Join> {
    let config = &container.config;
    if config.options.network != NetworkMode::Bridge {
        return Vec::new();
    }
    let wanted = lock(&container.joins);
    wanted.iter().map(|join| as_join(config, join)).collect()
}

/// The networks of a container that asks for none.
pub fn default_joins() -> Vec<NetworkJoin> {
    vec![NetworkJoin {
        network: DEFAULT_ID.to_string(),
        ..NetworkJoin::default()
    }]
}

fn as_join(config: &Config, join: &NetworkJoin) -> Join {
    let mut names = vec![config.name.clone()];
    names.extend(join.aliases.iter().cloned());
    names.extend(config.options.hostname.clone());
    names.push(config.id.chars().take(12).collect());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Join {
        network: join.network.clone(),
        ip: join.ip,
        names,
    }
}

/// Puts a container into a network, at once if it runs.
///
/// # Errors
/// When it is in there already, shares the host's network, or the kernel refuses.
pub async fn connect(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    mut join: NetworkJoin,
) -> Result<(), Error> {
    let config = &container.config;
    can_move(config)?;
    // One that is about to run would miss it.
    container.until(|s| s.phase != Phase::Starting).await?;
    let mut networks = engine.networks.lock().await;
    let record = find(&networks, &join.network)?;
    join.network.clone_from(&record.id);
    let mut wanted = lock(&container.joins).clone();
    if wanted.iter().any(|other| other.network == record.id) {
        let (container, network) = (&config.name, &record.name);
        return Err(Error {
            status: 403,
            ..Error::conflict(format!(
                "endpoint with name {container} already exists in network {network}"
            ))
        });
    }
    wanted.push(join.clone());
    let state = container.state();
    let Some((process, netns)) = running(engine, container, &state).await? else {
        return keep(engine, container, wanted);
    };
    let attach = Attach {
        ports: &config.options.ports,
        joins: &[],
        upstreams: &config.options.dns,
    };
    let now = networks
        .connect(&config.id, netns.as_fd(), &as_join(config, &join), &attach)
        .await
        .map_err(|e| Error::failed(engine.with_names(e.to_string())))?;
    keep(engine, container, wanted)?;
    engine.shelf.save_network(&config.id, now.as_ref())?;
    // Its task may wait for this lock.
    drop(networks);
    moved(engine, container, process, &state, now).await
}

/// Takes a container out of a network, at once if it runs.
///
/// # Errors
/// When it is not in there, or the kernel refuses.
pub async fn disconnect(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    network: &str,
) -> Result<(), Error> {
    can_move(&container.config)?;
    container.until(|s| s.phase != Phase::Starting).await?;
    let mut networks = engine.networks.lock().await;
    let record = find(&networks, network)?;
    let mut wanted = lock(&container.joins).clone();
    let before = wanted.len();
    wanted.retain(|join| join.network != record.id);
    if wanted.len() == before {
        let (container, network) = (&container.config.id, &record.name);
        return Err(Error {
            status: 403,
            ..Error::conflict(format!(
                "container {container} is not connected to network {network}"
            ))
        });
    }
    keep(engine, container, wanted)?;
    let state = container.state();
    let Some((process, netns)) = running(engine, container, &state).await? else {
        return Ok(());
    };
    let now = networks
        .disconnect(&container.config.id, netns.as_fd(), &record.id)
        .await
        .map_err(failed)?;
    engine
        .shelf
        .save_network(&container.config.id, now.as_ref())?;
    drop(networks);
    moved(engine, container, process, &state, now).await
}

fn can_move(config: &Config) -> Result<(), Error> {
    let mode = match config.options.network {
        NetworkMode::Bridge => return Ok(()),
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    };
    let name = &config.name;
    Err(Error {
        status: 403,
        ..Error::conflict(format!(
            "container {name} has network {mode}, which cannot be joined with others: create it anew"
        ))
    })
}

/// The process of a container that runs, and its network namespace.
async fn running(
    engine: &Engine,
    container: &Container,
    state: &State,
) -> Result<Option<(Process, OwnedFd)>, Error> {
    let process = state.process.filter(|_| state.phase.is_up());
    let Some((process, pidfd)) = process.and_then(|one| Some((one, open_pidfd(one)?))) else {
        return Ok(None);
    };
    let id = &container.config.id;
    let netns = engine.zygote.network(id, pidfd).await;
    let netns = netns.map_err(|e| Error::failed(engine.with_names(e.to_string())))?;
    Ok(Some((process, netns)))
}

fn keep(engine: &Engine, container: &Container, wanted: Vec<NetworkJoin>) -> Result<(), Error> {
    engine.shelf.save_joins(&container.config.id, &wanted)?;
    *lock(&container.joins) = wanted;
    Ok(())
}

/// Makes the change of a running container known in its files of `/etc` and to its task.
async fn moved(
    engine: &Engine,
    container: &Container,
    process: Process,
    before: &State,
    now: Option<Attachment>,
) -> Result<(), Error> {
    let config = &container.config;
    let wiring = |attachment: Option<&Attachment>| {
        attachment.map_or_else(prepare::Wiring::default, prepare::Wiring::of)
    };
    let (old, new) = (wiring(before.network.as_ref()), wiring(now.as_ref()));
    prepare::rewrite_hosts(&engine.shelf.container(&config.id), config, &old, &new)?;
    lock(&container.servers).clone_from(&new.servers);
    resolv::follow_networks(engine, container)?;
    let network = now.map(Box::new);
    container.tell(Event::Moved { process, network }).await
}

fn failed(e: crate::network::Error) -> Error {
    Error::failed(format!("network: {e}"))
}
