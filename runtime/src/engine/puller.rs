//! Pulls images one name at a time: whoever asks for a name that is on its way waits for that pull.
//!
//! Pulls run on the engine's main task set, since they need not be `Send`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use formats::registration::StampKind;
use tokio::sync::{mpsc, oneshot};

use super::api::Told;
use super::error::Error;
use super::init_client;
use super::options::PullPolicy;
use crate::image::registry::Login;
use crate::image::{Image, Phase, Progress, Reference, Registries, Store};

/// A way to the pulls.
#[derive(Debug, Clone)]
pub struct Puller {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    image: String,
    policy: PullPolicy,
    login: Option<Login>,
    progress: Option<mpsc::Sender<Told>>,
    answer: oneshot::Sender<Result<Image, Error>>,
}

impl Puller {
    /// Starts to serve, within a `LocalSet`.
    ///
    /// While `booting`, a pull is a stage of the boot.
    pub fn start(store: Store, booting: Arc<AtomicBool>) -> Self {
        let (requests, mut received) = mpsc::channel::<Request>(16);
        tokio::task::spawn_local(async move {
            let gates: Gates = Rc::default();
            while let Some(request) = received.recv().await {
                let (store, gates, booting) = (store.clone(), gates.clone(), booting.clone());
                tokio::task::spawn_local(serve(store, gates, booting, request));
            }
        });
        Self { requests }
    }

    /// The image, fetched if the policy wants it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(
        &self,
        image: &str,
        policy: PullPolicy,
        progress: Option<mpsc::Sender<Told>>,
    ) -> Result<Image, Error> {
        self.get_as(image, policy, None, progress).await
    }

    /// As [`Puller::get`], with a login of the user's own.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get_as(
        &self,
        image: &str,
        policy: PullPolicy,
        login: Option<Login>,
        progress: Option<mpsc::Sender<Told>>,
    ) -> Result<Image, Error> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            image: image.to_string(),
            policy,
            login,
            progress,
            answer,
        };
        let stopped = || Error::failed("the engine is shutting down");
        self.requests.send(request).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

type Gates = Rc<RefCell<HashMap<String, Rc<tokio::sync::Mutex<()>>>>>;

async fn serve(store: Store, gates: Gates, booting: Arc<AtomicBool>, request: Request) {
    let gate = gates
        .borrow_mut()
        .entry(request.image.clone())
        .or_default()
        .clone();
    let outcome = {
        let _turn = gate.lock().await;
        get(&store, &booting, &request).await
    };
    drop(gate);
    gates
        .borrow_mut()
        .retain(|_, gate| Rc::strong_count(gate) > 1);
    let _ = request.answer.send(outcome);
}

async fn get(store: &Store, booting: &AtomicBool, request: &Request) -> Result<Image, Error> {
    let registries = Registries::load().map_err(|e| Error::failed(chain(&e)))?;
    let resolved = registries.resolve(&request.image);
    let stored = match &resolved {
        Ok(reference) => store
            .find(&reference.to_string())
            .or_else(|| store.find(&request.image)),
        Err(_) => store.find(&request.image),
    };
    match (request.policy, stored) {
        (PullPolicy::Missing | PullPolicy::Never, Some(image)) => return Ok(image),
        (PullPolicy::Never, None) => {
            let image = &request.image;
            return Err(Error::not_found(format!(
                "image '{image}' is not in the store, and pull is 'never'; see 'skeg pull'"
            )));
        }
        (PullPolicy::Newer, Some(image)) => {
            let reference = resolved.map_err(|e| Error::invalid(chain(&e)))?;
            return Ok(pull(store, &reference, &registries, booting, request)
                .await
                .unwrap_or_else(|e| {
                    tracing::warn!("{e}: the stored image is used");
                    image
                }));
        }
        _ => {}
    }
    let reference = resolved.map_err(|e| Error::invalid(chain(&e)))?;
    pull(store, &reference, &registries, booting, request).await
}

async fn pull(
    store: &Store,
    reference: &Reference,
    registries: &Registries,
    booting: &AtomicBool,
    request: &Request,
) -> Result<Image, Error> {
    let tell = |progress: Progress| {
        if let Some(to) = &request.progress {
            // A client that reads slowly misses steps, never the end.
            let _ = to.try_send(told(&progress));
        }
    };
    let image = store
        .pull_as(reference, registries, request.login.clone(), tell)
        .await
        .map_err(|e| Error::failed(chain(&e)))?;
    tracing::info!("pulled {reference}");
    let name = reference
        .repository()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_string();
    if booting.load(Ordering::Relaxed) {
        init_client::stamp(StampKind::Image, &name).await;
    }
    Ok(image)
}

fn told(progress: &Progress) -> Told {
    let phase = match progress.phase {
        Phase::Waiting => "waiting",
        Phase::Downloading => "downloading",
        Phase::Extracting => "extracting",
        Phase::Ready => "ready",
    };
    Told::Progress {
        layer: progress.layer.short().to_string(),
        phase: phase.to_string(),
        done: progress.done,
        total: progress.total,
    }
}

/// An error and its causes in one line, without saying anything twice.
pub fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let next = e.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = e.source();
    }
    text
}
