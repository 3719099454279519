//! The keys that take rights away: system calls, namespaces, and what of the file system is seen.
//!
//! Pure: words in, values out. What a system call's name means is the image builder's to know.

use super::value::boolean;
use super::{Access, PathRule, Service, SystemCalls, View};

/// Takes one of this module's keys.
pub fn set(calls: &mut SystemCalls, view: &mut View, key: &str, value: &str) -> Result<(), String> {
    match key {
        "SystemCallFilter" => calls.filter.extend(filter(value, calls.filter.is_empty())?),
        "RestrictAddressFamilies" => calls.families.extend(words(value)?),
        "RestrictNamespaces" => calls.namespaces = namespaces(value)?,
        "ProtectSystem" => view.strict = choice(value, "strict", "no")?,
        "ProtectProc" => view.private_proc = choice(value, "invisible", "default")?,
        "PrivateDevices" => view.private_devices = boolean(value)?,
        "DevicePolicy" => view.closed_devices = choice(value, "closed", "auto")?,
        "ReadWritePaths" => paths(&mut view.paths, value, Access::ReadWrite)?,
        "ReadOnlyPaths" => paths(&mut view.paths, value, Access::ReadOnly)?,
        "InaccessiblePaths" => paths(&mut view.paths, value, Access::Inaccessible)?,
        "ExecPaths" => paths(&mut view.paths, value, Access::Exec)?,
        "NoExecPaths" => paths(&mut view.paths, value, Access::NoExec)?,
        _ => {}
    }
    Ok(())
}

/// What holds between the keys.
pub fn check(service: &Service) -> Result<(), String> {
    if service.view.closed_devices && !service.view.strict {
        return Err("DevicePolicy=closed holds only with ProtectSystem=strict".to_owned());
    }
    let bounding = service.capabilities.unwrap_or(u64::MAX);
    if service.ambient & !bounding != 0 {
        return Err("AmbientCapabilities= names what CapabilityBoundingSet= leaves out".to_owned());
    }
    if service.ambient != 0 && service.user.is_none() {
        return Err(
            "AmbientCapabilities= is for a service with User=: root has them all".to_owned(),
        );
    }
    Ok(())
}

/// A folder below `/run`, by its relative path.
pub fn below(folder: &str, value: &str) -> Result<String, String> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    match value.split('/').all(plain) {
        true => Ok(value.to_owned()),
        false => Err(format!(
            "expected a path below {folder} such as skeg/net, found \"{value}\""
        )),
    }
}

/// One absolute path.
pub fn path(value: &str) -> Result<String, String> {
    let mut all = Vec::new();
    paths(&mut all, value, Access::ReadOnly)?;
    match all.as_slice() {
        [rule] if !rule.optional => Ok(rule.path.clone()),
        _ => Err(format!("expected one absolute path, found \"{value}\"")),
    }
}

fn words(value: &str) -> Result<Vec<String>, String> {
    let words: Vec<_> = value.split_whitespace().map(str::to_owned).collect();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'@' | b'-');
    match words.iter().find(|word| !word.bytes().all(plain)) {
        Some(word) => Err(format!("expected names, found \"{word}\"")),
        None if words.is_empty() => Err("expected names, found nothing".to_owned()),
        None => Ok(words),
    }
}

/// `~` may only stand before the first word of the first line: one list is not both.
fn filter(value: &str, is_first: bool) -> Result<Vec<String>, String> {
    let Some(refused) = value.strip_prefix('~').filter(|_| is_first) else {
        return words(value);
    };
    let mut words = words(refused)?;
    words[0].insert(0, '~');
    Ok(words)
}

fn namespaces(value: &str) -> Result<Option<Vec<String>>, String> {
    match boolean(value) {
        Ok(true) => Ok(Some(Vec::new())),
        Ok(false) => Ok(None),
        Err(_) => words(value).map(Some),
    }
}

