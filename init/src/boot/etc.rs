//! `/etc`, built anew at each boot: the image's files, then the config's over them.
//!
//! Only plain files, folders and symbolic links are taken, and no more than a bound.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

/// No layer may hold more, in bytes and in entries.
const MOST_BYTES: u64 = 64 << 20;
const MOST_ENTRIES: u64 = 10_000;
/// No folder lies deeper.
const DEEPEST: u32 = 16;

/// What a layer may still add.
struct Room {
    bytes: u64,
    entries: u64,
    put: Put,
}

/// Lays the content of `layer` over `target`; a layer that is not there adds nothing. Returns what
/// was left out, a sentence each.
pub fn lay_over(layer: &Path, target: &Path) -> Vec<String> {
    lay(layer, target, place)
}

/// The same, but a file's content is put at the end of what has its name already.
pub fn append(layer: &Path, target: &Path) -> Vec<String> {
    lay(layer, target, |from, to, meta| {
        match (meta.is_file(), fs::symlink_metadata(to)) {
            (true, Ok(there)) if there.is_file() => {
                let mut end = fs::OpenOptions::new().append(true).open(to)?;
                io::copy(&mut fs::File::open(from)?, &mut end).map(drop)
            }
            _ => place(from, to, meta),
        }
    })
}

/// How a file or link comes to its place.
type Put = fn(&Path, &Path, &Metadata) -> io::Result<()>;

fn lay(layer: &Path, target: &Path, put: Put) -> Vec<String> {
    let mut left_out = Vec::new();
    let mut room = Room {
        bytes: MOST_BYTES,
        entries: MOST_ENTRIES,
        put,
    };
    if layer.is_dir() {
        folder(layer, target, 0, &mut room, &mut left_out);
    }
    left_out
}

fn folder(from: &Path, to: &Path, depth: u32, room: &mut Room, left_out: &mut Vec<String>) {
    let made = make_folder(from, to);
    let entries = made.and_then(|()| {
        if depth > DEEPEST {
            Err(too_much())
        } else {
            fs::read_dir(from)
        }
    });
    let entries = match entries {
        Ok(entries) => entries,
        Err(e) => return left_out.push(format!("{}: {e}", from.display())),
    };
    for entry in entries.flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match fs::symlink_metadata(&from) {
            Ok(meta) if meta.is_dir() => folder(&from, &to, depth + 1, room, left_out),
            Ok(meta) => {
                if let Err(e) = leaf(&from, &to, &meta, room) {
                    left_out.push(format!("{}: {e}", from.display()));
                }
            }
            Err(e) => left_out.push(format!("{}: {e}", from.display())),
        }
    }
}

fn make_folder(from: &Path, to: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(to).is_ok_and(|meta| meta.is_dir());
    if !is_folder {
        remove(to)?;
        fs::create_dir_all(to)?;
    }
    let meta = fs::metadata(from)?;
    own(to, &meta)?;
    let mode = meta.permissions().mode() & 0o777;
    fs::set_permissions(to, PermissionsExt::from_mode(mode))
}

fn leaf(from: &Path, to: &Path, meta: &Metadata, room: &mut Room) -> io::Result<()> {
    room.entries = room.entries.checked_sub(1).ok_or_else(too_much)?;
    room.bytes = room.bytes.checked_sub(meta.len()).ok_or_else(too_much)?;
    if fs::symlink_metadata(to).is_ok_and(|meta| meta.is_dir()) {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "a folder of the image has this name",
        ));
    }
    (room.put)(from, to, meta)
}

fn place(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    if meta.is_symlink() {
        remove(to)?;
        symlink(fs::read_link(from)?, to)?;
        return own(to, meta);
    }
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "neither file, folder nor link",
        ));
    }
    remove(to)?;
    fs::copy(from, to)?;
    own(to, meta)?;
    fs::set_permissions(
        to,
        PermissionsExt::from_mode(meta.permissions().mode() & 0o777),
    )
}

/// Gives a file its owner; nearly all are root's, which they are already.
fn own(path: &Path, meta: &Metadata) -> io::Result<()> {
    match (meta.uid(), meta.gid()) {
        (0, 0) => Ok(()),
        (uid, gid) => lchown(path, Some(uid), Some(gid)),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn too_much() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        "more or deeper than /etc may hold",
    )
}

/// Links `/etc/resolv.conf` to what the network daemon writes, unless a layer brought its own.
///
/// # Errors
/// As symlink(2).
pub fn link_resolver(etc: &Path) -> io::Result<()> {
    let path = etc.join("resolv.conf");
    match fs::symlink_metadata(&path) {
        Ok(_) => Ok(()),
        Err(_) => symlink(formats::paths::RESOLV_CONF, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_lies_over_the_image_and_links_do_not_lead_outside() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["image/containers", "config/containers/systemd", "outside"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("image/hostname"), "image").unwrap();
        fs::write(at("image/containers/policy"), "p").unwrap();
        symlink(at("outside/file"), at("image/link")).unwrap();
        fs::write(at("config/hostname"), "mine").unwrap();
        fs::write(at("config/link"), "plain").unwrap();
        fs::write(at("config/containers/systemd/web.container"), "w").unwrap();
        assert_eq!(lay_over(&at("image"), &at("etc")), Vec::<String>::new());
        assert_eq!(lay_over(&at("config"), &at("etc")), Vec::<String>::new());
        let read = |name| fs::read_to_string(at(name)).unwrap();
        assert_eq!(read("etc/hostname"), "mine");
        assert_eq!(read("etc/containers/policy"), "p");
        assert_eq!(read("etc/containers/systemd/web.container"), "w");
        assert_eq!(read("etc/link"), "plain");
        assert!(!at("outside/file").exists());
    }

    #[test]
    fn what_is_appended_comes_after_the_image_s_own_lines() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["etc", "append/app"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::write(at("append/hosts"), "10.0.0.1 db\n").unwrap();
        fs::write(at("append/app/new"), "new\n").unwrap();
        assert_eq!(append(&at("append"), &at("etc")), Vec::<String>::new());
        let read = |name| fs::read_to_string(at(name)).unwrap();
        assert_eq!(read("etc/hosts"), "127.0.0.1 localhost\n10.0.0.1 db\n");
        assert_eq!(read("etc/app/new"), "new\n");
    }

    #[test]
    fn what_cannot_be_taken_is_named_and_the_rest_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let layer = folder.path().join("layer");
        fs::create_dir(&layer).unwrap();
        fs::write(layer.join("a"), "a").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(layer.join("s")).unwrap();
        let left_out = lay_over(&layer, &folder.path().join("etc"));
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert!(folder.path().join("etc/a").exists());
        assert_eq!(
            lay_over(Path::new("/nonexistent"), folder.path()),
            Vec::<String>::new()
        );
    }
}
