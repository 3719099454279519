//! The operations that a plan is made of, named as the kernel names them.
//!
//! They are values: they can be compared, printed, and sent to the zygote. None of them acts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::capabilities::Sets;
use super::hook::Hook;
use super::mount_options::{Attributes, Propagation};
use super::namespaces::Namespace;
use super::user::UserChoice;

/// One step of a container's set-up. Paths without a note are the container's, resolved in its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
#[allow(missing_docs)] // the fields are what the kernel's manual pages call them
pub enum Operation {
    /// setns(2) to a namespace that the host's file `path` names.
    Setns { namespace: Namespace, path: String },
    /// unshare(2); for the cgroup namespace, whose root is the cgroup that one is in at that moment.
    Unshare { namespace: Namespace },
    /// Waits until the parent has written the id maps of the new user namespace.
    AwaitMaps,
    /// User and group 0 of the user namespace that one is in, without other groups.
    BecomeRoot { keep_groups: bool },
    /// personality(2).
    Personality { domain: u32 },
    /// A new session, so that no signal of the zygote's terminal arrives.
    Setsid,
    /// A session keyring of its own (keyctl(2)).
    SessionKeyring,
    /// `/proc/self/oom_score_adj`.
    OomScoreAdj { value: i32 },
    /// Propagation of all mounts that were inherited.
    RootPropagation { propagation: Propagation },
    /// An overlay of host paths, mounted at the host's `at`; from here on the container's root.
    Overlay {
        lower: Vec<String>,
        upper: String,
        work: String,
        at: String,
    },
    /// The host's directory `source`, bound onto itself; from here on the container's root.
    BindRoot { source: String },
    /// The detached tree that was made before the clone; from here on the container's root.
    AttachRoot { tree: usize, source: String },
    /// A new file system (fsopen, fsconfig, fsmount, move_mount).
    Mount {
        fstype: String,
        source: String,
        target: String,
        attributes: Attributes,
        data: Vec<String>,
        copy_up: bool,
    },
    /// Other flags for what is mounted at `target`.
    Remount {
        target: String,
        attributes: Attributes,
    },
    /// A detached tree that was made before the clone.
    Attach {
        tree: usize,
        source: String,
        target: String,
    },
    /// A clone of the host's `source` (open_tree, mount_setattr, move_mount).
    Bind {
        source: String,
        target: String,
        recursive: bool,
        attributes: Attributes,
    },
    /// mknod(2). `kind` is `c`, `b` or `p`.
    Mknod {
        path: String,
        kind: char,
        major: u32,
        minor: u32,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// symlink(2), unless something is there.
    Symlink { target: String, link: String },
    /// A pseudo terminal of the container's devpts: standard streams and `/dev/console`.
    Terminal { rows: u16, columns: u16 },
    /// Reports that the namespaces are made, and waits for the parent's hooks.
    AwaitHooks,
    /// Hooks that run in the container's namespaces.
    Hooks { hooks: Vec<Hook> },
    /// A path that nobody may see: `/dev/null` over a file, an empty tmpfs over a directory.
    MaskPath { path: String },
    /// A path that nobody may write to.
    ReadonlyPath { path: String },
    /// pivot_root(2), and the host's tree is unmounted.
    PivotRoot,
    /// `MS_MOVE` of the root to `/` and chroot, where pivot_root(2) cannot be.
    MoveRoot,
    /// Propagation of the root, once it is the root.
    FinalPropagation {
        propagation: Propagation,
        recursive: bool,
    },
    /// The root itself read-only (mount_setattr(2)).
    ReadonlyRoot,
    /// A file of `/proc/sys`.
    Sysctl { key: String, value: String },
    /// sethostname(2).
    Sethostname { name: String },
    /// setdomainname(2).
    Setdomainname { name: String },
    /// setrlimit(2); `u64::MAX` is unlimited.
    Setrlimit {
        resource: String,
        soft: u64,
        hard: u64,
    },
    /// sched_setattr(2); times are nanoseconds.
    Scheduler {
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    },
    /// ioprio_set(2).
    IoPriority { class: u16, level: u16 },
    /// The label that the program gets from a security module.
    Label { module: String, label: String },
    /// The working directory, made when it does not exist.
    MakeCwd { path: String },
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivs,
    /// setgroups, setresgid, setresuid, with names looked up in the container's `/etc`; and the
    /// bounding, permitted, effective, inheritable and ambient capabilities.
    Credentials {
        user: UserChoice,
        capabilities: Sets,
    },
    /// umask(2).
    Umask { mask: u32 },
    /// chdir(2), verified to be inside the root.
    Chdir { path: String },
    /// Finds the program in the container's `PATH`.
    FindProgram { name: String },
    /// Reports `ready`, and waits for the byte on the start pipe.
    AwaitStart,
    /// Go on as another process, in the container's pid namespace: it sees this one from here on.
    Descend,
    /// seccomp(2) with a compiled filter, in hexadecimal.
    /// With `listener`, its notifications are the parent's.
    Seccomp {
        filter: String,
        flags: u32,
        listener: bool,
    },
    /// execve(2) of the program found.
    Execve { args: Vec<String> },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setns { namespace, path } => write!(f, "setns {namespace} {path}"),
            Self::Unshare { namespace } => write!(f, "unshare {namespace}"),
            Self::AwaitMaps => f.write_str("await id maps"),
            Self::BecomeRoot { .. } => f.write_str("setresuid 0"),
            Self::Personality { domain } => write!(f, "personality {domain}"),
            Self::Setsid => f.write_str("setsid"),
            Self::SessionKeyring => f.write_str("keyctl join_session_keyring"),
            Self::OomScoreAdj { value } => write!(f, "oom_score_adj {value}"),
            Self::RootPropagation { propagation } => write!(f, "mount / r{propagation}"),
            Self::Overlay {
                lower, upper, at, ..
            } => {
                let lower = lower.join(":");
                write!(f, "mount overlay on {at} lower={lower} upper={upper}")
            }
            Self::BindRoot { source } => write!(f, "bind {source} as root"),
            Self::AttachRoot { source, .. } => write!(f, "attach {source} as root"),
            Self::Remount { target, attributes } => write!(f, "remount {target} [{attributes}]"),
            Self::Attach { source, target, .. } => write!(f, "attach {source} on {target}"),
            Self::Mount {
                fstype,
                target,
                attributes,
                data,
                copy_up,
                ..
            } => {
                write!(f, "mount {fstype} on {target} [{attributes}]")?;
                if *copy_up {
                    f.write_str(" copy-up")?;
                }
                data.iter().try_for_each(|option| write!(f, " {option}"))
            }
            Self::Bind {
                source,
                target,
                recursive,
                attributes,
            } => {
                let r = if *recursive { "r" } else { "" };
                write!(f, "{r}bind {source} on {target} [{attributes}]")
            }
            Self::Mknod {
                path,
                kind,
                major,
                minor,
                mode,
                ..
            } => write!(f, "mknod {path} {kind} {major}:{minor} {mode:o}"),
            Self::Symlink { target, link } => write!(f, "symlink {link} -> {target}"),
            Self::Terminal { .. } => f.write_str("terminal /dev/console"),
            Self::AwaitHooks => f.write_str("await hooks"),
            Self::Hooks { hooks } => {
                let paths: Vec<&str> = hooks.iter().map(|hook| hook.path.as_str()).collect();
                write!(f, "hooks {}", paths.join(" "))
            }
            Self::MaskPath { path } => write!(f, "mask {path}"),
            Self::ReadonlyPath { path } => write!(f, "readonly {path}"),
            Self::PivotRoot => f.write_str("pivot_root"),
            Self::MoveRoot => f.write_str("move root, chroot"),
            Self::FinalPropagation {
                propagation,
                recursive,
            } => {
                let r = if *recursive { "r" } else { "" };
                write!(f, "mount / {r}{propagation}")
            }
            Self::ReadonlyRoot => f.write_str("readonly /"),
            Self::Sysctl { key, value } => write!(f, "sysctl {key}={value}"),
            Self::Sethostname { name } => write!(f, "sethostname {name}"),
            Self::Setdomainname { name } => write!(f, "setdomainname {name}"),
            Self::Setrlimit {
                resource,
                soft,
                hard,
            } => write!(f, "setrlimit {resource} {soft}:{hard}"),
            Self::Scheduler {
                policy,
                nice,
                priority,
                ..
            } => write!(f, "sched_setattr {policy} nice {nice} priority {priority}"),
            Self::IoPriority { class, level } => write!(f, "ioprio_set {class} {level}"),
            Self::Label { module, label } => write!(f, "label {module} {label}"),
            Self::MakeCwd { path } => write!(f, "mkdir {path}"),
            Self::NoNewPrivs => f.write_str("prctl no_new_privs"),
            Self::Credentials { user, capabilities } => {
                write!(f, "credentials {user} {capabilities}")
            }
            Self::Umask { mask } => write!(f, "umask {mask:03o}"),
            Self::Chdir { path } => write!(f, "chdir {path}"),
            Self::FindProgram { name } => write!(f, "find {name}"),
            Self::AwaitStart => f.write_str("await start"),
            Self::Descend => f.write_str("descend"),
            Self::Seccomp { filter, .. } => {
                write!(f, "seccomp {} instructions", filter.len() / 16)
            }
            Self::Execve { args } => write!(f, "execve {args:?}"),
        }
    }
}
