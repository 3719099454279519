//! From assignments to a unit: what each key means.
//!
//! It checks values and never the world: whether an image or a file exists shows at the start.

mod health;
mod read;
mod sections;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use read::{
    capabilities, device, entrypoint, extend, map, pids, push, reset_or_words, seconds, set, some,
};

use super::keys::{self, Support};
use super::network::{self, Network};
use super::timer::Timer;
use super::{Kind, Unit, UnitName, name};
use crate::engine::options::{
    ContainerOptions, HealthCheck, MountSource, NetworkMode, PullPolicy, Ready, ReadyBy, Seccomp,
};
use crate::engine::values::{self, Mount, did_you_mean, nearest};
use formats::unit_file::{self, Entry, Problem, words};

const EXTENSIONS: [&str; 5] = ["container", "volume", "image", "network", "timer"];
/// As systemd's `DefaultTimeoutStartSec`, and room for a slow pull.
const START_TIMEOUT: Duration = Duration::from_secs(900);

/// Reads one file and its drop-ins.
pub fn parse(
    path: &Path,
    text: &str,
    drop_ins: &[(PathBuf, String)],
) -> Result<Unit, Vec<Problem>> {
    let whole = |message: String| vec![Problem::new(0, message)];
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let extension = extension.as_ref();
    if !EXTENSIONS.contains(&extension) {
        return Err(whole(format!(
            "expected a .container, .volume, .image, .network or .timer file, found '.{extension}'{}",
            keys::refused_kind(extension).map_or(String::new(), |why| format!(": {why}"))
        )));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = UnitName::new(&stem).map_err(whole)?;
    let (mut entries, mut problems) = unit_file::parse(text);
    for (file, text) in drop_ins {
        let (more, wrong) = unit_file::parse(text);
        let file = Some(file.clone());
        entries.extend(more.into_iter().map(|e| Entry {
            file: file.clone(),
            ..e
        }));
        problems.extend(wrong.into_iter().map(|p| Problem {
            file: file.clone(),
            ..p
        }));
    }
    let mut draft = Draft::new(&name, path, extension);
    let mut unknown = BTreeSet::new();
    for entry in &entries {
        let outcome = match sections_of(extension).contains(&entry.section.as_str()) {
            true => draft.assign(entry),
            false if entry.section.starts_with("X-") => Ok(()),
            // One complaint for a section, not one for each of its keys.
            false if !unknown.insert(entry.section.clone()) => Ok(()),
            false => Err(unknown_section(&entry.section, extension)),
        };
        if let Err(message) = outcome {
            problems.push(Problem {
                line: entry.line,
                message,
                file: entry.file.clone(),
            });
        }
    }
    problems.sort_by_key(|p| (p.file.clone(), p.line));
    match draft.finish() {
        Ok(unit) if problems.is_empty() => Ok(unit),
        Ok(_) => Err(problems),
        Err(message) => {
            problems.push(Problem::new(0, message));
            Err(problems)
        }
    }
}

fn sections_of(extension: &str) -> [&'static str; 5] {
    let own = match extension {
        "container" => "Container",
        "volume" => "Volume",
        "network" => "Network",
        "timer" => return ["Unit", "Install", "Timer", "Timer", "Timer"],
        _ => "Image",
    };
    ["Unit", "Service", "Install", "Quadlet", own]
}

fn unknown_section(section: &str, extension: &str) -> String {
    if keys::section_keys(section).is_some() {
        return format!("section [{section}] does not belong in a .{extension} file");
    }
    let near = nearest(section, keys::SECTIONS.iter().copied());
    format!("unknown section [{section}]{}", did_you_mean(near))
}

/// A unit while its lines are read.
struct Draft<'a> {
    name: &'a UnitName,
    unit: Unit,
    options: ContainerOptions,
    group: Option<String>,
    stop_grace: Option<Duration>,
    volume_name: Option<String>,
    policy: PullPolicy,
    timer: Timer,
    network: Network,
    /// What it is called on each of its networks.
    aliases: Vec<String>,
    /// Its address on its only network.
    address: Option<Ipv4Addr>,
    /// The file says how long a start may take.
    timed: bool,
    health: HealthCheck,
    notify: Option<ReadyBy>,
}

