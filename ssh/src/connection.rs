//! One connection: who logs in by which key, and what is opened on it.
//!
//! Keys only; passwords, interactive questions, certificates and host-based logins are not offered.

use std::net::SocketAddr;
use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::forward;
use crate::gate::Latch;
use crate::people::{People, Person};
use crate::session::{self, Host, copy_both};

/// Keys that one connection may try.
const MOST_KEYS: u32 = 10;
/// Channels that one connection may have at once.
const MOST_CHANNELS: usize = 16;
/// Time for a forwarded connection to come about.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// What a connection shares with the server.
pub struct Shared {
    /// Who may log in.
    pub people: People,
    /// What sessions use.
    pub host: Arc<Host>,
}

/// A client, from its first byte on.
pub struct Connection {
    from: SocketAddr,
    shared: Arc<Shared>,
    latch: Latch,
    logged_in: Box<dyn Fn() + Send + Sync>,
    tried: u32,
    person: Option<Arc<Person>>,
    channels: Arc<Semaphore>,
    /// Dropped with the connection, which ends its sessions.
    alive: watch::Sender<()>,
}

impl Connection {
    /// `logged_in` is called once, if it comes to that.
    pub fn new(
        from: SocketAddr,
        shared: Arc<Shared>,
        latch: Latch,
        logged_in: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            from,
            shared,
            latch,
            logged_in: Box::new(logged_in),
            tried: 0,
            person: None,
            channels: Arc::new(Semaphore::new(MOST_CHANNELS)),
            alive: watch::Sender::new(()),
        }
    }

    fn find(&self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Option<Person> {
        // SHA-1 is broken for signatures.
        if *algorithm == (Algorithm::Rsa { hash: None }) {
            return None;
        }
        self.shared.people.find(user, key, self.from.ip())
    }

    /// Runs what a channel is for, unless there are too many.
    async fn open<F>(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        handle: Handle,
        serve: impl FnOnce(Channel<Msg>, Handle, Arc<Person>, watch::Receiver<()>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let permit = Arc::clone(&self.channels).try_acquire_owned();
        let (Some(person), Ok(permit)) = (self.person.clone(), permit) else {
            return reply.reject(ChannelOpenFailure::ResourceShortage).await;
        };
        reply.accept().await;
        let served = serve(channel, handle, person, self.alive.subscribe());
        tokio::spawn(async move {
            served.await;
            drop(permit);
        });
    }

    async fn refuse(&self, reply: ChannelOpenHandle, why: &str) {
        eprintln!("<5>{}: a forwarding was refused: {why}", self.from.ip());
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.tried += 1;
        if self.tried > MOST_KEYS {
            return Err(russh::Error::Disconnect);
        }
        Ok(match self.find(user, offer.public_key, offer.algorithm) {
            Some(_) => Auth::Accept,
            None => Auth::reject(),
        })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let Some(person) = self.find(user, key.public_key, key.algorithm) else {
            return Ok(Auth::reject());
        };
        let print = key.public_key.fingerprint(HashAlg::Sha256);
        eprintln!("<6>{user} logged in from {} with {print}", self.from.ip());
        self.person = Some(Arc::new(person));
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        if self.person.is_none() {
            session.disconnect(Disconnect::ByApplication, "no key", "")?;
            return Ok(());
        }
        self.latch.open();
        (self.logged_in)();
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let host = Arc::clone(&self.shared.host);
        let serve = |channel, handle, person, alive| {
            session::Session::new(channel, handle, person, host, alive).serve()
        };
        self.open(channel, reply, session.handle(), serve).await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(person) = self.person.clone() else {
            return Ok(());
        };
        let to = match forward::to_address(&person, host, port, &forward::of_this_host()) {
            Ok(to) => to,
            Err(why) => {
                self.refuse(reply, &why).await;
                return Ok(());
            }
        };
        let serve = move |channel, _, _, alive| async move {
            match timeout(CONNECT, TcpStream::connect(to)).await {
                Ok(Ok(stream)) => forwarded(channel, stream, alive).await,
                _ => drop(channel.close().await),
            }
        };
        self.open(channel, reply, session.handle(), serve).await;
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(person) = self.person.clone() else {
            return Ok(());
        };
        if let Err(why) = forward::to_socket(&person, path) {
            self.refuse(reply, &why).await;
            return Ok(());
        }
        let path = match path == formats::paths::DOCKER_SOCKET {
            true => self.shared.host.docker.clone(),
            false => path.into(),
        };
        let serve = move |channel, _, _, alive| async move {
            match UnixStream::connect(path).await {
                Ok(stream) => forwarded(channel, stream, alive).await,
                Err(_) => drop(channel.close().await),
            }
        };
        self.open(channel, reply, session.handle(), serve).await;
        Ok(())
    }
}

async fn forwarded<S>(channel: Channel<Msg>, stream: S, mut alive: watch::Receiver<()>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
{
    let (mut from, to) = channel.split();
    let copied = copy_both(from.make_reader(), to.make_writer(), stream);
    tokio::select! {
        () = copied => {}
        _ = alive.changed() => {}
    }
    let _ = to.eof().await;
    let _ = to.close().await;
}
