//! What is remembered of a container from one command to the next: a directory below the root.
//!
//! `state.json` appears by rename of something complete. Whether the container lives is asked of the
//! kernel each time, never remembered.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use super::args::Global;
use super::error::Error;
use crate::container::cgroup::Cgroup;

/// The version of the specification that states and features name.
pub(super) const OCI_VERSION: &str = "1.3.0";

/// One container as it was created.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) pid: u32,
    /// Field 22 of `/proc/PID/stat`: a process id that is used again has another.
    pub(super) start_time: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: String,
    pub(super) owner: u32,
    pub(super) annotations: HashMap<String, String>,
    pub(super) cgroup: Option<PathBuf>,
    /// Cgroups above it that were made for it.
    pub(super) cgroup_parents: Vec<PathBuf>,
    /// The scope that systemd made.
    pub(super) scope: Option<String>,
}

/// What a container is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Record {
    /// The state as the specification has it, for hooks and for `state`.
    pub(super) fn json(&self, status: Status) -> serde_json::Value {
        let mut value = serde_json::json!({
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "status": status.name(),
            "bundle": self.bundle,
        });
        if status != Status::Stopped {
            value["pid"] = self.pid.into();
        }
        if !self.annotations.is_empty() {
            value["annotations"] = serde_json::json!(self.annotations);
        }
        value
    }

    /// Its main process, if it is still that one.
    pub(super) fn pidfd(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Looked at after the descriptor is there: what is true now stays true of it.
        (alive_since(self.pid) == Some(self.start_time)).then_some(pidfd)
    }

    pub(super) fn cgroup(&self) -> Option<Cgroup> {
        Cgroup::open(self.cgroup.as_deref()?).ok()
    }
}

/// When the process was started, unless it is a zombie or gone.
pub(super) fn alive_since(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields = stat.rsplit_once(')')?.1;
    let mut fields = fields.split_ascii_whitespace();
    if matches!(fields.next(), Some("Z" | "X") | None) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A container's directory.
pub(super) struct Home {
    path: PathBuf,
    /// Held until the command ends, so that commands about one container come one after the other.
    _lock: Option<File>,
}

/// Where the directories are.
pub(super) fn root(global: &Global) -> PathBuf {
    if let Some(root) = &global.root {
        return root.clone();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if super::maps::is_rootless() => PathBuf::from(runtime).join("skeg-oci"),
        _ => PathBuf::from("/run/skeg-oci"),
    }
}

impl Home {
    /// Makes the directory of a new container. What a create that was killed has left is replaced.
    pub(super) fn make(global: &Global, id: &str) -> Result<Self, Error> {
        check_id(id)?;
        let root = root(global);
        sys::durable::create_dir_all(&root).map_err(|e| Error::file("mkdir", &root, e))?;
        let path = root.join(id);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => done.map_err(|error| Error::file("mkdir", &path, error))?,
        }
        let lock = locked(&path, FlockOperation::NonBlockingLockExclusive);
        let lock = lock.map_err(|_| Error::Exists(id.into()))?;
        if path.join("state.json").exists() {
            return Err(Error::Exists(id.into()));
        }
        let _ = std::fs::remove_file(path.join("start"));
        Ok(Self {
            path,
            _lock: Some(lock),
        })
    }

    /// An existing container's, without a lock.
    pub(super) fn open(global: &Global, id: &str) -> Result<Self, Error> {
        check_id(id)?;
        let path = root(global).join(id);
        if !path.is_dir() {
            return Err(Error::Missing(id.into()));
        }
        Ok(Self { path, _lock: None })
    }

    /// An existing container's, for a change: waits for other commands about it.
    pub(super) fn open_locked(global: &Global, id: &str) -> Result<Self, Error> {
        let home = Self::open(global, id)?;
        let lock = locked(&home.path, FlockOperation::LockExclusive);
        let lock = lock.map_err(|error| Error::file("lock", &home.path, error))?;
        // Whoever held the lock may have removed it.
        if !home.path.is_dir() {
            return Err(Error::Missing(id.into()));
        }
        Ok(Self {
            _lock: Some(lock),
            ..home
        })
    }

    /// A file of it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn write(&self, record: &Record) -> Result<(), Error> {
        self.save("state.json", record)
    }

    pub(super) fn record(&self) -> Result<Record, Error> {
        self.read("state.json")
    }

    /// Keeps the configuration as it was at the create.
    pub(super) fn write_spec(&self, spec: &Spec) -> Result<(), Error> {
        self.save("config.json", spec)
    }

    pub(super) fn spec(&self) -> Result<Spec, Error> {
        self.read("config.json")
    }

    fn save(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let path = self.file(name);
        let bytes = serde_json::to_vec(value).map_err(|e| Error::file("write", &path, e))?;
        sys::durable::write(&path, &bytes, 0o600).map_err(|e| Error::file("write", &path, e))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let path = self.file(name);
        let id = self.path.file_name().unwrap_or_default().to_string_lossy();
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::Missing(id.into()));
            }
            read => read.map_err(|error| Error::file("read", &path, error))?,
        };
        serde_json::from_slice(&text).map_err(|error| Error::file("parse", &path, error))
    }

    pub(super) fn status(&self, record: &Record) -> Status {
        if record.pidfd().is_none() {
            return Status::Stopped;
        }
        if self.file("start").exists() {
            return Status::Created;
        }
        match record.cgroup() {
            Some(cgroup) if cgroup.is_frozen() => Status::Paused,
            _ => Status::Running,
        }
    }

    /// Removes the directory.
    pub(super) fn remove(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::file("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

fn locked(path: &Path, operation: FlockOperation) -> std::io::Result<File> {
    let directory = File::open(path)?;
    rustix::fs::flock(&directory, operation)?;
    Ok(directory)
}

/// The ids that have a directory.
pub(super) fn all(global: &Global) -> Vec<String> {
    let entries = std::fs::read_dir(root(global)).into_iter().flatten();
    let entries = entries.flatten().filter(|entry| entry.path().is_dir());
    let mut ids: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids
}

/// An id is the name of a directory.
fn check_id(id: &str) -> Result<(), Error> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "_+-.:@".contains(*c);
    if let Some(wrong) = id.chars().find(|c| !allowed(c)) {
        return Err(Error::Other(format!(
            "invalid character `{wrong}` in the ID `{id}`: expected letters, digits, _ + - . : @"
        )));
    }
    if matches!(id, "" | "." | "..") || id.len() > 255 {
        return Err(Error::Other(format!("invalid ID `{id}`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_name() {
        for wrong in ["", ".", "..", "a/b", "../x", "a b", "a\n"] {
            assert!(check_id(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_id("3f2a-web_1.2").is_ok());
    }

    #[test]
    fn this_process_is_alive_and_a_reaped_one_is_not() {
        assert!(alive_since(std::process::id()).is_some());
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(alive_since(pid), None);
    }

    #[test]
    fn the_pid_of_a_stopped_container_is_not_told() {
        let record = Record {
            id: "web".into(),
            pid: 7,
            ..Record::default()
        };
        assert_eq!(record.json(Status::Running)["pid"], 7);
        assert!(record.json(Status::Stopped).get("pid").is_none());
    }
}
