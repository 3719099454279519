//! Docker's default container: from an image's config and the user's options to an OCI runtime spec.
//!
//! Pure: nothing is looked up on the host. Names of users stay names in `process.user.username` and
//! are resolved in the container's own root, once that is mounted.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxCapabilities, LinuxCpu, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids,
    LinuxResources, Mount, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Root, Spec,
    User,
};

use super::capabilities::{self, Set};
pub use super::options::{Bind, EtcFiles, Limits, Namespace, Options, Rlimit, Seccomp};
use super::process::rlimit_name;
use super::{device_rules, masks, seccomp_profile};

/// Why no spec could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the image nor the options name a command.
    #[error("no command: neither the image nor the options name one")]
    NoCommand,
    /// An option's value is not understood.
    #[error("{option}: {value:?} is not valid, expected {expected}")]
    Invalid {
        /// The option's name.
        option: &'static str,
        /// What was found.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
}

/// `PATH` when the image sets none.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Period of `cpu.max` in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// Docker's limits of open files: what select(2) can count, and what a program may raise it to.
const NOFILE: (u64, u64) = (1024, 524_288);

/// The spec of a container of an image with this config (`None` for an image without one).
///
/// `root.path` stays empty: [`crate::zygote::CreateRequest::rootfs`] says what the root is.
///
/// # Errors
/// Names the option that is not understood.
pub fn spec(image: Option<&oci_spec::image::Config>, options: &Options) -> Result<Spec, Error> {
    let capabilities = capabilities(options)?;
    let mut root = Root::default();
    root.set_path(PathBuf::new())
        .set_readonly(Some(options.read_only));
    let mut spec = Spec::default();
    spec.set_version("1.2.0".into())
        .set_root(Some(root))
        .set_hostname(options.hostname.clone())
        .set_process(Some(process(image, options, capabilities)?))
        .set_mounts(Some(mounts(options)))
        .set_linux(Some(linux(options, capabilities)))
        .set_annotations(None);
    if options.uts != Namespace::New {
        spec.set_hostname(None);
    }
    Ok(spec)
}

fn invalid(option: &'static str, value: &str, expected: &'static str) -> Error {
    Error::Invalid {
        option,
        value: value.into(),
        expected,
    }
}

fn capabilities(options: &Options) -> Result<Set, Error> {
    const EXPECTED: &str = "a name of capabilities(7) or ALL";
    let named =
        |option, name: &str| Set::named(name).ok_or_else(|| invalid(option, name, EXPECTED));
    let mut bits = capabilities::DOCKER
        .iter()
        .filter_map(|name| Set::named(name))
        .fold(0, |bits, one| bits | one.0);
    for name in &options.cap_drop {
        bits &= !named("cap-drop", name)?.0;
    }
    for name in &options.cap_add {
        bits |= named("cap-add", name)?.0;
    }
    // `--cap-add=ALL --cap-drop=NET_RAW`: what is dropped by name stays dropped.
    for name in &options.cap_drop {
        let dropped = named("cap-drop", name)?;
        if dropped != Set::ALL {
            bits &= !dropped.0;
        }
    }
    Ok(Set(bits))
}

fn process(
    image: Option<&oci_spec::image::Config>,
    options: &Options,
    capabilities: Set,
) -> Result<Process, Error> {
    let from_image = |field: fn(&oci_spec::image::Config) -> &Option<Vec<String>>| {
        image
            .and_then(|image| field(image).clone())
            .unwrap_or_default()
    };
    // As Docker does: another entrypoint forgets the image's command too.
    let (mut args, command) = match (&options.entrypoint, &options.command) {
        (Some(entrypoint), command) => (entrypoint.clone(), command.clone().unwrap_or_default()),
        (None, Some(command)) => (
            from_image(oci_spec::image::Config::entrypoint),
            command.clone(),
        ),
        (None, None) => (
            from_image(oci_spec::image::Config::entrypoint),
            from_image(oci_spec::image::Config::cmd),
        ),
    };
    args.extend(command);
    if args.is_empty() {
        return Err(Error::NoCommand);
    }
    let granted = Some(capabilities.to_spec());
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(granted.clone())
        .set_effective(granted.clone())
        .set_permitted(granted)
        .set_inheritable(None)
        .set_ambient(None);
    let cwd = options.working_dir.clone().or_else(|| {
        let directory = image.and_then(|image| image.working_dir().clone());
        directory.filter(|path| !path.is_empty()).map(PathBuf::from)
    });
    let mut process = Process::default();
    process
        .set_terminal(Some(options.terminal))
        .set_user(user(image, options)?)
        .set_args(Some(args))
        .set_env(Some(environment(image, options)))
        .set_cwd(cwd.map_or_else(|| "/".into(), |cwd| Path::new("/").join(cwd)))
        .set_capabilities(Some(sets))
        .set_no_new_privileges(Some(options.no_new_privileges))
        .set_oom_score_adj(Some(options.oom_score_adj.unwrap_or(0)))
        .set_rlimits(Some(rlimits(options)?));
    Ok(process)
}

