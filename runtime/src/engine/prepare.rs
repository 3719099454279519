//! From a container's configuration to what the zygote is asked for.
//!
//! It makes volumes and the files of `/etc`, and decides nothing about processes.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, Spec};

use super::error::Error;
use super::options::{
    ContainerOptions, DeviceSpec, HostAddress, MountSource, NetworkMode, Seccomp,
};
use super::record::Config;
use super::shelf::{Shelf, give_to_root};
use super::{notify, resolv, values, volumes};
use crate::container::defaults;
use crate::image::Image;
use crate::network::{Attachment, hosts};
use crate::zygote::Rootfs;

/// Most processes of a container that names no limit; as podman's.
const PIDS: u64 = 2048;

/// What a start needs, next to descriptors.
#[derive(Debug)]
pub struct Prepared {
    /// For the zygote.
    pub spec: Spec,
    /// For the zygote.
    pub rootfs: Rootfs,
}

/// What the network will be, for files that are written before the start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// The container's addresses and their gateways, its first network's first.
    pub addresses: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Where the names of containers are served; nowhere on the default bridge alone.
    pub servers: Vec<IpAddr>,
}

impl Wiring {
    /// Of a container that is attached.
    pub fn of(attachment: &Attachment) -> Wiring {
        let places = attachment.all_places();
        Wiring {
            addresses: places.iter().map(|p| (p.ip, p.gateway)).collect(),
            servers: attachment.servers(),
        }
    }
}

/// Makes everything ready; `extra` is mounted over what the options say.
///
/// # Errors
/// What is wrong with the options, or what the file system says.
pub fn prepare(
    shelf: &Shelf,
    config: &Config,
    image: &Image,
    lower: Vec<PathBuf>,
    wiring: &Wiring,
    extra: Vec<defaults::Bind>,
) -> Result<Prepared, Error> {
    let folder = shelf.container(&config.id);
    let mut options = translate(&config.options)?;
    options.binds = binds(shelf, config, &lower)?;
    if extra
        .iter()
        .any(|bind| bind.target.as_os_str() == notify::TARGET)
    {
        let (target, socket) = (notify::TARGET, notify::NAME);
        options.env.push(format!("NOTIFY_SOCKET={target}/{socket}"));
    }
    options.binds.extend(extra);
    options.etc = etc_files(&folder.join("etc"), config, wiring)?;
    options.hostname = Some(hostname(config));
    if config.options.read_only && config.options.read_only_tmpfs {
        for path in ["/run", "/tmp", "/var/tmp"] {
            let path = PathBuf::from(path);
            if !options.tmpfs.iter().any(|(target, _)| *target == path) {
                options.tmpfs.push((path, "mode=1777".into()));
            }
        }
    }
    let spec = defaults::spec(image.config.config().as_ref(), &options);
    Ok(Prepared {
        spec: spec.map_err(|e| Error::invalid(e.to_string()))?,
        rootfs: Rootfs::Overlay {
            lower,
            upper: folder.join("upper"),
            work: folder.join("work"),
            at: folder.join("merged"),
        },
    })
}

/// Whether a spec could be made, without touching anything: for the answer to a creation.
///
/// # Errors
/// What is wrong with the options.
pub fn check(options: &ContainerOptions, image: &Image) -> Result<Spec, Error> {
    let options = translate(options)?;
    defaults::spec(image.config.config().as_ref(), &options)
        .map_err(|e| Error::invalid(e.to_string()))
}

fn translate(o: &ContainerOptions) -> Result<defaults::Options, Error> {
    let mut env = Vec::new();
    for file in &o.env_files {
        env.extend(values::env_file(file).map_err(Error::invalid)?);
    }
    env.extend(o.env.iter().cloned());
    let rlimits = o.ulimits.iter().map(|limit| defaults::Rlimit {
        name: limit.name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    });
    let tmpfs = o
        .tmpfs
        .iter()
        .map(|t| (t.target.clone(), t.options.join(",")));
    Ok(defaults::Options {
        entrypoint: o.entrypoint.clone(),
        command: (!o.command.is_empty()).then(|| o.command.clone()),
        env,
        user: o.user.clone(),
        groups: o.groups.clone(),
        working_dir: o.workdir.clone(),
        terminal: o.tty,
        read_only: o.read_only,
        cap_add: o.cap_add.clone(),
        cap_drop: o.cap_drop.clone(),
        no_new_privileges: o.no_new_privileges.unwrap_or(true),
        seccomp: seccomp(&o.seccomp)?,
        mask: o.mask.clone(),
        unmask: o.unmask.clone(),
        devices: devices(&o.devices)?,
        tmpfs: tmpfs.collect(),
        sysctls: o.sysctls.clone(),
        rlimits: rlimits.collect(),
        network: match o.network {
            NetworkMode::Host => defaults::Namespace::Host,
            NetworkMode::Bridge | NetworkMode::None => defaults::Namespace::New,
        },
        oom_score_adj: o.oom_score_adj,
        shm_size: o.shm_size.unwrap_or(64 << 20),
        limits: defaults::Limits {
            memory: o.memory.map(signed),
            nano_cpus: o.milli_cpus.map(|m| m.saturating_mul(1_000_000)),
            pids: Some(o.pids_limit.unwrap_or(PIDS))
                .filter(|n| *n > 0)
                .map(signed),
            memory_swap: o.memory_swap,
            memory_reservation: o.memory_reservation.map(signed),
            cpu_shares: o.cpu_shares,
            cpuset: o.cpuset.clone(),
        },
        ..defaults::Options::default()
    })
}

