//! A stream of frames to and from a process: attached runs and exec sessions.
//!
//! Standard input is read by a thread that ends with the program: a terminal cannot be awaited.

use std::io::{Read, Write};

use hyper::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::error::CliError;
use super::terminal;
use crate::engine::api::{FRAME_HEAD, FrameHead, FrameKind, Waited, frame};

/// Carries the session to its end; its exit status, and an error if it never started.
pub async fn carry(
    response: Response<Incoming>,
    stdin: bool,
    tty: bool,
    interrupt: Option<mpsc::Sender<i32>>,
) -> Result<Waited, CliError> {
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|e| CliError::engine(format!("the engine did not open the session: {e}")))?;
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    let (sender, mut frames) = mpsc::channel::<Vec<u8>>(16);
    let raw = if tty { terminal::Raw::enter() } else { None };
    if stdin {
        read_stdin(sender.clone());
    }
    let resized = sender.clone();
    let watch = tokio::spawn(async move {
        if tty {
            tell_sizes(resized).await;
        }
    });
    let signals = tokio::spawn(forward_signals(interrupt.filter(|_| raw.is_none())));
    let send = tokio::spawn(async move {
        let _keep = sender;
        while let Some(bytes) = frames.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let outcome = receive(&mut reader).await;
    for task in [watch, signals, send] {
        task.abort();
    }
    drop(raw);
    outcome
}

async fn receive(reader: &mut (impl AsyncReadExt + Unpin)) -> Result<Waited, CliError> {
    let lost = |what: String| CliError::engine(format!("the session broke off: {what}"));
    loop {
        let mut head = [0; FRAME_HEAD];
        reader
            .read_exact(&mut head)
            .await
            .map_err(|e| lost(e.to_string()))?;
        let head = FrameHead::decode(&head).map_err(lost)?;
        let mut body = vec![0; head.length as usize];
        reader
            .read_exact(&mut body)
            .await
            .map_err(|e| lost(e.to_string()))?;
        match head.kind {
            FrameKind::Stdout => print(&mut std::io::stdout().lock(), &body)?,
            FrameKind::Stderr => print(&mut std::io::stderr().lock(), &body)?,
            FrameKind::Exit => {
                return serde_json::from_slice(&body).map_err(|e| lost(e.to_string()));
            }
            _ => {}
        }
    }
}

/// Writes and flushes.
pub fn print(out: &mut impl Write, bytes: &[u8]) -> Result<(), CliError> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|e| CliError::engine(format!("write output: {e}")))
}

fn read_stdin(sender: mpsc::Sender<Vec<u8>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        loop {
            let end = match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) | Err(_) => frame(FrameKind::StdinEnd, 0, b""),
                Ok(n) => frame(FrameKind::Stdin, 0, &buffer[..n]),
            };
            let last = end[0] == FrameKind::StdinEnd as u8;
            if sender.blocking_send(end).is_err() || last {
                return;
            }
        }
    });
}

async fn tell_sizes(sender: mpsc::Sender<Vec<u8>>) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else {
        return;
    };
    loop {
        if let Some((rows, columns)) = terminal::size() {
            let mut body = rows.to_be_bytes().to_vec();
            body.extend(columns.to_be_bytes());
            if sender
                .send(frame(FrameKind::Resize, 0, &body))
                .await
                .is_err()
            {
                return;
            }
        }
        changed.recv().await;
    }
}

/// Ctrl-C and friends go to the container, whose exit then ends the session.
async fn forward_signals(to: Option<mpsc::Sender<i32>>) {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut int), Ok(mut term), Ok(mut hup)] = kinds.map(signal) else {
        return;
    };
    let Some(to) = to else {
        return;
    };
    loop {
        let kind = tokio::select! {
            _ = int.recv() => SignalKind::interrupt(),
            _ = term.recv() => SignalKind::terminate(),
            _ = hup.recv() => SignalKind::hangup(),
        };
        if to.send(kind.as_raw_value()).await.is_err() {
            return;
        }
    }
}
