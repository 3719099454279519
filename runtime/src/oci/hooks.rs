//! The hooks that run in the runtime's own namespaces.
//!
//! Those of the container's are in its plan.

use oci_spec::runtime::{Hooks, Spec};

use super::error::Error;
use super::log::Log;
use super::state::{Record, Status};
use crate::container::hook::Hook;

/// Before the root is pivoted: the first that fails ends the create.
pub(super) fn before_pivot(spec: &Spec, record: &Record) -> Result<(), Error> {
    let state = record.json(Status::Creating).to_string();
    #[allow(deprecated)] // and still what nvidia's and others' tools use
    let prestart = list(spec, |hooks| hooks.prestart());
    let create = list(spec, |hooks| hooks.create_runtime());
    for hook in prestart.iter().chain(&create) {
        hook.run(&state)?;
    }
    Ok(())
}

/// After the start: what fails is a warning.
pub(super) fn after_start(spec: &Spec, record: &Record, log: &Log) {
    let state = record.json(Status::Running).to_string();
    warn(&list(spec, |hooks| hooks.poststart()), &state, log);
}

/// After the end: what fails is a warning.
pub(super) fn after_stop(spec: &Spec, record: &Record, log: &Log) {
    let state = record.json(Status::Stopped).to_string();
    warn(&list(spec, |hooks| hooks.poststop()), &state, log);
}

fn warn(hooks: &[Hook], state: &str, log: &Log) {
    for hook in hooks {
        if let Err(failure) = hook.run(state) {
            log.warning(&failure.to_string());
        }
    }
}

fn list(spec: &Spec, kind: fn(&Hooks) -> &Option<Vec<oci_spec::runtime::Hook>>) -> Vec<Hook> {
    let hooks = spec.hooks().as_ref().map(kind);
    let hooks = hooks.into_iter().flatten().flatten();
    hooks.map(Hook::from_spec).collect()
}
