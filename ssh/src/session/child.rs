//! A child that runs `skeg`, with pipes or a terminal, and the channel's bytes to and from it.
//!
//! A client that leaves hangs up on it; one that does not end by that is killed.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use russh::server::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{STDERR, Session};
use crate::terminal::{Size, Terminal};

/// Time to end after a hang-up.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes that are copied at once.
const CHUNK: usize = 16 * 1024;

/// Where what the client types goes.
enum Input {
    Pipe(Option<ChildStdin>),
    Terminal(Terminal),
}

impl Session {
    /// Runs `skeg` with these arguments; its exit status, or none if the client has gone.
    pub(super) async fn child(&mut self, arguments: &[String]) -> Option<u32> {
        let mut command = std::process::Command::new(&self.host.skeg);
        command.args(arguments).env_clear();
        command.envs(
            self.host
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
        let terminal = match &self.terminal {
            Some((kind, size)) => {
                command.env("TERM", kind);
                match Terminal::give(&mut command, *size) {
                    Ok(terminal) => Some(terminal),
                    Err(e) => return self.not_started("a terminal", &e).await,
                }
            }
            None => {
                command.stdin(Stdio::piped());
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
        };
        let mut command = Command::from(command);
        let child = command.kill_on_drop(true).spawn();
        // It holds the child's ends of the terminal.
        drop(command);
        match child {
            Ok(child) => self.attend(child, terminal).await,
            Err(e) => self.not_started("skeg", &e).await,
        }
    }

    async fn not_started(&self, what: &str, e: &io::Error) -> Option<u32> {
        self.complain(&format!("start {what}: {e}")).await;
        Some(126)
    }

    async fn attend(&mut self, mut child: Child, terminal: Option<Terminal>) -> Option<u32> {
        let name = Arc::new(name(&child));
        let (out, error) = (child.stdout.take(), child.stderr.take());
        let mut input = match terminal {
            Some(terminal) => Input::Terminal(terminal),
            None => Input::Pipe(child.stdin.take()),
        };
        let (tell, ended) = oneshot::channel();
        tokio::spawn(watch_over(child, Arc::clone(&name), tell));
        let size = self.terminal.as_mut().map(|(_, size)| size);
        // The program ends, and then whatever it has written is read to its end.
        let status = match &mut input {
            Input::Terminal(terminal) => {
                let shown = show(terminal, &self.to);
                let typed = types(&mut self.from, terminal, size, &name);
                tokio::select! {
                    status = async { shown.await; ended.await } => status,
                    () = typed => return None,
                }
            }
            Input::Pipe(stdin) => {
                let copied = async {
                    tokio::join!(
                        copy(out, &self.to, None),
                        copy(error, &self.to, Some(STDERR))
                    )
                };
                let fed = feeds(&mut self.from, stdin, &name);
                tokio::select! {
                    status = async { copied.await; ended.await } => status,
                    () = fed => return None,
                }
            }
        };
        Some(status.ok().and_then(Result::ok).map_or(255, code))
    }
}

/// Waits for the child's end; when nobody listens any more it is told so, and then made to.
async fn watch_over(
    mut child: Child,
    name: Arc<Option<OwnedFd>>,
    mut tell: oneshot::Sender<io::Result<ExitStatus>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        () = tell.closed() => {
            send(&name, Signal::HUP);
            if timeout(GRACE, child.wait()).await.is_err() {
                let _ = child.start_kill();
            }
            child.wait().await
        }
    };
    let _ = tell.send(status);
}

/// What names the child and, after its end, nobody else.
fn name(child: &Child) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(child.id()?).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// As shells tell it: 128 and the signal's number.
fn code(status: ExitStatus) -> u32 {
    let number = status.code().or(status.signal().map(|signal| 128 + signal));
    number
        .and_then(|number| u32::try_from(number).ok())
        .unwrap_or(255)
}

fn send(name: &Option<OwnedFd>, signal: Signal) {
    if let Some(name) = name {
        let _ = pidfd_send_signal(name, signal);
    }
}

fn signal(asked: &Sig) -> Option<Signal> {
    Some(match asked {
        Sig::HUP => Signal::HUP,
        Sig::INT => Signal::INT,
        Sig::KILL => Signal::KILL,
        Sig::QUIT => Signal::QUIT,
        Sig::TERM => Signal::TERM,
        Sig::USR1 => Signal::USR1,
        _ => return None,
    })
}

async fn show(terminal: &Terminal, to: &ChannelWriteHalf<Msg>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = terminal.read(&mut buffer).await {
        if to.data_bytes(buffer[..count].to_vec()).await.is_err() {
            break;
        }
    }
}

async fn copy(
    from: Option<impl AsyncRead + Unpin>,
    to: &ChannelWriteHalf<Msg>,
    stream: Option<u32>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer[..count].to_vec();
        let sent = match stream {
            None => to.data_bytes(bytes).await,
            Some(stream) => to.extended_data_bytes(stream, bytes).await,
        };
        if sent.is_err() {
            break;
        }
    }
}

/// Returns when the client has gone.
async fn types(
    from: &mut ChannelReadHalf,
    terminal: &Terminal,
    mut size: Option<&mut Size>,
    name: &Option<OwnedFd>,
) {
    while let Some(message) = from.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                let _ = terminal.write(&data).await;
            }
            ChannelMsg::WindowChange {
                col_width,
                row_height,
                ..
            } => {
                let new = Size {
                    columns: col_width,
                    rows: row_height,
                };
                if let Some(size) = &mut size {
                    **size = new;
                }
                terminal.resize(new);
            }
            ChannelMsg::Signal { signal: asked } => {
                if let Some(signal) = signal(&asked) {
                    send(name, signal);
                }
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// Returns when the client has gone.
async fn feeds(from: &mut ChannelReadHalf, stdin: &mut Option<ChildStdin>, name: &Option<OwnedFd>) {
    while let Some(message) = from.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if let Some(pipe) = stdin.as_mut()
                    && pipe.write_all(&data).await.is_err()
                {
                    *stdin = None;
                }
            }
            ChannelMsg::Eof => *stdin = None,
            ChannelMsg::Signal { signal: asked } => {
                if let Some(signal) = signal(&asked) {
                    send(name, signal);
                }
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}
