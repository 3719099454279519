//! The fleet's API: fleet's v1 paths and bodies, and v2 beside them.
//!
//! It answers from what its engine knows and writes transactions; it never decides where a unit runs.

mod access;
mod failure;
mod listen;
mod machines;
mod options;
pub(crate) mod pem;
mod reboots;
mod units;
mod v1;
mod v2;

pub use access::Role;

use crate::daemon::ApiConfig;
use crate::daemon::engine::Shared;
use crate::etcd::Caller;
use crate::store::{Compare, Reply, Request, Revision, Txn, Write};
use access::Access;
use axum::Router;
use axum::routing::{get, post, put};
use failure::Failure;
use formats::fleet::Key;
use std::sync::Arc;
use std::time::Duration;

/// A body may have this many bytes; a unit is far smaller.
const LARGEST_BODY: usize = 512 * 1024;
/// An answer waits this long until its engine has seen what was written.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// What the handlers have.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Shared,
    etcd: Caller,
}

impl Service {
    /// For an engine and its etcd.
    #[must_use]
    pub fn new(shared: Shared, etcd: Caller) -> Self {
        Self { shared, etcd }
    }

    /// Writes, and waits until the engine has seen it. `false`: what it rests on had changed.
    async fn write(&self, when: Vec<Compare>, then: Vec<Write>) -> Result<bool, Failure> {
        let asked = self.etcd.call(Request::Txn(Txn { when, then })).await;
        match asked.map_err(Failure::etcd)? {
            Reply::Txn {
                done: true,
                revision,
            } => {
                self.seen(revision).await;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn seen(&self, revision: Revision) {
        let mut known = self.shared.revision.clone();
        let seen = known.wait_for(|known| *known >= revision);
        let _ = tokio::time::timeout(SEEN_WITHIN, seen).await;
    }

    /// Sets a key or removes it, whatever is there.
    async fn set(&self, key: Key, value: Option<Vec<u8>>) -> Result<(), Failure> {
        let write = match value {
            Some(value) => Write::Put {
                key,
                value,
                lease: None,
            },
            None => Write::Delete(key),
        };
        self.write(vec![], vec![write]).await.map(drop)
    }
}

/// The fleet_lock protocol, alone: its clients know no tokens.
fn lock_router(service: Service) -> Router {
    Router::new()
        .route("/v1/pre-reboot", post(reboots::pre_reboot))
        .route("/v1/steady-state", post(reboots::steady_state))
        .fallback(|| async { Failure::new(404, "there is nothing at this path") })
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(service))
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/fleet/v1/discovery", get(v1::discovery))
        .route("/fleet/v1/units", get(v1::units))
        .route(
            "/fleet/v1/units/{name}",
            get(v1::unit).put(v1::put).delete(v1::destroy),
        )
        .route("/fleet/v1/state", get(v1::state))
        .route("/fleet/v1/machines", get(v1::machines).patch(v1::patch))
        .route("/fleet/v2/openapi.json", get(v2::openapi))
        .route("/fleet/v2/units", get(v2::units))
        .route("/fleet/v2/units/{name}", get(v2::unit).put(v2::put))
        .route("/fleet/v2/units/{name}/why", get(v2::why))
        .route("/fleet/v2/machines", get(v2::machines))
        .route("/fleet/v2/machines/{id}", axum::routing::delete(v2::forget))
        .route("/fleet/v2/machines/{id}/duty", put(v2::duty))
        .route("/fleet/v2/brake/lift", post(v2::lift))
        .route("/fleet/v2/health", get(v2::health))
        .route("/fleet/v2/reboots", get(reboots::list))
        .route("/fleet/v2/reboots/{group}", put(reboots::slots))
        .route(
            "/fleet/v2/reboots/{group}/{id}",
            axum::routing::delete(reboots::release),
        )
        .fallback(|| async { Failure::new(404, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Failure::new(405, "this path does not take this method")
        })
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::new(service))
}

/// Serves it until the program ends.
///
/// # Errors
/// In words, what cannot be listened on or read.
pub async fn serve(config: &ApiConfig, service: Service) -> Result<(), String> {
    if let Some(address) = &config.reboots {
        let listener = listen::tcp(address).await?;
        start(config, listener, lock_router(service.clone()))?;
    }
    let app = router(service);
    if !config.socket.as_os_str().is_empty() {
        let listener = listen::socket(&config.socket)?;
        let app = app.clone().layer(axum::middleware::from_fn_with_state(
            Access::everything(),
            access::check,
        ));
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    let Some(address) = &config.listen else {
        return Ok(());
    };
    let Some(tokens) = &config.tokens else {
        return Err(
            "api: expected tokens = FILE beside listen: nobody is let in without a token".into(),
        );
    };
    let access = Access::load(tokens)?;
    let app = app.layer(axum::middleware::from_fn_with_state(access, access::check));
    let listener = listen::tcp(address).await?;
    start(config, listener, app)
}

/// Serves on TCP, with TLS if there is a certificate.
fn start(config: &ApiConfig, listener: tokio::net::TcpListener, app: Router) -> Result<(), String> {
    match listen::acceptor(config)? {
        Some(acceptor) => {
            let listener = listen::Tls::over(listener, acceptor);
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        None => {
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
    }
    Ok(())
}
