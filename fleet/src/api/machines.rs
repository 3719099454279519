//! Machines as the API changes them.
//!
//! What a machine says of itself is its own; only metadata, duty and whether it is known are changed.

use super::Service;
use super::failure::Failure;
use formats::fleet::{Key, MachineId, MachineRecord, encode};

/// An id from a path: whole, or the first digits of exactly one machine.
pub(super) fn id(service: &Service, text: &str) -> Result<MachineId, Failure> {
    let known: Vec<MachineId> = service
        .shared
        .look(|engine| engine.mirror().machines.keys().cloned().collect());
    let mut fits = known.iter().filter(|id| id.as_str().starts_with(text));
    match (text.is_empty(), fits.next(), fits.next()) {
        (false, Some(id), None) => Ok(id.clone()),
        (false, Some(_), Some(_)) => Err(Failure::bad("more than one machine begins so")),
        _ => Err(Failure::new(404, "there is no such machine")),
    }
}

/// Changes what a machine's record says.
pub(super) async fn change(
    service: &Service,
    id: &MachineId,
    change: impl FnOnce(&mut MachineRecord),
) -> Result<(), Failure> {
    let record = service
        .shared
        .look(|engine| engine.mirror().machines.get(id).cloned());
    let mut record = record.ok_or_else(|| Failure::new(404, "there is no such machine"))?;
    change(&mut record);
    service
        .set(Key::Machine(id.clone()), Some(encode(&record)))
        .await
}
