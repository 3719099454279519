//! create, start and run: from a bundle to a process that waits, runs, and has ended.
//!
//! A create that fails leaves nothing: no process, cgroup, mount or directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::args::{Create, Global};
use super::bundle::Bundle;
use super::clone::{self, Process};
use super::error::Error;
use super::log::{self, Log};
use super::place::Place;
use super::state::{self, Home, Record, Status};
use super::{delete, hooks, maps, prepare, relay, sealed};
use crate::container::child::{Child, Report, Start};
use crate::container::idmap::Mapping;
use crate::container::plan::{Around, Plan};
use crate::zygote::{Rootfs, wire};

/// A container that waits for its start.
struct Created {
    home: Home,
    record: Record,
    process: Process,
    /// The terminal's master, when nobody else has asked for it.
    terminal: Option<OwnedFd>,
}

pub(super) fn create(global: &Global, options: &Create, log: &Log) -> Result<(), Error> {
    make(global, options, log, false).map(drop)
}

/// Creates and starts; waits for the end, deletes, and returns how it ended, unless detached.
pub(super) fn run(global: &Global, options: &Create, log: &Log) -> Result<u8, Error> {
    let attached = !options.detach;
    let Some(created) = make(global, options, log, attached)? else {
        return Ok(0);
    };
    let signals = attached.then(relay::Signals::block).transpose()?;
    let started = begin(&created.home, &created.record, log);
    if let Err(error) = started {
        let _ = delete::remove(&created.home, &created.record, log);
        return Err(error);
    }
    let Some(signals) = signals else {
        return Ok(0);
    };
    let code = relay::until_end(&created.process.pidfd, created.terminal, &signals)?;
    if !options.keep {
        delete::remove(&created.home, &created.record, log)?;
    }
    Ok(code)
}

/// Lets a created container go on.
pub(super) fn start(global: &Global, id: &str, log: &Log) -> Result<(), Error> {
    let home = Home::open_locked(global, id)?;
    let record = home.record()?;
    match home.status(&record) {
        Status::Created => begin(&home, &record, log),
        status => Err(Error::Other(format!(
            "cannot start container `{id}`: it is {}, expected created",
            status.name()
        ))),
    }
}

fn begin(home: &Home, record: &Record, log: &Log) -> Result<(), Error> {
    let socket = home.file("start");
    let connection = prepare::connect_short(&socket)?;
    let told = rustix::io::write(&connection, b"s");
    told.map_err(|error| Error::file("write", &socket, error))?;
    let mut reports = Reports::from(connection);
    let failed = match reports.next()? {
        None => None,
        Some(Report::Failed(failure)) => Some(failure),
        Some(other) => return Err(unexpected(&other)),
    };
    let _ = std::fs::remove_file(&socket);
    if let Some(failure) = failed {
        return Err(failure.into());
    }
    let spec = home.spec()?;
    hooks::after_start(&spec, record, log);
    Ok(())
}

/// Makes the container, or with `--dry-run` prints what would be done.
fn make(
    global: &Global,
    options: &Create,
    log: &Log,
    attached: bool,
) -> Result<Option<Created>, Error> {
    sealed::protect()?;
    let held = prepare::reserve(kept(options))?;
    let bundle = Bundle::load(options)?;
    bundle.warnings.iter().for_each(|text| log.warning(text));
    if options.dry_run {
        print!("{}", plan(&bundle, options, &Place::default())?);
        return Ok(None);
    }
    let console = Console::of(&bundle.spec, options, attached)?;
    let home = Home::make(global, &options.id)?;
    let place = match Place::make(global, &options.id, &bundle.spec) {
        Ok(place) => place,
        Err(error) => {
            let _ = home.remove();
            return Err(error);
        }
    };
    let mut record = Record {
        id: options.id.clone(),
        bundle: bundle.directory.clone(),
        rootfs: bundle.rootfs.clone(),
        created: log::now(),
        owner: rustix::process::getuid().as_raw(),
        annotations: bundle.spec.annotations().clone().unwrap_or_default(),
        cgroup: place.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
        cgroup_parents: place.parents.clone(),
        scope: place.scope.clone(),
        ..Record::default()
    };
    let made = launch(&home, &bundle, options, &place, console, &mut record);
    drop(held);
    match made {
        Ok((process, terminal)) => Ok(Some(Created {
            home,
            record,
            process,
            terminal,
        })),
        Err(error) => {
            place.undo();
            let _ = home.remove();
            Err(error)
        }
    }
}