fn user(image: Option<&oci_spec::image::Config>, options: &Options) -> Result<User, Error> {
    let name = options.user.clone();
    let name = name.or_else(|| image.and_then(|image| image.user().clone()));
    let groups = options.groups.iter().map(|group| {
        let number = group.parse::<u32>();
        number.map_err(|_| invalid("group-add", group, "a number"))
    });
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    let mut user = User::default();
    user.set_username(Some(
        name.filter(|name| !name.is_empty()).unwrap_or("0".into()),
    ))
    .set_additional_gids(Some(groups));
    Ok(user)
}

/// `PATH`, then the image's variables, then the options'; each name once, in that order.
fn environment(image: Option<&oci_spec::image::Config>, options: &Options) -> Vec<String> {
    let mut variables = vec![format!("PATH={PATH}")];
    if options.terminal {
        variables.push("TERM=xterm".into());
    }
    let hostname = options.hostname.iter();
    variables.extend(hostname.map(|name| format!("HOSTNAME={name}")));
    let of_image = image
        .and_then(|image| image.env().clone())
        .unwrap_or_default();
    for variable in of_image.iter().chain(&options.env) {
        let name = variable.split('=').next().unwrap_or_default();
        variables.retain(|known| known.split('=').next() != Some(name));
        if variable.contains('=') {
            variables.push(variable.clone());
        }
    }
    variables
}

fn rlimits(options: &Options) -> Result<Vec<PosixRlimit>, Error> {
    let mut limits = options.rlimits.clone();
    let is_nofile = |limit: &Rlimit| rlimit_name(&limit.name).as_deref() == Some("RLIMIT_NOFILE");
    if !limits.iter().any(is_nofile) {
        let (soft, hard) = NOFILE;
        let name = "nofile".into();
        limits.push(Rlimit { name, soft, hard });
    }
    limits.iter().map(rlimit).collect()
}

fn rlimit(limit: &Rlimit) -> Result<PosixRlimit, Error> {
    const EXPECTED: &str = "a limit of getrlimit(2), e.g. nofile";
    let unknown = || invalid("ulimit", &limit.name, EXPECTED);
    let name = rlimit_name(&limit.name).ok_or_else(unknown)?;
    let kind: PosixRlimitType = serde_json::from_value(name.into()).map_err(|_| unknown())?;
    if limit.soft > limit.hard {
        let expected = "a soft limit that is not over the hard one";
        return Err(invalid("ulimit", &limit.name, expected));
    }
    let spec = PosixRlimitBuilder::default()
        .typ(kind)
        .soft(limit.soft)
        .hard(limit.hard);
    spec.build().map_err(|_| unknown())
}

fn mount(target: &str, fstype: &str, options: &str) -> Mount {
    let options = options.split(',').map(str::to_owned).collect();
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some(fstype.into()))
        .set_source(Some(fstype.into()))
        .set_options(Some(options));
    mount
}

