//! systemd's face: `org.freedesktop.systemd1` for `systemctl`, `busctl` and the fleet's agent.
//!
//! It keeps no unit of its own: [`Units`] stands behind it. There is no bus daemon: each connection
//! is a peer, and the few calls of a bus that clients begin with are answered here.

mod answer;
mod asked;
mod failure;
mod introspect;
mod jobs;
mod pattern;
mod properties;
pub mod server;
mod value;
pub mod view;
mod wire;

use std::future::Future;
use std::pin::Pin;

pub use jobs::{Outcome, Verb};
pub use view::View;

/// Something that is going on; it yields how it went.
pub type Doing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What stands behind the face.
pub trait Units: Send + Sync + 'static {
    /// Every unit, as it stands now.
    fn views(&self) -> Vec<View>;
    /// Rings whenever a view may be another one than before.
    fn changes(&self) -> tokio::sync::watch::Receiver<()>;
    /// Makes a name a unit if it can be one: an instance of a template.
    fn load(&self, _unit: &str) {}
    /// Starts, stops or restarts a unit that is there.
    fn run(&self, verb: Verb, unit: &str) -> Doing<Outcome>;
    /// Sends a signal to the main process, or to all of a unit.
    ///
    /// # Errors
    /// One line for people.
    fn kill(&self, unit: &str, all: bool, signal: i32) -> Doing<Result<(), String>>;
    /// Forgets that units have failed: one, or all of them.
    fn reset_failed(&self, unit: Option<&str>);
    /// Reads the unit files again.
    ///
    /// # Errors
    /// One line for people.
    fn reload(&self) -> Doing<Result<(), String>>;
    /// Adds to one view what costs too much for all of them: what it uses.
    fn detail(&self, _view: &mut View) {}
    /// Processes of a unit: cgroup, process id, command line.
    fn processes(&self, unit: &str) -> Vec<(String, u32, String)>;
}
