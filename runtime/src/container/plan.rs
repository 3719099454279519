//! The plan: a spec turned into the ordered list of kernel operations that make the container.
//!
//! Pure: no file is read and no kernel asked. A field that is not supported is refused by its name,
//! never passed over.

mod device;
mod mount;
mod process;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxNamespace, Process, Spec};
use serde::{Deserialize, Serialize};

use super::capabilities::Sets;
use super::hook::Hook;
use super::idmap::Mapping;
use super::mount_options::{Attributes, Propagation};
use super::namespaces::Namespace;
use super::operation::Operation;
use super::refusals::{absolute, allow_sysctl, has_namespace, refuse_unsupported};
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
    /// Before the clone: namespaces of others that the child is to be born in, and where they are.
    pub joins: Vec<(Namespace, String)>,
    /// Before the clone: a new time namespace, with what is written to `timens_offsets`.
    pub clocks: Option<String>,
    /// Before the clone: clones of host mounts, made by whoever may, for [`Operation::Attach`].
    pub trees: Vec<Tree>,
    /// After the clone, by the parent: `oom_score_adj`, which root of a user namespace may not write.
    pub oom_score_adj: Option<i32>,
}

/// A detached clone of a host's mount, made before the child has a user namespace of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The host's path.
    pub source: String,
    /// With all that is mounted below.
    pub recursive: bool,
    /// Flags and propagation.
    pub attributes: Attributes,
    /// Whose ids its files show, when not the host's.
    pub ids: Option<IdMaps>,
    /// No host path at all: a device node that is made for it.
    pub node: Option<Node>,
}

/// A device node, with the host's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in mknod(2) and chown(2)
pub struct Node {
    pub kind: char,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The id maps of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<Mapping>,
    /// Group ids.
    pub gids: Vec<Mapping>,
    /// For the mounts below, too.
    pub recursive: bool,
}

/// What a plan depends on that does not stand in its spec. The default is a container that nobody
/// attends to: one that the engine starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Around {
    /// The container gets a cgroup of its own, which filters devices.
    pub in_cgroup: bool,
    /// A parent follows the set-up: it writes id maps, makes [`Plan::trees`] and runs hooks.
    pub attended: bool,
    /// The directory of its cgroup, shown to a container without a cgroup namespace.
    pub cgroup: Option<PathBuf>,
    /// The runtime is itself in a user namespace, where no device node can be made.
    pub unprivileged: bool,
    /// The parent may clone mounts of the host, which a user without a namespace of its own may not.
    pub clones_mounts: bool,
    /// `MS_MOVE` and chroot instead of pivot_root(2), for a root on the initramfs.
    pub no_pivot: bool,
    /// The session keyring of the caller is kept.
    pub keep_keyring: bool,
    /// The supplementary groups of the caller are kept.
    pub keep_groups: bool,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (namespace, path) in &self.joins {
            writeln!(f, "before: setns {namespace} {path}")?;
        }
        if let Some(offsets) = &self.clocks {
            writeln!(f, "before: unshare time {:?}", offsets.trim_end())?;
        }
        for tree in &self.trees {
            let ids = if tree.ids.is_some() { " idmapped" } else { "" };
            writeln!(
                f,
                "before: open_tree {} [{}]{ids}",
                tree.source, tree.attributes
            )?;
        }
        let names: Vec<String> = self.namespaces.iter().map(ToString::to_string).collect();
        writeln!(f, "clone3 {}", names.join(" "))?;
        self.operations
            .iter()
            .try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

