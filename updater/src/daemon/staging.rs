//! Staging, beside the daemon: a release from its source to the ESP.
//!
//! It holds the ESP for as long as it takes, and tells how far it is.

use super::releases::Releases;
use super::{Esp, Input};
use crate::esp::plan::{self, Wanted};
use crate::firmware::Backend;
use crate::gate::engine::now;
use formats::name::Name;
use formats::update::Progress;
use formats::version::Version;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two words about its progress.
const TELL: Duration = Duration::from_millis(500);

/// What is staged, and with what.
pub(super) struct Staging {
    pub(super) esp: Arc<Mutex<Esp>>,
    pub(super) releases: Arc<dyn Releases>,
    pub(super) product: Name,
    pub(super) running: Version,
    pub(super) wanted: Wanted,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) inputs: Sender<Input>,
}

/// Stages. After an error the ESP holds what it held, and perhaps a part that the next one removes.
pub(super) fn run(staging: &Staging) -> Result<(), String> {
    let esp = staging.esp.lock().unwrap_or_else(PoisonError::into_inner);
    esp.backend.prepare().map_err(|e| e.to_string())?;
    let mounted = esp
        .volume
        .change(&staging.product)
        .map_err(|e| e.to_string())?;
    let slots = mounted
        .slots(&staging.product, staging.running)
        .map_err(|e| e.to_string())?;
    let space = mounted.space().map_err(|e| e.to_string())?;
    let steps = plan::stage(&slots, space, &staging.wanted).map_err(|e| e.to_string())?;
    let running = slots
        .running()
        .ok_or("the running release is not on the ESP")?;
    let base = mounted.path(&running.file);
    let mut bytes = staging.releases.open(&staging.wanted, &base)?;
    let begun = now();
    let (mut done, mut told) = (0, begun);
    let mut feed = || {
        if staging.stop.load(Ordering::Relaxed) {
            return Err("cancelled".to_owned());
        }
        let next = bytes.next()?;
        done += next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if next.is_none() || now() >= told + TELL {
            told = now();
            let millis = u64::try_from((told - begun).as_millis()).unwrap_or(u64::MAX);
            let progress = Progress {
                total: staging.wanted.length,
                done,
                fetched: bytes.fetched(),
                rate: done.saturating_mul(1000) / millis.max(1),
            };
            let _ = staging.inputs.send(Input::Progress(progress));
        }
        Ok(next)
    };
    let carried = mounted.carry_out(&steps, &staging.product, &mut feed);
    carried.map_err(|e| e.to_string())
}
