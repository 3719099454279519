//! A container's cgroup (version 2): made, limited, killed, frozen, removed.
//!
//! It works under any mount point of cgroup2 and never touches a cgroup outside the one it made.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::LinuxResources;
use rustix::fs::{Mode, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::device_rules;

mod blocking;
mod parents;
mod settings;

pub use parents::{Parents, check_unified};
use settings::{Otherwise, Setting, settings};

/// How long a cgroup may take to become empty after `cgroup.kill`, or to freeze.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a container's cgroup is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Mount point of cgroup2, `/sys/fs/cgroup` on Skeg.
    pub mount: PathBuf,
    /// Path below it, e.g. `containers.slice/3f2a…`; the parent must exist with its controllers on.
    pub path: PathBuf,
}

/// A handle on one cgroup. Dropping it leaves the cgroup as it is.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: OwnedFd,
}

/// Numbers of one cgroup at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// `memory.current` in bytes.
    pub memory: u64,
    /// `memory.max` in bytes, `None` when unlimited.
    pub memory_max: Option<u64>,
    /// `cpu.stat` `usage_usec`.
    pub cpu_us: u64,
    /// `pids.current`.
    pub pids: u64,
    /// `memory.events` `oom_kill`.
    pub oom_kills: u64,
    /// `io.stat`, summed over the devices.
    pub read_bytes: u64,
    /// `io.stat`, summed over the devices.
    pub written_bytes: u64,
}

/// What the kernel refused, on which file.
#[derive(Debug, thiserror::Error)]
#[error("cgroup {}: {source}", path.display())]
pub struct Error {
    /// The file or directory.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl Cgroup {
    /// Makes the cgroup and applies limits and device rules. When a limit is refused, the cgroup is
    /// removed again. One that an interrupted start has left empty is replaced.
    ///
    /// # Errors
    /// The file and what the kernel said, `AlreadyExists` when it is there with processes in it.
    pub fn create(
        placement: &Placement,
        resources: Option<&LinuxResources>,
    ) -> Result<Self, Error> {
        let path = placement.mount.join(&placement.path);
        let named = |source| Error {
            path: path.clone(),
            source,
        };
        make_directory(&path).map_err(named)?;
        let limited = Self::open(&path).map_err(named).and_then(|cgroup| {
            if let Some(resources) = resources {
                cgroup.limit(resources)?;
            }
            cgroup.filter_devices(resources)?;
            Ok(cgroup)
        });
        if limited.is_err() {
            // Empty still; when even this fails, the first error is the one to tell.
            let _ = std::fs::remove_dir(&path);
        }
        limited
    }

    /// Opens an existing cgroup by its directory.
    ///
    /// # Errors
    /// When there is no such directory, or it is not on cgroup2.
    pub fn open(path: &Path) -> io::Result<Self> {
        const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        if rustix::fs::fstatfs(&directory)?.f_type != CGROUP2_SUPER_MAGIC {
            return Err(io::Error::other("is not on cgroup2"));
        }
        Ok(Self {
            path: path.into(),
            directory,
        })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory, opened.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Applies limits; what is `None` stays as it is.
    ///
    /// # Errors
    /// The file and what the kernel said.
    pub fn limit(&self, resources: &LinuxResources) -> Result<(), Error> {
        if let Some(unified) = resources.unified() {
            check_unified(&self.path, unified.keys()).map_err(|source| Error {
                path: self.path.clone(),
                source,
            })?;
        }
        settings(resources)
            .iter()
            .try_for_each(|setting| self.apply(setting))
    }

    fn apply(&self, setting: &Setting) -> Result<(), Error> {
        let mut file = setting.file.as_str();
        let mut done = self.write(file, &setting.value);
        if done
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::NotFound)
        {
            match &setting.otherwise {
                Otherwise::Fail => {}
                Otherwise::PassOver => return Ok(()),
                Otherwise::Set(other, value) => {
                    file = other;
                    done = self.write(other, value);
                }
            }
        }
        done.map_err(|source| Error {
            path: self.path.join(file),
            source,
        })
    }

    fn filter_devices(&self, resources: Option<&LinuxResources>) -> Result<(), Error> {
        let rules = resources.and_then(|resources| resources.devices().clone());
        let rules = rules.filter(|rules| !rules.is_empty());
        let program = device_rules::compile(&rules.unwrap_or_else(device_rules::default_rules));
        sys::device_filter::attach(self.directory(), &program).map_err(|source| Error {
            path: self.path.join("device filter"),
            source,
        })
    }

