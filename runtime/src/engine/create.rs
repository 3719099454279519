//! Creating containers.
//!
//! A creation that fails leaves nothing: no folder, no name taken.

use std::io::Read;
use std::sync::Arc;

use super::Engine;
use super::checks::check;
use super::clock;
use super::container::{self, Container};
use super::docker::events::Told;
use super::error::Error;
use super::machine::Rules;
use super::networks;
use super::options::{ContainerOptions, HealthCheck, MountSource, ReadyBy};
use super::prepare;
use super::record::{Config, FORMAT, State};
use super::values;
use crate::image::Image;

/// Creates a container of an image that is in the store.
///
/// # Errors
/// When the options make no sense, a network is not there, the name is taken, or the disk refuses.
pub async fn create(
    engine: &Arc<Engine>,
    options: ContainerOptions,
    image: &Image,
) -> Result<Arc<Container>, Error> {
    if engine.is_stopping() {
        return Err(Error::conflict(
            "the engine is shutting down: nothing new starts",
        ));
    }
    let spec = prepare::check(&options, image)?;
    let id = new_id().map_err(|e| Error::failed(format!("make an id: {e}")))?;
    let name = options.name.clone().unwrap_or_else(|| made_up(&id));
    values::volume_name(&name).map_err(Error::invalid)?;
    let health = check_of(engine, &options, image)?;
    let arguments = spec.process().as_ref().and_then(|p| p.args().clone());
    let config = Config {
        format: FORMAT,
        anonymous: anonymous(&options, image, &id),
        health,
        command: arguments.unwrap_or_default().join(" "),
        created: clock::wall_ns() / 1_000_000_000,
        image_id: image.id.to_string(),
        id,
        name,
        options: with_image_volumes(options, image),
    };
    let rules = Rules::new(&config.options, image_signal(image), &config.id)
        .checked_by(config.health.as_ref());
    let mut joins = config.options.networks.clone();
    // Held until it is known: a network that it joins cannot go in between.
    let networks = engine.networks.lock().await;
    networks::resolve(&networks, &mut joins)?;
    let mut containers = container::lock(&engine.containers);
    if let Some(other) = containers.values().find(|c| c.config.name == config.name) {
        let (name, id) = (&other.config.name, &other.config.id[..12]);
        return Err(Error::conflict(format!(
            "the name '{name}' is taken by container {id}; remove it first: skeg rm {name}"
        )));
    }
    if let Err(e) = engine.shelf.create(&config, &joins) {
        let _ = engine.shelf.remove(&config.id);
        return Err(e);
    }
    let id = config.id.clone();
    let container = container::spawn(engine, config, State::default(), rules, None);
    containers.insert(id, container.clone());
    engine
        .docker
        .events
        .tell(Told::container("create", &container));
    Ok(container)
}

/// Its own check over the image's.
fn check_of(
    engine: &Engine,
    options: &ContainerOptions,
    image: &Image,
) -> Result<Option<HealthCheck>, Error> {
    let config = engine.store.config_json(image);
    let of_image = config.map(|mut config| config["config"]["Healthcheck"].take());
    let check = check::merge(options.health.as_ref(), &of_image.unwrap_or_default());
    if check.is_none() && options.ready.is_some_and(|r| r.by == ReadyBy::Healthy) {
        return Err(Error::invalid(
            "it is ready when it is healthy, but has no health check: write HealthCmd=",
        ));
    }
    Ok(check)
}

/// The signal that the image wants to be stopped with.
pub fn image_signal(image: &Image) -> Option<i32> {
    let config = image.config.config().as_ref()?;
    values::signal(config.stop_signal().as_ref()?).ok()
}

/// The image's `VOLUME`s that nothing else is mounted on become anonymous volumes.
fn with_image_volumes(mut options: ContainerOptions, image: &Image) -> ContainerOptions {
    let config = image.config.config().as_ref();
    let declared = config.and_then(|c| c.volumes().clone()).unwrap_or_default();
    for target in declared {
        let taken = options
            .mounts
            .iter()
            .any(|m| m.target.as_os_str() == target.as_str())
            || options
                .tmpfs
                .iter()
                .any(|t| t.target.as_os_str() == target.as_str());
        if !taken && let Ok(mount) = values::volume(&target) {
            options.mounts.push(mount);
        }
    }
    options
}

fn anonymous(
    options: &ContainerOptions,
    image: &Image,
    id: &str,
) -> Vec<(std::path::PathBuf, String)> {
    let all = with_image_volumes(options.clone(), image).mounts;
    let targets = all
        .into_iter()
        .filter(|m| m.source == MountSource::Anonymous);
    targets
        .enumerate()
        .map(|(i, mount)| (mount.target, format!("{}-{i}", &id[..32])))
        .collect()
}

/// 64 hexadecimal digits that nobody has had before.
pub fn new_id() -> std::io::Result<String> {
    let mut bytes = [0_u8; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A name that can be said aloud, from the id.
fn made_up(id: &str) -> String {
    const HOW: [&str; 16] = [
        "calm", "bold", "keen", "warm", "swift", "quiet", "bright", "steady", "amber", "silver",
        "early", "merry", "noble", "plain", "salty", "windy",
    ];
    const WHAT: [&str; 16] = [
        "skerry", "fjord", "heron", "harbour", "beacon", "anchor", "gannet", "puffin", "schooner",
        "tern", "walrus", "lantern", "breeze", "rudder", "compass", "kelp",
    ];
    let digit = |i: usize| {
        let digits = id.get(i..=i).unwrap_or("0");
        usize::from_str_radix(digits, 16).unwrap_or(0)
    };
    format!(
        "{}-{}-{}",
        HOW[digit(0)],
        WHAT[digit(1)],
        id.get(2..6).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_their_names_are_valid() {
        let (a, b) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 64);
        assert!(formats::registration::Id::new(&a).is_some());
        assert!(values::volume_name(&made_up(&a)).is_ok());
    }
}
