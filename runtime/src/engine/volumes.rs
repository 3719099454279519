//! Volumes: folders that outlive containers, filled from the image when they are new and empty.
//!
//! The image is looked at through a mount that is attached nowhere, and only below its own root.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use serde::{Deserialize, Serialize};

use super::Engine;
use super::container::Container;
use super::error::Error;
use super::options::MountSource;
use super::shelf::{give_to_root, remove_tree};

/// The content of a volume, made if it is not there.
///
/// # Errors
/// What the file system says.
pub fn ensure(volumes: &Path, name: &str) -> Result<PathBuf, Error> {
    // Checked again here: whatever way the name came, it must not lead out of the folder.
    super::values::volume_name(name).map_err(Error::invalid)?;
    let data = volumes.join(name).join("_data");
    if !data.is_dir() {
        sys::durable::create_dir_all(&data)?;
        give_to_root(&data)?;
    }
    Ok(data)
}

/// What a volume was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Nanoseconds since the epoch.
    pub created_ns: u64,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Options of its driver.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// Makes a volume and keeps what it was made with: one that is there is whole.
///
/// # Errors
/// When the name cannot be, or what the file system says.
pub fn make(volumes: &Path, name: &str, made: &Made) -> Result<PathBuf, Error> {
    let data = ensure(volumes, name)?;
    let bytes = serde_json::to_vec(made).map_err(|e| Error::failed(e.to_string()))?;
    sys::durable::write(&data.with_file_name("_made.json"), &bytes, 0o600)?;
    Ok(data)
}

/// What a volume was made with; of one that a container made by naming it, when that was.
pub fn made(volumes: &Path, name: &str) -> Made {
    let folder = volumes.join(name);
    let read = fs::read(folder.join("_made.json"));
    let read = read
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.unwrap_or_else(|| Made {
        created_ns: made_ns(&folder).unwrap_or_default(),
        ..Made::default()
    })
}

fn made_ns(folder: &Path) -> Option<u64> {
    let meta = fs::metadata(folder).ok()?;
    let since = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.ok()?.as_nanos()).ok()
}

/// The containers that have a volume, running or not.
pub fn users(engine: &Engine, volume: &str) -> Vec<Arc<Container>> {
    let named = MountSource::Volume(volume.to_string());
    let uses = |c: &Arc<Container>| {
        c.config.options.mounts.iter().any(|m| m.source == named)
            || c.config.anonymous.iter().any(|(_, name)| name == volume)
    };
    engine.all().into_iter().filter(uses).collect()
}

/// Bytes of the files in a folder; what cannot be looked at counts nothing.
pub fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let one = |entry: fs::DirEntry| {
        let meta = entry.metadata().ok();
        meta.map_or(0, |meta| {
            if meta.is_dir() {
                size(&entry.path())
            } else {
                meta.len()
            }
        })
    };
    entries.map(one).sum()
}

/// All volumes, by name.
///
/// # Errors
/// What the file system says.
pub fn list(volumes: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(volumes)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.push((name, path.join("_data")));
    }
    found.sort();
    Ok(found)
}

/// Removes a volume and all that is in it.
///
/// # Errors
/// When there is none, or what the file system says.
pub fn remove(volumes: &Path, name: &str) -> Result<(), Error> {
    let path = volumes.join(name);
    // Checked again here: an empty name would mean the folder of all volumes.
    if super::values::volume_name(name).is_err() || !path.is_dir() {
        return Err(Error::not_found(format!(
            "no volume '{name}'; see 'skeg volume ls'"
        )));
    }
    remove_tree(&path).map_err(|e| Error::file("remove volume", &path, &e))
}

