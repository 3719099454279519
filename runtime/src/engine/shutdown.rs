//! The orderly end: containers stop in reverse order of their start, within their timeouts.
//!
//! Containers that do not depend on each other stop together. What stopped them is on disk, so that
//! they come back at the next boot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Engine;
use super::container::{Container, lock};
use super::machine::Event;
use super::record::StoppedBy;
use super::units;
use crate::supervisor::Supervisor;

/// Beyond a container's own timeout, for the kill and the disk.
const GRACE: Duration = Duration::from_secs(10);

/// Stops everything.
pub async fn run(engine: &Arc<Engine>, notify: &Supervisor) {
    engine.stopping.store(true, Ordering::Relaxed);
    notify.tell("STOPPING=1");
    for wave in waves(engine) {
        let longest = wave
            .iter()
            .map(|c| timeout(c))
            .max()
            .unwrap_or_default()
            .saturating_add(GRACE);
        notify.tell(&format!(
            "EXTEND_TIMEOUT_USEC={}\nSTATUS=stopping {} containers",
            longest.as_micros(),
            wave.len()
        ));
        let stops: Vec<_> = wave
            .into_iter()
            .map(|c| tokio::spawn(stop(c, longest)))
            .collect();
        for stop in stops {
            let _ = stop.await;
        }
    }
}

fn timeout(container: &Container) -> Duration {
    Duration::from_secs(container.config.options.stop_timeout.unwrap_or(10))
}

async fn stop(container: Arc<Container>, limit: Duration) {
    let event = Event::Stop {
        by: StoppedBy::Shutdown,
        timeout: None,
    };
    let name = container.config.name.clone();
    let stopped = async {
        container.tell(event).await?;
        container
            .until(|s| !s.phase.is_up() && s.phase != super::record::Phase::Starting)
            .await
    };
    match tokio::time::timeout(limit, stopped).await {
        Ok(Ok(state)) => {
            let code = state.exit.map_or(0, |e| e.code);
            tracing::info!("stopped {name}: exit code {code}");
        }
        Ok(Err(_)) => {}
        Err(_) => tracing::error!("{name} does not end: left to PID 1"),
    }
}

/// Groups of containers, the first to be stopped first: those of a unit before what it comes after,
/// containers without a unit before all others.
fn waves(engine: &Engine) -> Vec<Vec<Arc<Container>>> {
    let mut left: BTreeMap<String, Arc<Container>> = BTreeMap::new();
    let mut free = Vec::new();
    for container in engine.all() {
        match &container.config.options.unit {
            Some(unit) => {
                left.insert(unit.clone(), container);
            }
            None => free.push(container),
        }
    }
    let after = units::after(&lock(&engine.units));
    let order = reverse_waves(left.keys().cloned().collect(), &after);
    let mut waves = vec![free];
    waves.extend(
        order
            .into_iter()
            .map(|wave| wave.iter().filter_map(|name| left.remove(name)).collect()),
    );
    waves.retain(|wave: &Vec<_>| !wave.is_empty());
    waves
}

/// Units that no unit left comes after, again and again. A cycle goes in one wave.
fn reverse_waves(
    mut left: BTreeSet<String>,
    after: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<BTreeSet<String>> {
    let mut waves = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&String> = left
            .iter()
            .filter_map(|name| after.get(name))
            .flatten()
            .collect();
        let mut wave: BTreeSet<String> = left
            .iter()
            .filter(|name| !needed.contains(name))
            .cloned()
            .collect();
        if wave.is_empty() {
            wave.clone_from(&left);
        }
        left.retain(|name| !wave.contains(name));
        waves.push(wave);
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_stops_before_and_the_independent_together() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let after = BTreeMap::from([
            ("web".to_string(), names(&["db"])),
            ("job".to_string(), names(&["db"])),
            ("db".to_string(), names(&["volume"])),
        ]);
        let waves = reverse_waves(names(&["web", "job", "db", "other"]), &after);
        assert_eq!(waves, [names(&["web", "job", "other"]), names(&["db"])]);
    }

    #[test]
    fn a_cycle_still_stops() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let after = BTreeMap::from([
            ("a".to_string(), names(&["b"])),
            ("b".to_string(), names(&["a"])),
        ]);
        assert_eq!(
            reverse_waves(names(&["a", "b"]), &after),
            [names(&["a", "b"])]
        );
    }
}
