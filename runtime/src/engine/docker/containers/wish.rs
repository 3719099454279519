//! From the body of a creation to a container's options.
//!
//! Pure. A field that would change how a container is kept apart is done or refused, never passed over.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde_json::Value;

use super::super::body::Body;
use super::super::refusal::Refusal;
use crate::engine::checks::check;
use crate::engine::options::{
    ContainerOptions, DeviceSpec, HealthCheck, MountSource, MountSpec, NetworkJoin, NetworkMode,
    PullPolicy, RestartPolicy, Seccomp, TmpfsSpec, Ulimit,
};
use crate::engine::values;
use crate::network::{PortMapping, Protocol};

/// Fields of `HostConfig` that mean nothing here, or only on another system.
const MEANINGLESS: [&str; 6] = [
    "ConsoleSize",
    "ContainerIDFile",
    "Isolation",
    "MemorySwappiness",
    "CpuCount",
    "CpuPercent",
];

fn invalid(path: &str) -> impl Fn(String) -> Refusal {
    move |e| Refusal::invalid(format!("{path}: {e}"))
}

/// A container's options.
///
/// # Errors
/// What is malformed (400) or not done here (501), by the field's name.
pub fn options(name: Option<&str>, body: Value) -> Result<ContainerOptions, Refusal> {
    let mut body = Body::new("", body)?;
    let mut o = ContainerOptions {
        name: name.map(|n| n.trim_start_matches('/').to_owned()),
        pull: PullPolicy::Never,
        ..ContainerOptions::default()
    };
    // As with dockerd: it is on only when it is asked for.
    o.no_new_privileges = Some(false);
    config(&mut body, &mut o)?;
    let exposed = body.keys("ExposedPorts")?;
    let mut host = body.object("HostConfig")?;
    mounts(&mut host, &mut o)?;
    for target in body.keys("Volumes")? {
        let mount = values::volume(&target).map_err(invalid("Volumes"))?;
        if !o.mounts.iter().any(|m| m.target == mount.target) {
            o.mounts.push(mount);
        }
    }
    ports(&mut host, &exposed, &mut o)?;
    limits(&mut host, &mut o)?;
    rights(&mut host, &mut o)?;
    names(&mut host, &mut o)?;
    life(&mut host, &mut o)?;
    let mut networking = body.object("NetworkingConfig")?;
    networks(&mut host, &mut networking, &mut o)?;
    if body.flag("NetworkDisabled")? {
        o.network = NetworkMode::None;
    }
    host.pass_over(&MEANINGLESS);
    host.finish()?;
    networking.finish()?;
    body.finish()?;
    if o.image.is_empty() {
        return Err(Refusal::invalid(
            "config cannot be empty in order to create a container",
        ));
    }
    Ok(o)
}

fn config(body: &mut Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    o.image = body.text("Image")?.unwrap_or_default();
    o.command = body.words("Cmd")?;
    let entrypoint = body.words("Entrypoint")?;
    o.entrypoint = match entrypoint.as_slice() {
        [] => None,
        // `--entrypoint ""` resets the image's.
        [one] if one.is_empty() => Some(Vec::new()),
        _ => Some(entrypoint),
    };
    o.env = body.words("Env")?;
    o.user = body.text("User")?;
    o.workdir = body.text("WorkingDir")?.map(PathBuf::from);
    o.hostname = body.text("Hostname")?;
    o.labels = body.pairs("Labels")?;
    o.tty = body.flag("Tty")?;
    o.stdin = body.flag("OpenStdin")?;
    if let Some(signal) = body.text("StopSignal")? {
        o.stop_signal = Some(values::signal(&signal).map_err(invalid("StopSignal"))?);
    }
    o.stop_timeout = body.number("StopTimeout")?.map(|n| {
        // -1: wait for ever.
        u64::try_from(n).unwrap_or(u64::from(u32::MAX))
    });
    // How a client attaches is its own matter, and the image's history no container's.
    body.pass_over(&[
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "StdinOnce",
        "ArgsEscaped",
        "OnBuild",
        "Shell",
    ]);
    o.health = health(body.value("Healthcheck"))?;
    Ok(())
}