impl<'a> Draft<'a> {
    fn new(name: &'a UnitName, path: &Path, extension: &str) -> Self {
        let service = match extension {
            "container" => name.service(),
            "timer" => format!("{}.timer", name.stem()),
            other => format!("{}-{other}.service", name.stem()),
        };
        Self {
            name,
            unit: Unit {
                start_timeout: Some(START_TIMEOUT),
                oneshot: extension != "container",
                remains: extension != "container",
                ..Unit::empty(service, path)
            },
            options: ContainerOptions {
                read_only_tmpfs: true,
                ..ContainerOptions::default()
            },
            group: None,
            stop_grace: None,
            volume_name: None,
            policy: PullPolicy::Missing,
            timer: Timer::of(path),
            network: Network::of(name.stem()),
            aliases: Vec::new(),
            address: None,
            timed: false,
            health: HealthCheck::default(),
            notify: None,
        }
    }

    fn assign(&mut self, entry: &Entry) -> Result<(), String> {
        let Support::Done = keys::check(&entry.section, &entry.key)? else {
            return Ok(());
        };
        let value = name::expand(&entry.value, self.name)?;
        let outcome = match entry.section.as_str() {
            "Unit" => sections::unit(&mut self.unit, &entry.key, &value),
            "Install" => sections::install(&mut self.unit, &entry.key, &value),
            "Service" => self.service_key(&entry.key, &value),
            "Container" => self.container_key(&entry.key, &value),
            "Network" => self.network.assign(&entry.key, &value),
            _ => self.other_key(&entry.key, &value),
        };
        outcome.map_err(|reason| format!("{}: {reason}", entry.key))
    }

