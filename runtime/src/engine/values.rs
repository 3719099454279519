//! The text forms of a container's options: ports, volumes, sizes, signals, limits.
//!
//! The command line and Quadlet units share them, so both accept and refuse the same.
//! Only [`env_file`] reads a file.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use super::options::{
    HostAddress, MountSource, MountSpec, NetworkJoin, NetworkMode, PullPolicy, RestartPolicy,
    TmpfsSpec, Ulimit,
};
use crate::container::capabilities::NAMES;
use crate::network::PortMapping;

/// What is wrong with a value, as a sentence's end: `expected …, found …`.
pub type Refusal = String;

/// Published ports, see [`PortMapping::parse`].
pub fn ports(text: &str) -> Result<Vec<PortMapping>, Refusal> {
    PortMapping::parse(text).map_err(|e| e.to_string())
}

/// An IPv4 or IPv6 address.
pub fn ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse()
        .map_err(|_| format!("expected an IP address, found '{text}'"))
}

/// `[SOURCE:]TARGET[:OPTIONS]`; a source with a slash is a path of the host, else a volume.
pub fn volume(text: &str) -> Result<MountSpec, Refusal> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(format!("expected SOURCE:TARGET[:OPTIONS], found '{text}'")),
    };
    let source = match source {
        None | Some("") => MountSource::Anonymous,
        Some(path) if path.starts_with('/') => MountSource::Bind(absolute(path)?),
        Some(path) if path.starts_with('.') => {
            return Err(format!(
                "expected an absolute path on the host, found '{path}'"
            ));
        }
        Some(name) => MountSource::Volume(volume_name(name)?),
    };
    let mut mount = MountSpec {
        source,
        target: absolute(target)?,
        read_only: false,
        no_copy: false,
    };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.no_copy = true,
            "copy" => mount.no_copy = false,
            // SELinux relabelling: nothing to do without SELinux, and common in files that exist.
            "z" | "Z" => {}
            other => {
                return Err(format!(
                    "expected volume options ro, rw, copy, nocopy, z or Z, found '{other}'"
                ));
            }
        }
    }
    Ok(mount)
}

/// `PATH[:OPTIONS]`.
pub fn tmpfs(text: &str) -> Result<TmpfsSpec, Refusal> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    Ok(TmpfsSpec {
        target: absolute(target)?,
        options: options
            .split(',')
            .filter(|o| !o.is_empty())
            .map(str::to_string)
            .collect(),
    })
}

/// `type=bind|volume|tmpfs,source=…,target=…[,readonly]`.
pub fn mount(text: &str) -> Result<Mount, Refusal> {
    let (mut kind, mut source, mut target) = ("volume", None, None);
    let (mut read_only, mut size) = (false, None);
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key {
            "type" => kind = value,
            "source" | "src" => source = Some(value),
            "target" | "destination" | "dst" => target = Some(value),
            "readonly" | "ro" => read_only = boolean(value)?,
            "tmpfs-size" => size = Some(self::size(value)?),
            other => return Err(format!("mount option '{other}' is not supported")),
        }
    }
    let target = target.ok_or_else(|| format!("expected target=PATH, found '{text}'"))?;
    let target = absolute(target)?;
    let source = match (kind, source) {
        ("tmpfs", _) => {
            let options = size.map(|s| format!("size={s}")).into_iter().collect();
            return Ok(Mount::Tmpfs(TmpfsSpec { target, options }));
        }
        ("bind", Some(path)) => MountSource::Bind(absolute(path)?),
        ("bind", None) => return Err(format!("expected source=PATH, found '{text}'")),
        ("volume", Some(name)) => MountSource::Volume(volume_name(name)?),
        ("volume", None) => MountSource::Anonymous,
        (other, _) => {
            return Err(format!(
                "expected mount type bind, volume or tmpfs, found '{other}'"
            ));
        }
    };
    Ok(Mount::Mount(MountSpec {
        source,
        target,
        read_only,
        no_copy: false,
    }))
}

/// What [`mount`] yields.
#[derive(Debug, PartialEq, Eq)]
pub enum Mount {
    /// A bind mount or volume.
    Mount(MountSpec),
    /// A fresh tmpfs.
    Tmpfs(TmpfsSpec),
}

