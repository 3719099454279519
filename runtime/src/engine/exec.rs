//! Exec sessions: another process in a running container.
//!
//! They end with the engine; nothing of them is on disk.

use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::runtime::{Process, Spec};
use rustix::io::ioctl_fionbio;

use super::Engine;
use super::api::ExecOptions;
use super::container::{Container, open_pidfd};
use super::error::Error;
use super::io::resize;
use super::launch::pipe;
use super::session::ExecStreams;
use crate::watched::watched;
use crate::zygote::{ExecRequest, ExecSession, Stdio};

/// Starts the process.
///
/// # Errors
/// When the container does not run, or the program cannot be run.
pub async fn start(
    engine: &Engine,
    container: &Container,
    options: &ExecOptions,
) -> Result<(ExecSession, ExecStreams), Error> {
    let cgroup = engine.cgroup_of(&container.config.id);
    start_in(engine, container, options, cgroup).await
}

/// Starts the process in a cgroup at or below the container's.
///
/// # Errors
/// When the container does not run, or the program cannot be run.
pub async fn start_in(
    engine: &Engine,
    container: &Container,
    options: &ExecOptions,
    cgroup: Option<PathBuf>,
) -> Result<(ExecSession, ExecStreams), Error> {
    let name = &container.config.name;
    let state = container.state();
    let process = state.process.filter(|_| state.phase.is_up());
    let process = process.ok_or_else(|| {
        Error::conflict(format!(
            "container '{name}' does not run; start it: skeg start {name}"
        ))
    })?;
    let pidfd = open_pidfd(process)
        .ok_or_else(|| Error::conflict(format!("container '{name}' has just ended")))?;
    let spec = engine.shelf.spec(&container.config.id)?;
    let mut ours = ExecStreams {
        outputs: Vec::new(),
        input: None,
    };
    let stdio = stdio(options, &mut ours)?;
    let request = ExecRequest {
        id: name.clone(),
        pidfd,
        process: process_of(&spec, options)?,
        spec,
        cgroup,
        stdio,
    };
    let mut session = engine.zygote.exec(request).await?;
    if let Some(master) = session.terminal.take() {
        ioctl_fionbio(&master, true)?;
        let master = Arc::new(watched(master)?);
        if let Some((rows, columns)) = options.size {
            resize(&master, rows, columns);
        }
        ours.outputs.push(master.clone());
        ours.input = Some(master);
    }
    Ok((session, ours))
}

fn stdio(options: &ExecOptions, ours: &mut ExecStreams) -> Result<Stdio, Error> {
    if options.tty {
        return Ok(Stdio::Terminal);
    }
    let stdin = if options.stdin {
        let (reader, writer) = pipe()?;
        ioctl_fionbio(&writer, true)?;
        ours.input = Some(Arc::new(watched(writer)?));
        reader
    } else {
        std::fs::File::open("/dev/null")?.into()
    };
    if options.detach {
        let null = || std::fs::OpenOptions::new().write(true).open("/dev/null");
        return Ok(Stdio::Streams {
            stdin,
            stdout: null()?.into(),
            stderr: null()?.into(),
        });
    }
    let mut writers = Vec::new();
    for _ in 0..2 {
        let (reader, writer) = pipe()?;
        ioctl_fionbio(&reader, true)?;
        ours.outputs.push(Arc::new(watched(reader)?));
        writers.push(writer);
    }
    let (Some(stderr), Some(stdout)) = (writers.pop(), writers.pop()) else {
        return Err(Error::failed("no pipes"));
    };
    Ok(Stdio::Streams {
        stdin,
        stdout,
        stderr,
    })
}

/// The container's own process with other arguments.
fn process_of(spec: &Spec, options: &ExecOptions) -> Result<Process, Error> {
    if options.command.is_empty() {
        return Err(Error::invalid("no command to run"));
    }
    let mut process = spec.process().clone().unwrap_or_default();
    process.set_args(Some(options.command.clone()));
    process.set_terminal(Some(options.tty));
    let mut env = process.env().clone().unwrap_or_default();
    for pair in &options.env {
        let key = pair.split('=').next().unwrap_or_default();
        env.retain(|e| e.split('=').next() != Some(key));
        env.push(pair.clone());
    }
    if options.tty && !env.iter().any(|e| e.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    process.set_env(Some(env));
    if let Some(workdir) = &options.workdir {
        process.set_cwd(workdir.into());
    }
    if let Some(user) = &options.user {
        let mut own = process.user().clone();
        own.set_username(Some(user.clone()));
        own.set_additional_gids(None);
        process.set_user(own);
    }
    Ok(process)
}
