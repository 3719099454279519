//! A start, step by step: prepare, clone, attach, register, let go.
//!
//! A step that fails undoes the ones before it; nothing is retried here.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use formats::registration::Id;
use rustix::pipe::{PipeFlags, pipe_with};

use super::Engine;
use super::container::layers::Held;
use super::container::{Container, Running, lock, release};
use super::error::Error;
use super::init_client;
use super::io::Streams;
use super::networks;
use super::notify;
use super::options::NetworkMode;
use super::prepare;
use super::proc;
use super::record::{Config, Process};
use super::secrets;
use crate::container::cgroup::Placement;
use crate::crash::{self, Point};
use crate::network::record::DEFAULT_ID;
use crate::network::{Attach, Attachment, Join};
use crate::zygote::{CreateRequest, Created, Stdio};

/// A container that runs.
#[derive(Debug)]
pub struct Launched {
    /// Its main process.
    pub process: Process,
    /// Handles on it.
    pub running: Running,
    /// Its place on the bridge.
    pub network: Option<Attachment>,
    /// Where it tells that it is ready.
    pub notify: Option<OwnedFd>,
    /// Its layers, which are taken from here on.
    pub layers: Held,
}

/// Both sides of the standard streams.
struct Pipes {
    theirs: Stdio,
    outputs: Vec<OwnedFd>,
    stdin: Option<OwnedFd>,
}

/// Starts a container's process.
///
/// # Errors
/// The step that failed; nothing of the start is left then.
pub async fn launch(engine: &Arc<Engine>, container: &Arc<Container>) -> Result<Launched, Error> {
    if engine.is_stopping() {
        return Err(Error::conflict(
            "the engine is shutting down: nothing new starts",
        ));
    }
    let config = &container.config;
    let launched = steps(engine, container).await;
    if launched.is_err() {
        let _ = engine.networks.lock().await.detach(&config.id).await;
    }
    launched
}

async fn steps(engine: &Arc<Engine>, container: &Arc<Container>) -> Result<Launched, Error> {
    let config = &container.config;
    crash::at(Point::Intended);
    sweep(engine, config).await;
    let layers = container.layers.start().await?;
    let wiring = reserve(engine, container).await?;
    let notify = notify::open(&engine.run, config)?;
    let prepared = prepare(engine, config, wiring).await?;
    let tty = config.options.tty;
    let pipes = pipes(config)?;
    crash::at(Point::Prepared);
    let mut created = engine
        .zygote
        .create(CreateRequest {
            // For its messages only.
            id: config.name.clone(),
            spec: prepared.spec,
            rootfs: prepared.rootfs,
            cgroup: placement(engine, &config.id),
            stdio: pipes.theirs,
        })
        .await?;
    let mut outputs = pipes.outputs;
    outputs.extend(created.terminal.take());
    crash::at(Point::Cloned);
    let kept = kept(&outputs, notify.as_ref())?;
    let readied = ready(engine, container, &created, &kept).await;
    drop(kept);
    let (process, network) = match readied {
        Ok(both) => both,
        Err(e) => {
            created.cancel().await;
            return Err(e);
        }
    };
    let ends = created.pidfd.try_clone().and_then(|pidfd| {
        // Before the start: the first line must find its reader.
        let streams = Streams::open(&container.log, outputs, pipes.stdin, tty)?;
        Ok((pidfd, streams))
    });
    let (pidfd, streams) = match ends {
        Ok(both) => both,
        Err(e) => {
            created.cancel().await;
            release(&config.id).await;
            return Err(e.into());
        }
    };
    *lock(&container.streams) = streams;
    let started = created.start().await;
    crash::at(Point::Started);
    match started {
        Ok(cgroup) => Ok(Launched {
            process,
            running: Running {
                pidfd: Some(pidfd),
                cgroup,
            },
            network,
            notify,
            layers,
        }),
        Err(e) => {
            *lock(&container.streams) = Streams::default();
            release(&config.id).await;
            Err(e.into())
        }
    }
}

/// What PID 1 keeps for a later engine, in the order in which that takes it.
fn kept(outputs: &[OwnedFd], notify: Option<&OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    outputs
        .iter()
        .chain(notify)
        .map(OwnedFd::try_clone)
        .collect()
}

/// From the clone to the registration.
async fn ready(
    engine: &Engine,
    container: &Container,
    created: &Created,
    outputs: &[OwnedFd],
) -> Result<(Process, Option<Attachment>), Error> {
    let config = &container.config;
    let start_ticks = proc::start_ticks(created.pid)
        .ok_or_else(|| Error::failed("its process died before it was started"))?;
    let network = attach(engine, container, created).await?;
    engine.shelf.save_network(&config.id, network.as_ref())?;
    crash::at(Point::Attached);
    let id = Id::new(&config.id).ok_or_else(|| Error::failed("its id does not fit PID 1's"))?;
    register(id, created, outputs).await?;
    crash::at(Point::Registered);
    let process = Process {
        pid: created.pid,
        start_ticks,
    };
    Ok((process, network))
}

