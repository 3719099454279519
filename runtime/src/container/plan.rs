//! The plan: a spec turned into the ordered list of kernel operations that make the container.
//!
//! Pure: no file is read and no kernel asked. A field that is not supported is refused by its name,
//! never passed over.

use std::fmt;
use std::path::Path;

use oci_spec::runtime::{Linux, Mount, Process, Spec};
use serde::{Deserialize, Serialize};

use super::capabilities::Sets;
use super::mount_options::{Options, Propagation};
use super::namespaces::Namespace;
use super::operation::Operation;
use super::refusals::{absolute, allow_sysctl, has_namespace, refuse_unsupported};
use super::user::UserChoice;
use super::{devices, rootfs, seccomp};
use crate::zygote::Rootfs;

/// What the zygote executes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Namespaces that the clone makes; for an exec, those that are joined.
    pub namespaces: Vec<Namespace>,
    /// What the child does, in order.
    pub operations: Vec<Operation>,
    /// The program's environment.
    pub env: Vec<String>,
    /// Whether there is an [`Operation::Terminal`], which needs a place for the master.
    pub terminal: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.namespaces.iter().map(ToString::to_string).collect();
        writeln!(f, "clone3 {}", names.join(" "))?;
        self.operations
            .iter()
            .try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

impl Plan {
    /// The plan of a container. `in_cgroup`: it gets a cgroup of its own, which filters devices.
    ///
    /// # Errors
    /// The field that is wrong or not supported, and what would have been right.
    pub fn create(spec: &Spec, rootfs: &Rootfs, in_cgroup: bool) -> Result<Self, String> {
        refuse_unsupported(spec)?;
        let linux = spec.linux().as_ref().ok_or("linux: missing")?;
        let process = spec.process().as_ref().ok_or("process: missing")?;
        let mut plan = Self {
            env: process.env().clone().unwrap_or_default(),
            terminal: process.terminal().unwrap_or(false),
            ..Self::default()
        };
        plan.add_namespaces(linux)?;
        plan.add_environment(process);
        plan.add_root(linux, rootfs)?;
        plan.add_mounts(spec)?;
        plan.add_devices(spec, linux)?;
        plan.add_terminal(process);
        plan.add_masks(linux);
        plan.push(Operation::MakeCwd {
            path: directory(process)?,
        });
        plan.push(Operation::PivotRoot);
        if spec
            .root()
            .as_ref()
            .and_then(oci_spec::runtime::Root::readonly)
            == Some(true)
        {
            plan.push(Operation::ReadonlyRoot);
        }
        plan.add_names(spec, linux)?;
        plan.add_process(process, linux, true)?;
        let sets = Sets::from_spec(process.capabilities().as_ref());
        if !in_cgroup && sets.bounding.has("MKNOD") {
            return Err(
                "process.capabilities: CAP_MKNOD without a cgroup of its own would reach \
                        every device of the host"
                    .into(),
            );
        }
        Ok(plan)
    }

    /// The plan of another process in a container that was made from `spec`.
    ///
    /// # Errors
    /// The field that is wrong or not supported, and what would have been right.
    pub fn exec(spec: &Spec, process: &Process) -> Result<Self, String> {
        let linux = spec.linux().as_ref().ok_or("linux: missing")?;
        let mut plan = Self {
            env: process.env().clone().unwrap_or_default(),
            terminal: process.terminal().unwrap_or(false),
            ..Self::default()
        };
        for namespace in linux.namespaces().iter().flatten() {
            plan.namespaces.push(Namespace::from_spec(namespace.typ())?);
        }
        plan.add_environment(process);
        plan.add_terminal(process);
        plan.add_process(process, linux, false)?;
        Ok(plan)
    }

    fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    fn add_namespaces(&mut self, linux: &Linux) -> Result<(), String> {
        for namespace in linux.namespaces().iter().flatten() {
            let kind = Namespace::from_spec(namespace.typ())?;
            match (namespace.path(), kind) {
                // The clone puts into the cgroup after it has made namespaces: too early for this.
                (None, Namespace::Cgroup) => {}
                (None, kind) => self.namespaces.push(kind),
                (Some(path), Namespace::Net | Namespace::Ipc | Namespace::Uts) => {
                    let path = absolute(path, "linux.namespaces.path")?;
                    self.push(Operation::Setns {
                        namespace: kind,
                        path,
                    });
                }
                (Some(_), kind) => {
                    return Err(format!(
                        "linux.namespaces: joining {kind} is not supported yet"
                    ));
                }
            }
        }
        if !self.namespaces.contains(&Namespace::Mnt) {
            return Err("linux.namespaces: a container needs a new mount namespace".into());
        }
        let cgroup = linux.namespaces().iter().flatten();
        if cgroup
            .filter(|namespace| namespace.path().is_none())
            .any(|namespace| Namespace::from_spec(namespace.typ()) == Ok(Namespace::Cgroup))
        {
            let namespace = Namespace::Cgroup;
            self.push(Operation::Unshare { namespace });
        }
        Ok(())
    }

    fn add_environment(&mut self, process: &Process) {
        self.push(Operation::Setsid);
        self.push(Operation::SessionKeyring);
        if let Some(value) = process.oom_score_adj() {
            self.push(Operation::OomScoreAdj { value });
        }
    }

    fn add_root(&mut self, linux: &Linux, rootfs: &Rootfs) -> Result<(), String> {
        let propagation = match linux.rootfs_propagation().as_deref() {
            None | Some("" | "slave" | "rslave") => Propagation::Slave,
            Some("private" | "rprivate") => Propagation::Private,
            Some(other) => {
                return Err(format!(
                    "linux.rootfsPropagation: {other:?} is not supported, expected slave or private"
                ));
            }
        };
        self.push(Operation::RootPropagation { propagation });
        self.push(match rootfs {
            Rootfs::Directory(path) => Operation::BindRoot {
                source: absolute(path, "root.path")?,
            },
            Rootfs::Overlay {
                lower,
                upper,
                work,
                at,
            } => Operation::Overlay {
                lower: lower
                    .iter()
                    .map(|path| absolute(path, "overlay lower"))
                    .collect::<Result<_, _>>()?,
                upper: absolute(upper, "overlay upper")?,
                work: absolute(work, "overlay work")?,
                at: absolute(at, "overlay at")?,
            },
        });
        Ok(())
    }

    fn add_mounts(&mut self, spec: &Spec) -> Result<(), String> {
        for mount in spec.mounts().iter().flatten() {
            let operation = mount_operation(mount)?;
            self.push(operation);
        }
        Ok(())
    }

    fn add_devices(&mut self, spec: &Spec, linux: &Linux) -> Result<(), String> {
        let own_dev = spec.mounts().iter().flatten().any(|mount| {
            mount.destination() == Path::new("/dev") && mount.typ().as_deref() == Some("tmpfs")
        });
        let nodes = linux.devices().as_deref().unwrap_or_default();
        if own_dev || !nodes.is_empty() {
            self.operations.extend(devices::operations(nodes)?);
        }
        Ok(())
    }

    fn add_terminal(&mut self, process: &Process) {
        if !self.terminal {
            return;
        }
        let size = |value: u64| u16::try_from(value).unwrap_or(0);
        let console = process.console_size();
        self.push(Operation::Terminal {
            rows: console.map_or(0, |console| size(console.height())),
            columns: console.map_or(0, |console| size(console.width())),
        });
    }

    fn add_masks(&mut self, linux: &Linux) {
        for path in linux.readonly_paths().iter().flatten() {
            self.push(Operation::ReadonlyPath { path: path.clone() });
        }
        for path in linux.masked_paths().iter().flatten() {
            self.push(Operation::MaskPath { path: path.clone() });
        }
    }

    fn add_names(&mut self, spec: &Spec, linux: &Linux) -> Result<(), String> {
        let mut sysctls: Vec<_> = linux.sysctl().iter().flatten().collect();
        sysctls.sort();
        for (key, value) in sysctls {
            allow_sysctl(key, linux)?;
            self.push(Operation::Sysctl {
                key: key.clone(),
                value: value.clone(),
            });
        }
        let own_uts = has_namespace(linux, Namespace::Uts);
        for (field, name) in [
            ("hostname", spec.hostname()),
            ("domainname", spec.domainname()),
        ] {
            let Some(name) = name.clone().filter(|name| !name.is_empty()) else {
                continue;
            };
            if !own_uts {
                return Err(format!(
                    "{field}: it needs a UTS namespace of the container's own"
                ));
            }
            self.push(match field {
                "hostname" => Operation::Sethostname { name },
                _ => Operation::Setdomainname { name },
            });
        }
        Ok(())
    }

