//! A client at a container's own streams: raw with a terminal, multiplexed without.
//!
//! The output comes from the log, so a slow client never holds the container up.

use std::sync::Arc;

use axum::extract::{Path, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::Arced;
use super::super::asked::Asked;
use super::super::events::Told;
use super::super::refusal::Refusal;
use super::logs::{MULTIPLEXED, RAW, piece};
use super::{Id, find, life};
use crate::engine::container::{Container, lock};
use crate::engine::io::{feed, resize};
use crate::engine::log::Stream;
use crate::engine::log::read::Reader;
use crate::engine::record::State;
use crate::engine::session;

/// Which streams somebody wants.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    /// What was written before, too.
    logs: bool,
    /// Not only what was written before.
    stream: bool,
}

pub async fn attach(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
    mut request: Request,
) -> Result<Response, Refusal> {
    let container = find(&engine, &id)?;
    if engine.is_paused(&container.config.id) {
        return Err(Refusal::conflict(format!(
            "container {id} is paused, unpause the container before attach"
        )));
    }
    let wanted = Wanted {
        stdin: asked.flag("stdin") && container.config.options.stdin,
        stdout: asked.flag("stdout"),
        stderr: asked.flag("stderr"),
        logs: asked.flag("logs"),
        stream: asked.flag("stream"),
    };
    let upgrade = upgrade_of(&mut request)?;
    engine
        .docker
        .events
        .tell(Told::container("attach", &container));
    // Here, not when the connection is there: the container is started as soon as this is answered.
    let mut reader = Reader::new(container.log.folder());
    if !wanted.logs {
        reader.skip_to_end()?;
    }
    let tty = container.config.options.tty;
    let first = container.state();
    let bell = container.log.bell();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                let (from, mut to) = tokio::io::split(TokioIo::new(connection));
                let input = take_input(container.clone(), from, wanted.stdin);
                let mut input = tokio::spawn(input);
                tokio::select! {
                    () = follow(&container, reader, bell, first, wanted, &mut to) => {}
                    _ = &mut input => {}
                }
                input.abort();
                let _ = to.shutdown().await;
            }
            Err(e) => tracing::debug!("attach: {e}"),
        }
    });
    Ok(switching(tty))
}

/// The connection of a client that wants to have it for itself.
pub fn upgrade_of(request: &mut Request) -> Result<OnUpgrade, Refusal> {
    let asked = request.headers().contains_key(header::UPGRADE);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    upgrade.filter(|_| asked).ok_or_else(|| {
        Refusal::invalid("expected the headers 'Connection: Upgrade' and 'Upgrade: tcp'")
    })
}

/// The answer after which the connection is the client's.
pub fn switching(tty: bool) -> Response {
    let headers = [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "tcp"),
        (header::CONTENT_TYPE, if tty { RAW } else { MULTIPLEXED }),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn follow(
    container: &Container,
    mut reader: Reader,
    mut bell: tokio::sync::watch::Receiver<u64>,
    first: State,
    wanted: Wanted,
    to: &mut (impl AsyncWrite + Unpin),
) {
    let tty = container.config.options.tty;
    let mut state = container.watch();
    loop {
        bell.mark_unchanged();
        // Looked at before the log is read: after the end nothing is added to it. One that had ended
        // before is about to be started.
        let over = {
            let state = state.borrow_and_update();
            *state != first && session::ended(&state).is_some()
        };
        while let Ok(Some(chunk)) = reader.next_chunk() {
            let is_on = match chunk.stream {
                Stream::Stdout => wanted.stdout,
                Stream::Stderr => wanted.stderr,
            };
            let bytes = match (is_on, tty) {
                (false, _) => continue,
                (true, true) => chunk.bytes,
                (true, false) => piece(chunk.stream, &chunk.bytes),
            };
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        if to.flush().await.is_err() || over || !wanted.stream {
            return;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

/// Until the client goes, or has no more to say. Its input waits while there is no process yet.
async fn take_input(container: Arc<Container>, mut from: impl AsyncRead + Unpin, stdin: bool) {
    if container.until(|s| s.phase.is_up()).await.is_err() {
        return std::future::pending().await;
    }
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => {
                if stdin {
                    lock(&container.streams).close_input();
                }
                // It may still want to see the output.
                return std::future::pending().await;
            }
            Ok(read) => read,
            Err(_) => return,
        };
        let to = lock(&container.streams).input();
        if let Some(to) = to.filter(|_| stdin)
            && feed(&to, &buffer[..read]).await.is_err()
        {
            lock(&container.streams).close_input();
        }
    }
}

/// `h` rows and `w` columns.
pub fn size(asked: &Asked) -> Result<(u16, u16), Refusal> {
    let side = |key: &str| {
        let number = asked.number(key)?.unwrap_or(0);
        u16::try_from(number).map_err(|_| Refusal::invalid(format!("{key}: not a terminal's size")))
    };
    Ok((side("h")?, side("w")?))
}

pub async fn resize_it(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
) -> Result<StatusCode, Refusal> {
    let container = find(&engine, &id)?;
    let (rows, columns) = size(&asked)?;
    if !container.state().phase.is_up() {
        return Err(life::not_running(&container));
    }
    let terminal = lock(&container.streams).input();
    if let Some(terminal) = terminal.filter(|_| container.config.options.tty) {
        resize(&terminal, rows, columns);
    }
    Ok(StatusCode::OK)
}