/// Where the terminal's master goes.
enum Console {
    /// There is no terminal.
    None,
    /// To whoever listens there.
    Socket(PathBuf),
    /// To this process.
    Here,
}

impl Console {
    fn of(spec: &Spec, options: &Create, attached: bool) -> Result<Self, Error> {
        let process = spec.process().as_ref();
        let terminal = process.and_then(oci_spec::runtime::Process::terminal);
        match (terminal.unwrap_or(false), &options.console_socket) {
            (false, _) => Ok(Self::None),
            (true, Some(path)) => Ok(Self::Socket(path.clone())),
            (true, None) if attached => Ok(Self::Here),
            (true, None) => Err(Error::Other(
                "use --console-socket with a terminal and create or --detach".into(),
            )),
        }
    }

    /// The descriptor for the child, and ours.
    fn open(self) -> Result<(Option<OwnedFd>, Option<OwnedFd>), Error> {
        match self {
            Self::None => Ok((None, None)),
            Self::Socket(path) => Ok((Some(prepare::connect(&path)?), None)),
            Self::Here => {
                let (ours, theirs) = relay::console_pair()?;
                Ok((Some(theirs), Some(ours)))
            }
        }
    }
}

fn plan(bundle: &Bundle, options: &Create, place: &Place) -> Result<Plan, Error> {
    let around = Around {
        in_cgroup: true,
        attended: true,
        cgroup: place.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
        unprivileged: maps::is_rootless(),
        clones_mounts: rustix::process::geteuid().is_root(),
        no_pivot: options.no_pivot,
        keep_keyring: options.no_new_keyring,
        keep_groups: keeps_groups(&bundle.spec),
    };
    let rootfs = Rootfs::Directory(bundle.rootfs.clone());
    Plan::create(&bundle.spec, &rootfs, &around).map_err(Error::Spec)
}

/// podman's `--group-add keep-groups`, as crun takes it.
fn keeps_groups(spec: &Spec) -> bool {
    let annotations = spec.annotations().as_ref();
    annotations.is_some_and(|all| all.contains_key("run.oci.keep_original_groups"))
}

/// Clones the process and follows it until it waits for its start.
fn launch(
    home: &Home,
    bundle: &Bundle,
    options: &Create,
    place: &Place,
    console: Console,
    record: &mut Record,
) -> Result<(Process, Option<OwnedFd>), Error> {
    let plan = plan(bundle, options, place)?;
    home.write_spec(&bundle.spec)?;
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| Error::io("pipe", error))
    };
    let (status, report) = pipe()?;
    let (go, mut said) = pipe().map(|(go, said)| (go, File::from(said)))?;
    let (console, receive) = console.open()?;
    let child = Child {
        stdio: Vec::new(),
        status: report,
        start: Some(Start::Socket(prepare::listen(&home.file("start"))?)),
        go: Some(go),
        trees: prepare::trees(&plan)?,
        kept: kept(options),
        container: None,
        descent: None,
        console,
        env: environment(&plan),
    };
    let cgroup = place.cgroup.as_ref();
    let process = clone::container(&plan, cgroup.map(|cgroup| cgroup.directory()), child)?;
    record.pid = process.pid;
    record.start_time = state::alive_since(process.pid).unwrap_or(0);
    let followed = follow(&plan, bundle, record, status, &mut said)
        .and_then(|()| home.write(record))
        .and_then(|()| write_pid(options.pid_file.as_deref(), process.pid))
        .and_then(|()| receive.as_ref().map(relay::receive).transpose());
    match followed {
        Ok(terminal) => Ok((process, terminal)),
        Err(error) => {
            let _ = sys::process::pidfd_signal(process.pidfd.as_fd(), 9);
            relay::reap(&process.pidfd);
            Err(error)
        }
    }
}

/// How many descriptors after the standard ones the container gets: those that were asked for, and
/// those that a service manager has passed (sd_listen_fds(3)).
fn kept(options: &Create) -> u32 {
    options.preserve_fds.saturating_add(listening())
}

