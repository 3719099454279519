//! Further processes in containers: made, started, looked at.
//!
//! They end with the engine; nothing of them is on disk.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::Arced;
use super::super::asked::{self, Asked, Sent};
use super::super::body::Body;
use super::super::events::Told;
use super::super::refusal::Refusal;
use super::attach::{size, switching, upgrade_of};
use super::logs::piece;
use super::{Id, find, life};
use crate::engine::api::{ExecOptions, FrameKind};
use crate::engine::container::{Container, lock};
use crate::engine::io::{feed, resize};
use crate::engine::log::Stream;
use crate::engine::{Engine, exec, session};

/// Those that have ended are forgotten, the oldest first, above so many.
const REMEMBERED: usize = 256;

/// One process, from its creation on.
pub struct Exec {
    id: String,
    container: Arc<Container>,
    options: ExecOptions,
    run: Mutex<Run>,
}

#[derive(Default)]
struct Run {
    started: bool,
    pid: u32,
    code: Option<u8>,
    terminal: Option<Arc<AsyncFd<OwnedFd>>>,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Those of a container that have not ended, or null.
pub fn ids_of(engine: &Engine, container: &str) -> Value {
    let all = lock(&engine.docker.execs);
    let ids: Vec<&str> = all
        .iter()
        .filter(|e| e.container.config.id == container && lock(&e.run).code.is_none())
        .map(|e| e.id.as_str())
        .collect();
    if ids.is_empty() {
        Value::Null
    } else {
        json!(ids)
    }
}

fn the(engine: &Engine, id: &str) -> Result<Arc<Exec>, Refusal> {
    let all = lock(&engine.docker.execs);
    let found = all.iter().find(|e| e.id == id).cloned();
    found.ok_or_else(|| Refusal::not_found(format!("No such exec instance: {id}")))
}

pub async fn create(
    Shared(engine): Arced,
    Path(id): Id,
    Sent(body): Sent<Value>,
) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    if !container.state().phase.is_up() {
        return Err(life::not_running(&container));
    }
    if engine.is_paused(&container.config.id) {
        return Err(Refusal::conflict(format!(
            "Container {id} is paused, unpause the container before exec"
        )));
    }
    let options = wished(body)?;
    let exec = Arc::new(Exec {
        id: crate::engine::create::new_id()?,
        container,
        options,
        run: Mutex::default(),
    });
    let told = told(&exec, "exec_create");
    engine.docker.events.tell(told);
    let answer = json!({"Id": exec.id});
    let mut all = lock(&engine.docker.execs);
    if all.len() >= REMEMBERED
        && let Some(old) = all.iter().position(|e| lock(&e.run).code.is_some())
    {
        all.remove(old);
    }
    all.push(exec);
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

fn told(exec: &Exec, what: &str) -> Told {
    let action = match what {
        "exec_die" => what.to_owned(),
        _ => format!("{what}: {}", exec.options.command.join(" ")),
    };
    let mut told = Told::container(&action, &exec.container);
    told.add("execID", &exec.id);
    told
}

fn wished(body: Value) -> Result<ExecOptions, Refusal> {
    let mut body = Body::new("", body)?;
    let options = ExecOptions {
        command: body.words("Cmd")?,
        env: body.words("Env")?,
        user: body.text("User")?,
        workdir: body.text("WorkingDir")?,
        tty: body.flag("Tty")?,
        stdin: body.flag("AttachStdin")?,
        detach: false,
        size: None,
    };
    body.pass_over(&[
        "AttachStdout",
        "AttachStderr",
        "Detach",
        "DetachKeys",
        "ConsoleSize",
        "Container",
    ]);
    body.finish()?;
    if options.command.is_empty() {
        return Err(Refusal::invalid("No exec command specified"));
    }
    Ok(options)
}

pub async fn start(
    Shared(engine): Arced,
    Path(id): Id,
    mut request: Request,
) -> Result<Response, Refusal> {
    let exec = the(&engine, &id)?;
    let upgrade = upgrade_of(&mut request);
    let bytes = axum::body::to_bytes(request.into_body(), 1 << 20).await;
    let bytes = bytes.map_err(|e| Refusal::invalid(format!("read the body: {e}")))?;
    let sent: Value = asked::json(&bytes)?;
    let detach = sent.get("Detach").and_then(Value::as_bool).unwrap_or(false);
    let upgrade = if detach { None } else { Some(upgrade?) };
    if std::mem::replace(&mut lock(&exec.run).started, true) {
        let text = format!("Error: Exec command {id} has already run");
        return Err(Refusal::conflict(text));
    }
    let mut options = exec.options.clone();
    options.detach = detach;
    let sides = sent.get("ConsoleSize").and_then(Value::as_array);
    let side = |at: usize| {
        let number = sides?.get(at)?.as_u64()?;
        u16::try_from(number).ok().filter(|n| *n > 0)
    };
    options.size = side(0).zip(side(1));
    let begun = exec::start(&engine, &exec.container, &options).await;
    let (session, streams) = match begun {
        Ok(both) => both,
        Err(e) => {
            lock(&exec.run).code = Some(e.exit);
            let refusal = not_begun(e);
            // A client that waits for the connection is told there, as dockerd does it.
            let upgrade = upgrade.ok_or(refusal.clone())?;
            tokio::spawn(tell_not_begun(upgrade, options.tty, refusal));
            return Ok(switching(options.tty));
        }
    };
    {
        let mut run = lock(&exec.run);
        run.pid = session.pid;
        run.terminal = streams.input.clone().filter(|_| options.tty);
    }
    engine.docker.events.tell(told(&exec, "exec_start"));
    let tty = options.tty;
    tokio::spawn(async move {
        let connection = match upgrade {
            None => None,
            Some(upgrade) => upgrade.await.ok(),
        };
        let code = match connection {
            Some(connection) => carry(session, streams, tty, TokioIo::new(connection), &exec).await,
            None => carry(session, streams, tty, tokio::io::empty(), &exec).await,
        };
        lock(&exec.run).code = Some(code);
        let mut told = told(&exec, "exec_die");
        told.add("exitCode", &code.to_string());
        engine.docker.events.tell(told);
    });
    Ok(match detach {
        true => StatusCode::OK.into_response(),
        false => switching(tty),
    })
}

async fn tell_not_begun(upgrade: OnUpgrade, tty: bool, refusal: Refusal) {
    if let Ok(connection) = upgrade.await {
        let text = format!("{}\r\n", refusal.message).into_bytes();
        let bytes = if tty {
            text
        } else {
            piece(Stream::Stdout, &text)
        };
        let mut connection = TokioIo::new(connection);
        let _ = connection.write_all(&bytes).await;
        let _ = connection.shutdown().await;
    }
}

/// In words from which clients make 126 and 127.
fn not_begun(e: crate::engine::error::Error) -> Refusal {
    let text = match e.exit {
        127 => format!(
            "OCI runtime exec failed: executable file not found in $PATH: {}",
            e.message
        ),
        126 => format!("OCI runtime exec failed: permission denied: {}", e.message),
        _ => e.message,
    };
    Refusal::new(e.status, text)
}

/// Carries a process's streams to its end; its exit status.
async fn carry(
    mut session: crate::zygote::ExecSession,
    streams: session::ExecStreams,
    tty: bool,
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    exec: &Exec,
) -> u8 {
    let (reader, mut writer) = tokio::io::split(connection);
    let (pieces, received) = tokio::sync::mpsc::channel::<Vec<u8>>(8);
    let (end, ended) = tokio::sync::watch::channel(false);
    let encode: session::Encode = match tty {
        true => |_, bytes| bytes.to_vec(),
        false => |kind, bytes| match kind {
            FrameKind::Stderr => piece(Stream::Stderr, bytes),
            _ => piece(Stream::Stdout, bytes),
        },
    };
    session::pump_all(streams.outputs, encode, &pieces, &ended);
    drop(pieces);
    // Held to the end: a terminal without its master hangs up.
    let held = streams.input.clone().filter(|_| tty);
    let input = tokio::spawn(take_input(streams.input, reader));
    let wait = async {
        let status = session.wait().await;
        let code = status.map_or(137, crate::zygote::ExecStatus::code);
        // Before the client sees the end: it asks for the status at once.
        lock(&exec.run).code = Some(code);
        end.send_replace(true);
        code
    };
    let ((), code) = tokio::join!(session::hand_on(received, &mut writer), wait);
    input.abort();
    drop(held);
    let _ = writer.shutdown().await;
    code
}

async fn take_input(mut to: Option<Arc<AsyncFd<OwnedFd>>>, mut from: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read) = from.read(&mut buffer).await {
        let Some(open) = to.as_deref().filter(|_| read > 0) else {
            // A pipe's end is the end of the input; a terminal has none.
            drop(to.take());
            return;
        };
        if feed(open, &buffer[..read]).await.is_err() {
            return;
        }
    }
}

