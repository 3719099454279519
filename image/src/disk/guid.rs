//! Identifiers that are the same in every build: derived from names, not drawn.
//!
//! Never used for what must differ from host to host; a host gets its machine id at first boot.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// The identifier of `what` in the image `id` (RFC 9562 version 8: made from a hash of our own).
#[must_use]
pub fn derive(id: &str, what: &str) -> Uuid {
    let hash = hash(id, what);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The FAT volume id of the image's ESP.
#[must_use]
pub fn volume_id(id: &str) -> u32 {
    let hash = hash(id, "esp volume");
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn hash(id: &str, what: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(id);
    hasher.update([0]);
    hasher.update(what);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_has_the_same_identifier_for_ever() {
        let disk = derive("skeg", "disk").to_string();
        assert_eq!(disk, derive("skeg", "disk").to_string());
        assert_eq!(&disk[14..15], "8");
        assert_ne!(derive("skeg", "esp"), derive("skeg", "state"));
    }
}