/// In dockerd's words where it refuses.
fn health(check: Value) -> Result<Option<HealthCheck>, Refusal> {
    if check.is_null() {
        return Ok(None);
    }
    for (key, least) in [
        ("Interval", 1_000_000),
        ("Timeout", 1_000_000),
        ("StartPeriod", 1_000_000),
        ("StartInterval", 1_000_000),
        ("Retries", 0),
    ] {
        let number = check.get(key).and_then(Value::as_i64).unwrap_or(0);
        if number < 0 || number > 0 && number < least {
            return Err(Refusal::invalid(match key {
                "Retries" => "Retries in Healthcheck cannot be negative".into(),
                key => format!("{key} in Healthcheck cannot be less than 1ms"),
            }));
        }
    }
    let read = check::from_docker(&check);
    let wrong = "Healthcheck: expected a Test of NONE, CMD or CMD-SHELL and words";
    read.map(Some).ok_or_else(|| Refusal::invalid(wrong))
}

fn mounts(host: &mut Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    for text in host.words("Binds")? {
        o.mounts
            .push(values::volume(&text).map_err(invalid("HostConfig.Binds"))?);
    }
    for (target, options) in host.pairs("Tmpfs")? {
        let target = values::absolute(&target).map_err(invalid("HostConfig.Tmpfs"))?;
        let options = options.split(',').filter(|o| !o.is_empty());
        o.tmpfs.push(TmpfsSpec {
            target,
            options: options.map(str::to_owned).collect(),
        });
    }
    for mount in host.list("Mounts")? {
        one_mount(mount, o)?;
    }
    if host
        .text("VolumeDriver")?
        .is_some_and(|name| name != "local")
    {
        return Err(Refusal::unsupported("a volume driver", "use local"));
    }
    o.read_only = host.flag("ReadonlyRootfs")?;
    o.shm_size = host.limit("ShmSize")?;
    Ok(())
}

fn one_mount(mut mount: Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    let wrong = invalid("HostConfig.Mounts");
    let kind = mount.text("Type")?.unwrap_or_else(|| "volume".into());
    let target = mount.text("Target")?.unwrap_or_default();
    let target = values::absolute(&target).map_err(&wrong)?;
    let source = mount.text("Source")?;
    let read_only = mount.flag("ReadOnly")?;
    mount.pass_over(&["Consistency"]);
    let mut volume = mount.object("VolumeOptions")?;
    let no_copy = volume.flag("NoCopy")?;
    // Labels of an anonymous volume; compose sets them.
    volume.pass_over(&["Labels"]);
    let mut driver = volume.object("DriverConfig")?;
    if driver.text("Name")?.is_some_and(|name| name != "local") {
        return Err(Refusal::unsupported("a volume driver", "use local"));
    }
    driver.finish()?;
    volume.finish()?;
    let mut bind = mount.object("BindOptions")?;
    // A folder that is not there is made, as with Binds.
    bind.pass_over(&["CreateMountpoint"]);
    if bind.text("Propagation")?.is_some_and(|p| p != "rprivate") {
        return Err(Refusal::unsupported(
            "bind propagation",
            "leave it at rprivate",
        ));
    }
    bind.finish()?;
    let mut tmpfs = mount.object("TmpfsOptions")?;
    let mut options = Vec::new();
    options.extend(tmpfs.limit("SizeBytes")?.map(|n| format!("size={n}")));
    options.extend(tmpfs.limit("Mode")?.map(|mode| format!("mode={mode:o}")));
    tmpfs.finish()?;
    mount.finish()?;
    let source = match (kind.as_str(), source) {
        ("tmpfs", _) => {
            options.extend(read_only.then(|| "ro".to_owned()));
            o.tmpfs.push(TmpfsSpec { target, options });
            return Ok(());
        }
        ("bind", Some(path)) => MountSource::Bind(values::absolute(&path).map_err(&wrong)?),
        ("volume", Some(name)) => MountSource::Volume(values::volume_name(&name).map_err(&wrong)?),
        ("volume", None) => MountSource::Anonymous,
        (other, _) => {
            return Err(Refusal::unsupported(
                &format!("a mount of type {other}"),
                "use bind, volume or tmpfs with a source",
            ));
        }
    };
    o.mounts.push(MountSpec {
        source,
        target,
        read_only,
        no_copy,
    });
    Ok(())
}