fn choice(value: &str, yes: &str, no: &str) -> Result<bool, String> {
    match value {
        _ if value == yes => Ok(true),
        _ if value == no => Ok(false),
        _ => Err(format!("expected {yes} or {no}, found \"{value}\"")),
    }
}

fn paths(all: &mut Vec<PathRule>, value: &str, access: Access) -> Result<(), String> {
    for word in value.split_whitespace() {
        let path = word.strip_prefix('-').unwrap_or(word);
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        let is_plain = path
            .strip_prefix('/')
            .is_some_and(|p| p.is_empty() || p.split('/').all(plain));
        if !is_plain {
            return Err(format!(
                "expected an absolute path without \"..\", found \"{word}\""
            ));
        }
        all.push(PathRule {
            path: path.to_owned(),
            optional: word.starts_with('-'),
            access,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const NET: &str = "\
[Service]
ExecStart=/usr/bin/skeg net
User=skeg-net
CapabilityBoundingSet=CAP_NET_ADMIN
AmbientCapabilities=CAP_NET_ADMIN
SystemCallFilter=@service
SystemCallFilter=setns
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictNamespaces=net
ProtectSystem=strict
PrivateDevices=yes
ProtectProc=invisible
NoExecPaths=/
ExecPaths=/usr/bin
InaccessiblePaths=/var -/efi
RuntimeDirectory=skeg/net
StateDirectory=skeg-net
[Unit]
ConditionDirectoryNotEmpty=/etc/net.d
";

    #[test]
    fn what_a_service_is_denied_is_read() {
        let service = parse("net.service", NET).unwrap();
        assert_eq!(service.ambient, 1 << 12);
        assert_eq!(service.condition_folder.as_deref(), Some("/etc/net.d"));
        assert_eq!(service.state_directory.as_deref(), Some("skeg-net"));
        assert_eq!(service.system_calls.filter, ["@service", "setns"]);
        assert_eq!(service.system_calls.families, ["AF_UNIX", "AF_NETLINK"]);
        assert_eq!(
            service.system_calls.namespaces,
            Some(vec!["net".to_owned()])
        );
        assert!(service.view.strict && service.view.private_devices && service.view.private_proc);
        let last = service.view.paths.last().unwrap();
        assert_eq!((last.path.as_str(), last.optional), ("/efi", true));
        assert_eq!(service.runtime_directory.as_deref(), Some("skeg/net"));
    }

    #[test]
    fn a_list_of_what_is_refused_begins_with_a_tilde() {
        let text = "[Service]\nExecStart=/x\nSystemCallFilter=~@module swapon\n";
        let service = parse("a.service", text).unwrap();
        assert_eq!(service.system_calls.filter, ["~@module", "swapon"]);
    }

    #[test]
    fn what_would_not_hold_is_refused() {
        for (line, problem) in [
            (
                "AmbientCapabilities=CAP_KILL",
                "is for a service with User=",
            ),
            (
                "User=a\nCapabilityBoundingSet=\nAmbientCapabilities=CAP_KILL",
                "leaves out",
            ),
            ("SystemCallFilter=@a\nSystemCallFilter=~b", "expected names"),
            ("SystemCallFilter=", "found nothing"),
            ("DevicePolicy=closed", "only with ProtectSystem=strict"),
            ("ProtectSystem=full", "expected strict or no"),
            ("ReadWritePaths=var", "expected an absolute path"),
            ("InaccessiblePaths=/var/../etc", "expected an absolute path"),
            ("RuntimeDirectory=../etc", "expected a path below /run"),
            ("StateDirectory=/a", "expected a path below /var/lib"),
            (
                "[Unit]\nConditionDirectoryNotEmpty=/a /b",
                "expected one absolute path",
            ),
            (
                "[Unit]\nConditionDirectoryNotEmpty=-/a",
                "expected one absolute path",
            ),
        ] {
            let text = format!("[Service]\nExecStart=/x\n{line}\n");
            let error = parse("a.service", &text).unwrap_err().to_string();
            assert!(error.contains(problem), "{line}: {error}");
        }
    }
}