    /// SIGKILL to every process in it (`cgroup.kill`).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Freezes or thaws it (`cgroup.freeze`), and waits until the kernel reports it.
    ///
    /// # Errors
    /// What the kernel says, or `TimedOut`.
    pub async fn freeze(&self, frozen: bool) -> io::Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
        self.wait_for("frozen", u64::from(frozen)).await
    }

    /// Process ids in it and below it, as seen from here.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let mut all = Vec::new();
        let mut directories = vec![self.path.clone()];
        while let Some(directory) = directories.pop() {
            let text = std::fs::read_to_string(directory.join("cgroup.procs"))?;
            all.extend(text.lines().filter_map(|pid| pid.parse::<u32>().ok()));
            directories.extend(children(&directory)?);
        }
        Ok(all)
    }

    /// Its numbers now; a missing controller reads as zero.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn usage(&self) -> io::Result<Usage> {
        let number = |file: &str| -> io::Result<Option<u64>> {
            Ok(self.read_if_there(file)?.trim().parse().ok())
        };
        let (read_bytes, written_bytes) = io_bytes(&self.read_if_there("io.stat")?);
        Ok(Usage {
            memory: number("memory.current")?.unwrap_or(0),
            memory_max: number("memory.max")?,
            cpu_us: keyed(&self.read_if_there("cpu.stat")?, "usage_usec").unwrap_or(0),
            pids: number("pids.current")?.unwrap_or(0),
            oom_kills: keyed(&self.read_if_there("memory.events")?, "oom_kill").unwrap_or(0),
            read_bytes,
            written_bytes,
        })
    }

    /// Kills what is left in it, waits for `cgroup.events` to say that it is empty, and removes it
    /// with everything below it.
    ///
    /// # Errors
    /// When it is not empty within five seconds, or what the kernel says.
    pub async fn remove(self) -> io::Result<()> {
        match self.kill() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
        self.wait_for("populated", 0).await?;
        remove_tree(&self.path)
    }

    /// The same without waiting: for the drop of a start that was given up.
    pub(crate) fn remove_now(&self) {
        let _ = self.kill();
        let _ = remove_tree(&self.path);
    }

    async fn wait_for(&self, key: &str, value: u64) -> io::Result<()> {
        let events = self.open_file("cgroup.events", OFlags::RDONLY)?;
        // Owned files never close under the reactor, which is what the deprecation is about.
        #[allow(deprecated)]
        let events = AsyncFd::with_interest(events, Interest::PRIORITY)?;
        let reached = async {
            loop {
                // The kernel notifies of changes since the last read.
                let mut text = String::new();
                let mut file = events.get_ref();
                io::Seek::seek(&mut file, io::SeekFrom::Start(0))?;
                file.read_to_string(&mut text)?;
                if keyed(&text, key) == Some(value) {
                    return Ok(());
                }
                events.ready(Interest::PRIORITY).await?.clear_ready();
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    fn open_file(&self, file: &str, flags: OFlags) -> io::Result<File> {
        if file.contains('/') {
            return Err(io::Error::other(
                "expected the name of a file, found a path",
            ));
        }
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(&self.directory, file, flags, Mode::empty())?.into())
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        self.open_file(file, OFlags::WRONLY)?
            .write_all(value.as_bytes())
    }

    fn read_if_there(&self, file: &str) -> io::Result<String> {
        let mut text = String::new();
        match self.open_file(file, OFlags::RDONLY) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => {
                opened?.read_to_string(&mut text)?;
            }
        }
        Ok(text)
    }
}

/// An engine that died, or a kill that took its time, may have left the directory: it is replaced
/// when nobody is in it nor below it.
fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let events = std::fs::read_to_string(path.join("cgroup.events"))?;
            if keyed(&events, "populated") != Some(0) {
                return Err(error);
            }
            remove_tree(path)?;
            std::fs::create_dir(path)
        }
        done => done,
    }
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes a cgroup and what is below it, innermost first.
fn remove_tree(path: &Path) -> io::Result<()> {
    match children(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        below => below?.iter().try_for_each(|child| remove_tree(child))?,
    }
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// `key value` lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

/// `io.stat`: `MAJ:MIN rbytes=1 wbytes=2 …` lines.
fn io_bytes(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_ascii_whitespace();
        words
            .filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok())
            .sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_files_are_read_by_their_keys() {
        assert_eq!(keyed("populated 1\nfrozen 0\n", "frozen"), Some(0));
        assert_eq!(keyed("populated 1\n", "frozen"), None);
        let stat = "254:0 rbytes=10 wbytes=2 rios=1\n254:16 rbytes=5 wbytes=1 rios=1\n";
        assert_eq!(io_bytes(stat), (15, 3));
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused() {
        assert!(Cgroup::open(Path::new("/tmp")).is_err());
    }
}
