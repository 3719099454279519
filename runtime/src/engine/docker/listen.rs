//! Where Docker's API is reached: a Unix socket, and TCP with mutual TLS where certificates are.
//!
//! Nothing is ever said over TCP that is not encrypted, or to a client without a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::super::Engine;
use super::{router, tls};

/// The port of Docker's API over TLS.
const PORT: u16 = 2376;
/// From a client's connection to its certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time: a stranger's do not keep others out for long.
const HANDSHAKES: usize = 64;

/// Serves the API for as long as the engine runs. `certificates` is a folder with `ca.pem`, `cert.pem` and
/// `key.pem`: without it nothing listens on TCP.
pub fn serve(engine: &Arc<Engine>, listener: UnixListener, certificates: &Path) {
    let app = router(engine.clone());
    let local = app.clone();
    tokio::spawn(async move { axum::serve(listener, local).await });
    match tls::acceptor(certificates) {
        Ok(None) => {}
        Ok(Some(acceptor)) => {
            let engine = engine.clone();
            tokio::spawn(async move {
                match TcpListener::bind(("::", PORT)).await {
                    Ok(tcp) => drop(axum::serve(Encrypted::new(tcp, acceptor), app).await),
                    Err(e) => engine.trouble("docker", format!("listen on TCP port {PORT}: {e}")),
                }
            });
        }
        Err(e) => engine.trouble("docker", e),
    }
}

/// Connections whose handshake is done. A client that never finishes it is nobody's delay.
struct Encrypted {
    ready: mpsc::Receiver<TlsStream<TcpStream>>,
}

impl Encrypted {
    fn new(tcp: TcpListener, acceptor: TlsAcceptor) -> Self {
        let (done, ready) = mpsc::channel(8);
        let places = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
        tokio::spawn(async move {
            let mut tcp = tcp;
            loop {
                let Ok(place) = places.clone().acquire_owned().await else {
                    return;
                };
                let (stream, peer) = Listener::accept(&mut tcp).await;
                let (acceptor, done) = (acceptor.clone(), done.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            drop(place);
                            let _ = done.send(stream).await;
                        }
                        Ok(Err(e)) => tracing::warn!("docker client {peer}: {e}"),
                        Err(_) => tracing::warn!("docker client {peer}: no handshake"),
                    }
                });
            }
        });
        Self { ready }
    }
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, ()) {
        match self.ready.recv().await {
            Some(stream) => (stream, ()),
            // The task that accepts has ended, with the engine.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}