/// Copies what the image has at `target` into `data`, if that is empty; its owner and mode too.
///
/// A copy that was cut, by a full disk or a death, is done again at the next start: a mark beside
/// `data` stands for as long as it is not whole.
///
/// # Errors
/// What the file system says; nothing at `target` is none.
pub fn fill(data: &Path, lower: &[PathBuf], target: &Path) -> Result<(), Error> {
    let mark = data.with_file_name("_filling");
    let empty = fs::read_dir(data)?.next().is_none();
    if !empty && !mark.exists() {
        return Ok(());
    }
    let root = view(lower).map_err(|e| Error::failed(format!("look into the image: {e}")))?;
    let inside = target.strip_prefix("/").unwrap_or(target);
    let inside = if inside.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inside
    };
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let Ok(folder) = openat2(root.as_fd(), inside, flags, Mode::empty(), resolve) else {
        return Ok(());
    };
    let from = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let copied = || -> io::Result<()> {
        if fs::read_dir(&from)?.next().is_some() {
            sys::durable::write(&mark, b"", 0o600)?;
        }
        copy_folder(&from, data)?;
        // Through the magic link itself the descriptor's folder is meant, not the link.
        own(data, &fs::metadata(&from)?)?;
        if mark.exists() {
            rustix::fs::syncfs(fs::File::open(data)?)?;
            sys::durable::remove(&mark)?;
        }
        Ok(())
    };
    copied().map_err(|e| Error::file("fill volume", data, &e))
}

/// The image's root: its only layer, or an overlay of all.
fn view(lower: &[PathBuf]) -> io::Result<OwnedFd> {
    let [only] = lower else {
        return overlay(lower);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, only, flags, Mode::empty())?)
}

/// The root of a container that does not run: its layers, and its own over them.
///
/// # Errors
/// What the kernel says.
pub fn whole(lower: &[PathBuf], upper: &Path, work: &Path) -> io::Result<OwnedFd> {
    mounted(lower, Some((upper, work)))
}

fn overlay(lower: &[PathBuf]) -> io::Result<OwnedFd> {
    mounted(lower, None)
}

fn mounted(lower: &[PathBuf], own: Option<(&Path, &Path)>) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let together = lower
        .iter()
        .map(|l| l.to_string_lossy())
        .collect::<Vec<_>>()
        .join(":");
    for layer in lower {
        // From 6.8 on, layers are added one by one; before, all in one string of a page at most.
        if fsconfig_set_string(context.as_fd(), "lowerdir+", layer.as_path()).is_err() {
            fsconfig_set_string(context.as_fd(), "lowerdir", together.as_str())?;
            break;
        }
    }
    // The service's filter lets no other through.
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    match own {
        Some((upper, work)) => {
            fsconfig_set_string(context.as_fd(), "upperdir", upper)?;
            fsconfig_set_string(context.as_fd(), "workdir", work)?;
        }
        None => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let meta = fs::symlink_metadata(&source)?;
        let kind = meta.file_type();
        if kind.is_symlink() {
            anew(fs::remove_file(&target))?;
            symlink(fs::read_link(&source)?, &target)?;
            lchown(&target, Some(meta.uid()), Some(meta.gid()))?;
            continue;
        }
        if kind.is_dir() {
            anew(fs::create_dir(&target))?;
            copy_folder(&source, &target)?;
        } else if kind.is_file() {
            anew(fs::remove_file(&target))?;
            fs::copy(&source, &target)?;
        } else {
            // Devices, pipes and sockets are no data.
            continue;
        }
        attributes(&source, &target)?;
        own(&target, &meta)?;
    }
    Ok(())
}

/// What a copy that was cut has left, or has not, is no error.
fn anew(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    for name in xattr::list(from)? {
        let ours = name.to_string_lossy();
        let copied = ours.starts_with("user.") || ours == "security.capability";
        if copied && let Some(value) = xattr::get(from, &name)? {
            xattr::set(to, &name, &value)?;
        }
    }
    Ok(())
}

