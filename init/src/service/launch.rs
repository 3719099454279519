//! From a service file to a running program: identity, environment, descriptors.
//!
//! The clone itself is in `sys`; nothing here decides when a service starts.

use super::accounts;
use super::store::Store;
use formats::paths::NOTIFY_SOCKET;
use formats::service::Service;
use std::ffi::CString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;
use sys::launch::{Launch, Launched};

/// Open files that a service may have: its own need, and what containers inherit.
const OPEN_FILES: (u64, u64) = (65_536, 524_288);

/// Where the program's standard streams and its cgroup are.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Becomes standard input.
    pub null: BorrowedFd<'a>,
    /// Becomes standard output and error.
    pub output: BorrowedFd<'a>,
    /// The cgroup to be born into.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The notify socket's path.
    pub notify: &'a Path,
}

/// Starts the service's program.
///
/// # Errors
/// A sentence: an unknown user, or the step that failed.
pub fn start(service: &Service, place: Place<'_>, store: &Store) -> Result<Launched, String> {
    let (uid, gid) = identity(service)?;
    let words = service.exec_start.iter();
    let argv = words.map(|word| c_string(word)).collect::<Result<_, _>>()?;
    let launch = Launch {
        argv,
        envp: environment(service, place.notify, store)?,
        stdio: [place.null, place.output, place.output],
        fds: store.fds().collect(),
        cgroup: place.cgroup,
        uid,
        gid,
        bounding: service.capabilities,
        no_new_privileges: service.no_new_privileges,
        oom_score_adjust: service.oom_score_adjust,
        open_files: OPEN_FILES,
    };
    let program = service.exec_start.first().map_or("", String::as_str);
    sys::launch::launch(&launch).map_err(|e| format!("start {program}: {e}"))
}

fn identity(service: &Service) -> Result<(u32, u32), String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (uid, own_group) = match &service.user {
        Some(name) => accounts::user(&read("/etc/passwd"), name)
            .ok_or_else(|| format!("User={name}: not in /etc/passwd"))?,
        None => (0, 0),
    };
    let gid = match &service.group {
        Some(name) => accounts::group(&read("/etc/group"), name)
            .ok_or_else(|| format!("Group={name}: not in /etc/group"))?,
        None => own_group,
    };
    Ok((uid, gid))
}

fn environment(service: &Service, notify: &Path, store: &Store) -> Result<Vec<CString>, String> {
    let mut all = vec![
        "PATH=/usr/bin".to_owned(),
        "HOME=/".to_owned(),
        format!("NOTIFY_SOCKET={}", notify.to_str().unwrap_or(NOTIFY_SOCKET)),
    ];
    if store.count() > 0 {
        all.push(format!("LISTEN_FDS={}", store.count()));
        all.push(format!("LISTEN_FDNAMES={}", store.names()));
        // Filled in by the child, which alone knows its number.
        all.push("LISTEN_PID=".to_owned());
    }
    let watchdog = service
        .watchdog
        .map(|period| format!("WATCHDOG_USEC={}", period.as_micros()));
    all.extend(watchdog);
    all.extend(
        service
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    all.iter().map(|text| c_string(text)).collect()
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("a zero byte in \"{}\"", text.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_descriptors_are_announced_and_none_are_not() {
        let service = Service::new("a");
        let mut store = Store::default();
        let has = |store: &Store, name: &str| {
            let all = environment(&service, Path::new("/run/n"), store).unwrap();
            all.iter()
                .any(|text| text.to_str().unwrap().starts_with(name))
        };
        assert!(!has(&store, "LISTEN_"));
        store.put(
            Some("x"),
            [tempfile::tempfile().unwrap().into()].into_iter(),
            1,
        );
        assert!(has(&store, "LISTEN_FDS=1") && has(&store, "LISTEN_FDNAMES=x"));
        assert!(has(&store, "NOTIFY_SOCKET=/run/n"));
    }

    #[test]
    fn an_unknown_user_is_a_sentence() {
        let mut service = Service::new("a");
        service.user = Some("nobody-knows".into());
        assert!(
            identity(&service)
                .unwrap_err()
                .contains("not in /etc/passwd")
        );
    }
}
