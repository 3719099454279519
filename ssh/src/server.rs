//! The listener: who is heard, who is shut out, and the bounds of all connections together.
//!
//! It holds a small, fixed number of connections that have not logged in; the oldest makes room for
//! the newest, so that nobody keeps others out by saying nothing.

use std::collections::VecDeque;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;
use russh::server::{Config, run_stream};
use russh::{MethodKind, MethodSet, Preferred, SshId, compression, kex, mac};
use tokio::net::{TcpListener, TcpStream};

use crate::connection::{Connection, Shared};
use crate::gate::{Gate, Latch, TIME};
use crate::throttle::{Refusal, Throttle};

/// Connections that have not logged in yet, of all addresses.
const MOST_WAITING: usize = 16;
/// Connections altogether.
const MOST: usize = 128;

/// A listener and what it remembers.
pub struct Server {
    config: Arc<Config>,
    shared: Arc<Shared>,
    doors: Arc<Mutex<Doors>>,
}

struct Doors {
    throttle: Throttle,
    waiting: VecDeque<(u64, std::net::TcpStream)>,
    next: u64,
    open: usize,
}

impl Server {
    /// Nobody is heard before [`Self::run`].
    #[must_use]
    pub fn new(key: PrivateKey, shared: Shared) -> Self {
        Self {
            config: Arc::new(config(key)),
            shared: Arc::new(shared),
            doors: Arc::new(Mutex::new(Doors {
                throttle: Throttle::new(Instant::now()),
                waiting: VecDeque::new(),
                next: 0,
                open: 0,
            })),
        }
    }

    /// Hears whoever calls, for ever.
    pub async fn run(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => self.answer(stream, from),
                Err(e) => {
                    eprintln!("<4>accept: {e}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn answer(&self, stream: TcpStream, from: SocketAddr) {
        let Some((stream, number)) = self.admit(stream, from.ip()) else {
            return;
        };
        let (config, shared) = (Arc::clone(&self.config), Arc::clone(&self.shared));
        let doors = Arc::clone(&self.doors);
        tokio::spawn(async move {
            let latch = Latch::default();
            let at_login = Arc::clone(&doors);
            let logged_in = move || {
                let mut doors = lock(&at_login);
                doors.leave(number);
                doors.throttle.logged_in(from.ip(), Instant::now());
            };
            let connection = Connection::new(from, shared, latch.clone(), logged_in);
            let gate = Gate::new(stream, latch.clone(), TIME);
            if let Ok(session) = run_stream(config, gate, connection).await {
                let _ = session.await;
            }
            lock(&doors).ended(number, from.ip(), latch.is_open());
        });
    }

    fn admit(&self, stream: TcpStream, from: IpAddr) -> Option<(TcpStream, u64)> {
        let mut doors = lock(&self.doors);
        if doors.open >= MOST {
            return None;
        }
        let _ = stream.set_nodelay(true);
        let stream = stream.into_std().ok()?;
        let second = stream.try_clone().ok()?;
        let stream = TcpStream::from_std(stream).ok()?;
        match doors.throttle.admit(from, Instant::now()) {
            Ok(()) => {}
            // Said when it began.
            Err(Refusal::Banned(_) | Refusal::TooMany | Refusal::Flood) => return None,
        }
        Some((stream, doors.enter(second)))
    }
}

impl Doors {
    fn enter(&mut self, stream: std::net::TcpStream) -> u64 {
        if self.waiting.len() >= MOST_WAITING
            && let Some((_, oldest)) = self.waiting.pop_front()
        {
            let _ = oldest.shutdown(Shutdown::Both);
        }
        let number = self.next;
        self.next += 1;
        self.open += 1;
        self.waiting.push_back((number, stream));
        number
    }

    fn leave(&mut self, number: u64) {
        self.waiting.retain(|(other, _)| *other != number);
    }

    fn ended(&mut self, number: u64, from: IpAddr, had_logged_in: bool) {
        self.leave(number);
        self.open = self.open.saturating_sub(1);
        if had_logged_in {
            return;
        }
        if let Some(ban) = self.throttle.failed(from, Instant::now()) {
            let seconds = ban.as_secs();
            eprintln!("<5>{from} has failed to log in too often: not heard for {seconds} s");
        }
    }
}

/// What it guards is whole after each statement.
fn lock(doors: &Mutex<Doors>) -> MutexGuard<'_, Doors> {
    doors.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(key: PrivateKey) -> Config {
    let preferred = Preferred {
        kex: [
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::ECDH_SHA2_NISTP256,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]
        .to_vec()
        .into(),
        mac: [mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256]
            .to_vec()
            .into(),
        compression: [compression::NONE].to_vec().into(),
        ..Preferred::DEFAULT
    };
    Config {
        server_id: SshId::Standard("SSH-2.0-Skeg".into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        window_size: 256 * 1024,
        channel_buffer_size: 16,
        preferred,
        // Kept by the connection, which counts what is only offered too.
        max_auth_attempts: 10,
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 4,
        nodelay: true,
        ..Config::default()
    }
}