/// A slot that an end before could not free, e.g. because its release was lost, is freed first.
async fn register(id: Id, created: &Created, outputs: &[OwnedFd]) -> Result<(), Error> {
    let once = async || -> Result<_, Error> {
        let clones = outputs.iter().map(OwnedFd::try_clone);
        // The status pipe comes last: it says to the next engine whether the program ever ran.
        let clones: io::Result<Vec<OwnedFd>> = clones.chain([created.status()]).collect();
        let pidfd = created.pidfd.try_clone()?;
        Ok(init_client::register(id, created.pid, pidfd, clones?).await)
    };
    let exists = |e: &init_client::Error| {
        matches!(
            e,
            init_client::Error::Refused(formats::registration::ErrorCode::Exists)
        )
    };
    let registered = match once().await? {
        Err(e) if exists(&e) => {
            release(id.as_str()).await;
            once().await?
        }
        other => other,
    };
    registered.map_err(|e| Error::failed(e.to_string()))
}

async fn reserve(engine: &Engine, container: &Container) -> Result<prepare::Wiring, Error> {
    let mut networks = engine.networks.lock().await;
    let joins = networks::joins(container);
    if joins.is_empty() {
        lock(&container.servers).clear();
        return Ok(prepare::Wiring::default());
    }
    let reserved = networks.reserve(&container.config.id, &joins);
    let addresses =
        reserved.map_err(|e| Error::failed(engine.with_names(format!("network: {e}"))))?;
    let served = |(join, (_, gateway)): (&Join, &(_, Ipv4Addr))| {
        (join.network != DEFAULT_ID).then(|| IpAddr::from(*gateway))
    };
    let servers = joins.iter().zip(&addresses).find_map(served);
    let servers: Vec<IpAddr> = servers.into_iter().collect();
    lock(&container.servers).clone_from(&servers);
    Ok(prepare::Wiring { addresses, servers })
}

async fn attach(
    engine: &Engine,
    container: &Container,
    created: &Created,
) -> Result<Option<Attachment>, Error> {
    let failed =
        |e: crate::network::Error| Error::failed(engine.with_names(format!("network: {e}")));
    let config = &container.config;
    let netns = created.netns.as_fd();
    let mut networks = engine.networks.lock().await;
    match config.options.network {
        NetworkMode::Host => Ok(None),
        NetworkMode::None => networks
            .loopback_only(netns)
            .await
            .map_err(failed)
            .map(|()| None),
        NetworkMode::Bridge => {
            let wanted = Attach {
                ports: &config.options.ports,
                joins: &networks::joins(container),
                upstreams: &config.options.dns,
            };
            networks
                .attach(&config.id, netns, &wanted)
                .await
                .map_err(failed)
        }
    }
}

async fn prepare(
    engine: &Arc<Engine>,
    config: &Config,
    wiring: prepare::Wiring,
) -> Result<prepare::Prepared, Error> {
    let image = engine.store.find(&config.image_id).ok_or_else(|| {
        let (name, id) = (&config.options.image, &config.image_id);
        Error::failed(format!("image {name} ({id}) is not in the store any more; pull it and create the container anew"))
    })?;
    let lower = engine.store.lower_dirs(&image);
    let (apart, config) = (engine.clone(), config.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        // A unit's container begins with a fresh layer at each start, as podman's Quadlet makes it.
        if config.options.unit.is_some() {
            apart.shelf.empty_layer(&config.id)?;
        }
        let _filling = lock(&apart.filling);
        let mut extra = secrets::lay_out(&apart.run, &config)?;
        extra.extend(notify::bind(&apart.run, &config));
        let prepared = prepare::prepare(&apart.shelf, &config, &image, lower, &wiring, extra)?;
        apart.shelf.save_spec(&config.id, &prepared.spec)?;
        Ok::<_, Error>(prepared)
    });
    prepared.await.map_err(|e| Error::failed(e.to_string()))?
}

/// What a run of an engine before this one may have left: its cgroup is in the way of a new one.
pub async fn sweep(engine: &Engine, config: &Config) {
    if let Some(path) = engine.cgroup_of(&config.id)
        && let Ok(left) = crate::container::cgroup::Cgroup::open(&path)
        && let Err(e) = left.remove().await
    {
        tracing::warn!("remove cgroup {}: {e}", path.display());
    }
}

fn placement(engine: &Engine, id: &str) -> Option<Placement> {
    let mount = engine.cgroups.clone()?;
    let path = PathBuf::from(formats::paths::CGROUP_CONTAINERS).join(id);
    Some(Placement { mount, path })
}

fn pipes(config: &Config) -> Result<Pipes, Error> {
    if config.options.tty {
        return Ok(Pipes {
            theirs: Stdio::Terminal,
            outputs: Vec::new(),
            stdin: None,
        });
    }
    let (stdin, ours) = if config.options.stdin {
        let (reader, writer) = pipe()?;
        (reader, Some(writer))
    } else {
        (std::fs::File::open("/dev/null")?.into(), None)
    };
    let (out_reader, out_writer) = pipe()?;
    let (err_reader, err_writer) = pipe()?;
    Ok(Pipes {
        theirs: Stdio::Streams {
            stdin,
            stdout: out_writer,
            stderr: err_writer,
        },
        outputs: vec![out_reader, err_reader],
        stdin: ours,
    })
}

/// Close-on-exec, for the engine; the child's copies are dealt with by the zygote.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}