/// The owner first: a change of owner clears set-id bits.
fn own(path: &Path, meta: &fs::Metadata) -> io::Result<()> {
    chown(path, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_volume_gets_the_images_content_and_a_used_one_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let layer = root.path().join("layer");
        fs::create_dir_all(layer.join("srv/data/sub")).unwrap();
        fs::write(layer.join("srv/data/sub/file"), "from the image").unwrap();
        symlink("/etc/shadow", layer.join("srv/data/link")).unwrap();
        fs::set_permissions(layer.join("srv/data"), fs::Permissions::from_mode(0o1750)).unwrap();
        let volumes = root.path().join("volumes");
        let data = ensure(&volumes, "v").unwrap();
        fill(&data, std::slice::from_ref(&layer), Path::new("/srv/data")).unwrap();
        assert_eq!(
            fs::read_to_string(data.join("sub/file")).unwrap(),
            "from the image"
        );
        assert_eq!(
            fs::read_link(data.join("link")).unwrap(),
            Path::new("/etc/shadow")
        );
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o7777, 0o1750);
        fs::write(data.join("sub/file"), "changed").unwrap();
        fill(&data, &[layer], Path::new("/srv/data")).unwrap();
        assert_eq!(
            fs::read_to_string(data.join("sub/file")).unwrap(),
            "changed"
        );
    }

    #[test]
    fn a_copy_that_was_cut_is_done_again_and_a_whole_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let layer = root.path().join("layer");
        fs::create_dir_all(layer.join("d/sub")).unwrap();
        fs::write(layer.join("d/a"), "whole").unwrap();
        fs::write(layer.join("d/sub/b"), "whole").unwrap();
        symlink("a", layer.join("d/link")).unwrap();
        let data = ensure(&root.path().join("volumes"), "v").unwrap();
        let again = || fill(&data, std::slice::from_ref(&layer), Path::new("/d")).unwrap();
        // As a full disk leaves it.
        fs::create_dir(data.join("sub")).unwrap();
        fs::write(data.join("a"), "who").unwrap();
        symlink("a", data.join("link")).unwrap();
        fs::write(data.with_file_name("_filling"), "").unwrap();
        again();
        assert_eq!(fs::read_to_string(data.join("a")).unwrap(), "whole");
        assert_eq!(fs::read_to_string(data.join("sub/b")).unwrap(), "whole");
        assert!(!data.with_file_name("_filling").exists());
        fs::remove_file(data.join("a")).unwrap();
        again();
        assert!(!data.join("a").exists());
    }

    #[test]
    fn what_a_volume_was_made_with_is_kept_beside_its_content() {
        let root = tempfile::tempdir().unwrap();
        let wanted = Made {
            created_ns: 7,
            labels: BTreeMap::from([("a".to_string(), "b".to_string())]),
            options: BTreeMap::new(),
        };
        let data = make(root.path(), "v", &wanted).unwrap();
        assert_eq!(made(root.path(), "v"), wanted);
        assert!(fs::read_dir(&data).unwrap().next().is_none());
        fs::write(data.join("four"), "1234").unwrap();
        assert_eq!(size(&data), 4);
        ensure(root.path(), "plain").unwrap();
        let plain = made(root.path(), "plain");
        assert!(plain.labels.is_empty() && plain.created_ns > 0);
    }

    #[test]
    fn no_name_leads_out_of_the_folder_of_volumes() {
        let root = tempfile::tempdir().unwrap();
        let volumes = root.path().join("volumes");
        for name in ["..", "../out", "a/b", "", ".", "/etc"] {
            assert!(ensure(&volumes, name).is_err(), "{name}");
        }
        assert!(!root.path().join("out").exists());
    }

    #[test]
    fn a_link_in_the_image_does_not_lead_to_the_host() {
        let root = tempfile::tempdir().unwrap();
        let layer = root.path().join("layer");
        let outside = root.path().join("outside");
        fs::create_dir_all(&layer).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("secret"), "x").unwrap();
        symlink(&outside, layer.join("data")).unwrap();
        let data = ensure(&root.path().join("volumes"), "v").unwrap();
        fill(&data, &[layer], Path::new("/data")).unwrap();
        assert!(fs::read_dir(&data).unwrap().next().is_none());
    }

    #[test]
    fn a_volume_of_another_folder_cannot_be_removed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["..", "a/b", "", "gone", "."] {
            assert!(remove(root.path(), name).is_err(), "{name}");
        }
    }
}
