//! One session of a person: what is asked for on a channel, and its answer.
//!
//! Commands are children that run `skeg`; whatever happens to the connection, none outlives it.

mod child;
mod shell;

use std::path::PathBuf;
use std::sync::Arc;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::command::{self, Action};
use crate::people::Person;
use crate::terminal::Size;

/// Number of standard error among the streams of a channel (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// What of the host a session uses.
#[derive(Debug)]
pub struct Host {
    /// The program whose commands are run.
    pub skeg: PathBuf,
    /// Docker's API.
    pub docker: PathBuf,
    /// Environment of the commands.
    pub environment: Vec<(String, String)>,
}

/// A channel with somebody who has logged in.
pub struct Session {
    from: ChannelReadHalf,
    to: ChannelWriteHalf<Msg>,
    handle: Handle,
    person: Arc<Person>,
    host: Arc<Host>,
    /// Ends with the connection.
    connection: watch::Receiver<()>,
    terminal: Option<(String, Size)>,
}

enum Asked {
    Command(String),
    Shell,
    Subsystem(String),
}

impl Session {
    /// Takes the channel.
    pub fn new(
        channel: Channel<Msg>,
        handle: Handle,
        person: Arc<Person>,
        host: Arc<Host>,
        connection: watch::Receiver<()>,
    ) -> Self {
        let (from, to) = channel.split();
        Self {
            from,
            to,
            handle,
            person,
            host,
            connection,
            terminal: None,
        }
    }

    /// Answers until the channel or the connection ends.
    pub async fn serve(mut self) {
        let mut connection = self.connection.clone();
        tokio::select! {
            () = self.answer() => {}
            _ = connection.changed() => {}
        }
    }

    async fn answer(&mut self) {
        let Some(asked) = self.asked().await else {
            return;
        };
        let asked = match self.person.grant.command.clone() {
            Some(command) => Asked::Command(command),
            None => asked,
        };
        let status = match asked {
            Asked::Command(line) => self.run(&line).await,
            Asked::Shell => self.shell().await,
            Asked::Subsystem(name) => {
                let text = match name.as_str() {
                    "sftp" => command::no_files(),
                    _ => format!("there is no subsystem {name} here"),
                };
                self.complain(&text).await;
                Some(1)
            }
        };
        if let Some(status) = status {
            let _ = self.to.eof().await;
            let _ = self.to.exit_status(status).await;
        }
        let _ = self.to.close().await;
    }

    /// What the client wants, after what it tells before.
    async fn asked(&mut self) -> Option<Asked> {
        let id = self.to.id();
        loop {
            let (answer, asked) = match self.from.wait().await? {
                ChannelMsg::RequestPty {
                    term,
                    col_width,
                    row_height,
                    ..
                } => {
                    let size = Size {
                        columns: col_width,
                        rows: row_height,
                    };
                    let may = self.person.grant.terminal;
                    self.terminal = may.then_some((term, size));
                    (Some(may), None)
                }
                ChannelMsg::WindowChange {
                    col_width,
                    row_height,
                    ..
                } => {
                    if let Some((_, size)) = &mut self.terminal {
                        (size.columns, size.rows) = (col_width, row_height);
                    }
                    (None, None)
                }
                ChannelMsg::Exec { command, .. } => {
                    let line = String::from_utf8_lossy(&command).into_owned();
                    (Some(true), Some(Asked::Command(line)))
                }
                ChannelMsg::RequestShell { .. } => (Some(true), Some(Asked::Shell)),
                ChannelMsg::RequestSubsystem { name, .. } => {
                    (Some(true), Some(Asked::Subsystem(name)))
                }
                // No variable of a client's has a meaning here; X11 and agents are not forwarded.
                ChannelMsg::SetEnv { .. }
                | ChannelMsg::RequestX11 { .. }
                | ChannelMsg::AgentForward { .. } => (Some(false), None),
                ChannelMsg::Close => return None,
                _ => (None, None),
            };
            let _ = match answer {
                Some(true) => self.handle.channel_success(id).await,
                Some(false) => self.handle.channel_failure(id).await,
                None => Ok(()),
            };
            if asked.is_some() {
                return asked;
            }
        }
    }

    /// Runs one command line; its exit status, or none if the client has gone.
    async fn run(&mut self, line: &str) -> Option<u32> {
        match command::decide(line, &self.person) {
            Action::Nothing | Action::Leave => Some(0),
            Action::Help => self.help().await,
            Action::Skeg(arguments) => self.child(&arguments).await,
            Action::Docker => Some(self.docker().await),
            Action::Refused(why) => {
                self.complain(&why).await;
                Some(1)
            }
        }
    }

    async fn help(&mut self) -> Option<u32> {
        let text = "Commands are those of skeg, with or without its name before them; this is no shell.\n\
             exit or Ctrl-D leaves, help COMMAND tells more. DOCKER_HOST=ssh://USER@HOST reaches Docker's API.\n\n";
        self.say(text).await;
        self.child(&["--help".to_owned()]).await
    }

    /// Copies between the channel and Docker's API until the API is done.
    async fn docker(&mut self) -> u32 {
        let socket = match UnixStream::connect(&self.host.docker).await {
            Ok(socket) => socket,
            Err(e) => {
                let path = self.host.docker.display();
                self.complain(&format!("Docker's API at {path}: {e}; see \"status\""))
                    .await;
                return 1;
            }
        };
        let (from, to) = (self.from.make_reader(), self.to.make_writer());
        copy_both(from, to, socket).await;
        0
    }

    /// Writes to standard output, with the line ends that the client's terminal needs.
    async fn say(&self, text: &str) {
        let _ = self.to.data_bytes(self.lines(text).into_bytes()).await;
    }

    /// Standard error; a terminal has but one stream.
    async fn complain(&self, text: &str) {
        let text = self.lines(&format!("skeg: {text}\n")).into_bytes();
        let _ = match self.terminal {
            Some(_) => self.to.data_bytes(text).await,
            None => self.to.extended_data_bytes(STDERR, text).await,
        };
    }

    fn lines(&self, text: &str) -> String {
        match self.terminal {
            Some(_) => text.replace('\n', "\r\n"),
            None => text.to_owned(),
        }
    }
}

/// Copies both ways; an end of one side's input is handed on, and the end of the socket's ends all.
pub async fn copy_both<S: AsyncRead + AsyncWrite>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    socket: S,
) {
    let (mut reader, mut writer) = tokio::io::split(socket);
    let outward = async {
        let _ = tokio::io::copy(&mut from, &mut writer).await;
        let _ = writer.shutdown().await;
        std::future::pending::<()>().await;
    };
    let inward = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to.flush().await;
    };
    tokio::select! {
        () = outward => {}
        () = inward => {}
    }
}