/// The file systems of every container, then tmpfs, volumes and files, outer ones first.
fn mounts(options: &Options) -> Vec<Mount> {
    let shm = format!("nosuid,noexec,nodev,mode=1777,size={}", options.shm_size);
    let pts = "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5";
    let mut own = vec![
        mount("/proc", "proc", "nosuid,noexec,nodev"),
        mount("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        mount("/dev/pts", "devpts", pts),
        mount("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "nosuid,noexec,nodev,relatime,ro",
        ),
        mount("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
        mount("/dev/shm", "tmpfs", &shm),
    ];
    let mut asked: Vec<Mount> = options
        .tmpfs
        .iter()
        .map(|(target, extra)| {
            let base = "nosuid,nodev,noexec";
            let all = if extra.is_empty() {
                base.to_owned()
            } else {
                format!("{base},{extra}")
            };
            mount(&target.to_string_lossy(), "tmpfs", &all)
        })
        .collect();
    let etc = [
        ("/etc/hosts", &options.etc.hosts),
        ("/etc/resolv.conf", &options.etc.resolv_conf),
        ("/etc/hostname", &options.etc.hostname),
    ];
    let is_asked = |target: &str| {
        let target = Path::new(target);
        options.binds.iter().any(|bind| bind.target == target)
    };
    for (target, source) in etc {
        // A volume that the user puts there wins.
        if let Some(source) = source.as_ref().filter(|_| !is_asked(target)) {
            asked.push(bind(source, Path::new(target), &[]));
        }
    }
    for volume in &options.binds {
        let mut extra = volume.options.clone();
        if volume.read_only {
            extra.push("rro".into());
        }
        asked.push(bind(&volume.source, &volume.target, &extra));
    }
    asked.sort_by_key(|mount| mount.destination().components().count());
    own.retain(|mount| {
        let covers = |other: &Mount| other.destination() == mount.destination();
        !asked.iter().any(covers)
    });
    own.extend(asked);
    own
}

fn bind(source: &Path, target: &Path, extra: &[String]) -> Mount {
    let mut options = vec!["rbind".to_owned()];
    options.extend_from_slice(extra);
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some("bind".into()))
        .set_source(Some(source.into()))
        .set_options(Some(options));
    mount
}

fn linux(options: &Options, capabilities: Set) -> Linux {
    let seccomp = match &options.seccomp {
        Seccomp::Default => Some(seccomp_profile::docker(capabilities)),
        Seccomp::Unconfined => None,
        Seccomp::Profile(profile) => Some(profile.for_capabilities(capabilities)),
    };
    let unmasked = |path: &&str| {
        !options
            .unmask
            .iter()
            .any(|given| given.eq_ignore_ascii_case("all") || given == path)
    };
    let paths = |all: &[&str]| -> Vec<String> {
        all.iter()
            .filter(|path| unmasked(path))
            .map(|path| (*path).to_owned())
            .collect()
    };
    let mut masked = paths(&masks::MASKED);
    masked.extend(options.mask.iter().cloned());
    let sysctl = options.sysctls.clone().into_iter().collect();
    let devices = options.devices.iter().map(|(device, _)| device.clone());
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(options)))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(paths(&masks::READONLY)))
        .set_sysctl(Some(sysctl))
        .set_devices(Some(devices.collect()))
        .set_resources(Some(resources(options)))
        .set_seccomp(seccomp);
    linux
}

fn namespaces(options: &Options) -> Vec<LinuxNamespace> {
    let choices = [
        (LinuxNamespaceType::Mount, &Namespace::New),
        (LinuxNamespaceType::Cgroup, &Namespace::New),
        (LinuxNamespaceType::Pid, &options.pid),
        (LinuxNamespaceType::Network, &options.network),
        (LinuxNamespaceType::Ipc, &options.ipc),
        (LinuxNamespaceType::Uts, &options.uts),
    ];
    let asked = choices.into_iter().filter_map(|(kind, choice)| {
        let path = match choice {
            Namespace::Host => return None,
            Namespace::New => None,
            Namespace::Path(path) => Some(path.clone()),
        };
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path);
        Some(namespace)
    });
    asked.collect()
}

