//! The client's side of `org.freedesktop.systemd1`, as `formats::systemd1` has it.
//!
//! Peer to peer: there is no bus, so nobody subscribes and no name is asked for. Signals are taken off
//! the connection at once, so that none holds up an answer.

use formats::systemd1::{MANAGER_PATH, UNIT_PREFIX, escape, unescape};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signal {
    /// A job ended.
    JobRemoved {
        /// Its path.
        job: String,
        /// Its unit.
        service: String,
    },
    /// A unit's properties changed.
    Changed {
        /// The unit.
        service: String,
    },
}

/// The connection.
#[derive(Debug)]
pub(super) struct Systemd1 {
    connection: Connection,
}

impl Systemd1 {
    pub(super) async fn connect(
        socket: &str,
    ) -> zbus::Result<(Self, mpsc::UnboundedReceiver<Signal>)> {
        let address = format!("unix:path={socket}");
        let builder = zbus::connection::Builder::address(address.as_str());
        let mut messages: MessageStream = builder.p2p().build_message_stream().await?;
        let connection: Connection = (&messages).into();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if let Some(signal) = signal(&message)
                    && tell.send(signal).is_err()
                {
                    return;
                }
            }
        });
        Ok((Self { connection }, heard))
    }

    pub(super) async fn reload(&self) -> zbus::Result<()> {
        self.manager("Reload", &()).await.map(drop)
    }

    /// `StartUnit` or `StopUnit`; the path of the job.
    pub(super) async fn job(&self, member: &str, service: &str) -> zbus::Result<String> {
        let answer = self.manager(member, &(service, "replace")).await?;
        let body = answer.body();
        let path: zbus::OwnedObjectPath = body.deserialize()?;
        Ok(path.as_str().to_owned())
    }

    /// `ActiveState` of a unit.
    pub(super) async fn state(&self, service: &str) -> zbus::Result<String> {
        let path = format!("{UNIT_PREFIX}{}", escape(service));
        let get = self.connection.call_method(
            None::<&str>,
            path.as_str(),
            Some(PROPERTIES),
            "Get",
            &(UNIT, "ActiveState"),
        );
        let answer = get.await?;
        let body = answer.body();
        match body.deserialize::<zbus::wire::Variant<'_>>()? {
            zbus::wire::Variant::Str(state) => Ok(state.as_str().to_owned()),
            other => {
                let found = other.value_signature();
                let text = format!("expected ActiveState of type 's', found '{found}'");
                Err(zbus::Error::Failure(text))
            }
        }
    }

    async fn manager<B>(&self, member: &str, body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        let call =
            self.connection
                .call_method(None::<&str>, MANAGER_PATH, Some(MANAGER), member, body);
        call.await
    }
}

fn signal(message: &Message) -> Option<Signal> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    let body = message.body();
    match header.member()?.as_str() {
        "JobRemoved" => {
            let ended = body.deserialize::<(u32, zbus::OwnedObjectPath, String, String)>();
            let (_, job, service, _) = ended.ok()?;
            Some(Signal::JobRemoved {
                job: job.as_str().to_owned(),
                service,
            })
        }
        "PropertiesChanged" => {
            let label = header.path()?.as_str().strip_prefix(UNIT_PREFIX)?;
            let service = unescape(label)?;
            Some(Signal::Changed { service })
        }
        _ => None,
    }
}
