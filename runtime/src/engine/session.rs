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

/// How long the terminal of an ended exec session has to be silent to be over: the kernel hands on what was
/// written to it in its own time.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A client's connection after the upgrade.
pub type Connection = TokioIo<Upgraded>;

/// Shows a container from its next start to its end; hands input on if `stdin`.
pub async fn attach(container: Arc<Container>, connection: Connection, stdin: bool) {
    let (reader, mut writer) = tokio::io::split(connection);
    let mut input = tokio::spawn(take_input(container.clone(), reader, stdin));
    tokio::select! {
        waited = follow(&container, &mut writer) => if let Some(waited) = waited {
            let _ = say_end(&mut writer, &waited).await;
        },
        // The client has gone: a container that says nothing would not show it.
        _ = &mut input => {}
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

/// Until the client goes; while there is no process yet, its input waits.
async fn take_input(container: Arc<Container>, mut reader: impl AsyncRead + Unpin, stdin: bool) {
    let up = container
        .until(|s| s.phase.is_up() || ended(s).is_some())
        .await;
    if up.is_err() {
        // The other half tells the end.
        return std::future::pending().await;
    }
    let mut open = true;
    while let Some((kind, body)) = next_frame(&mut reader).await {
        let to = lock(&container.streams).input();
        let to = to.filter(|_| open);
        if !forward(to.as_deref(), kind, &body, stdin).await {
            open = false;
            if stdin {
                lock(&container.streams).close_input();
            }
        }
    }
    if stdin && open {
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
    let (frames, received) = tokio::sync::mpsc::channel::<Vec<u8>>(8);
    let (end, ended) = tokio::sync::watch::channel(false);
    pump_all(streams.outputs, of_ours, &frames, &ended);
    drop(frames);
    let input = tokio::spawn(exec_input(streams.input, reader));
    let wait = async {
        let status = session.wait().await;
        end.send_replace(true);
        status
    };
    let ((), status) = tokio::join!(hand_on(received, &mut writer), wait);
    input.abort();
    let waited = Waited {
        code: status.map_or(137, crate::zygote::ExecStatus::code),
        error: None,
    };
    let _ = say_end(&mut writer, &waited).await;
}

/// How a piece of output is told to a client.
pub type Encode = fn(FrameKind, &[u8]) -> Vec<u8>;

fn of_ours(kind: FrameKind, bytes: &[u8]) -> Vec<u8> {
    frame(kind, 0, bytes)
}

/// Moves each output to `to`, until the session has ended.
pub fn pump_all(
    outputs: Vec<Arc<AsyncFd<OwnedFd>>>,
    encode: Encode,
    to: &tokio::sync::mpsc::Sender<Vec<u8>>,
    ended: &tokio::sync::watch::Receiver<bool>,
) {
    let kinds = [FrameKind::Stdout, FrameKind::Stderr];
    for (output, kind) in outputs.into_iter().zip(kinds) {
        let silence = rustix::termios::isatty(output.get_ref()).then_some(SILENCE);
        let pump = pump(output, kind, encode, to.clone(), ended.clone(), silence);
        tokio::spawn(pump);
    }
}

/// What a client that has gone does not read is taken all the same: the process must not wait for it.
pub async fn hand_on(
    mut frames: tokio::sync::mpsc::Receiver<Vec<u8>>,
    writer: &mut (impl AsyncWrite + Unpin),
) {
    let mut there = true;
    while let Some(bytes) = frames.recv().await {
        if there {
            let written = writer.write_all(&bytes).await;
            there = written.is_ok() && writer.flush().await.is_ok();
        }
    }
}

async fn exec_input(mut to: Option<Arc<AsyncFd<OwnedFd>>>, mut reader: impl AsyncRead + Unpin) {
    while let Some((kind, body)) = next_frame(&mut reader).await {
        if !forward(to.as_deref(), kind, &body, true).await {
            to = None;
        }
    }
}

/// Until the output's end. A process that was left behind may hold it open for ever: once the session has
/// ended, what lies in a pipe is all of it; a client that reads slowly still gets that.
async fn pump(
    from: Arc<AsyncFd<OwnedFd>>,
    kind: FrameKind,
    encode: Encode,
    to: tokio::sync::mpsc::Sender<Vec<u8>>,
    mut ended: tokio::sync::watch::Receiver<bool>,
    silence: Option<std::time::Duration>,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut over = false;
    loop {
        let end = async {
            // Gone with its sender, it is over as well.
            let _ = ended.wait_for(|ended| *ended).await;
            if let Some(silence) = silence {
                tokio::time::sleep(silence).await;
            }
        };
        let mut ready = tokio::select! {
            biased;
            ready = from.readable() => match ready {
                Ok(ready) => Some(ready),
                Err(_) => return,
            },
            () = end => {
                over = true;
                None
            }
        };
        match rustix::io::read(from.get_ref(), &mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                if to.send(encode(kind, &buffer[..n])).await.is_err() {
                    return;
                }
            }
            Err(rustix::io::Errno::AGAIN) if over => return,
            Err(rustix::io::Errno::AGAIN) => {
                if let Some(ready) = &mut ready {
                    ready.clear_ready();
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            // A terminal whose last user has gone says EIO.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::launch::pipe;
    use crate::watched::watched;

    /// An output that holds `bytes` and whose writing end stays open.
    fn output(bytes: &[u8]) -> (Arc<AsyncFd<OwnedFd>>, OwnedFd) {
        let (reader, writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        assert_eq!(rustix::io::write(&writer, bytes).unwrap(), bytes.len());
        (Arc::new(watched(reader).unwrap()), writer)
    }

    #[tokio::test]
    async fn a_slow_client_gets_all_of_an_ended_session_though_somebody_holds_the_pipe() {
        let (from, _held) = output(&[b'x'; 60_000]);
        let (to, mut frames) = tokio::sync::mpsc::channel(1);
        let (_end, ended) = tokio::sync::watch::channel(true);
        tokio::spawn(pump(from, FrameKind::Stdout, of_ours, to, ended, None));
        let mut bytes = 0;
        while let Some(frame) = frames.recv().await {
            bytes += frame.len() - FRAME_HEAD;
        }
        assert_eq!(bytes, 60_000);
    }

    #[tokio::test]
    async fn a_client_that_has_gone_does_not_hold_the_process_up() {
        let (to, frames) = tokio::sync::mpsc::channel(1);
        let (mut writer, client) = tokio::io::duplex(16);
        drop(client);
        let sender = tokio::spawn(async move {
            for _ in 0..100 {
                to.send(vec![0; 64]).await.unwrap();
            }
        });
        hand_on(frames, &mut writer).await;
        sender.await.unwrap();
    }
}