/// `80/tcp`.
pub fn port(text: &str) -> Result<(u16, Protocol), String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let wrong = || format!("expected a port such as 80/tcp, found '{text}'");
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(wrong()),
    };
    Ok((port.parse().map_err(|_| wrong())?, protocol))
}

fn ports(host: &mut Body, exposed: &[String], o: &mut ContainerOptions) -> Result<(), Refusal> {
    let wrong = invalid("HostConfig.PortBindings");
    let mut bindings = match host.value("PortBindings") {
        Value::Object(bindings) => bindings,
        _ => serde_json::Map::new(),
    };
    if host.flag("PublishAllPorts")? {
        for port in exposed {
            bindings.entry(port).or_insert(Value::Null);
        }
    }
    for (text, places) in bindings {
        let (container_port, protocol) = port(&text).map_err(&wrong)?;
        let any = vec![serde_json::json!({})];
        let places = places.as_array().filter(|p| !p.is_empty()).unwrap_or(&any);
        for place in places {
            let mut place = Body::new("HostConfig.PortBindings", place.clone())?;
            let address = place.text("HostIp")?;
            let number = place.text("HostPort")?.unwrap_or_else(|| "0".into());
            let host_ip = match address.as_deref() {
                None | Some("0.0.0.0" | "::") => None,
                Some(ip) => Some(ip.parse::<Ipv4Addr>().map_err(|_| {
                    Refusal::unsupported(
                        &format!("publishing on '{ip}'"),
                        "name an IPv4 address of the host",
                    )
                })?),
            };
            let host_port = number
                .parse()
                .map_err(|_| wrong(format!("expected one host port, found '{number}'")))?;
            o.ports.push(PortMapping {
                host_ip,
                host_port,
                container_port,
                protocol,
            });
        }
    }
    Ok(())
}

/// Limits of memory, processors and processes.
///
/// # Errors
/// What is malformed.
pub fn limits(host: &mut Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    o.memory = host.limit("Memory")?;
    o.memory_swap = host.number("MemorySwap")?.filter(|n| *n != 0);
    o.memory_reservation = host.limit("MemoryReservation")?;
    o.cpu_shares = host.limit("CpuShares")?;
    o.cpuset = host.text("CpusetCpus")?;
    if let Some(score) = host.number("OomScoreAdj")?.filter(|n| *n != 0) {
        let score = i32::try_from(score).ok().filter(|n| n.abs() <= 1000);
        let wrong = || Refusal::invalid("HostConfig.OomScoreAdj: expected -1000 to 1000");
        o.oom_score_adj = Some(score.ok_or_else(wrong)?);
    }
    if o.memory_swap
        .is_some_and(|swap| swap > 0 && o.memory.is_none_or(|m| signed(m) > swap))
    {
        return Err(Refusal::invalid(
            "HostConfig.MemorySwap: expected Memory, and no less than that",
        ));
    }
    let nano = host.limit("NanoCpus")?;
    let quota = host.limit("CpuQuota")?;
    let period = host.limit("CpuPeriod")?.unwrap_or(100_000);
    o.milli_cpus = match (nano, quota) {
        (Some(nano), _) => Some((nano / 1_000_000).max(1)),
        (None, Some(quota)) => Some((quota.saturating_mul(1000) / period).max(1)),
        (None, None) => None,
    };
    // -1 and 0 are without a limit: 0 says so here.
    o.pids_limit = host
        .number("PidsLimit")?
        .map(|n| u64::try_from(n).unwrap_or(0));
    if o.pids_limit.is_none() {
        o.pids_limit = Some(0);
    }
    for mut limit in host.list("Ulimits")? {
        let name = limit.text("Name")?.unwrap_or_default();
        let unlimited = |n: Option<i64>| n.map_or(0, |n| u64::try_from(n).unwrap_or(u64::MAX));
        let (soft, hard) = (
            unlimited(limit.number("Soft")?),
            unlimited(limit.number("Hard")?),
        );
        let wrong = invalid("HostConfig.Ulimits");
        values::ulimit(&format!("{name}={}:{}", written(soft), written(hard))).map_err(wrong)?;
        o.ulimits.push(Ulimit { name, soft, hard });
    }
    Ok(())
}