    fn add_process(
        &mut self,
        process: &Process,
        linux: &Linux,
        await_start: bool,
    ) -> Result<(), String> {
        let args = process.args().clone().unwrap_or_default();
        let name = args.first().cloned().ok_or("process.args: empty")?;
        for limit in process.rlimits().iter().flatten() {
            self.push(Operation::Setrlimit {
                resource: limit.typ().to_string(),
                soft: limit.soft(),
                hard: limit.hard(),
            });
        }
        let filter = linux.seccomp().as_ref().map(seccomp::compile);
        let filter = filter
            .transpose()?
            .flatten()
            .map(|filter| Operation::Seccomp {
                filter: filter.program,
                flags: filter.flags,
            });
        let no_new_privileges = process.no_new_privileges().unwrap_or(false);
        // The last moment at which the kernel takes a filter: with no_new_privs just before the
        // exec, else while CAP_SYS_ADMIN is still there.
        let (early, late) = if no_new_privileges {
            (None, filter)
        } else {
            (filter, None)
        };
        if no_new_privileges {
            self.push(Operation::NoNewPrivs);
        }
        self.operations.extend(early);
        let user = process.user();
        self.push(Operation::Credentials {
            user: UserChoice {
                name: user.username().clone(),
                uid: user.uid(),
                gid: user.gid(),
                groups: user.additional_gids().clone().unwrap_or_default(),
            },
            capabilities: Sets::from_spec(process.capabilities().as_ref()),
        });
        self.push(Operation::Umask {
            mask: user.umask().unwrap_or(0o022),
        });
        self.push(Operation::Chdir {
            path: directory(process)?,
        });
        self.push(Operation::FindProgram { name });
        if await_start {
            self.push(Operation::AwaitStart);
        }
        self.operations.extend(late);
        self.push(Operation::Execve { args });
        Ok(())
    }
}

fn mount_operation(mount: &Mount) -> Result<Operation, String> {
    let target = absolute(mount.destination(), "mounts.destination")?;
    if rootfs::normalized(&target).as_os_str().is_empty() {
        return Err(format!("mounts: {target}: is the root itself"));
    }
    let mut options = Options::parse(mount.options().as_deref().unwrap_or_default());
    let fstype = mount.typ().as_deref().unwrap_or("");
    for mapping in [mount.uid_mappings(), mount.gid_mappings()] {
        if mapping.iter().flatten().count() > 0 {
            return Err(format!(
                "mounts: {target}: id mappings are not supported yet"
            ));
        }
    }
    let source = mount.source().as_deref();
    if fstype == "bind" || options.bind.is_some() {
        let source = source.ok_or_else(|| format!("mounts: {target}: a bind needs a source"))?;
        if let Some(unknown) = options.data.first() {
            return Err(format!(
                "mounts: {target}: option {unknown:?} is unknown for a bind"
            ));
        }
        if options.attributes.propagation.is_none() {
            options.attributes.propagation = Some(Propagation::Private);
            options.attributes.propagation_recursive = true;
        }
        return Ok(Operation::Bind {
            source: absolute(source, "mounts.source")?,
            target,
            recursive: options.bind.unwrap_or(true),
            attributes: options.attributes,
        });
    }
    let fstype = match fstype {
        "" => {
            return Err(format!(
                "mounts: {target}: a type or the option bind is needed"
            ));
        }
        "cgroup" => "cgroup2",
        other => other,
    };
    let source = source.map_or(Ok(fstype.to_owned()), |source| {
        source
            .to_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("mounts: {target}: the source is not UTF-8"))
    })?;
    Ok(Operation::Mount {
        fstype: fstype.into(),
        source,
        target,
        attributes: options.attributes,
        data: options.data,
    })
}

