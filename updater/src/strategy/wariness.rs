//! A host's place on a rollout's curve: some take a release early, most wait to see what came of it.
//!
//! Pure. A host's place is another for each release, so that nobody is always the first.

use formats::channel::{Rollout, WHOLE};
use sha2::Digest;

/// The place of a machine, by its id, for a release, by its identity; in millionths.
#[must_use]
pub fn place(machine_id: &[u8], release: &[u8]) -> u32 {
    let hash = sha2::Sha256::new()
        .chain_update(machine_id)
        .chain_update(release);
    let hash: [u8; 32] = hash.finalize().into();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) % WHOLE
}

/// Whether the rollout has come to that place at `now`, in seconds since the epoch.
#[must_use]
pub fn is_its_turn(rollout: &Rollout, place: u32, now: u64) -> bool {
    place < rollout.share(now)
}