fn written(limit: u64) -> String {
    match limit {
        u64::MAX => "-1".into(),
        limit => limit.to_string(),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn rights(host: &mut Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    if host.flag("Privileged")? {
        return Err(Refusal::unsupported(
            "HostConfig.Privileged",
            "grant what it needs with CapAdd, Devices and SecurityOpt",
        ));
    }
    let wrong = invalid("HostConfig.CapAdd");
    for name in host.words("CapAdd")? {
        o.cap_add.push(values::capability(&name).map_err(&wrong)?);
    }
    for name in host.words("CapDrop")? {
        o.cap_drop.push(values::capability(&name).map_err(&wrong)?);
    }
    // As clients send `systempaths=unconfined`: no path at all is masked.
    for key in ["MaskedPaths", "ReadonlyPaths"] {
        match host.value(key) {
            Value::Null => {}
            Value::Array(list) if list.is_empty() => o.unmask = vec!["ALL".into()],
            _ => {
                return Err(Refusal::unsupported(
                    &format!("HostConfig.{key} of one's own"),
                    "leave it out, or use systempaths=unconfined",
                ));
            }
        }
    }
    o.groups = host.words("GroupAdd")?;
    o.sysctls = host.pairs("Sysctls")?;
    o.annotations = host.pairs("Annotations")?;
    for mut device in host.list("Devices")? {
        let path = device.text("PathOnHost")?.unwrap_or_default();
        let inside = device
            .text("PathInContainer")?
            .unwrap_or_else(|| path.clone());
        let wrong = invalid("HostConfig.Devices");
        o.devices.push(DeviceSpec {
            host: values::absolute(&path).map_err(&wrong)?,
            container: values::absolute(&inside).map_err(&wrong)?,
            access: device
                .text("CgroupPermissions")?
                .unwrap_or_else(|| "rwm".into()),
            optional: false,
        });
        device.finish()?;
    }
    for option in host.words("SecurityOpt")? {
        security(&option, o)?;
    }
    Ok(())
}

fn security(option: &str, o: &mut ContainerOptions) -> Result<(), Refusal> {
    let (key, value) = option.split_once(['=', ':']).unwrap_or((option, "true"));
    match (key, value) {
        ("no-new-privileges", "true") => o.no_new_privileges = Some(true),
        ("no-new-privileges", "false") => o.no_new_privileges = Some(false),
        ("seccomp", "unconfined") => o.seccomp = Seccomp::Unconfined,
        ("seccomp", "builtin") => o.seccomp = Seccomp::Default,
        ("systempaths", "unconfined") => o.unmask = vec!["ALL".into()],
        // There is neither: nothing to switch off.
        ("apparmor", "unconfined") | ("label", "disable") => {}
        _ => {
            return Err(Refusal::unsupported(
                &format!("security option '{option}'"),
                "use no-new-privileges, seccomp=unconfined, seccomp=builtin or systempaths=unconfined",
            ));
        }
    }
    Ok(())
}

/// Whose namespaces, host names and resolvers.
fn names(host: &mut Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    for (key, own) in [
        ("IpcMode", &["private", "shareable"][..]),
        ("PidMode", &["private"]),
        ("UTSMode", &["private"]),
        ("CgroupnsMode", &["private"]),
        ("UsernsMode", &["host"]),
    ] {
        if let Some(mode) = host.text(key)?
            && !own.contains(&mode.as_str())
        {
            return Err(Refusal::unsupported(
                &format!("HostConfig.{key} '{mode}'"),
                "leave it out: each container has its own",
            ));
        }
    }
    let wrong = invalid("HostConfig.ExtraHosts");
    for entry in host.words("ExtraHosts")? {
        o.add_hosts
            .push(values::host_entry(&entry).map_err(&wrong)?);
    }
    let wrong = invalid("HostConfig.Dns");
    for server in host.words("Dns")? {
        o.dns.push(values::ip(&server).map_err(&wrong)?);
    }
    Ok(())
}

/// When a container is started again, if that is said.
///
/// # Errors
/// What is malformed.
pub fn restart_policy(host: &mut Body) -> Result<Option<RestartPolicy>, Refusal> {
    let mut restart = host.object("RestartPolicy")?;
    let most = restart.limit("MaximumRetryCount")?;
    Ok(match restart.text("Name")?.as_deref() {
        None => None,
        Some("no") => Some(RestartPolicy::No),
        Some("always") => Some(RestartPolicy::Always),
        Some("unless-stopped") => Some(RestartPolicy::UnlessStopped),
        Some("on-failure") => Some(RestartPolicy::OnFailure {
            max: most.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        }),
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of no, always, on-failure or unless-stopped"
            )));
        }
    })
}

