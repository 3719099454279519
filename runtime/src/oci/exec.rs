//! exec: another process in a container, from a file or from the container's own process with changes.
//!
//! It joins what the container's main process is in, by a descriptor of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use oci_spec::runtime::{Process, Spec};
use serde_json::Value;

use super::args::{Exec, Global};
use super::clone;
use super::create::{Reports, pass_listener, write_pid};
use super::error::Error;
use super::log::Log;
use super::state::{Home, Record, Status};
use super::{bundle, prepare, relay, sealed};
use crate::container::capabilities::Set;
use crate::container::cgroup::Cgroup;
use crate::container::child::{Child, Report};
use crate::container::namespaces::Namespace;
use crate::container::operation::Operation;
use crate::container::plan::Plan;

pub(super) fn exec(global: &Global, options: &Exec, log: &Log) -> Result<u8, Error> {
    sealed::protect()?;
    let _held = prepare::reserve(options.preserve_fds)?;
    let home = Home::open(global, &options.id)?;
    let record = home.record()?;
    match home.status(&record) {
        Status::Running | Status::Created => {}
        Status::Paused if options.ignore_paused => {}
        status => {
            return Err(Error::NotRunning {
                id: options.id.clone(),
                status: status.name().into(),
            });
        }
    }
    let spec = home.spec()?;
    let process = process(&spec, options, log)?;
    let plan = Plan::exec(&spec, &process).map_err(Error::Spec)?;
    let (console, receive) = console(&plan, options)?;
    let started = start(options, &record, &spec, &plan, console)?;
    write_pid(options.pid_file.as_deref(), started.pid)?;
    if options.detach {
        return Ok(0);
    }
    let signals = relay::Signals::block()?;
    let terminal = receive.as_ref().map(relay::receive).transpose()?;
    relay::until_end(&started.pidfd, terminal, &signals)
}

/// The place for a terminal's master, and where it comes when it is ours.
fn console(plan: &Plan, options: &Exec) -> Result<(Option<OwnedFd>, Option<OwnedFd>), Error> {
    match (plan.terminal, &options.console_socket) {
        (false, _) => Ok((None, None)),
        (true, Some(path)) => Ok((Some(prepare::connect(path)?), None)),
        (true, None) if options.detach => Err(Error::Other(
            "use --console-socket with a terminal and --detach".into(),
        )),
        (true, None) => {
            let (ours, theirs) = relay::console_pair()?;
            Ok((Some(theirs), Some(ours)))
        }
    }
}

/// Clones the process, and follows it until its program runs.
fn start(
    options: &Exec,
    record: &Record,
    spec: &Spec,
    plan: &Plan,
    console: Option<OwnedFd>,
) -> Result<clone::Process, Error> {
    let container = record.pidfd().ok_or_else(|| Error::NotRunning {
        id: record.id.clone(),
        status: Status::Stopped.name().into(),
    })?;
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| Error::io("pipe", error))
    };
    let (status, report) = pipe()?;
    let (go, said) = pipe()?;
    let listened = |one: &Operation| matches!(one, Operation::Seccomp { listener: true, .. });
    let is_listened_to = plan.operations.iter().any(listened);
    let mut joined = plan.namespaces.clone();
    joined.retain(|namespace| !is_listened_to || *namespace == Namespace::Cgroup);
    let place = container.try_clone();
    let place = place.map_err(|error| Error::io("dup", error))?;
    let child = Child {
        stdio: Vec::new(),
        status: report,
        start: None,
        go: Some(go),
        trees: Vec::new(),
        kept: options.preserve_fds,
        container: (!joined.is_empty()).then_some((place, joined)),
        descent: None,
        console,
        env: plan.env.clone(),
    };
    let cgroup = cgroup(record, options.cgroup.as_deref())?;
    let cgroup = cgroup.as_ref().map(Cgroup::directory);
    let process = match is_listened_to {
        true => clone::session_that_is_listened_to(plan, container.as_fd(), cgroup, child),
        false => clone::session(plan, cgroup, child),
    }?;
    let mut reports = Reports::from(status);
    loop {
        let failure = match reports.next()? {
            None => return Ok(process),
            Some(Report::Listener(fd)) => {
                let session = Record {
                    pid: process.pid,
                    ..record.clone()
                };
                pass_listener(spec, &session, fd)?;
                let written = rustix::io::write(&said, b"\n");
                written.map_err(|error| Error::io("write", error))?;
                continue;
            }
            Some(Report::Failed(failure)) => failure.into(),
            Some(other) => Error::Other(format!("the process said {other:?}")),
        };
        relay::reap(&process.pidfd);
        return Err(failure);
    }
}