/// An absolute path without `..`.
pub fn absolute(text: &str) -> Result<PathBuf, Refusal> {
    let path = Path::new(text);
    let climbs = path.components().any(|c| c == Component::ParentDir);
    if !path.is_absolute() || climbs || text.contains('\0') {
        return Err(format!(
            "expected an absolute path without '..', found '{text}'"
        ));
    }
    Ok(path.to_path_buf())
}

/// A name of a volume or container: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn volume_name(text: &str) -> Result<String, Refusal> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !starts
        || text.len() > 128
        || !bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    {
        return Err(format!(
            "expected a name of at most 128 letters, digits, '_', '.', '-', found '{text}'"
        ));
    }
    Ok(text.to_string())
}

/// A size in bytes: `512`, `64k`, `1.5g`, `10MiB`, `100mb`.
pub fn size(text: &str) -> Result<u64, Refusal> {
    let refusal = || format!("expected a size such as 64m or 1g, found '{text}'");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(refusal()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(refusal);
    }
    let number: f64 = number.parse().map_err(|_| refusal())?;
    let bytes = number * factor as f64;
    if bytes.is_finite() && bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(refusal())
    }
}

/// Processors as a decimal number, in thousandths.
pub fn cpus(text: &str) -> Result<u64, Refusal> {
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && (0.01..=4096.0).contains(&n) => Ok((n * 1000.0).round() as u64),
        _ => Err(format!(
            "expected processors such as 0.5 or 2, found '{text}'"
        )),
    }
}

/// A signal: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub fn signal(text: &str) -> Result<i32, Refusal> {
    let refusal = || format!("expected a signal such as TERM or 15, found '{text}'");
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64)
            .contains(&number)
            .then_some(number)
            .ok_or_else(refusal);
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = short.strip_prefix("RTMIN") {
        let offset: i32 = match offset {
            "" => 0,
            text => text.parse().map_err(|_| refusal())?,
        };
        return (0..=30)
            .contains(&offset)
            .then_some(34 + offset)
            .ok_or_else(refusal);
    }
    format!("SIG{short}")
        .parse::<nix::sys::signal::Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| refusal())
}

/// `NAME=SOFT[:HARD]`, `-1` or `unlimited` for no limit.
pub fn ulimit(text: &str) -> Result<Ulimit, Refusal> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let refusal = || format!("expected NAME=SOFT[:HARD], found '{text}'");
    let (name, limits) = text.split_once('=').ok_or_else(refusal)?;
    if !NAMES.contains(&name) {
        return Err(format!(
            "expected one of {}, found '{name}'",
            NAMES.join(", ")
        ));
    }
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        number => number.parse().map_err(|_| refusal()),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft)?, limit(hard)?);
    if soft > hard {
        return Err(format!("the soft limit is above the hard one in '{text}'"));
    }
    Ok(Ulimit {
        name: name.to_string(),
        soft,
        hard,
    })
}

/// A capability without `CAP_`, or `ALL`.
pub fn capability(text: &str) -> Result<String, Refusal> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == "ALL" || NAMES.contains(&name) {
        return Ok(name.to_string());
    }
    let near = nearest(name, NAMES.iter().copied());
    Err(format!("unknown capability '{text}'{}", did_you_mean(near)))
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; the address may be `host-gateway`.
pub fn host_entry(text: &str) -> Result<(String, HostAddress), Refusal> {
    let (name, address) = text
        .split_once(['=', ':'])
        .filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace))
        .ok_or_else(|| format!("expected NAME:ADDRESS, found '{text}'"))?;
    Ok((name.to_string(), address.parse()?))
}

/// `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), Refusal> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err(format!("expected KEY=VALUE, found '{text}'")),
    }
}

/// `bridge`, `host`, `none`, or a network of the user's by its name.
pub fn network(text: &str) -> Result<NetworkChoice, Refusal> {
    let kind = |mode| NetworkChoice { mode, join: None };
    match text {
        "bridge" | "default" => Ok(kind(NetworkMode::Bridge)),
        "host" => Ok(kind(NetworkMode::Host)),
        "none" => Ok(kind(NetworkMode::None)),
        name => {
            let network = volume_name(name).map_err(|_| {
                format!("expected network bridge, host, none or the name of one, found '{name}'")
            })?;
            Ok(NetworkChoice {
                mode: NetworkMode::Bridge,
                join: Some(NetworkJoin {
                    network,
                    ..NetworkJoin::default()
                }),
            })
        }
    }
}