fn life(host: &mut Body, o: &mut ContainerOptions) -> Result<(), Refusal> {
    o.auto_remove = host.flag("AutoRemove")?;
    o.restart = restart_policy(host)?.unwrap_or_default();
    if o.auto_remove && o.restart != RestartPolicy::No {
        return Err(Refusal::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    let mut log = host.object("LogConfig")?;
    if let Some(driver) = log.text("Type")?
        && driver != "json-file"
    {
        return Err(Refusal::unsupported(
            &format!("log driver '{driver}'"),
            "logs are kept and turned over by Skeg: leave it out, or json-file",
        ));
    }
    // How large and how many: Skeg keeps 24 MiB of each container.
    let mut sizes = log.object("Config")?;
    sizes.pass_over(&["max-size", "max-file"]);
    sizes.finish()?;
    log.finish()
}

fn networks(
    host: &mut Body,
    networking: &mut Body,
    o: &mut ContainerOptions,
) -> Result<(), Refusal> {
    let mode = host.text("NetworkMode")?;
    let mode = mode.as_deref().unwrap_or("default");
    let endpoints = networking.objects("EndpointsConfig")?;
    match mode {
        "host" => o.network = NetworkMode::Host,
        "none" => o.network = NetworkMode::None,
        other if other.starts_with("container:") => {
            return Err(Refusal::unsupported(
                "the network of another container",
                "put both into one network and use names",
            ));
        }
        _ => {}
    }
    if o.network != NetworkMode::Bridge {
        return Ok(());
    }
    let own = |name: &str| match name {
        "default" => "bridge".to_owned(),
        name => name.to_owned(),
    };
    let mut joins: Vec<NetworkJoin> = Vec::new();
    for (name, endpoint) in endpoints {
        joins.push(join(own(&name), endpoint)?);
    }
    let main = own(mode);
    match joins.iter().position(|join| join.network == main) {
        Some(at) => joins[..=at].rotate_right(1),
        None => joins.insert(
            0,
            NetworkJoin {
                network: main,
                ..NetworkJoin::default()
            },
        ),
    }
    let is_default = joins.len() == 1 && joins[0].network == "bridge";
    if !is_default {
        o.networks = joins;
    }
    Ok(())
}

/// A place in a network, as a creation or a connection asks for it.
///
/// # Errors
/// What is malformed or not done here.
pub fn join(network: String, mut endpoint: Body) -> Result<NetworkJoin, Refusal> {
    let mut ipam = endpoint.object("IPAMConfig")?;
    let wrong = |e: std::net::AddrParseError| Refusal::invalid(format!("IPv4Address: {e}"));
    let ip = ipam.text("IPv4Address")?;
    let ip = ip.map(|ip| ip.parse().map_err(wrong)).transpose()?;
    ipam.finish()?;
    let aliases = endpoint.words("Aliases")?;
    // What an inspection told, sent back by clients.
    endpoint.pass_over(&[
        "NetworkID",
        "EndpointID",
        "Gateway",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "DNSNames",
    ]);
    endpoint.finish()?;
    Ok(NetworkJoin {
        network,
        aliases,
        ip,
    })
}

#[cfg(test)]
mod tests;
