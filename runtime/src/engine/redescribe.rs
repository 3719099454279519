//! A container that is described otherwise than it was created: another name, other limits, another policy.
//!
//! The description on disk comes first: an engine that dies in between goes on with the new one.

use std::sync::Arc;

use super::Engine;
use super::container::{Command, Container, lock};
use super::create::image_signal;
use super::error::Error;
use super::machine::Rules;
use super::options::ContainerOptions;
use super::record::Config;
use super::{prepare, values};
use crate::container::cgroup::Cgroup;

/// Gives a container another name. A running one is found by it in its networks from its next start on.
///
/// # Errors
/// When the name is taken or none, or the disk refuses.
pub async fn rename(engine: &Engine, id: &str, name: &str) -> Result<Arc<Container>, Error> {
    values::volume_name(name).map_err(Error::invalid)?;
    replace(engine, id, |config| config.name = name.to_owned()).await
}

/// Gives a container other limits and another restart policy, at once if it runs.
///
/// # Errors
/// When the limits make no sense, or the kernel or the disk refuses.
pub async fn update(
    engine: &Engine,
    container: &Container,
    options: ContainerOptions,
) -> Result<(), Error> {
    let config = &container.config;
    let image = engine.store.find(&config.image_id);
    let image = image.ok_or_else(|| Error::not_found("its image is not in the store any more"))?;
    let spec = prepare::check(&options, &image)?;
    if container.state().phase.is_up()
        && let Some(path) = engine.cgroup_of(&config.id)
        && let Some(resources) = spec.linux().as_ref().and_then(|l| l.resources().as_ref())
    {
        // Before it is kept: what the kernel refuses now it would refuse at each start.
        let limited = Cgroup::open(&path).map(|cgroup| cgroup.limit(resources));
        limited?.map_err(|e| Error::failed(e.to_string()))?;
    }
    replace(engine, &config.id, |config| config.options = options).await?;
    Ok(())
}

async fn replace(
    engine: &Engine,
    id: &str,
    change: impl FnOnce(&mut Config),
) -> Result<Arc<Container>, Error> {
    let container = {
        // Held to the end: a name is nobody else's in between.
        let mut containers = lock(&engine.containers);
        let gone = || Error::not_found(format!("container {id} is gone"));
        let before = containers.get(id).ok_or_else(gone)?;
        let mut config = before.config.clone();
        change(&mut config);
        let taken = |c: &&Arc<Container>| c.config.name == config.name && c.config.id != id;
        if let Some(other) = containers.values().find(taken) {
            let (name, id) = (&config.name, &other.config.id);
            return Err(Error::conflict(format!(
                "The container name \"/{name}\" is already in use by container \"{id}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            )));
        }
        engine.shelf.save_config(&config)?;
        let container = Arc::new(before.described(config));
        containers.insert(id.to_owned(), container.clone());
        container
    };
    let image = engine.store.find(&container.config.image_id);
    let signal = image.as_ref().and_then(image_signal);
    let config = &container.config;
    let rules = Rules::new(&config.options, signal, id).checked_by(config.health.as_ref());
    let told = Command::Redescribed(Arc::downgrade(&container), Box::new(rules));
    container.send(told).await?;
    engine.changed.send_replace(());
    Ok(container)
}
