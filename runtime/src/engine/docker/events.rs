//! What happens, told as it happens: the last few events are kept for those who ask later.
//!
//! A client that does not read loses events rather than holding anybody up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};

use super::asked::{Asked, Filters};
use super::refusal::Refusal;
use super::{Arced, time};
use crate::engine::clock;
use crate::engine::container::{Container, lock};
use crate::engine::record::{Health, State};

/// As many as dockerd keeps.
const KEPT: usize = 256;

/// One event.
#[derive(Debug, Clone)]
pub struct Told {
    kind: &'static str,
    action: String,
    id: String,
    attributes: BTreeMap<String, String>,
    at_ns: u64,
}

impl Told {
    /// Of something of a kind (`image`, `network`, `volume`).
    pub fn new(kind: &'static str, action: &str, id: &str) -> Self {
        Self {
            kind,
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::new(),
            at_ns: clock::wall_ns(),
        }
    }

    /// Of a container.
    pub fn container(action: &str, container: &Container) -> Self {
        let config = &container.config;
        let mut told = Self::new("container", action, &config.id);
        told.attributes = config.options.labels.clone();
        told.add("name", &config.name);
        told.add("image", &config.options.image);
        told
    }

    /// Adds an attribute.
    pub fn add(&mut self, key: &str, value: &str) {
        self.attributes.insert(key.into(), value.into());
    }

    fn json(&self) -> Value {
        let mut told = json!({
            "Type": self.kind,
            "Action": self.action,
            "Actor": {"ID": self.id, "Attributes": self.attributes},
            "scope": "local",
            "time": self.at_ns / 1_000_000_000,
            "timeNano": self.at_ns,
        });
        if self.kind == "container" {
            told["status"] = self.action.clone().into();
            told["id"] = self.id.clone().into();
            told["from"] = self.attributes.get("image").cloned().into();
        }
        told
    }

    fn is_wanted(&self, filters: &Filters) -> bool {
        let action = self.action.split(':').next().unwrap_or_default();
        let name = self.attributes.get("name").map_or("", String::as_str);
        let of_kind = |kind: &'static str| {
            move |wanted: &str| {
                self.kind == kind
                    && (self.id == wanted || name == wanted || self.id.starts_with(wanted))
            }
        };
        filters.any("type", |t| t == self.kind)
            && filters.any("event", |e| e == action || e == self.action)
            && filters.any("container", of_kind("container"))
            && filters.any("network", of_kind("network"))
            && filters.any("volume", of_kind("volume"))
            && filters.any("image", |wanted| {
                of_kind("image")(wanted)
                    || self.attributes.get("image").is_some_and(|i| i == wanted)
            })
            && filters.labels("label", &self.attributes)
            && filters.any("scope", |s| s == "local")
    }
}

/// The events of this engine's life.
#[derive(Debug)]
pub struct Events {
    past: Mutex<VecDeque<Arc<Told>>>,
    present: broadcast::Sender<Arc<Told>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            present: broadcast::Sender::new(KEPT),
        }
    }
}

impl Events {
    /// Tells an event.
    pub fn tell(&self, told: Told) {
        let told = Arc::new(told);
        let mut past = lock(&self.past);
        if past.len() >= KEPT {
            past.pop_front();
        }
        past.push_back(told.clone());
        // Nobody may be listening.
        let _ = self.present.send(told);
    }

    /// Tells what a container's new state means.
    pub fn changed(&self, container: &Container, before: &State, after: &State) {
        if after.started_ns != before.started_ns && after.phase.is_up() {
            self.tell(Told::container("start", container));
        }
        let told = after.health.filter(|health| *health != Health::Starting);
        if let Some(health) = told.filter(|health| Some(*health) != before.health) {
            let action = format!("health_status: {health}");
            self.tell(Told::container(&action, container));
        }
        if let Some(exit) = after.exit.filter(|exit| Some(*exit) != before.exit) {
            if exit.oom {
                self.tell(Told::container("oom", container));
            }
            let mut told = Told::container("die", container);
            told.add("exitCode", &exit.code.to_string());
            self.tell(told);
        }
    }

    /// The past, and what comes after it.
    fn listen(&self) -> (Vec<Arc<Told>>, broadcast::Receiver<Arc<Told>>) {
        let past = lock(&self.past);
        (past.iter().cloned().collect(), self.present.subscribe())
    }
}

const FILTERS: [&str; 15] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
    "status",
];

/// Events from `since` until `until`, or for as long as the client listens.
pub async fn events(Shared(engine): Arced, asked: Asked) -> Result<Response, Refusal> {
    let filters = asked.filters(&FILTERS)?;
    let moment = |key: &str| {
        let read = asked.text(key).map(time::moment).transpose();
        read.map_err(|e| Refusal::invalid(format!("{key}: {e}")))
    };
    let (since, until) = (moment("since")?, moment("until")?);
    let (past, mut present) = engine.docker.events.listen();
    let (to, received) = mpsc::channel::<Vec<u8>>(16);
    tokio::spawn(async move {
        let send = async |told: &Told| {
            let in_time = until.is_none_or(|until| told.at_ns <= until);
            if !in_time || !told.is_wanted(&filters) {
                return true;
            }
            let mut line = told.json().to_string().into_bytes();
            line.push(b'\n');
            to.send(line).await.is_ok()
        };
        for told in past
            .iter()
            .filter(|told| since.is_some_and(|s| told.at_ns >= s))
        {
            if !send(told).await {
                return;
            }
        }
        let left = until.map(|until| until.saturating_sub(clock::wall_ns()));
        let end = async {
            match left {
                Some(left) => tokio::time::sleep(std::time::Duration::from_nanos(left)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                told = present.recv() => match told {
                    Ok(told) => if !send(&told).await { return },
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = &mut end => return,
                () = to.closed() => return,
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let body: Body = super::containers::stream(received);
    Ok((kind, body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_many_events_goes() {
        let events = Events::default();
        for n in 0..KEPT + 3 {
            events.tell(Told::new("image", "pull", &n.to_string()));
        }
        let (past, _) = events.listen();
        assert_eq!(past.len(), KEPT);
        assert_eq!(past[0].id, "3");
    }

    #[test]
    fn golden_body_of_an_event() {
        let mut told = Told::new("image", "pull", "web:1");
        told.add("name", "web");
        told.at_ns = 1_700_000_000_000_000_007;
        assert_eq!(
            told.json().to_string(),
            r#"{"Action":"pull","Actor":{"Attributes":{"name":"web"},"ID":"web:1"},"Type":"image","scope":"local","time":1700000000,"timeNano":1700000000000000007}"#
        );
    }
}
