//! `skeg fleet engine`: between etcd, the engine's state machine and the API.
//!
//! Any number of them run; one leads. Each serves the API from what it knows.

use super::{Config, life, now, told_to_stop};
use crate::api;
use crate::engine::{Ask, Engine, Input};
use crate::etcd::{Event, Store};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// An engine that others look into.
#[derive(Debug, Clone)]
pub struct Shared {
    engine: Arc<Mutex<Engine>>,
    /// The revision up to which it knows everything.
    pub revision: watch::Receiver<i64>,
}

impl Shared {
    /// Looks into it.
    pub fn look<T>(&self, at: impl FnOnce(&Engine) -> T) -> T {
        at(&self.engine.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs until SIGTERM.
///
/// # Errors
/// In words, why it cannot go on.
pub async fn run(config: Config) -> Result<(), String> {
    let seen = config.seen("engine");
    let (mut store, mut events) = Store::new(&config.etcd, seen).map_err(|e| e.to_string())?;
    let life = life();
    let name = format!("{}-{life:x}", rustix::process::getpid().as_raw_nonzero());
    let engine = Engine::new(&name, config.patience(), now()).numbered_from(life);
    let engine = Arc::new(Mutex::new(engine));
    let (revision, known) = watch::channel(0);
    let shared = Shared {
        engine: Arc::clone(&engine),
        revision: known,
    };
    api::serve(&config.api, api::Service::new(shared, store.caller())).await?;
    let step = |input: Input, store: &mut Store| {
        let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
        let led = engine.leads().is_some();
        for Ask(number, request) in engine.step(input, now()) {
            store.ask(number, request);
        }
        if led != engine.leads().is_some() {
            eprintln!(
                "<5>engine {name}: {}",
                if led { "leads no more" } else { "leads" }
            );
        }
        let at = engine.mirror().revision;
        revision.send_if_modified(|known| std::mem::replace(known, at) != at);
        engine.rest()
    };
    let mut rest = step(Input::Tick, &mut store);
    let mut stop = std::pin::pin!(told_to_stop());
    loop {
        let input = tokio::select! {
            event = events.recv() => match event {
                Some(Event::Reply(number, reply)) => Input::Reply(number, reply),
                Some(Event::Watched(number, watched)) => Input::Watched(number, watched),
                Some(Event::Stop(why)) => return Err(why),
                None => return Err("etcd's client ended".to_owned()),
            },
            () = tokio::time::sleep(rest) => Input::Tick,
            stopped = &mut stop => return stopped,
        };
        rest = step(input, &mut store);
    }
}
