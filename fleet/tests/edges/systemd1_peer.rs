//! A fake systemd1: it answers what the agent calls, by the contract of `formats::systemd1`, and runs
//! units that are no processes.
//!
//! It reads unit files where the agent writes them, after a Reload only, as systemd does.

use formats::systemd1::{JOB_PREFIX, MANAGER_PATH, UNIT_PREFIX, escape, unescape};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use zbus::Message;
use zbus::message::Type;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// What it remembers.
#[derive(Debug, Default)]
pub struct State {
    /// Texts of the files, as of the last Reload.
    loaded: BTreeMap<String, String>,
    /// Units that run, with the text that each was started from.
    pub running: BTreeMap<String, String>,
    failed: BTreeMap<String, ()>,
    /// Starts and stops, in order.
    pub history: Vec<String>,
    jobs: u32,
}

/// Something to tell to all who are connected.
#[derive(Debug, Clone)]
enum Tell {
    Changed(String),
    Ended(u32, String, &'static str),
}

/// A host.
#[derive(Clone)]
pub struct Peer {
    pub socket: PathBuf,
    pub units: PathBuf,
    pub quadlets: PathBuf,
    pub state: Arc<Mutex<State>>,
    tell: broadcast::Sender<Tell>,
}

impl Peer {
    /// One whose files lie in this folder; it serves until the runtime ends.
    pub fn start(folder: &Path, runtime: &tokio::runtime::Handle) -> Self {
        let peer = Self {
            socket: folder.join("systemd1.sock"),
            units: folder.join("system"),
            quadlets: folder.join("containers"),
            state: Arc::default(),
            tell: broadcast::channel(1024).0,
        };
        let _guard = runtime.enter();
        let listener = UnixListener::bind(&peer.socket).expect("bind the peer's socket");
        let serving = peer.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        peer
    }

    /// Power is cut and comes back: nothing runs, no file is left.
    pub fn reset(&self) {
        *self.state.lock().unwrap() = State::default();
        for folder in [&self.units, &self.quadlets] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// A unit ends by itself.
    pub fn end(&self, service: &str) {
        self.state.lock().unwrap().running.remove(service);
        let _ = self.tell.send(Tell::Changed(service.to_owned()));
    }

    async fn serve(self, stream: UnixStream) {
        let mut heard = self.tell.subscribe();
        let greeted = zbus::connection::Builder::unix_stream(stream.into_std().expect("a stream"))
            .server(zbus::Guid::generate())
            .p2p()
            .build_message_stream();
        let Ok(mut calls) = greeted.await else { return };
        let connection: zbus::Connection = (&calls).into();
        loop {
            let sent = tokio::select! {
                call = calls.next() => match call {
                    Some(Ok(call)) if call.message_type() == Type::MethodCall => {
                        connection.send(&self.answer(&call)).await
                    }
                    Some(Ok(_)) => Ok(()),
                    _ => return,
                },
                tell = heard.recv() => match tell {
                    Ok(tell) => connection.send(&signal(&tell)).await,
                    Err(_) => return,
                },
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn answer(&self, call: &Message) -> Message {
        let header = call.header();
        let member = header
            .member()
            .map(|m| m.as_str().to_owned())
            .unwrap_or_default();
        let reply = Message::method_return(&header);
        match member.as_str() {
            "Reload" => {
                self.reload();
                reply.build(&())
            }
            "StartUnit" | "StopUnit" => {
                let body = call.body();
                let (service, mode): (String, String) = body.deserialize().expect("two strings");
                assert_eq!(mode, "replace");
                match self.queue(&member, &service) {
                    Some(job) => {
                        let path = format!("{JOB_PREFIX}{job}");
                        reply.build(&zbus::ObjectPath::try_from(path).expect("a path"))
                    }
                    None => Message::error(&header, "org.freedesktop.systemd1.NoSuchUnit")
                        .build(&format!("Unit {service} not found.")),
                }
            }
            "Get" => {
                let label = header
                    .path()
                    .and_then(|p| p.as_str().strip_prefix(UNIT_PREFIX));
                let service = label.and_then(unescape).expect("a unit's path");
                reply.build(&zbus::wire::Variant::from(self.active(&service)))
            }
            other => Message::error(&header, "org.freedesktop.DBus.Error.UnknownMethod")
                .build(&format!("no {other}")),
        }
        .expect("a message")
    }

    fn active(&self, service: &str) -> &'static str {
        let state = self.state.lock().unwrap();
        if state.running.contains_key(service) {
            "active"
        } else if state.failed.contains_key(service) {
            "failed"
        } else {
            "inactive"
        }
    }

    fn reload(&self) {
        let mut loaded = BTreeMap::new();
        for (folder, quadlet) in [(&self.units, false), (&self.quadlets, true)] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let file = entry.file_name().to_string_lossy().into_owned();
                let Ok(text) = std::fs::read_to_string(entry.path()) else {
                    continue;
                };
                let name = match file.rsplit_once('.') {
                    Some((stem, _)) if quadlet => format!("{stem}.service"),
                    _ => file,
                };
                loaded.insert(name, text);
            }
        }
        self.state.lock().unwrap().loaded = loaded;
    }

    fn queue(&self, member: &str, service: &str) -> Option<u32> {
        let mut state = self.state.lock().unwrap();
        let known = state.loaded.contains_key(service) || state.running.contains_key(service);
        if !known {
            return None;
        }
        state.jobs += 1;
        let job = state.jobs;
        let (peer, start, service) = (self.clone(), member == "StartUnit", service.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            peer.work(job, start, service);
        });
        Some(job)
    }

    fn work(&self, job: u32, start: bool, service: String) {
        let mut state = self.state.lock().unwrap();
        state.failed.remove(&service);
        let text = state.loaded.get(&service).cloned().unwrap_or_default();
        let fails = start && text.contains("/bin/false");
        state.history.push(format!(
            "{} {service}",
            if start { "start" } else { "stop" }
        ));
        if fails {
            state.failed.insert(service.clone(), ());
        } else if start {
            state.running.insert(service.clone(), text);
        } else {
            state.running.remove(&service);
        }
        drop(state);
        let _ = self.tell.send(Tell::Changed(service.clone()));
        let result = if fails { "failed" } else { "done" };
        let _ = self.tell.send(Tell::Ended(job, service, result));
    }
}

fn signal(tell: &Tell) -> Message {
    let built =
        match tell {
            Tell::Changed(service) => {
                let path = format!("{UNIT_PREFIX}{}", escape(service));
                let changed: BTreeMap<String, zbus::wire::Variant<'_>> = BTreeMap::new();
                let gone: Vec<String> = Vec::new();
                Message::signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged")
                    .build(&("org.freedesktop.systemd1.Unit", changed, gone))
            }
            Tell::Ended(job, service, result) => {
                let path =
                    zbus::ObjectPath::try_from(format!("{JOB_PREFIX}{job}")).expect("a path");
                Message::signal(MANAGER_PATH, MANAGER, "JobRemoved").build(&(
                    *job,
                    path,
                    service.as_str(),
                    *result,
                ))
            }
        };
    built.expect("a signal")
}
