//! A release: files in pieces, patches from the releases before, and the signed manifest on top.
//!
//! Makes nothing visible to hosts: that is the channel's, afterwards.

use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;
use std::path::PathBuf;

use formats::digest::Sha256;
use formats::manifest::{File, Manifest, Role};
use formats::name::Name;
use formats::signed::{Document, seal};
use formats::version::Version;
use formats::{pieces, repository};

use super::difference::Index;
use super::documents::hash;
use super::keys::Signers;
use super::store::{Folder, Store};
use super::{PublishError, Publisher};

/// What to release.
#[derive(Debug)]
pub struct Release<'a> {
    /// Its version, the UKI's own.
    pub version: Version,
    /// The UKI.
    pub uki: &'a [u8],
    /// The loader, if it is to travel along.
    pub loader: Option<&'a [u8]>,
    /// The channels that may ever be at it.
    pub channels: Vec<Name>,
    /// The oldest version that may go to it in one step.
    pub minimum: Version,
    /// From how many of the releases before patches are made.
    pub patches: usize,
}

/// Commits a release and writes its manifest. Gives the manifest's path.
///
/// # Errors
/// When the version is taken by other content, or keys are too few.
pub fn release(
    publisher: &Publisher,
    release: &Release,
    signers: &Signers,
) -> Result<PathBuf, PublishError> {
    let root = publisher.current_root()?;
    let files = [
        (Role::Uki, Some(release.uki)),
        (Role::Loader, release.loader),
    ];
    let files: Vec<_> = files
        .into_iter()
        .filter_map(|(role, bytes)| Some((role, bytes?)))
        .collect();
    is_free(publisher, release.version, &files)?;
    // Asked before the work, which may take a while.
    signers.sign("release", &root.release, b"")?;
    let store = Store::open(&publisher.folder)?;
    let mut folders: Vec<_> = files
        .iter()
        .map(|(role, bytes)| whole(*role, bytes))
        .collect();
    folders.extend(patches(publisher, &store, release)?);
    let reference = repository::reference(&publisher.product, release.version);
    let commit = store.commit(&reference, &folders, publisher.clock.now)?;
    let mut channels = release.channels.clone();
    channels.sort();
    channels.dedup();
    let manifest = Manifest {
        document: Manifest::KIND.to_owned(),
        product: publisher.product.clone(),
        version: release.version,
        channels,
        minimum: release.minimum,
        created: publisher.clock.now,
        expires: publisher.clock.now + publisher.clock.valid,
        commit: commit
            .parse()
            .map_err(|e| PublishError::Refused(format!("libostree's checksum {commit:?}: {e}")))?,
        files: files
            .iter()
            .map(|(role, bytes)| described(*role, bytes))
            .collect(),
    };
    let bytes = manifest.to_bytes()?;
    let signatures = signers.sign("release", &root.release, &bytes)?;
    store.summarize()?;
    let path = repository::release(&publisher.product, release.version);
    publisher.write(&path, &seal(&bytes, &signatures))
}

fn described(role: Role, bytes: &[u8]) -> File {
    File {
        role,
        length: bytes.len() as u64,
        sha256: hash(bytes),
    }
}

fn is_free(
    publisher: &Publisher,
    version: Version,
    files: &[(Role, &[u8])],
) -> Result<(), PublishError> {
    let before = match publisher.manifest(version) {
        Err(PublishError::Absent { .. }) => return Ok(()),
        before => before?.0,
    };
    let ours: Vec<_> = files
        .iter()
        .map(|(role, bytes)| described(*role, bytes))
        .collect();
    if before.files == ours {
        return Err(PublishError::Refused(format!(
            "{version} is published already"
        )));
    }
    Err(PublishError::Taken(version))
}

/// Offset and bytes of a file's pieces.
fn cut(file: &[u8]) -> Vec<(u64, &[u8])> {
    let mut read = |at: u64, buffer: &mut [u8]| -> Result<(), Infallible> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        buffer.copy_from_slice(&file[at..at + buffer.len()]);
        Ok(())
    };
    let Ok(lengths) = pieces::cut(file.len() as u64, &mut read);
    let mut rest = file;
    let mut at = 0;
    let piece = lengths.into_iter().map(|length| {
        let (piece, later) = rest.split_at(usize::try_from(length).unwrap_or(0));
        rest = later;
        at += length;
        (at - length, piece)
    });
    piece.collect()
}

fn whole(role: Role, bytes: &[u8]) -> Folder<'_> {
    let files = cut(bytes).into_iter();
    Folder {
        name: role.folder().to_owned(),
        files: files
            .map(|(at, piece)| (pieces::name(at), Cow::Borrowed(piece)))
            .collect(),
    }
}

/// Patches of the UKI from each of the last releases before this one.
fn patches(
    publisher: &Publisher,
    store: &Store,
    release: &Release,
) -> Result<Vec<Folder<'static>>, PublishError> {
    let before = publisher.versions().into_iter().rev();
    let before = before.filter(|version| (release.minimum..release.version).contains(version));
    let mut folders = Vec::new();
    for version in before.take(release.patches) {
        let manifest = publisher.manifest(version)?.0;
        let old = store.contents(&manifest.commit.to_string(), Role::Uki.folder())?;
        let base = manifest.files[0].sha256;
        if hash(&old) != base {
            return Err(PublishError::Refused(format!(
                "the repository's {version} is damaged: make no patches from it, or repair it"
            )));
        }
        folders.extend(patches_from(&base, &old, release.uki));
    }
    Ok(folders)
}

fn patches_from(base: &Sha256, old: &[u8], new: &[u8]) -> Option<Folder<'static>> {
    let known: HashSet<&[u8]> = cut(old).into_iter().map(|(_, piece)| piece).collect();
    let lacking = cut(new)
        .into_iter()
        .filter(|(_, piece)| !known.contains(piece));
    let index = Index::of(old);
    let mut files = Vec::new();
    for (at, piece) in lacking {
        let patch = index.patch(piece, usize::try_from(at).unwrap_or(0));
        // A patch is as long as its piece: what it saves shows when it is compressed.
        let zeros = patch.iter().filter(|byte| **byte == 0).count();
        if zeros * 2 > patch.len() {
            let name = pieces::patch_name(at, patch.len() as u64);
            files.push((name, Cow::Owned(patch)));
        }
    }
    let name = pieces::patch_folder(Role::Uki.folder(), base);
    (!files.is_empty()).then_some(Folder { name, files })
}

/// Forgets all but the newest `keep` releases and those that a channel is at, and what only they need.
/// Says how many objects went.
///
/// # Errors
/// libostree's.
pub fn prune(publisher: &Publisher, keep: usize) -> Result<i32, PublishError> {
    let used: Vec<_> = publisher
        .channels()?
        .iter()
        .map(|c| c.release.version)
        .collect();
    let old: Vec<_> = publisher.versions().into_iter().rev().skip(keep).collect();
    let old: Vec<_> = old
        .into_iter()
        .filter(|version| !used.contains(version))
        .collect();
    let mut references = Vec::new();
    for version in old {
        // The manifest first: nothing that is listed may lack an object.
        let path = publisher
            .folder
            .join(repository::release(&publisher.product, version));
        let removed = sys::durable::remove(&path);
        removed.map_err(|source| PublishError::Io { path, source })?;
        references.push(repository::reference(&publisher.product, version));
    }
    let store = Store::open(&publisher.folder)?;
    let gone = store.drop_refs(&references)?;
    store.summarize()?;
    Ok(gone)
}