fn devices(wanted: &[DeviceSpec]) -> Result<Vec<(LinuxDevice, String)>, Error> {
    let mut found = Vec::new();
    for device in wanted {
        match crate::container::devices::of_host(&device.host, &device.container) {
            Ok(node) => found.push((node, device.access.clone())),
            Err(e) if device.optional && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::file("use device", &device.host, &e)),
        }
    }
    Ok(found)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn seccomp(choice: &Seccomp) -> Result<defaults::Seccomp, Error> {
    let path = match choice {
        Seccomp::Default => return Ok(defaults::Seccomp::Default),
        Seccomp::Unconfined => return Ok(defaults::Seccomp::Unconfined),
        Seccomp::File(path) => path,
    };
    let bytes = fs::read(path).map_err(|e| Error::file("read seccomp profile", path, &e))?;
    let profile = serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid(format!("seccomp profile {}: {e}", path.display())))?;
    Ok(defaults::Seccomp::Profile(Box::new(profile)))
}

fn binds(shelf: &Shelf, config: &Config, lower: &[PathBuf]) -> Result<Vec<defaults::Bind>, Error> {
    let mut binds = Vec::new();
    for mount in &config.options.mounts {
        let source = match &mount.source {
            MountSource::Bind(path) => host_path(path)?,
            MountSource::Volume(name) => {
                let data = volumes::ensure(&shelf.volumes(), name)?;
                if !mount.no_copy {
                    volumes::fill(&data, lower, &mount.target)?;
                }
                data
            }
            MountSource::Anonymous => {
                let found = config
                    .anonymous
                    .iter()
                    .find(|(target, _)| *target == mount.target);
                let Some((_, name)) = found else {
                    continue;
                };
                let data = volumes::ensure(&shelf.volumes(), name)?;
                volumes::fill(&data, lower, &mount.target)?;
                data
            }
        };
        binds.push(defaults::Bind {
            source,
            target: mount.target.clone(),
            read_only: mount.read_only,
            options: Vec::new(),
        });
    }
    Ok(binds)
}

/// As docker's `-v`: a path that is not there becomes a folder.
fn host_path(path: &Path) -> Result<PathBuf, Error> {
    if !path.exists() {
        fs::create_dir_all(path).map_err(|e| Error::file("create", path, &e))?;
        give_to_root(path)?;
    }
    Ok(path.to_path_buf())
}

fn hostname(config: &Config) -> String {
    match (&config.options.hostname, config.options.network) {
        (Some(name), _) => name.clone(),
        (None, NetworkMode::Host) => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        (None, _) => config.id.chars().take(12).collect(),
    }
}

fn etc_files(folder: &Path, config: &Config, wiring: &Wiring) -> Result<defaults::EtcFiles, Error> {
    let resolv_conf = folder.join("resolv.conf");
    resolv::write(&resolv_conf, &config.options, &wiring.servers)
        .map_err(|e| Error::file("write", &resolv_conf, &e))?;
    give_to_root(&resolv_conf)?;
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        // In place: the file may be mounted in a running container.
        fs::write(&path, text).map_err(|e| Error::file("write", &path, &e))?;
        give_to_root(&path)?;
        Ok::<_, Error>(Some(path))
    };
    Ok(defaults::EtcFiles {
        hosts: put("hosts", hosts_text(config, wiring))?,
        resolv_conf: Some(resolv_conf),
        hostname: put("hostname", hosts::hostname(&hostname(config)))?,
    })
}

fn hosts_text(config: &Config, wiring: &Wiring) -> String {
    let gateway = wiring.addresses.first().map(|(_, gateway)| *gateway);
    let extra = config.options.add_hosts.iter().map(|(name, address)| {
        let ip = match address {
            HostAddress::Ip(ip) => *ip,
            // In the host's own network the host is reached at home.
            HostAddress::Gateway => gateway.unwrap_or(Ipv4Addr::LOCALHOST).into(),
        };
        (name.clone(), ip)
    });
    let own = hostname(config);
    let ips: Vec<Ipv4Addr> = wiring.addresses.iter().map(|(ip, _)| *ip).collect();
    hosts::hosts(&ips, &[&own, &config.name], &extra.collect::<Vec<_>>())
}

/// Brings the `hosts` of a running container up to date, if it has been left as it was written.
///
/// # Errors
/// What the file system says.
pub fn rewrite_hosts(
    folder: &Path,
    config: &Config,
    old: &Wiring,
    new: &Wiring,
) -> Result<(), Error> {
    let path = folder.join("etc/hosts");
    let now = fs::read_to_string(&path).unwrap_or_default();
    if now == hosts_text(config, old) {
        fs::write(&path, hosts_text(config, new)).map_err(|e| Error::file("write", &path, &e))?;
    }
    Ok(())
}