fn resources(options: &Options) -> LinuxResources {
    let limits = &options.limits;
    let mut rules = device_rules::default_rules();
    for (device, access) in &options.devices {
        let (major, minor) = (Some(device.major()), Some(device.minor()));
        rules.push(device_rules::rule(true, device.typ(), major, minor, access));
    }
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(limits.memory)
        .set_reservation(limits.memory_reservation)
        .set_swap(limits.memory_swap);
    let mut cpu = LinuxCpu::default();
    let quota = limits
        .nano_cpus
        .map(|nano| nano / 1000 * CPU_PERIOD_US / 1_000_000);
    cpu.set_shares(limits.cpu_shares)
        .set_quota(quota.and_then(|quota| i64::try_from(quota).ok()))
        .set_period(quota.map(|_| CPU_PERIOD_US))
        .set_cpus(limits.cpuset.clone());
    let pids = limits.pids.map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    });
    let mut resources = LinuxResources::default();
    resources
        .set_devices(Some(rules))
        .set_memory(Some(memory))
        .set_cpu(Some(cpu))
        .set_pids(pids);
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> oci_spec::image::Config {
        let mut image = oci_spec::image::Config::default();
        image
            .set_entrypoint(Some(vec!["/entry".into()]))
            .set_cmd(Some(vec!["serve".into(), "--all".into()]))
            .set_env(Some(vec!["PATH=/opt/bin:/bin".into(), "A=1".into()]))
            .set_user(Some("www".into()))
            .set_working_dir(Some("srv".into()));
        image
    }

    fn args(options: &Options) -> Vec<String> {
        let spec = spec(Some(&image()), options).unwrap();
        spec.process().clone().unwrap().args().clone().unwrap()
    }

    #[test]
    fn a_command_replaces_the_image_s_and_an_entrypoint_replaces_both() {
        assert_eq!(args(&Options::default()), ["/entry", "serve", "--all"]);
        let command = Some(vec!["check".into()]);
        let options = Options {
            command: command.clone(),
            ..Options::default()
        };
        assert_eq!(args(&options), ["/entry", "check"]);
        let options = Options {
            entrypoint: Some(vec!["/other".into()]),
            ..Options::default()
        };
        assert_eq!(args(&options), ["/other"]);
    }

    #[test]
    fn no_command_at_all_is_an_error() {
        assert!(matches!(
            spec(None, &Options::default()),
            Err(Error::NoCommand)
        ));
    }

    #[test]
    fn variables_are_laid_over_each_other_and_a_bare_name_removes_one() {
        let options = Options {
            env: vec!["A".into(), "B=2".into()],
            ..Options::default()
        };
        assert_eq!(
            environment(Some(&image()), &options),
            ["PATH=/opt/bin:/bin", "B=2"]
        );
    }

    #[test]
    fn all_capabilities_but_one() {
        let options = Options {
            cap_add: vec!["ALL".into()],
            cap_drop: vec!["NET_RAW".into()],
            ..Options::default()
        };
        let set = capabilities(&options).unwrap();
        assert!(set.has("SYS_ADMIN") && !set.has("NET_RAW"));
        let options = Options {
            cap_add: vec!["CHOWN".into()],
            cap_drop: vec!["all".into()],
            ..Options::default()
        };
        assert_eq!(
            capabilities(&options).unwrap(),
            Set::named("CHOWN").unwrap()
        );
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let options = Options {
            cap_add: vec!["CAP_FLY".into()],
            ..Options::default()
        };
        let error = capabilities(&options).unwrap_err();
        assert!(error.to_string().contains("CAP_FLY"), "{error}");
    }

    #[test]
    fn an_inner_mount_comes_after_the_outer_one() {
        let volume = |target: &str| Bind {
            source: "/srv".into(),
            target: target.into(),
            read_only: true,
            options: Vec::new(),
        };
        let options = Options {
            binds: vec![volume("/data/a/b"), volume("/data")],
            tmpfs: vec![("/data/a".into(), String::new())],
            ..Options::default()
        };
        let mounts = mounts(&options);
        let last: Vec<_> = mounts
            .iter()
            .rev()
            .take(3)
            .map(Mount::destination)
            .collect();
        assert_eq!(
            last,
            [
                Path::new("/data/a/b"),
                Path::new("/data/a"),
                Path::new("/data")
            ]
        );
    }

    #[test]
    fn half_a_cpu_is_half_a_period() {
        let options = Options {
            limits: Limits {
                nano_cpus: Some(500_000_000),
                ..Limits::default()
            },
            ..Options::default()
        };
        let cpu = resources(&options).cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(50_000), Some(100_000)));
    }

    #[test]
    fn a_soft_limit_over_the_hard_one_is_refused() {
        let limit = Rlimit {
            name: "nofile".into(),
            soft: 2,
            hard: 1,
        };
        assert!(rlimit(&limit).is_err());
    }
}