pub async fn resize_it(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
) -> Result<StatusCode, Refusal> {
    let exec = the(&engine, &id)?;
    let (rows, columns) = size(&asked)?;
    let terminal = lock(&exec.run).terminal.clone();
    if let Some(terminal) = terminal {
        resize(&terminal, rows, columns);
    }
    Ok(StatusCode::OK)
}

pub async fn inspect(Shared(engine): Arced, Path(id): Id) -> Result<Json<Value>, Refusal> {
    let exec = the(&engine, &id)?;
    let run = lock(&exec.run);
    let options = &exec.options;
    let (entrypoint, arguments) = options
        .command
        .split_first()
        .map_or(("", &[][..]), |(f, r)| (f, r));
    Ok(Json(json!({
        "ID": exec.id,
        "Running": run.started && run.code.is_none(),
        "ExitCode": run.code,
        "ProcessConfig": {
            "tty": options.tty,
            "entrypoint": entrypoint,
            "arguments": arguments,
            "privileged": false,
            "user": options.user.as_deref().unwrap_or_default(),
        },
        "OpenStdin": options.stdin,
        "OpenStderr": true,
        "OpenStdout": true,
        "CanRemove": run.code.is_some(),
        "ContainerID": exec.container.config.id,
        "DetachKeys": "",
        "Pid": run.pid,
    })))
}
