//! Streams of frames with a client: an attached run, and an exec session.
//!
//! The output of a container comes from its log, so a slow client never holds the container up.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::api::{FRAME_HEAD, FrameHead, FrameKind, Waited, frame};
use super::container::{Container, lock};
use super::io::{feed, resize};
use super::log::read::Reader;
use super::record::{Phase, State};

/// A client's connection after the upgrade.
pub type Connection = TokioIo<Upgraded>;

/// Shows a container from its next start to its end; hands input on if `stdin`.
pub async fn attach(container: Arc<Container>, connection: Connection, stdin: bool) {
    let (reader, mut writer) = tokio::io::split(connection);
    let input = tokio::spawn(take_input(container.clone(), reader, stdin));
    if let Some(waited) = follow(&container, &mut writer).await {
        let _ = say_end(&mut writer, &waited).await;
    }
    input.abort();
}

/// The end, for those who wait.
pub fn ended(state: &State) -> Option<Waited> {
    match state.phase {
        Phase::Exited | Phase::Restarting => Some(Waited {
            code: match &state.error {
                Some(_) => state.error_code,
                None => state.exit.map_or(0, |e| e.code),
            },
            error: state.error.clone(),
        }),
        _ => None,
    }
}

async fn follow(container: &Container, writer: &mut (impl AsyncWrite + Unpin)) -> Option<Waited> {
    let mut bell = container.log.bell();
    let mut state = container.watch();
    let mut reader = Reader::new(container.log.folder());
    loop {
        bell.mark_unchanged();
        // Looked at before the log is read: after the end nothing is added to it.
        let end = ended(&state.borrow_and_update());
        loop {
            match reader.next_chunk() {
                Ok(Some(chunk)) => {
                    let kind = Container::frame_kind(chunk.stream);
                    writer
                        .write_all(&frame(kind, chunk.time_ns, &chunk.bytes))
                        .await
                        .ok()?;
                }
                Ok(None) => break,
                Err(e) => {
                    tracing::error!("read the log of {}: {e}", container.config.name);
                    break;
                }
            }
        }
        writer.flush().await.ok()?;
        if end.is_some() {
            return end;
        }
        tokio::select! {
            rung = bell.changed() => rung.ok()?,
            changed = state.changed() => if changed.is_err() {
                return ended(&state.borrow());
            },
        }
    }
}

async fn say_end(writer: &mut (impl AsyncWrite + Unpin), waited: &Waited) -> std::io::Result<()> {
    let body = serde_json::to_vec(waited)?;
    writer.write_all(&frame(FrameKind::Exit, 0, &body)).await?;
    writer.flush().await
}

async fn take_input(container: Arc<Container>, mut reader: impl AsyncRead + Unpin, stdin: bool) {
    let up = container
        .until(|s| s.phase.is_up() || ended(s).is_some())
        .await;
    if up.is_err() {
        return;
    }
    while let Some((kind, body)) = next_frame(&mut reader).await {
        let to = lock(&container.streams).input();
        if !forward(to.as_deref(), kind, &body, stdin).await {
            break;
        }
    }
    if stdin {
        lock(&container.streams).close_input();
    }
}

/// Hands one frame on; false when there is no more to come.
async fn forward(to: Option<&AsyncFd<OwnedFd>>, kind: FrameKind, body: &[u8], stdin: bool) -> bool {
    match (to, kind, body) {
        (Some(to), FrameKind::Stdin, bytes) if stdin => feed(to, bytes).await.is_ok(),
        (Some(to), FrameKind::Resize, [a, b, c, d]) => {
            resize(
                to,
                u16::from_be_bytes([*a, *b]),
                u16::from_be_bytes([*c, *d]),
            );
            true
        }
        (_, FrameKind::StdinEnd, _) => false,
        _ => true,
    }
}

async fn next_frame(reader: &mut (impl AsyncRead + Unpin)) -> Option<(FrameKind, Vec<u8>)> {
    let mut head = [0; FRAME_HEAD];
    reader.read_exact(&mut head).await.ok()?;
    let head = FrameHead::decode(&head).ok()?;
    let mut body = vec![0; head.length as usize];
    reader.read_exact(&mut body).await.ok()?;
    Some((head.kind, body))
}

/// The engine's ends of an exec session.
pub struct ExecStreams {
    /// Output and error, or a terminal's master.
    pub outputs: Vec<Arc<AsyncFd<OwnedFd>>>,
    /// Where input goes.
    pub input: Option<Arc<AsyncFd<OwnedFd>>>,
}

/// Carries an exec session to its end.
pub async fn exec(
    mut session: crate::zygote::ExecSession,
    streams: ExecStreams,
    connection: Connection,
) {
    let (reader, mut writer) = tokio::io::split(connection);
    let (frames, mut received) = tokio::sync::mpsc::channel::<Vec<u8>>(8);
    let kinds = [FrameKind::Stdout, FrameKind::Stderr];
    let mut pumps = Vec::new();
    for (output, kind) in streams.outputs.into_iter().zip(kinds) {
        pumps.push(tokio::spawn(pump(output, kind, frames.clone())));
    }
    drop(frames);
    let input = tokio::spawn(exec_input(streams.input, reader));
    let write = async {
        while let Some(bytes) = received.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
            let _ = writer.flush().await;
        }
    };
    let wait = async {
        let status = session.wait().await;
        // A process that was left behind may hold the pipes for ever: its output is not waited for.
        let drained = futures_util::future::join_all(pumps.iter_mut());
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), drained).await;
        for pump in &pumps {
            pump.abort();
        }
        status
    };
    let ((), status) = tokio::join!(write, wait);
    input.abort();
    let waited = Waited {
        code: status.map_or(137, crate::zygote::ExecStatus::code),
        error: None,
    };
    let _ = say_end(&mut writer, &waited).await;
}

async fn exec_input(mut to: Option<Arc<AsyncFd<OwnedFd>>>, mut reader: impl AsyncRead + Unpin) {
    while let Some((kind, body)) = next_frame(&mut reader).await {
        if !forward(to.as_deref(), kind, &body, true).await {
            to = None;
        }
    }
}

async fn pump(
    from: Arc<AsyncFd<OwnedFd>>,
    kind: FrameKind,
    to: tokio::sync::mpsc::Sender<Vec<u8>>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(mut ready) = from.readable().await else {
            return;
        };
        match rustix::io::read(from.get_ref(), &mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                if to.send(frame(kind, 0, &buffer[..n])).await.is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(rustix::io::Errno::INTR) => {}
            // A terminal whose last user has gone says EIO.
            Err(_) => return,
        }
    }
}