fn listening() -> u32 {
    let count = std::env::var("LISTEN_FDS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// `LISTEN_FDS` says to the container what it said to us.
fn environment(plan: &Plan) -> Vec<String> {
    let mut env = plan.env.clone();
    let count = listening();
    if count > 0 {
        env.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".into()]);
    }
    env
}

/// Does the parent's part of the set-up, as the child asks for it.
fn follow(
    plan: &Plan,
    bundle: &Bundle,
    record: &Record,
    status: OwnedFd,
    said: &mut File,
) -> Result<(), Error> {
    let gone = |error| Error::io("write to the container's process", error);
    let linux = bundle.spec.linux().as_ref();
    if plan
        .namespaces
        .contains(&crate::container::namespaces::Namespace::User)
    {
        let list = |maps: Option<&Vec<oci_spec::runtime::LinuxIdMapping>>| -> Vec<Mapping> {
            let maps = maps.into_iter().flatten();
            maps.map(Mapping::from_spec).collect()
        };
        let uids = list(linux.and_then(|linux| linux.uid_mappings().as_ref()));
        let gids = list(linux.and_then(|linux| linux.gid_mappings().as_ref()));
        maps::write(record.pid, &uids, &gids)?;
        if let Some(value) = plan.oom_score_adj {
            let path = format!("/proc/{}/oom_score_adj", record.pid);
            std::fs::write(&path, value.to_string())
                .map_err(|error| Error::file("write", path.as_ref(), error))?;
        }
        said.write_all(b"\n").map_err(gone)?;
    }
    let mut reports = Reports::from(status);
    loop {
        match reports.next()? {
            Some(Report::Ready) => return Ok(()),
            Some(Report::Made) => {
                hooks::before_pivot(&bundle.spec, record)?;
                let state = record.json(Status::Creating);
                said.write_all(format!("{state}\n").as_bytes())
                    .map_err(gone)?;
            }
            Some(Report::Listener(fd)) => {
                pass_listener(&bundle.spec, record, fd)?;
                said.write_all(b"\n").map_err(gone)?;
            }
            Some(Report::Failed(failure)) => return Err(failure.into()),
            Some(other) => return Err(unexpected(&other)),
            None => {
                return Err(Error::Other(
                    "the container's process died during set-up".into(),
                ));
            }
        }
    }
}

/// Sends the descriptor of the filter's notifications to the socket that the spec names.
pub(super) fn pass_listener(spec: &Spec, record: &Record, fd: i32) -> Result<(), Error> {
    let seccomp = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let path = seccomp.and_then(|seccomp| seccomp.listener_path().clone());
    let path = path.ok_or_else(|| Error::Spec("linux.seccomp.listenerPath: missing".into()))?;
    let metadata = seccomp.and_then(|seccomp| seccomp.listener_metadata().clone());
    let pid = i32::try_from(record.pid).ok();
    let pid = pid.and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::Other("seccomp: no process".into()))?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
        .map_err(|error| Error::io("pidfd_open", error))?;
    let flags = rustix::process::PidfdGetfdFlags::empty();
    let listener = rustix::process::pidfd_getfd(&pidfd, fd, flags)
        .map_err(|error| Error::io("pidfd_getfd", error))?;
    let message = serde_json::json!({
        // The version that every receiver knows.
        "ociVersion": "0.2.0",
        "fds": ["seccompFd"],
        "pid": record.pid,
        "metadata": metadata.unwrap_or_default(),
        "state": record.json(Status::Creating),
    });
    let socket = prepare::connect(&path)?;
    let message = message.to_string();
    wire::send(socket.as_fd(), message.as_bytes(), &[listener.as_fd()])
        .map_err(|error| Error::file("send to", &path, error))
}

pub(super) fn write_pid(path: Option<&Path>, pid: u32) -> Result<(), Error> {
    let Some(path) = path else {
        return Ok(());
    };
    // A reader sees the whole number or no file.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    std::fs::write(&new, pid.to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| Error::file("write", path, error))
}

fn unexpected(report: &Report) -> Error {
    Error::Other(format!("the container's process said {report:?}"))
}

/// What a child reports, line by line.
pub(super) struct Reports(BufReader<File>);

impl From<OwnedFd> for Reports {
    fn from(fd: OwnedFd) -> Self {
        debug_assert!(fd.as_raw_fd() > 2);
        Self(BufReader::new(File::from(fd)))
    }
}

impl Reports {
    /// The next one; none when the pipe has ended, which the exec does.
    pub(super) fn next(&mut self) -> Result<Option<Report>, Error> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        // A socket whose other end was killed with bytes unread says so.
        let count = match read {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            read => read.map_err(|error| Error::io("read a report", error))?,
        };
        if count == 0 {
            return Ok(None);
        }
        let report = serde_json::from_slice(line.as_bytes());
        report
            .map(Some)
            .map_err(|error| Error::io("read a report", error))
    }
}
