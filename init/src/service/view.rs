//! From a service's keys to the steps of its mount namespace.
//!
//! Pure but for [`found`]; mounts nothing itself.

use formats::service::{Access, PathRule, View};
use std::ffi::CString;
use std::fs;
use sys::launch::{DEVICES, MountStep, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Folder,
    /// Anything else.
    File,
}

/// What is at a path of this host, links followed.
#[must_use]
pub fn found(path: &str) -> Option<Found> {
    let meta = fs::metadata(path).ok()?;
    Some(match meta.is_dir() {
        true => Found::Folder,
        false => Found::File,
    })
}

/// The steps, in order: what holds for all first, then paths from the root downwards, so that the
/// deeper one has the last word.
///
/// # Errors
/// A sentence that names the path that is not there.
pub fn steps(view: &View, found: impl Fn(&str) -> Option<Found>) -> Result<Vec<MountStep>, String> {
    let mut steps = Vec::new();
    if view.strict {
        steps.push(change("/", READ_ONLY | NO_SUID | NO_DEV, 0)?);
    }
    if view.private_devices {
        steps.push(MountStep::Devices);
    } else if view.closed_devices {
        for device in DEVICES {
            steps.push(MountStep::Bind(device.into()));
            steps.push(change(&device.to_string_lossy(), 0, NO_DEV)?);
        }
    } else if view.strict {
        steps.push(change("/dev", 0, NO_DEV)?);
    }
    if view.private_proc {
        steps.push(MountStep::Processes);
    }
    let mut rules: Vec<_> = view.paths.iter().collect();
    rules.sort_by_key(|rule| depth(&rule.path));
    for rule in rules {
        match found(&rule.path) {
            Some(there) => push(&mut steps, rule, there)?,
            None if rule.optional => {}
            None => {
                return Err(format!(
                    "{}: expected a file or folder, found none",
                    rule.path
                ));
            }
        }
    }
    Ok(steps)
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

fn push(steps: &mut Vec<MountStep>, rule: &PathRule, there: Found) -> Result<(), String> {
    let (set, clear) = match rule.access {
        Access::ReadWrite => (0, READ_ONLY),
        Access::ReadOnly => (READ_ONLY, 0),
        Access::Exec => (0, NO_EXEC),
        Access::NoExec => (NO_EXEC, 0),
        Access::Inaccessible => {
            let path = c_string(&rule.path)?;
            steps.push(match there {
                Found::Folder => MountStep::HideFolder(path),
                Found::File => MountStep::HideFile(path),
            });
            return Ok(());
        }
    };
    // The root is a mount already; a second one over it would not be seen.
    if rule.path != "/" {
        steps.push(MountStep::Bind(c_string(&rule.path)?));
    }
    steps.push(change(&rule.path, set, clear)?);
    Ok(())
}

fn change(path: &str, set: u64, clear: u64) -> Result<MountStep, String> {
    let path = c_string(path)?;
    Ok(MountStep::Attributes { path, set, clear })
}

fn c_string(path: &str) -> Result<CString, String> {
    CString::new(path).map_err(|_| format!("a zero byte in \"{}\"", path.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, access: Access) -> PathRule {
        PathRule {
            path: path.to_owned(),
            optional: false,
            access,
        }
    }

    #[test]
    fn the_deeper_path_has_the_last_word() {
        let view = View {
            strict: true,
            private_devices: true,
            closed_devices: false,
            private_proc: false,
            paths: vec![
                rule("/var/lib/secret", Access::Inaccessible),
                rule("/var", Access::ReadWrite),
                rule("/", Access::NoExec),
            ],
        };
        let steps = steps(&view, |_| Some(Found::Folder)).unwrap();
        let expected = [
            change("/", READ_ONLY | NO_SUID | NO_DEV, 0).unwrap(),
            MountStep::Devices,
            change("/", NO_EXEC, 0).unwrap(),
            MountStep::Bind(c"/var".into()),
            change("/var", 0, READ_ONLY).unwrap(),
            MountStep::HideFolder(c"/var/lib/secret".into()),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn closed_devices_are_seen_and_six_of_them_open() {
        let view = View {
            strict: true,
            closed_devices: true,
            ..View::default()
        };
        let steps = steps(&view, |_| None).unwrap();
        assert_eq!(steps.len(), 1 + 2 * DEVICES.len());
        assert_eq!(steps[1], MountStep::Bind(c"/dev/null".into()));
        assert_eq!(steps[2], change("/dev/null", 0, NO_DEV).unwrap());
    }

    #[test]
    fn a_service_that_asks_for_nothing_stays_in_the_host_s_namespace() {
        assert_eq!(steps(&View::default(), |_| None), Ok(Vec::new()));
    }

    #[test]
    fn a_missing_path_is_named_unless_it_may_be_missing() {
        let mut view = View {
            paths: vec![rule("/efi", Access::ReadOnly)],
            ..View::default()
        };
        assert!(steps(&view, |_| None).unwrap_err().starts_with("/efi:"));
        view.paths[0].optional = true;
        assert_eq!(steps(&view, |_| None), Ok(Vec::new()));
    }
}
