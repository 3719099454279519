//! From assignments to a unit: what each key means.
//!
//! It checks values and never the world: whether an image or a file exists shows at the start.

mod read;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use read::{
    capabilities, device, entrypoint, extend, map, millis, pids, push, reachable, reset_or_words,
    seconds, service_restart, set, some, timeout,
};

use super::keys::{self, Support};
use super::{Kind, Unit, UnitName, name, time};
use crate::engine::options::{ContainerOptions, MountSource, PullPolicy, Seccomp};
use crate::engine::values::{self, Mount, did_you_mean, nearest};
use formats::unit_file::{self, Entry, Problem, words};

const EXTENSIONS: [&str; 3] = ["container", "volume", "image"];
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
            "expected a .container, .volume or .image file, found '.{extension}'"
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
}

impl<'a> Draft<'a> {
    fn new(name: &'a UnitName, path: &Path, extension: &str) -> Self {
        let service = match extension {
            "container" => name.service(),
            other => format!("{}-{other}.service", name.stem()),
        };
        Self {
            name,
            unit: Unit {
                description: service.clone(),
                name: service,
                path: path.to_path_buf(),
                after: BTreeSet::new(),
                before: BTreeSet::new(),
                requires: BTreeSet::new(),
                wants: BTreeSet::new(),
                wanted_by: BTreeSet::new(),
                required_by: BTreeSet::new(),
                start_timeout: Some(START_TIMEOUT),
                kind: Kind::Volume {
                    name: String::new(),
                },
            },
            options: ContainerOptions {
                read_only_tmpfs: true,
                ..ContainerOptions::default()
            },
            group: None,
            stop_grace: None,
            volume_name: None,
            policy: PullPolicy::Missing,
        }
    }

    fn assign(&mut self, entry: &Entry) -> Result<(), String> {
        let Support::Done = keys::check(&entry.section, &entry.key)? else {
            return Ok(());
        };
        let value = name::expand(&entry.value, self.name)?;
        let outcome = match entry.section.as_str() {
            "Unit" => self.unit_key(&entry.key, &value),
            "Service" => self.service_key(&entry.key, &value),
            "Install" if entry.key == "RequiredBy" => set(&mut self.unit.required_by, &value)
                .and_then(|()| reachable(&self.unit.required_by)),
            "Install" => {
                set(&mut self.unit.wanted_by, &value).and_then(|()| reachable(&self.unit.wanted_by))
            }
            "Container" => self.container_key(&entry.key, &value),
            _ => self.other_key(&entry.key, &value),
        };
        outcome.map_err(|reason| format!("{}: {reason}", entry.key))
    }

    fn unit_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "Description" => self.unit.description = value.to_string(),
            "After" => set(&mut self.unit.after, value)?,
            "Before" => set(&mut self.unit.before, value)?,
            "Requires" => set(&mut self.unit.requires, value)?,
            "Wants" => set(&mut self.unit.wants, value)?,
            _ => return Err(unhandled()),
        }
        Ok(())
    }

    fn service_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "Restart" => self.options.restart = service_restart(value)?,
            "RestartSec" => {
                let delay = time::span(value)?.ok_or("expected a finite time")?;
                self.options.restart_delay_ms = Some(millis(delay));
            }
            "TimeoutStartSec" => self.unit.start_timeout = timeout(value)?,
            "TimeoutStopSec" => self.stop_grace = timeout(value)?,
            "TimeoutSec" => {
                self.unit.start_timeout = timeout(value)?;
                self.stop_grace = timeout(value)?;
            }
            "Type" => match value {
                "notify" | "exec" | "simple" => {}
                other => return Err(format!("expected notify, exec or simple, found '{other}'")),
            },
            _ => return Err(unhandled()),
        }
        Ok(())
    }

    fn other_key(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "VolumeName" => self.volume_name = some(value).map(values::volume_name).transpose()?,
            "Image" => self.options.image = value.to_string(),
            "Policy" => self.policy = values::pull(value)?,
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
            "Network" => {
                let choice = values::network(value)?;
                o.network = choice.mode;
                o.networks.extend(choice.join);
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

    fn finish(mut self) -> Result<Unit, String> {
        let service = self.unit.name.clone();
        self.unit.kind = match self.unit.path.extension().and_then(|e| e.to_str()) {
            Some("volume") => Kind::Volume {
                name: self
                    .volume_name
                    .unwrap_or_else(|| format!("systemd-{}", self.name.stem())),
            },
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
                let stem = self.name.stem();
                options
                    .name
                    .get_or_insert_with(|| format!("systemd-{stem}"));
                options.stop_timeout = options
                    .stop_timeout
                    .or(self.stop_grace.map(|grace| grace.as_secs().max(1)));
                options.unit = Some(service);
                Kind::Container(Box::new(options))
            }
        };
        Ok(self.unit)
    }
}

fn needed(image: String) -> Result<String, String> {
    if image.is_empty() {
        return Err("Image= is missing".into());
    }
    Ok(image)
}

/// A key that the table calls done and no arm handles: our own mistake, told instead of hidden.
fn unhandled() -> String {
    "is not supported yet".into()
}

#[cfg(test)]
mod tests;