fn directory(process: &Process) -> Result<String, String> {
    absolute(process.cwd(), "process.cwd")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::defaults::{self, Bind, Namespace as Choice, Options};
    use std::path::PathBuf;

    fn overlay() -> Rootfs {
        Rootfs::Overlay {
            lower: vec!["/layers/2".into(), "/layers/1".into()],
            upper: "/c/upper".into(),
            work: "/c/work".into(),
            at: "/c/root".into(),
        }
    }

    fn plan(options: &Options) -> Result<Plan, String> {
        let spec = defaults::spec(None, options).unwrap();
        Plan::create(&spec, &overlay(), true)
    }

    fn options() -> Options {
        Options {
            command: Some(vec!["serve".into()]),
            ..Options::default()
        }
    }

    #[test]
    fn the_default_plan_is_this_one() {
        let volume = Bind {
            source: "/srv/www".into(),
            target: "/www".into(),
            read_only: true,
            options: Vec::new(),
        };
        let options = Options {
            hostname: Some("web".into()),
            binds: vec![volume],
            read_only: true,
            ..options()
        };
        let printed = plan(&options).unwrap().to_string();
        let (head, filter) = printed.split_once("seccomp ").unwrap();
        assert_eq!(head, include_str!("default.plan"));
        assert!(
            filter.ends_with(" instructions\nexecve [\"serve\"]\n"),
            "{filter}"
        );
    }

    #[test]
    fn without_no_new_privs_the_filter_is_loaded_while_root_may() {
        let options = Options {
            no_new_privileges: false,
            ..options()
        };
        let operations = plan(&options).unwrap().operations;
        let at = |found: fn(&Operation) -> bool| operations.iter().position(found).unwrap();
        let filter = at(|operation| matches!(operation, Operation::Seccomp { .. }));
        let credentials = at(|operation| matches!(operation, Operation::Credentials { .. }));
        assert!(filter < credentials);
    }

    #[test]
    fn a_plan_survives_the_wire() {
        let plan = plan(&options()).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let mut spec = defaults::spec(None, &options()).unwrap();
        spec.set_hooks(Some(oci_spec::runtime::Hooks::default()));
        let refused = Plan::create(&spec, &overlay(), true);
        assert_eq!(refused.unwrap_err(), "hooks is not supported yet");
        let shared = Options {
            pid: Choice::Path("/proc/7/ns/pid".into()),
            ..options()
        };
        assert!(plan(&shared).unwrap_err().contains("joining pid"));
    }

    #[test]
    fn relative_paths_are_refused_with_their_field() {
        let relative = Options {
            working_dir: Some("srv".into()),
            ..options()
        };
        let operations = plan(&relative).unwrap().operations;
        let path = "/srv".to_owned();
        assert!(
            operations.contains(&Operation::Chdir { path }),
            "taken from /"
        );
        let mut spec = defaults::spec(None, &options()).unwrap();
        let mut process = spec.process().clone().unwrap();
        process.set_cwd(PathBuf::from("srv"));
        spec.set_process(Some(process));
        let error = Plan::create(&spec, &overlay(), true).unwrap_err();
        assert!(error.starts_with("process.cwd: \"srv\""), "{error}");
    }

    #[test]
    fn nothing_is_mounted_over_the_root() {
        for target in ["/", "/..", "/a/../"] {
            let options = Options {
                tmpfs: vec![(target.into(), String::new())],
                ..options()
            };
            let error = plan(&options).unwrap_err();
            assert!(error.ends_with("is the root itself"), "{error}");
        }
    }

    #[test]
    fn a_kernel_parameter_of_a_namespace_that_is_joined_is_refused() {
        let mut options = options();
        options.network = Choice::Path("/proc/1/ns/net".into());
        let key = "net.ipv4.ip_forward".to_owned();
        options.sysctls.insert(key, "1".into());
        let error = plan(&options).unwrap_err();
        assert!(error.contains("namespace of its own"), "{error}");
    }

    #[test]
    fn a_network_of_another_is_joined_and_the_host_s_is_kept() {
        let joined = Options {
            network: Choice::Path("/proc/7/ns/net".into()),
            ..options()
        };
        let joined = plan(&joined).unwrap();
        assert!(!joined.namespaces.contains(&Namespace::Net));
        assert!(joined.to_string().contains("setns net /proc/7/ns/net\n"));
        let host = Options {
            network: Choice::Host,
            ..options()
        };
        assert!(!plan(&host).unwrap().to_string().contains("net "));
    }
}
