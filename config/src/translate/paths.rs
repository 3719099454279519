//! Which paths a configuration may make: what lies below `/etc` and `/var`, and is not the host's own.
//!
//! The rest of the host is the image, which is signed and read-only.

/// Checks a path of a file, folder or link.
///
/// # Errors
/// Why it may not be.
pub fn check(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("expected an absolute path".to_owned());
    }
    let parts: Vec<&str> = path[1..].split('/').collect();
    if parts.iter().any(|part| ["", ".", ".."].contains(part)) {
        return Err("expected a path without //, /./, /../ and a / at its end".to_owned());
    }
    if path.len() > 4000 || parts.iter().any(|part| part.len() > 255) {
        return Err("is longer than a path may be".to_owned());
    }
    if path.chars().any(char::is_control) {
        return Err("has a control character".to_owned());
    }
    if !matches!(parts[0], "etc" | "var") || parts.len() < 2 {
        let text = match parts[0] {
            "run" | "tmp" | "proc" | "sys" | "dev" => "is made anew at each boot",
            _ => "is part of the image, which is signed and read-only",
        };
        return Err(format!(
            "{text}: only what lies below /etc and /var can be made"
        ));
    }
    if parts[0] == "etc" && parts.len() > 16 {
        return Err("lies deeper than 16 folders".to_owned());
    }
    own(path).map_or(Ok(()), |text| Err(text.to_owned()))
}

/// Why a path is the host's own.
fn own(path: &str) -> Option<&'static str> {
    let below = |folder: &str| {
        path == folder
            || path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    match path {
        "/etc/passwd" | "/etc/group" | "/etc/shadow" | "/etc/gshadow" => {
            Some("is made of passwd.users and passwd.groups")
        }
        "/etc/machine-id" => Some("is the host's own, made at its first boot"),
        "/etc/os-release" => Some("says what the image is"),
        _ if below("/etc/ssh/authorized_keys.d") => {
            Some("is made of passwd.users: write sshAuthorizedKeys there")
        }
        _ if below("/etc/systemd/system") => {
            Some("is read by nobody here: write it in systemd.units")
        }
        _ if below("/var/lib/skeg")
            || below("/var/lib/skeg-config")
            || below("/var/lib/skeg-ssh")
            || below("/var/lib/skeg-update")
            || path == "/var/lib/skeg-time" =>
        {
            Some("is the host's own store")
        }
        _ if below("/var/log/skeg") => Some("is the host's own journal"),
        _ => None,
    }
}

/// Why a file, though made, does nothing.
pub fn unread(path: &str) -> Option<&'static str> {
    let below = |folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    const NOBODY: [&str; 14] = [
        "/etc/systemd",
        "/etc/sysctl.d",
        "/etc/modules-load.d",
        "/etc/modprobe.d",
        "/etc/tmpfiles.d",
        "/etc/sysusers.d",
        "/etc/udev",
        "/etc/NetworkManager",
        "/etc/sudoers.d",
        "/etc/profile.d",
        "/etc/cron.d",
        "/etc/yum.repos.d",
        "/etc/zincati",
        "/etc/docker",
    ];
    if below("/etc/containers/systemd/users") {
        return Some("is made, but units of users are not started here");
    }
    NOBODY
        .iter()
        .any(|folder| below(folder))
        .then_some("is made, but nothing on this host reads it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_accepted_stays_below_etc_or_var(path in "/(etc|var|\\.|x)?(/(\\.\\.|\\.|a|lib|skeg|))*") {
            if check(&path).is_ok() {
                prop_assert!(path.starts_with("/etc/") || path.starts_with("/var/"));
                prop_assert!(!path.contains("..") && !path.contains("//"));
            }
        }
    }
}