/// The cgroup of the new process: the container's or one below it, and where that may hold no
/// processes itself, that of the container's main process.
fn cgroup(record: &Record, below: Option<&str>) -> Result<Option<Cgroup>, Error> {
    let Some(path) = &record.cgroup else {
        return Ok(None);
    };
    let open = |path: PathBuf| {
        let cgroup = Cgroup::open(&path);
        cgroup.map_err(|error| Error::file("open cgroup", &path, error))
    };
    if let Some(below) = below {
        let below = below.trim_start_matches('/');
        if below.split('/').any(|part| part == "..") {
            return Err(Error::Other(format!(
                "cgroup `{below}` leaves the container's"
            )));
        }
        return open(path.join(below)).map(Some);
    }
    let control = std::fs::read_to_string(path.join("cgroup.subtree_control"));
    if control.is_ok_and(|control| control.trim().is_empty()) {
        return open(path.clone()).map(Some);
    }
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", record.pid));
    let text = text.unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    // Both are below the mount; the container's is known from its root on.
    let mount = path
        .ancestors()
        .find(|parent| !parent.join("cgroup.type").exists());
    match (own, mount) {
        (Some(own), Some(mount)) if mount.join(own).starts_with(path) => {
            open(mount.join(own)).map(Some)
        }
        _ => open(path.clone()).map(Some),
    }
}

fn process(spec: &Spec, options: &Exec, log: &Log) -> Result<Process, Error> {
    let process = match &options.process {
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| Error::file("read", path, error))?;
            let parsed = serde_json::from_slice::<Value>(&text);
            let mut value = parsed.map_err(|error| Error::file("parse", path, error))?;
            bundle::normalize_process(&mut value, &mut Vec::new());
            let process = bundle::from_value(&value);
            process.map_err(|error| Error::file("parse", path, error))?
        }
        None => changed(spec, options, log)?,
    };
    if process.exec_cpu_affinity().is_some() {
        return Err(Error::Spec(
            "process.execCPUAffinity is not supported yet".into(),
        ));
    }
    Ok(process)
}

/// The container's own process with what the command line says.
fn changed(spec: &Spec, options: &Exec, log: &Log) -> Result<Process, Error> {
    let process = spec.process().clone();
    let mut process = process.ok_or_else(|| Error::Spec("process: missing".into()))?;
    if options.args.is_empty() {
        return Err(Error::Other(
            "exec: expected a program, or --process".into(),
        ));
    }
    process
        .set_args(Some(options.args.clone()))
        .set_terminal(Some(options.tty));
    if !options.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        for variable in &options.env {
            let name = variable.split('=').next().unwrap_or_default();
            env.retain(|other| other.split('=').next() != Some(name));
            env.push(variable.clone());
        }
        process.set_env(Some(env));
    }
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.clone());
    }
    // As crun has it, and unlike everything else, it is not the container's.
    process.set_no_new_privileges(Some(options.no_new_privs));
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    set_user(&mut process, options)?;
    add_capabilities(&mut process, &options.cap, log);
    Ok(process)
}

fn set_user(process: &mut Process, options: &Exec) -> Result<(), Error> {
    let mut user = process.user().clone();
    if let Some(text) = &options.user {
        let wrong = || Error::Other(format!("expected UID[:GID], found `{text}`"));
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text.as_str(), None),
        };
        user.set_uid(uid.parse().map_err(|_| wrong())?);
        if let Some(gid) = gid {
            user.set_gid(gid.parse().map_err(|_| wrong())?);
        }
    }
    if !options.additional_gids.is_empty() {
        user.set_additional_gids(Some(options.additional_gids.clone()));
    }
    process.set_user(user);
    Ok(())
}

/// Never to the inheritable ones: what a program gains by them is nobody's intent (CVE-2022-29162).
fn add_capabilities(process: &mut Process, names: &[String], log: &Log) {
    if names.is_empty() {
        return;
    }
    let mut set = 0;
    for name in names {
        match Set::named(name) {
            Some(one) => set |= one.0,
            None => log.warning(&format!("unknown capability `{name}` passed over")),
        }
    }
    let added = Set(set).to_spec();
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let mut bounding = sets.bounding().clone().unwrap_or_default();
    bounding.extend(added.iter().copied());
    let mut effective = sets.effective().clone().unwrap_or_default();
    effective.extend(added.iter().copied());
    let mut permitted = sets.permitted().clone().unwrap_or_default();
    permitted.extend(added);
    sets.set_bounding(Some(bounding))
        .set_effective(Some(effective))
        .set_permitted(Some(permitted));
    process.set_capabilities(Some(sets));
}
