//! Each container's `resolv.conf`: made from the host's, and made anew whenever that changes.
//!
//! Written in place, since running containers have it mounted; whoever reads it meanwhile gets the old text or the
//! new one. A file without its first line is the container's own, and never touched.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use tokio::io::unix::AsyncFd;

use super::Engine;
use super::container::{Container, lock};
use super::options::{ContainerOptions, NetworkMode};
use crate::network::resolver;
use crate::watched::watched;

/// The first line of a file that is ours.
const OURS: &str =
    "# Follows the host's network; without this line, Skeg leaves this file alone.\n";
/// None of ours is longer.
const LONGEST: u64 = 64 << 10;

/// From the look at the host's file to the end of the write: what is written last was read last.
static IN_STEP: Mutex<()> = Mutex::new(());

/// Writes the file of a container that is about to start.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, options: &ContainerOptions, servers: &[IpAddr]) -> io::Result<()> {
    let _in_step = lock(&IN_STEP);
    fs::write(path, text(options, servers, &of_host()))
}

fn of_host() -> String {
    fs::read_to_string(formats::paths::RESOLV_CONF)
        .or_else(|_| fs::read_to_string("/etc/resolv.conf"))
        .unwrap_or_default()
}

/// `servers` are those of its own networks: only they know the names of containers, and ask others.
fn text(options: &ContainerOptions, servers: &[IpAddr], host: &str) -> String {
    let text = match options.network {
        _ if !servers.is_empty() => resolver::resolv_conf(host, servers),
        NetworkMode::Host if options.dns.is_empty() => host.to_owned(),
        _ => resolver::resolv_conf(host, &options.dns),
    };
    format!("{OURS}{text}")
}

/// Has all containers follow the host's file, for as long as the engine runs.
pub async fn follow(engine: Arc<Engine>) {
    let host = Path::new(formats::paths::RESOLV_CONF);
    let changes = match host.parent().map(Changes::of) {
        Some(Ok(changes)) => changes,
        Some(Err(e)) => {
            let text = format!(
                "watch {}: {e}: containers keep their resolv.conf",
                host.display()
            );
            return engine.trouble("resolv.conf", text);
        }
        None => return,
    };
    loop {
        // It may have changed before there was an engine, too.
        let apart = engine.clone();
        let _ = tokio::task::spawn_blocking(move || bring_up_to_date(&apart)).await;
        if let Err(e) = changes.next().await {
            tracing::warn!("watch {}: {e}", host.display());
            return;
        }
    }
}

fn bring_up_to_date(engine: &Engine) {
    let _in_step = lock(&IN_STEP);
    let host = of_host();
    for container in engine.all() {
        let name = &container.config.name;
        match renew(engine, &container, &host) {
            Ok(true) => tracing::info!("{name}: its resolv.conf follows the host's"),
            // None yet: it has never run.
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => tracing::warn!("write the resolv.conf of {name}: {e}"),
        }
    }
}

/// Has the file of a container that is in other networks than before name their servers.
///
/// # Errors
/// What the file system says.
pub fn follow_networks(engine: &Engine, container: &Container) -> io::Result<()> {
    let _in_step = lock(&IN_STEP);
    renew(engine, container, &of_host()).map(drop)
}

fn renew(engine: &Engine, container: &Container, host: &str) -> io::Result<bool> {
    let config = &container.config;
    let path = engine.shelf.container(&config.id).join("etc/resolv.conf");
    let servers = lock(&container.servers).clone();
    replace(&path, &text(&config.options, &servers, host))
}

/// Whether it had to be written. Padded first and cut then, so that no reader meets a part of it.
fn replace(path: &Path, text: &str) -> io::Result<bool> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut old = Vec::new();
    (&mut file).take(LONGEST).read_to_end(&mut old)?;
    if old == text.as_bytes() || !old.starts_with(OURS.as_bytes()) {
        return Ok(false);
    }
    let mut padded = text.as_bytes().to_vec();
    padded.resize(old.len().max(text.len()), b'\n');
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&padded)?;
    file.set_len(text.len() as u64)?;
    Ok(true)
}

/// Files that are renamed into a folder.
struct Changes {
    inotify: AsyncFd<OwnedFd>,
}

impl Changes {
    fn of(folder: &Path) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&inotify, folder, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
        let inotify = watched(inotify)?;
        Ok(Self { inotify })
    }

    /// Waits for the next, and takes all that are there.
    async fn next(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        let mut events = [0; 4096];
        loop {
            match rustix::io::read(&self.inotify, &mut events) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(network: NetworkMode, dns: &[&str]) -> ContainerOptions {
        ContainerOptions {
            network,
            dns: dns.iter().map(|server| server.parse().unwrap()).collect(),
            ..ContainerOptions::default()
        }
    }

    #[test]
    fn a_file_follows_in_place_until_its_container_makes_it_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let bridged = options(NetworkMode::Bridge, &[]);
        let (long, short) = (
            text(
                &bridged,
                &[],
                "search a.example b.example\nnameserver 10.0.0.1\n",
            ),
            text(&bridged, &[], "nameserver 10.0.0.2\n"),
        );
        fs::write(&path, &long).unwrap();
        let mut mounted = fs::File::open(&path).unwrap();
        assert!(replace(&path, &short).unwrap());
        let mut seen = String::new();
        mounted.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, format!("{OURS}nameserver 10.0.0.2\n"));
        assert!(!replace(&path, &short).unwrap());
        assert!(replace(&path, &long).unwrap());
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert!(!replace(&path, &short).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "nameserver 192.0.2.1\n");
    }

    #[test]
    fn the_host_s_network_means_the_host_s_own_text() {
        let host = "nameserver 127.0.0.53\n";
        let text = text(&options(NetworkMode::Host, &[]), &[], host);
        assert_eq!(text, format!("{OURS}{host}"));
    }

    #[test]
    fn the_servers_of_its_networks_go_before_all_others() {
        let servers = ["10.89.0.1".parse().unwrap()];
        let options = options(NetworkMode::Bridge, &["192.0.2.7"]);
        let text = text(&options, &servers, "search lan\nnameserver 10.0.2.3\n");
        assert_eq!(text, format!("{OURS}search lan\nnameserver 10.89.0.1\n"));
    }

    #[tokio::test]
    async fn only_a_file_that_was_renamed_into_place_wakes_it() {
        let folder = tempfile::tempdir().unwrap();
        let changes = Changes::of(folder.path()).unwrap();
        let new = folder.path().join("resolv.new");
        fs::write(&new, "nameserver 10.0.0.2\n").unwrap();
        let early = futures_util::FutureExt::now_or_never(changes.next());
        assert!(early.is_none(), "half a file");
        fs::rename(&new, folder.path().join("resolv.conf")).unwrap();
        changes.next().await.unwrap();
    }
}
