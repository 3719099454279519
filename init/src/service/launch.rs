//! From a service file to a running program: identity, environment, descriptors.
//!
//! The clone itself is in `sys`; nothing here decides when a service starts.

use super::store::Store;
use super::view;
use formats::paths::{self, NOTIFY_SOCKET};
use formats::service::Service;
use formats::{accounts, seccomp};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, openat};
use std::ffi::CString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;
use sys::launch::{Filter, Launch, Launched};

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
    folders(service)?;
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
        view: view::steps(&service.view, view::found)?,
        bounding: service.capabilities,
        ambient: service.ambient,
        no_new_privileges: service.no_new_privileges,
        filters: filters(service)?,
        oom_score_adjust: service.oom_score_adjust,
        open_files: OPEN_FILES,
    };
    let program = service.exec_start.first().map_or("", String::as_str);
    sys::launch::launch(&launch).map_err(|e| format!("start {program}: {e}"))
}

/// Why the service is passed over, if its condition does not hold.
#[must_use]
pub fn unmet(service: &Service) -> Option<String> {
    let folder = service.condition_folder.as_ref()?;
    let holds = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    (!holds).then(|| format!("not needed: there is nothing in {folder}"))
}

/// Makes the service's own folders. It is done for all before the first start, too: what is not there yet
/// could not be kept from another service's view.
///
/// # Errors
/// A sentence: an unknown user, or the folder that cannot be had.
pub fn folders(service: &Service) -> Result<(), String> {
    let (uid, gid) = identity(service)?;
    if let Some(name) = &service.runtime_directory {
        let folder = Path::new("/run").join(name);
        own_folder(&folder, uid, gid).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    if let Some(name) = &service.state_directory {
        // Without STATE there is no place for it, and the service says what it misses.
        let _ = own_folder(&Path::new("/var/lib").join(name), uid, gid);
    }
    Ok(())
}

fn identity(service: &Service) -> Result<(u32, u32), String> {
    let (uid, own_group) = match &service.user {
        Some(name) => user(name).ok_or_else(|| format!("User={name}: no such user"))?,
        None => (0, 0),
    };
    let gid = match &service.group {
        Some(name) => group(name).ok_or_else(|| format!("Group={name}: no such group"))?,
        None => own_group,
    };
    Ok((uid, gid))
}

/// The user's id and its own group: of the image's accounts first, which a config cannot change.
#[must_use]
pub fn user(name: &str) -> Option<(u32, u32)> {
    let mut files = [paths::ACCOUNTS, "/etc/passwd"].into_iter();
    files.find_map(|file| accounts::user(&fs::read_to_string(file).ok()?, name))
}

fn group(name: &str) -> Option<u32> {
    let mut files = [paths::GROUPS, "/etc/group"].into_iter();
    files.find_map(|file| accounts::group(&fs::read_to_string(file).ok()?, name))
}

/// Makes the folder, if it is not there, the user's own. A link in its place is not followed.
fn own_folder(path: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(fchown(&folder, Some(uid), Some(gid))?)
}

/// The image's filters for the service; to run it without would be to run it with more rights.
fn filters(service: &Service) -> Result<Vec<Filter>, String> {
    if !service.system_calls.is_restricted() {
        return Ok(Vec::new());
    }
    let path = format!("{}/{}.bpf", paths::FILTERS, service.name);
    let file = fs::read(&path).map_err(|e| format!("{path}: {e}"))?;
    let filters = seccomp::decode(&file).map_err(|e| format!("{path}: {e}"))?;
    let filter = |filter: seccomp::Filter| Filter {
        instructions: filter.instructions,
        is_told: filter.is_told,
    };
    Ok(filters.into_iter().map(filter).collect())
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
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_condition_holds_while_its_folder_has_something() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = Service::new("a");
        assert_eq!(unmet(&service), None);
        service.condition_folder = Some(folder.path().display().to_string());
        assert!(unmet(&service).unwrap().contains("nothing in /"));
        fs::write(folder.path().join("core"), "").unwrap();
        assert_eq!(unmet(&service), None);
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(unmet(&service).is_some());
    }

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
        assert!(identity(&service).unwrap_err().contains("no such user"));
    }

    #[test]
    fn a_service_whose_filter_is_missing_does_not_start() {
        let mut service = Service::new("a-service-of-no-image");
        assert!(filters(&service).unwrap().is_empty());
        service.system_calls.families = vec!["AF_UNIX".into()];
        assert!(
            filters(&service)
                .unwrap_err()
                .contains("a-service-of-no-image.bpf")
        );
    }

    #[test]
    fn a_runtime_folder_is_its_user_s_and_a_link_in_its_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let meta = fs::metadata(folder.path()).unwrap();
        let (uid, gid) = (meta.uid(), meta.gid());
        own_folder(&folder.path().join("a/b"), uid, gid).unwrap();
        assert!(folder.path().join("a/b").is_dir());
        std::os::unix::fs::symlink("/", folder.path().join("link")).unwrap();
        assert!(own_folder(&folder.path().join("link"), uid, gid).is_err());
    }
}
