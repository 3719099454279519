//! The sockets: peers come, call, and are told what happens.
//!
//! Only root and the engine's own user are let in (zbus compares the credentials of the socket).
//! While nobody is connected nothing is looked at.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};
use zbus::connection::Builder;
use zbus::message::{Flags, Message, Type};
use zbus::{Connection, Guid};

use super::answer::{Face, Signal};
use super::failure::Failure;
use super::properties::{Host, unit_path};
use super::value::{Value, strings};
use super::view::View;
use super::{Units, wire};
use formats::systemd1::NAME;

/// After a client that could not be let in.
const PAUSE: Duration = Duration::from_millis(250);
/// No more than so many at once: each holds a descriptor.
const MOST_PEERS: usize = 64;

/// Serves the face on several sockets for as long as the process runs.
pub struct Server {
    face: Arc<Face>,
    peers: Arc<Peers>,
    guid: Guid<'static>,
}

/// Who is connected, and what they have been told.
#[derive(Default)]
struct Peers(Mutex<Told>);

#[derive(Default)]
struct Told {
    count: usize,
    views: Vec<View>,
}

impl Peers {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one more in. The first one is told what changes from now on.
    fn enter(&self, face: &Face) -> bool {
        let mut told = self.told();
        if told.count >= MOST_PEERS {
            return false;
        }
        if told.count == 0 {
            told.views = face.units.views();
        }
        told.count += 1;
        true
    }

    fn leave(&self) {
        let mut told = self.told();
        told.count -= 1;
        if told.count == 0 {
            told.views = Vec::new();
        }
    }

    /// Tells those who are there what has changed since the last time.
    fn tell(&self, face: &Face) {
        let mut told = self.told();
        if told.count == 0 {
            return;
        }
        let now = face.units.views();
        for signal in changes(&told.views, &now) {
            let _ = face.signals.send(signal);
        }
        told.views = now;
    }
}

impl Server {
    /// In front of these units; `started` is when user space began, microseconds since the epoch. One task
    /// watches them for all peers of all sockets.
    ///
    /// # Panics
    /// Outside of a runtime of tokio.
    pub fn new(units: Arc<dyn Units>, started: u64) -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "x86-64",
            "aarch64" => "arm64",
            other => other,
        };
        let host = Host {
            started,
            architecture: architecture.into(),
        };
        let changes = units.changes();
        let (face, peers) = (Face::new(units, host), Arc::default());
        tokio::spawn(watch(face.clone(), Arc::clone(&peers), changes));
        Self {
            face,
            peers,
            guid: guid(),
        }
    }

    /// Listens at `path`, for root alone.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        for old in [&new, path] {
            match std::fs::remove_file(old) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        let listener = UnixListener::bind(&new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&new, path)?;
        let (face, peers, guid) = (self.face.clone(), self.peers.clone(), self.guid.clone());
        tokio::spawn(accept(listener, face, peers, guid));
        Ok(())
    }
}

