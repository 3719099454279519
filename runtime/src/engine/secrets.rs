//! Secrets: files of the host's configuration that a container gets as files, on tmpfs, for as long as it runs.
//!
//! Only their names are kept: what is in them is in no description, environment, inspection or log.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::options::SecretSpec;
use super::record::Config;
use crate::container::defaults::Bind;

/// No secret is longer, in bytes; as docker's.
const LONGEST: u64 = 500 << 10;

/// Puts a container's secrets where its next run finds them; what is mounted where.
///
/// # Errors
/// When one is not there, too long, or cannot be written.
pub fn lay_out(run: &Path, config: &Config) -> Result<Vec<Bind>, Error> {
    let secrets = &config.options.secrets;
    if secrets.is_empty() {
        return Ok(Vec::new());
    }
    remove(run, &config.id);
    let folder = place(run, &config.id);
    let mut builder = fs::DirBuilder::new();
    // The engine's alone: the container sees the files, not the folder.
    let made = builder.recursive(true).mode(0o700).create(&folder);
    made.map_err(|e| Error::file("create", &folder, &e))?;
    let binds = secrets.iter().enumerate().map(|(at, secret)| {
        let source = folder.join(at.to_string());
        copy(secret, &source)?;
        Ok(Bind {
            source,
            target: secret.target.clone(),
            read_only: true,
            options: Vec::new(),
        })
    });
    let binds: Result<Vec<Bind>, Error> = binds.collect();
    if binds.is_err() {
        remove(run, &config.id);
    }
    binds
}

fn copy(secret: &SecretSpec, to: &Path) -> Result<(), Error> {
    let from = Path::new(formats::paths::SECRETS).join(&secret.name);
    let file = OpenOptions::new().read(true).open(&from);
    let file = file.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!(
            "secret '{}' is not there: put it into {}",
            secret.name,
            formats::paths::SECRETS
        )),
        _ => Error::file("read", &from, &e),
    })?;
    let written = (|| {
        let mut bytes = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST {
            return Err(io::Error::other("expected 500 KiB at most"));
        }
        let mut new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)?;
        new.write_all(&bytes)?;
        chown(to, Some(secret.uid), Some(secret.gid))?;
        fs::set_permissions(to, Permissions::from_mode(secret.mode))
    })();
    written.map_err(|e| Error::file("copy the secret", &from, &e))
}

fn place(run: &Path, id: &str) -> PathBuf {
    run.join("secrets").join(id)
}

/// Removes what a container's run had; nothing is no error.
pub fn remove(run: &Path, id: &str) {
    let folder = place(run, id);
    if let Err(e) = super::shelf::remove_tree(&folder) {
        tracing::warn!("remove {}: {e}", folder.display());
    }
}