    fn other_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "VolumeName" => self.volume_name = some(value).map(values::volume_name).transpose()?,
            "Image" => self.options.image = value.to_string(),
            "Policy" => self.policy = values::pull(value)?,
            _ if self.timer.assign(key, value)? => {}
            _ => return Err(unhandled()),
        }
        Ok(())
    }

    fn container_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        let o = &mut self.options;
        match key {
            "Image" => o.image = value.to_string(),
            "ContainerName" => o.name = some(value).map(values::volume_name).transpose()?,
            "Exec" => o.command = words::split(value)?,
            "Entrypoint" => o.entrypoint = some(value).map(entrypoint).transpose()?,
            "Environment" => {
                for word in reset_or_words(&mut o.env, value)? {
                    values::pair(&word)?;
                    o.env.push(word);
                }
            }
            "EnvironmentFile" => push(&mut o.env_files, value, |v| Ok(PathBuf::from(v)))?,
            "PublishPort" => extend(&mut o.ports, value, values::ports)?,
            "Volume" => {
                let mount = some(value).map(|v| self.volume(v)).transpose()?;
                let mounts = &mut self.options.mounts;
                match mount {
                    Some(mount) => mounts.push(mount),
                    None => mounts.clear(),
                }
            }
            "Mount" => match values::mount(value)? {
                Mount::Mount(mount) => {
                    if let MountSource::Volume(name) = &mount.source
                        && name.ends_with(".volume")
                    {
                        return Err(format!(
                            "write Volume={name}:{} instead",
                            mount.target.display()
                        ));
                    }
                    o.mounts.push(mount);
                }
                Mount::Tmpfs(tmpfs) => o.tmpfs.push(tmpfs),
            },
            "Tmpfs" => push(&mut o.tmpfs, value, values::tmpfs)?,
            "Network" => self.join(value)?,
            "NetworkAlias" => push(&mut self.aliases, value, values::volume_name)?,
            "IP" => {
                let wrong = |_| format!("expected an IPv4 address, found '{value}'");
                self.address = some(value).map(|v| v.parse().map_err(wrong)).transpose()?;
            }
            "User" => o.user = some(value).map(str::to_string),
            "Group" => self.group = some(value).map(str::to_string),
            "GroupAdd" => push(&mut o.groups, value, |v| Ok(v.to_string()))?,
            "WorkingDir" => o.workdir = some(value).map(values::absolute).transpose()?,
            "ReadOnly" => o.read_only = values::boolean(value)?,
            "ReadOnlyTmpfs" => o.read_only_tmpfs = values::boolean(value)?,
            "Label" => map(&mut o.labels, value)?,
            "Annotation" => map(&mut o.annotations, value)?,
            "Sysctl" => map(&mut o.sysctls, value)?,
            "AddDevice" => push(&mut o.devices, value, device)?,
            "AddCapability" => capabilities(&mut o.cap_add, value)?,
            "DropCapability" => capabilities(&mut o.cap_drop, value)?,
            "NoNewPrivileges" => o.no_new_privileges = Some(values::boolean(value)?),
            "SeccompProfile" => {
                o.seccomp = match some(value) {
                    None => Seccomp::Default,
                    Some("unconfined") => Seccomp::Unconfined,
                    Some(path) => Seccomp::File(values::absolute(path)?),
                }
            }
            "Mask" => push(&mut o.mask, value, |v| Ok(v.to_string()))?,
            "Unmask" => push(&mut o.unmask, value, |v| Ok(v.to_string()))?,
            "HostName" => o.hostname = some(value).map(str::to_string),
            "DNS" => push(&mut o.dns, value, values::ip)?,
            "AddHost" => push(&mut o.add_hosts, value, values::host_entry)?,
            "Ulimit" => push(&mut o.ulimits, value, values::ulimit)?,
            "ShmSize" => o.shm_size = some(value).map(values::size).transpose()?,
            "PidsLimit" => o.pids_limit = pids(value)?,
            "Memory" => o.memory = some(value).map(values::size).transpose()?,
            "StopSignal" => o.stop_signal = some(value).map(values::signal).transpose()?,
            "StopTimeout" => o.stop_timeout = some(value).map(seconds).transpose()?,
            "Pull" => o.pull = values::pull(value)?,
            "Timezone" => {
                // The host's own is UTC, which a container has anyway.
                let zone = some(value).filter(|zone| *zone != "local");
                o.env.extend(zone.map(|zone| format!("TZ={zone}")));
            }
            "Secret" => push(&mut o.secrets, value, read::secret)?,
            "Notify" => self.notify = health::notify(value)?,
            _ if key.starts_with("Health") => health::assign(&mut self.health, key, value)?,
            "LogDriver" => match value {
                "" | "k8s-file" | "json-file" | "journald" | "passthrough" => {}
                other => return Err(format!("driver '{other}' is not supported; leave it out")),
            },
            _ => return Err(unhandled()),
        }
        Ok(())
    }

    /// `data.volume:/path` names the unit, whose volume is `systemd-data` as in podman.
    fn volume(&mut self, value: &str) -> Result<crate::engine::options::MountSpec, String> {
        let Some((source, rest)) = value.split_once(':') else {
            return values::volume(value);
        };
        let Some(stem) = source
            .strip_suffix(".volume")
            .filter(|_| !source.contains('/'))
        else {
            return values::volume(value);
        };
        let unit = format!("{stem}-volume.service");
        self.unit.requires.insert(unit.clone());
        self.unit.after.insert(unit);
        values::volume(&format!("systemd-{stem}:{rest}"))
    }

    /// `Network=NAME[:ip=ADDRESS,alias=NAME]`; `data.network` names the unit, whose network is
    /// `systemd-data` as in podman.
    fn join(&mut self, value: &str) -> Result<(), String> {
        let o = &mut self.options;
        if value.is_empty() {
            o.networks.clear();
            o.network = NetworkMode::default();
            return Ok(());
        }
        let (name, extra) = value.split_once(':').unwrap_or((value, ""));
        let file = name.strip_suffix(".network");
        let called = file.map_or(name.to_owned(), |stem| format!("systemd-{stem}"));
        let mut choice = values::network(&called)?;
        network::join_options(choice.join.as_mut(), extra)?;
        let alone = match choice.join {
            Some(_) => o.network == NetworkMode::Bridge,
            None => o.networks.is_empty(),
        };
        if !alone {
            return Err(format!("'{name}' does not go with other networks"));
        }
        o.network = choice.mode;
        o.networks.extend(choice.join);
        if let Some(stem) = file {
            let unit = format!("{stem}-network.service");
            self.unit.requires.insert(unit.clone());
            self.unit.after.insert(unit);
        }
        Ok(())
    }

    /// What stands beside `Network=` and goes to each of them.
    fn addressed(&mut self) -> Result<(), String> {
        let joins = &mut self.options.networks;
        if joins.is_empty() && !self.aliases.is_empty() {
            return Err("NetworkAlias: needs a network with names: write Network=NAME".into());
        }
        for join in joins.iter_mut() {
            join.aliases.extend(self.aliases.iter().cloned());
        }
        if let Some(address) = self.address {
            let [only] = &mut joins[..] else {
                return Err("IP: needs one Network=NAME, whose address it is".into());
            };
            only.ip = Some(address);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Unit, String> {
        let service = self.unit.name.clone();
        if self.unit.oneshot
            && !self.timed
            && self.unit.path.extension().is_some_and(|e| e == "container")
        {
            // As systemd: a job may take as long as it wants, unless its file says otherwise.
            self.unit.start_timeout = None;
        }
        self.addressed()?;
        self.unit.kind = match self.unit.path.extension().and_then(|e| e.to_str()) {
            Some("volume") => Kind::Volume {
                name: self
                    .volume_name
                    .unwrap_or_else(|| format!("systemd-{}", self.name.stem())),
            },
            Some("timer") => {
                if !self.timer.has_time() {
                    return Err("a time is missing, e.g. OnCalendar=".into());
                }
                Kind::Timer(self.timer)
            }
            Some("network") => Kind::Network(self.network),
            Some("image") => Kind::Image {
                image: needed(self.options.image)?,
                policy: self.policy,
            },
            _ => {
                let mut options = self.options;
                options.image = needed(options.image)?;
                if let Some(stem) = options.image.strip_suffix(".image") {
                    let unit = format!("{stem}-image.service");
                    self.unit.requires.insert(unit.clone());
                    self.unit.after.insert(unit);
                }
                if let Some(group) = self.group {
                    let user = options.user.unwrap_or_else(|| "0".into());
                    options.user = Some(format!("{user}:{group}"));
                }
                // As podman: `systemd-%p_%i`, since no container's name has an '@'.
                let stem = self.name.stem().replace('@', "_");
                options
                    .name
                    .get_or_insert_with(|| format!("systemd-{stem}"));
                options.stop_timeout = options
                    .stop_timeout
                    .or(self.stop_grace.map(|grace| grace.as_secs().max(1)));
                options.health = health::finish(self.health)?;
                options.ready = ready(self.notify, &self.unit)?;
                options.unit = Some(service);
                Kind::Container(Box::new(options))
            }
        };
        Ok(self.unit)
    }
}

/// A start that is late is too late for what it tells, too.
fn ready(notify: Option<ReadyBy>, unit: &Unit) -> Result<Option<Ready>, String> {
    match notify {
        Some(_) if unit.oneshot => {
            Err("Notify: a unit of Type=oneshot is ready when it has ended".into())
        }
        notify => Ok(notify.map(|by| Ready {
            by,
            timeout_ms: unit.start_timeout.map(read::millis),
        })),
    }
}

fn needed(image: String) -> Result<String, String> {
    if image.is_empty() {
        return Err("Image= is missing".into());
    }
    Ok(image)
}

/// A key that the table calls done and no arm handles: our own mistake, told instead of hidden.
pub(super) fn unhandled() -> String {
    "is not supported yet".into()
}

/// Reads `KEY=VALUE` words into a map.
pub(super) fn pairs(
    into: &mut std::collections::BTreeMap<String, String>,
    value: &str,
) -> Result<(), String> {
    map(into, value)
}

/// Reads names of units into a set.
pub(super) fn names(into: &mut BTreeSet<String>, value: &str) -> Result<(), String> {
    set(into, value)
}

#[cfg(test)]
mod tests;