async fn accept(listener: UnixListener, face: Arc<Face>, peers: Arc<Peers>, guid: Guid<'static>) {
    loop {
        let accepted = listener.accept().await;
        // Before it counts as there: what is told from then on is for it.
        let signals = face.signals.subscribe();
        match accepted {
            Ok((stream, _)) if peers.enter(&face) => {
                let (face, peers, guid) = (face.clone(), peers.clone(), guid.clone());
                tokio::spawn(async move {
                    if let Err(e) = serve(stream, signals, face, guid).await {
                        tracing::debug!("a client of the systemd1 socket: {e}");
                    }
                    peers.leave();
                });
            }
            Ok(_) => tracing::warn!("more than {MOST_PEERS} clients at the systemd1 socket"),
            Err(e) => {
                tracing::warn!("accept at the systemd1 socket: {e}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// From the kernel's UUIDs, which never wait. `Guid::generate` polls `/dev/random` in a static program, and a
/// young machine without much going on has nothing there for minutes.
fn guid() -> Guid<'static> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    Guid::try_from(digits).unwrap_or_else(|_| Guid::generate())
}

/// How long a client may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);

async fn serve(
    stream: UnixStream,
    mut signals: broadcast::Receiver<Signal>,
    face: Arc<Face>,
    guid: Guid<'static>,
) -> zbus::Result<()> {
    let greeted = Builder::unix_stream(stream.into_std()?)
        .server(guid)
        .p2p()
        .build_message_stream();
    let late = |_| zbus::Error::Failure("no greeting within 10 s".into());
    let mut calls = tokio::time::timeout(GREETING, greeted)
        .await
        .map_err(late)??;
    let connection: Connection = (&calls).into();
    loop {
        tokio::select! {
            call = calls.next() => match call {
                None => return Ok(()),
                Some(message) => respond(&connection, &face, &message?).await?,
            },
            signal = signals.recv() => match signal {
                Ok(signal) => emit(&connection, &signal).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

async fn respond(connection: &Connection, face: &Arc<Face>, message: &Message) -> zbus::Result<()> {
    if message.message_type() != Type::MethodCall {
        return Ok(());
    }
    let answer = match wire::call(message) {
        Ok(call) => face.answer(&call).await,
        Err(e) => Err(Failure::arguments(e.to_string())),
    };
    let header = message.header();
    if header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return Ok(());
    }
    let reply = match answer {
        Ok(values) if values.is_empty() => Message::method_return(&header).build(&())?,
        Ok(values) => match &values[..] {
            [Value::Dict(entries)] => {
                Message::method_return(&header).build(&wire::dictionary(entries)?)?
            }
            values => Message::method_return(&header).build(&wire::body(values)?)?,
        },
        Err(failure) => {
            Message::error(&header, failure.name).build(&wire::body(&[failure.message.into()])?)?
        }
    };
    connection.send(&reply).await
}

async fn emit(connection: &Connection, signal: &Signal) -> zbus::Result<()> {
    let head = Message::signal(signal.path.as_str(), signal.interface, signal.member);
    let message = head.build(&wire::body(&signal.body)?)?;
    connection.send(&message).await
}

/// Tells what changes, for as long as there are units.
async fn watch(face: Arc<Face>, peers: Arc<Peers>, mut changes: watch::Receiver<()>) {
    while changes.changed().await.is_ok() {
        peers.tell(&face);
    }
}

/// The signals that make one picture the other.
fn changes(before: &[View], now: &[View]) -> Vec<Signal> {
    let mut signals = Vec::new();
    let unit = |member, view: &View| Signal {
        path: formats::systemd1::MANAGER_PATH.into(),
        interface: "org.freedesktop.systemd1.Manager",
        member,
        body: vec![view.name.as_str().into(), unit_path(&view.name)],
    };
    for view in now {
        match before.iter().find(|b| b.name == view.name) {
            None => signals.push(unit("UnitNew", view)),
            Some(before) if differs(before, view) => signals.extend(changed(view)),
            Some(_) => {}
        }
    }
    let gone = before
        .iter()
        .filter(|b| !now.iter().any(|view| view.name == b.name));
    signals.extend(gone.map(|view| unit("UnitRemoved", view)));
    signals
}

fn differs(before: &View, now: &View) -> bool {
    let service = |view: &View| view.service.as_ref().map(|s| (s.pid, s.result, s.restarts));
    before.active != now.active
        || before.sub != now.sub
        || before.load != now.load
        || service(before) != service(now)
}

/// As systemd: what changed for a unit, then for the kind that it is of.
fn changed(view: &View) -> Vec<Signal> {
    let all = super::properties::of_unit(view, None, &[]);
    let pick = |names: &[&str]| {
        let own = all.iter().filter(|p| names.contains(&p.name));
        Value::Dict(own.map(|p| (p.name.to_owned(), p.value.clone())).collect())
    };
    let unit = [
        "LoadState",
        "ActiveState",
        "SubState",
        "StateChangeTimestamp",
    ];
    let service = [
        "MainPID",
        "ExecMainPID",
        "ExecMainStatus",
        "Result",
        "NRestarts",
    ];
    let mut parts = vec![("Unit", pick(&unit))];
    if view.service.is_some() {
        parts.push(("Service", pick(&service)));
    }
    let path = match unit_path(&view.name) {
        Value::Path(path) => path,
        _ => String::new(),
    };
    let signal = |(interface, dict): (&str, Value)| Signal {
        path: path.clone(),
        interface: "org.freedesktop.DBus.Properties",
        member: "PropertiesChanged",
        body: vec![
            format!("{NAME}.{interface}").into(),
            dict,
            strings::<&str>([]),
        ],
    };
    parts.into_iter().map(signal).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::Active;
    use super::*;

    fn view(name: &str, active: Active) -> View {
        View {
            name: name.into(),
            active,
            ..View::default()
        }
    }

    #[test]
    fn its_guid_is_valid_and_its_own() {
        let (one, other) = (guid(), guid());
        assert!(Guid::try_from(one.as_str()).is_ok());
        assert_ne!(one, other);
    }

    #[test]
    fn only_what_changed_is_told() {
        let before = [view("a", Active::Active), view("b", Active::Active)];
        let now = [view("a", Active::Failed), view("c", Active::Active)];
        let told: Vec<_> = changes(&before, &now).iter().map(|s| s.member).collect();
        assert_eq!(told, ["PropertiesChanged", "UnitNew", "UnitRemoved"]);
        assert!(changes(&now, &now).is_empty());
    }
}