/// What one word says of a container's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkChoice {
    /// Its kind.
    pub mode: NetworkMode,
    /// The network of the user's that it joins.
    pub join: Option<NetworkJoin>,
}

/// `no`, `on-failure[:N]`, `always` or `unless-stopped`.
pub fn restart(text: &str) -> Result<RestartPolicy, Refusal> {
    match text.split_once(':') {
        None => match text {
            "no" => Ok(RestartPolicy::No),
            "on-failure" => Ok(RestartPolicy::OnFailure { max: None }),
            "always" => Ok(RestartPolicy::Always),
            "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
            _ => Err(refused_restart(text)),
        },
        Some(("on-failure", max)) => match max.parse() {
            Ok(max) => Ok(RestartPolicy::OnFailure { max: Some(max) }),
            Err(_) => Err(refused_restart(text)),
        },
        Some(_) => Err(refused_restart(text)),
    }
}

fn refused_restart(text: &str) -> Refusal {
    format!("expected restart no, on-failure[:N], always or unless-stopped, found '{text}'")
}

/// `missing`, `newer`, `always` or `never`.
pub fn pull(text: &str) -> Result<PullPolicy, Refusal> {
    match text {
        "missing" => Ok(PullPolicy::Missing),
        "newer" => Ok(PullPolicy::Newer),
        "always" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        other => Err(format!(
            "expected pull missing, newer, always or never, found '{other}'"
        )),
    }
}

/// The words that systemd takes for a truth value.
pub fn boolean(text: &str) -> Result<bool, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(format!("expected yes or no, found '{text}'")),
    }
}

/// A file of `KEY=VALUE` lines; `#` starts a comment line, values are taken as they are.
pub fn env_file(path: &Path) -> Result<Vec<String>, Refusal> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("read environment file {}: {e}", path.display()))?;
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        pair(line).map_err(|e| format!("{}:{}: {e}", path.display(), i + 1))?;
        found.push(line.to_string());
    }
    Ok(found)
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    known
        .map(|k| (strsim::jaro_winkler(&word, &k.to_ascii_lowercase()), k))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// `, did you mean X?` or nothing.
pub fn did_you_mean(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!(", did you mean '{near}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_tell_paths_from_names() {
        let mount = volume("data:/var/lib/data:ro").unwrap();
        assert_eq!(mount.source, MountSource::Volume("data".into()));
        assert!(mount.read_only);
        assert_eq!(
            volume("/a:/b").unwrap().source,
            MountSource::Bind("/a".into())
        );
        assert_eq!(volume("/b").unwrap().source, MountSource::Anonymous);
        for bad in [
            "a:b",
            "./x:/y",
            "a:/b/../c",
            "a:/b:weird",
            "a:b:c:d",
            "../x:/y",
            "-a:/b",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_signals_and_limits() {
        assert_eq!(size("64m"), Ok(64 << 20));
        assert_eq!(size("1.5g"), Ok(3 << 29));
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert!(size("12 parsecs").is_err());
        assert!(size("99999999999t").is_err());
        assert!(size("").is_err());
        assert_eq!(signal("SIGQUIT"), Ok(3));
        assert_eq!(signal("term"), Ok(15));
        assert_eq!(signal("RTMIN+3"), Ok(37));
        assert!(signal("SIGWHAT").is_err());
        assert_eq!(ulimit("nofile=10:20").unwrap().hard, 20);
        assert!(ulimit("nofile=20:10").is_err());
        assert!(ulimit("files=1").is_err());
        assert_eq!(cpus("0.5"), Ok(500));
        assert!(cpus("nan").is_err());
    }

    #[test]
    fn a_mistyped_capability_names_the_nearest() {
        assert_eq!(capability("cap_net_admin"), Ok("NET_ADMIN".into()));
        let refusal = capability("NET_ADMN").unwrap_err();
        assert!(refusal.ends_with("did you mean 'NET_ADMIN'?"), "{refusal}");
    }

    #[test]
    fn mounts_in_the_long_form() {
        assert!(matches!(mount("type=tmpfs,target=/t"), Ok(Mount::Tmpfs(_))));
        assert!(matches!(mount("type=bind,src=/a,dst=/b,ro"), Ok(Mount::Mount(m)) if m.read_only));
        assert!(mount("type=bind,dst=/b").is_err());
        assert!(mount("type=glob,src=/a,dst=/b").is_err());
    }
}