impl Plan {
    /// The plan of a container.
    ///
    /// # Errors
    /// The field that is wrong or not supported, and what would have been right.
    pub fn create(spec: &Spec, rootfs: &Rootfs, around: &Around) -> Result<Self, String> {
        refuse_unsupported(spec, around.attended)?;
        let linux = spec.linux().as_ref().ok_or("linux: missing")?;
        let process = spec.process().as_ref().ok_or("process: missing")?;
        let mut plan = Self::of_process(process);
        plan.add_namespaces(linux, around)?;
        let place = mount::Place::of(spec, around);
        plan.add_environment(process, around.keep_keyring, place.own_user);
        plan.add_root(linux, rootfs, &place)?;
        for mount in spec.mounts().iter().flatten() {
            plan.add_mount(mount, &place)?;
        }
        plan.add_devices(spec, linux, &place, around)?;
        plan.add_terminal(process);
        plan.add_hooks(spec);
        plan.add_masks(linux);
        plan.push(Operation::MakeCwd {
            path: absolute(process.cwd(), "process.cwd")?,
        });
        plan.push(if around.no_pivot {
            Operation::MoveRoot
        } else {
            Operation::PivotRoot
        });
        plan.finish_root(spec, linux);
        plan.add_names(spec, linux)?;
        let start_hooks = hooks(spec, |hooks| hooks.start_container().as_ref());
        plan.add_process(process, linux, around.keep_groups, Some(start_hooks))?;
        let sets = Sets::from_spec(process.capabilities().as_ref());
        if !around.in_cgroup && !place.foreign && sets.bounding.has("MKNOD") {
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
        let mut plan = Self::of_process(process);
        for namespace in linux.namespaces().iter().flatten() {
            plan.namespaces.push(Namespace::from_spec(namespace.typ()));
        }
        if plan.namespaces.contains(&Namespace::User) {
            let keep_groups = false;
            plan.push(Operation::BecomeRoot { keep_groups });
        }
        plan.add_environment(process, false, plan.namespaces.contains(&Namespace::User));
        plan.add_terminal(process);
        plan.add_process(process, linux, false, None)?;
        Ok(plan)
    }

    fn of_process(process: &Process) -> Self {
        Self {
            env: process.env().clone().unwrap_or_default(),
            terminal: process.terminal().unwrap_or(false),
            ..Self::default()
        }
    }

    fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    fn add_namespaces(&mut self, linux: &Linux, around: &Around) -> Result<(), String> {
        let mut joins = Vec::new();
        for namespace in linux.namespaces().iter().flatten() {
            self.add_namespace(namespace, around.attended, &mut joins)?;
        }
        if !self.namespaces.contains(&Namespace::Mnt) {
            return Err("linux.namespaces: a container needs a new mount namespace".into());
        }
        if let Some(personality) = linux.personality() {
            self.push(process::personality(personality)?);
        }
        let user = |kind: &Namespace| *kind == Namespace::User;
        if self.namespaces.iter().any(user) {
            self.push(Operation::AwaitMaps);
        }
        if self.namespaces.iter().any(user) || self.joins.iter().any(|(kind, _)| user(kind)) {
            let keep_groups = around.keep_groups;
            self.push(Operation::BecomeRoot { keep_groups });
        }
        self.operations.extend(joins);
        if has_namespace(linux, Namespace::Time) {
            self.clocks = Some(process::clock_offsets(linux));
        } else if linux.time_offsets().iter().flatten().count() > 0 {
            return Err(
                "linux.timeOffsets: they need a time namespace of the container's own".into(),
            );
        }
        if has_namespace(linux, Namespace::Cgroup) {
            let namespace = Namespace::Cgroup;
            self.push(Operation::Unshare { namespace });
        }
        Ok(())
    }

    fn add_namespace(
        &mut self,
        namespace: &LinuxNamespace,
        attended: bool,
        joins: &mut Vec<Operation>,
    ) -> Result<(), String> {
        let kind = Namespace::from_spec(namespace.typ());
        let path = namespace.path().as_deref();
        let path = path.filter(|path| !path.as_os_str().is_empty());
        match (path, kind) {
            (_, Namespace::User | Namespace::Time) if !attended => {
                return Err(format!("linux.namespaces: {kind} is not supported yet"));
            }
            // The clone puts into the cgroup after it has made namespaces: too early for this; and
            // a clone never enters the time namespace that it makes.
            (None, Namespace::Cgroup | Namespace::Time) => {}
            (None, kind) => self.namespaces.push(kind),
            (Some(path), Namespace::Net | Namespace::Ipc | Namespace::Uts | Namespace::Cgroup) => {
                joins.push(Operation::Setns {
                    namespace: kind,
                    path: absolute(path, "linux.namespaces.path")?,
                });
            }
            (Some(path), Namespace::Pid | Namespace::User | Namespace::Time) if attended => {
                let path = absolute(path, "linux.namespaces.path")?;
                self.joins.push((kind, path));
            }
            (Some(_), kind) => {
                return Err(format!(
                    "linux.namespaces: joining {kind} is not supported yet"
                ));
            }
        }
        Ok(())
    }

    fn add_environment(&mut self, process: &Process, keep_keyring: bool, own_user: bool) {
        self.push(Operation::Setsid);
        if !keep_keyring {
            self.push(Operation::SessionKeyring);
        }
        match process.oom_score_adj() {
            None => {}
            Some(value) if own_user => self.oom_score_adj = Some(value),
            Some(value) => self.push(Operation::OomScoreAdj { value }),
        }
    }

    fn add_root(
        &mut self,
        linux: &Linux,
        rootfs: &Rootfs,
        place: &mount::Place,
    ) -> Result<(), String> {
        let propagation = match linux.rootfs_propagation().as_deref() {
            Some("private" | "rprivate") => Propagation::Private,
            None | Some("" | "slave" | "rslave") => Propagation::Slave,
            Some("shared" | "rshared" | "unbindable" | "runbindable") => Propagation::Slave,
            Some(other) => {
                return Err(format!(
                    "linux.rootfsPropagation: {other:?} is unknown, expected shared, slave, private \
                     or unbindable, each with or without a leading r"
                ));
            }
        };
        self.push(Operation::RootPropagation { propagation });
        let path = |path: &PathBuf, field| absolute(path, field);
        let root = match rootfs {
            Rootfs::Directory(directory) if place.prepared => {
                self.prepared_root(path(directory, "root.path")?)
            }
            Rootfs::Directory(directory) => Operation::BindRoot {
                source: path(directory, "root.path")?,
            },
            Rootfs::Overlay {
                lower,
                upper,
                work,
                at,
            } => Operation::Overlay {
                lower: lower
                    .iter()
                    .map(|lower| path(lower, "overlay lower"))
                    .collect::<Result<_, _>>()?,
                upper: path(upper, "overlay upper")?,
                work: path(work, "overlay work")?,
                at: path(at, "overlay at")?,
            },
        };
        self.push(root);
        Ok(())
    }

    /// A root to which no path may lead for the container's own root user.
    fn prepared_root(&mut self, source: String) -> Operation {
        self.trees.push(Tree {
            source: source.clone(),
            recursive: true,
            attributes: Attributes::default(),
            ids: None,
            node: None,
        });
        Operation::AttachRoot {
            tree: self.trees.len() - 1,
            source,
        }
    }

    /// The root's own flags, once it is the root.
    fn finish_root(&mut self, spec: &Spec, linux: &Linux) {
        let root = spec.root().as_ref();
        if root.and_then(oci_spec::runtime::Root::readonly) == Some(true) {
            self.push(Operation::ReadonlyRoot);
        }
        let (propagation, recursive) = match linux.rootfs_propagation().as_deref() {
            Some("shared") => (Propagation::Shared, false),
            Some("rshared") => (Propagation::Shared, true),
            Some("unbindable") => (Propagation::Unbindable, false),
            Some("runbindable") => (Propagation::Unbindable, true),
            _ => return,
        };
        self.push(Operation::FinalPropagation {
            propagation,
            recursive,
        });
    }

    fn add_hooks(&mut self, spec: &Spec) {
        #[allow(deprecated)] // and still what nvidia's and others' tools use
        let before = |hooks: &oci_spec::runtime::Hooks| {
            let lists = [hooks.prestart(), hooks.create_runtime()];
            lists.iter().any(|list| list.iter().flatten().count() > 0)
        };
        let inside = hooks(spec, |hooks| hooks.create_container().as_ref());
        // Those that start runs, too, are told the container's state, which comes then.
        let later = hooks(spec, |hooks| hooks.start_container().as_ref());
        let told = !inside.is_empty() || !later.is_empty();
        if spec.hooks().as_ref().is_some_and(before) || told {
            self.push(Operation::AwaitHooks);
        }
        if !inside.is_empty() {
            self.push(Operation::Hooks { hooks: inside });
        }
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
}

/// One kind of the spec's hooks.
fn hooks(
    spec: &Spec,
    kind: fn(&oci_spec::runtime::Hooks) -> Option<&Vec<oci_spec::runtime::Hook>>,
) -> Vec<Hook> {
    let hooks = spec.hooks().as_ref().and_then(kind);
    hooks.into_iter().flatten().map(Hook::from_spec).collect()
}
