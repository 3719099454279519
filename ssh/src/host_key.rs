//! The host's own key: made at the first start, durable, never replaced.
//!
//! A key that is there and cannot be read is an error: a host that silently made a new one would look
//! like an impostor to everybody who knows it.

use std::io;
use std::path::Path;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{HashAlg, LineEnding};

/// The key's file, in OpenSSH's format.
const FILE: &str = "ssh_host_ed25519_key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// Reading or writing.
    #[error("the host's key {0}: {1}")]
    Io(String, io::Error),
    /// Not a key.
    #[error(
        "the host's key {0}: expected an OpenSSH private key: {1}; put it back, or remove the file for a new one"
    )]
    Damaged(String, russh::keys::ssh_key::Error),
}

/// The key of the folder; made if there is none.
///
/// # Errors
/// When it can be neither read nor made.
pub fn of(folder: &Path) -> Result<PrivateKey, HostKeyError> {
    let path = folder.join(FILE);
    let name = path.display().to_string();
    match std::fs::read(&path) {
        Ok(text) => PrivateKey::from_openssh(text).map_err(|e| HostKeyError::Damaged(name, e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => make(&path, name),
        Err(e) => Err(HostKeyError::Io(name, e)),
    }
}

fn make(path: &Path, name: String) -> Result<PrivateKey, HostKeyError> {
    let mut seed = [0; 32];
    random(&mut seed).map_err(|e| HostKeyError::Io(name.clone(), e))?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let text = key
        .to_openssh(LineEnding::LF)
        .map_err(|e| HostKeyError::Damaged(name.clone(), e))?;
    sys::durable::write(path, text.as_bytes(), 0o600).map_err(|e| HostKeyError::Io(name, e))?;
    Ok(key)
}

fn random(mut to: &mut [u8]) -> io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    while !to.is_empty() {
        let got = getrandom(&mut *to, GetRandomFlags::empty())?;
        to = &mut to[got..];
    }
    Ok(())
}

/// As `ssh-keygen -l` shows it.
#[must_use]
pub fn fingerprint(key: &PrivateKey) -> String {
    key.public_key().fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = fingerprint(&of(folder.path()).unwrap());
        assert!(first.starts_with("SHA256:"));
        assert_eq!(fingerprint(&of(folder.path()).unwrap()), first);
        let mode = std::fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(fingerprint(&of(other.path()).unwrap()), first);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "torn").unwrap();
        let error = of(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(FILE) && error.contains("put it back"),
            "{error}"
        );
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), b"torn");
    }
}
