//! `run` and `exec`.
//!
//! An attached run creates, attaches, then starts: so no line of a short program is missed.

use std::path::Path;

use hyper::Method;
use tokio::sync::mpsc;

use super::args::{Exec, Run};
use super::client::{self, escape};
use super::error::CliError;
use super::images::Progress;
use super::{session, terminal};
use crate::engine::api::{Created, ExecOptions, Told, Waited};
use crate::engine::options::{ContainerOptions, RestartPolicy, Seccomp};

pub async fn run(args: Run) -> Result<u8, CliError> {
    if args.rm && args.restart != RestartPolicy::No {
        return Err(CliError::usage("--rm and --restart exclude each other"));
    }
    if args.detach && args.tty && args.interactive {
        return Err(CliError::usage(
            "--detach leaves nobody at the terminal of -it",
        ));
    }
    let (detach, quiet) = (args.detach, args.quiet);
    let options = options(args)?;
    let created = create(&options, quiet).await?;
    let path = format!("/v1/containers/{}", created.id);
    if detach {
        client::order(Method::POST, &format!("{path}/start")).await?;
        println!("{}", created.id);
        return Ok(0);
    }
    let attach = format!("{path}/attach?stdin={}", options.stdin);
    let attached = client::send(Method::POST, &attach, None::<&()>, true).await?;
    let (signals, received) = mpsc::channel(4);
    tokio::spawn(hand_on(received, path.clone()));
    let session = session::carry(attached, options.stdin, options.tty, Some(signals));
    let start = format!("{path}/start");
    let (waited, started) = tokio::join!(session, client::order(Method::POST, &start));
    started?;
    let waited = waited?;
    finish(waited)
}

fn finish(waited: Waited) -> Result<u8, CliError> {
    match waited.error {
        Some(message) => Err(CliError {
            message,
            code: waited.code,
        }),
        None => Ok(waited.code),
    }
}

async fn hand_on(mut signals: mpsc::Receiver<i32>, path: String) {
    while let Some(signal) = signals.recv().await {
        let _ = client::order(Method::POST, &format!("{path}/kill?signal={signal}")).await;
    }
}

async fn create(options: &ContainerOptions, quiet: bool) -> Result<Created, CliError> {
    let response = client::send(Method::POST, "/v1/containers", Some(options), false).await?;
    let mut progress = Progress::new(quiet);
    let mut created = None;
    client::lines(response, |told: Told| {
        match told {
            Told::Created(it) => created = Some(it),
            Told::Error(body) => return Err(body.into()),
            other => progress.tell(&other),
        }
        Ok(())
    })
    .await?;
    created.ok_or_else(|| CliError::engine("the engine broke off before the container was created"))
}

fn options(args: Run) -> Result<ContainerOptions, CliError> {
    let mut options = ContainerOptions {
        image: args.image,
        name: args.name,
        command: args.command,
        entrypoint: args
            .entrypoint
            .map(|e| if e.is_empty() { vec![] } else { vec![e] }),
        ports: args.publish.into_iter().flat_map(|p| p.0).collect(),
        mounts: args.volume,
        tmpfs: args.tmpfs,
        network: args.network.mode,
        networks: args.network.join.into_iter().collect(),
        user: args.user,
        workdir: args.workdir,
        read_only: args.read_only,
        labels: args.label.into_iter().collect(),
        cap_add: args.cap_add,
        cap_drop: args.cap_drop,
        hostname: args.hostname,
        dns: args.dns,
        add_hosts: args.add_host,
        ulimits: args.ulimit,
        sysctls: args.sysctl.into_iter().collect(),
        shm_size: args.shm_size,
        pids_limit: args.pids_limit,
        memory: args.memory,
        milli_cpus: args.cpus,
        stop_signal: args.stop_signal,
        stop_timeout: args.stop_timeout,
        pull: args.pull,
        restart: args.restart,
        tty: args.tty,
        stdin: args.interactive,
        auto_remove: args.rm,
        ..ContainerOptions::default()
    };
    for file in &args.env_file {
        options.env.extend(env_file(file)?);
    }
    for item in args.env {
        match item.split_once('=') {
            Some(("", _)) => {
                return Err(CliError::usage(format!(
                    "-e: expected KEY=VALUE, found '{item}'"
                )));
            }
            Some(_) => options.env.push(item),
            None => options
                .env
                .extend(std::env::var(&item).ok().map(|v| format!("{item}={v}"))),
        }
    }
    for option in &args.security_opt {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                options.no_new_privileges = Some(true);
            }
            "no-new-privileges=false" | "no-new-privileges:false" => {
                options.no_new_privileges = Some(false);
            }
            "seccomp=unconfined" => options.seccomp = Seccomp::Unconfined,
            other => {
                return Err(CliError::usage(format!(
                    "--security-opt: expected no-new-privileges or seccomp=unconfined, found '{other}'"
                )));
            }
        }
    }
    Ok(options)
}

fn env_file(path: &Path) -> Result<Vec<String>, CliError> {
    crate::engine::values::env_file(path).map_err(CliError::usage)
}

pub async fn exec(args: Exec) -> Result<u8, CliError> {
    let options = ExecOptions {
        command: args.command,
        env: args.env,
        user: args.user,
        workdir: args.workdir,
        tty: args.tty,
        stdin: args.interactive,
        detach: args.detach,
        size: args.tty.then(terminal::size).flatten(),
    };
    let path = format!("/v1/containers/{}/exec", escape(&args.container));
    let response = client::send(Method::POST, &path, Some(&options), !args.detach).await?;
    if args.detach {
        return Ok(0);
    }
    let waited = session::carry(response, options.stdin, options.tty, None).await?;
    finish(waited)
}
