//! Control groups (cgroup v2): one folder per service, with its limits; one for all containers.
//!
//! Where the hierarchy is missing services run unlimited, and their group is their session.

use formats::paths::{CGROUP_CONTAINERS, CGROUP_SERVICES};
use formats::service::Service;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Controllers that services and containers are limited by.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// A mounted hierarchy.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
}

impl Cgroups {
    /// Enables the controllers and creates the slices; returns what failed, a sentence each.
    ///
    /// # Errors
    /// When there is no cgroup v2 hierarchy at this path.
    pub fn prepare(root: &Path) -> io::Result<(Self, Vec<String>)> {
        fs::metadata(root.join("cgroup.controllers"))?;
        let cgroups = Self {
            root: root.to_owned(),
        };
        let mut failed = cgroups.enable(root);
        for slice in [CGROUP_SERVICES, CGROUP_CONTAINERS] {
            let folder = root.join(slice);
            match fs::create_dir_all(&folder) {
                Ok(()) => failed.extend(cgroups.enable(&folder)),
                Err(e) => failed.push(format!("create {}: {e}", folder.display())),
            }
        }
        failed.extend(cgroups.leave_processes_for_the_host().err());
        Ok((cgroups, failed))
    }

    /// All containers together may not use up what the whole kernel has of processes, or a fork bomb
    /// in a few of them keeps the host from starting a service, and from shutting down.
    fn leave_processes_for_the_host(&self) -> Result<(), String> {
        let sysctl = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
            text.trim().parse().ok()
        };
        let Some(most) = for_containers(sysctl("threads-max"), sysctl("pid_max")) else {
            return Err("pids.max of containers: the kernel does not say its own limit".to_owned());
        };
        let file = self.root.join(CGROUP_CONTAINERS).join("pids.max");
        fs::write(&file, most.to_string()).map_err(|e| format!("{} = {most}: {e}", file.display()))
    }

    fn enable(&self, folder: &Path) -> Vec<String> {
        let file = folder.join("cgroup.subtree_control");
        let one = |name: &str| {
            let problem = fs::write(&file, format!("+{name}")).err()?;
            Some(format!(
                "controller {name} in {}: {problem}",
                folder.display()
            ))
        };
        CONTROLLERS.into_iter().filter_map(one).collect()
    }

    /// Creates a service's folder, sets its limits, and opens it to be cloned into.
    ///
    /// # Errors
    /// When the folder cannot be created or opened; a limit that cannot be set is in the list.
    pub fn enter(&self, service: &Service) -> io::Result<(OwnedFd, Vec<String>)> {
        let folder = self.folder(&service.name);
        fs::create_dir_all(&folder)?;
        let set = |(file, value): (&str, String)| {
            let result = fs::write(folder.join(file), &value);
            result.err().map(|e| format!("{file} = {value}: {e}"))
        };
        let failed = limits(service).into_iter().filter_map(set).collect();
        Ok((File::open(&folder)?.into(), failed))
    }

    /// Kills every process in a service's folder and below.
    ///
    /// # Errors
    /// As write(2); a folder that is not there is no error.
    pub fn kill(&self, service: &str) -> io::Result<()> {
        match fs::write(self.folder(service).join("cgroup.kill"), "1") {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// A file that is urgent to be read (`POLLPRI`) once the service was refused a process.
    ///
    /// # Errors
    /// As open(2) or read(2): without the controller there is none.
    pub fn refusals(&self, service: &str) -> io::Result<File> {
        let mut file = File::open(self.folder(service).join("pids.events"))?;
        // What is told from now on is what comes after this reading.
        io::Read::read_to_end(&mut file, &mut Vec::new())?;
        Ok(file)
    }

    /// How often a process of the service was killed because its memory had reached the limit.
    #[must_use]
    pub fn out_of_memory(&self, service: &str) -> u64 {
        let text = fs::read_to_string(self.folder(service).join("memory.events"));
        let text = text.unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    fn folder(&self, service: &str) -> PathBuf {
        self.root.join(CGROUP_SERVICES).join(service)
    }
}

/// Three quarters of the processes that the kernel can have at all.
fn for_containers(threads: Option<u64>, pids: Option<u64>) -> Option<u64> {
    let all = threads.into_iter().chain(pids).min()?;
    Some((all / 4 * 3).max(1))
}

/// Files of the service's folder and what goes into them.
fn limits(service: &Service) -> Vec<(&'static str, String)> {
    let text = |limit: Option<u64>| limit.map_or("max".to_owned(), |n| n.to_string());
    let mut limits = vec![
        ("memory.max", text(service.memory_max)),
        ("memory.high", text(service.memory_high)),
        ("pids.max", text(service.tasks_max)),
    ];
    limits.extend(
        service
            .cpu_weight
            .map(|weight| ("cpu.weight", weight.to_string())),
    );
    limits
}

/// The service whose cgroup a process is in, from the text of `/proc/PID/cgroup`.
#[must_use]
pub fn service_of(proc_cgroup: &str) -> Option<&str> {
    let path = proc_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?;
    let below = path.strip_prefix(CGROUP_SERVICES)?.strip_prefix('/')?;
    below.split('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_to_the_service_whose_folder_it_is_in_or_below() {
        assert_eq!(service_of("0::/skeg.slice/engine\n"), Some("engine"));
        assert_eq!(
            service_of("1:cpu:/x\n0::/skeg.slice/engine/a/b\n"),
            Some("engine")
        );
        for other in [
            "",
            "0::/",
            "0::/skeg.slice",
            "0::/skeg.slicex/a",
            "0::/containers.slice/skeg.slice/a",
        ] {
            assert_eq!(service_of(other), None, "{other}");
        }
    }

    #[test]
    fn containers_leave_a_quarter_of_all_processes_to_the_host() {
        assert_eq!(for_containers(Some(2048), Some(32_768)), Some(1536));
        assert_eq!(for_containers(None, Some(32_768)), Some(24_576));
        assert_eq!(for_containers(None, None), None);
    }

    #[test]
    fn the_limit_of_all_containers_is_written() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "pids").unwrap();
        Cgroups::prepare(root.path()).unwrap();
        let file = root.path().join(CGROUP_CONTAINERS).join("pids.max");
        let most: u64 = fs::read_to_string(file).unwrap().parse().unwrap();
        assert!(most > 0);
    }

    #[test]
    fn limits_are_written_as_the_kernel_wants_them() {
        let mut service = Service::new("a");
        service.memory_max = Some(1 << 20);
        service.cpu_weight = Some(50);
        let limits = limits(&service);
        assert!(limits.contains(&("memory.max", "1048576".into())));
        assert!(limits.contains(&("pids.max", "max".into())));
        assert!(limits.contains(&("cpu.weight", "50".into())));
    }
}
