//! What is made before the clone: mounts that only the host's root may clone, and descriptors in their
//! places.
//!
//! All of it is held by descriptors: it goes with the process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::error::Error;
use super::maps;
use crate::container::mount_options::Propagation;
use crate::container::mounts;
use crate::container::plan::{Plan, Tree};

/// The plan's trees, in its order.
pub(super) fn trees(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Error> {
    let mut nodes = super::nodes::make(plan)?.into_iter();
    let mut trees = Vec::new();
    for tree in &plan.trees {
        trees.push(match tree.node {
            Some(_) => nodes.next(),
            None => Some(one(tree)?),
        });
    }
    Ok(trees)
}

fn one(tree: &Tree) -> Result<OwnedFd, Error> {
    let mut attributes = tree.attributes;
    // A detached tree must not be a peer of the host's mounts, whatever becomes of it.
    attributes.propagation.get_or_insert(Propagation::Private);
    let mount = mounts::clone_of_host(&tree.source, tree.recursive, &attributes)?;
    if let Some(ids) = &tree.ids {
        let namespace = maps::namespace(ids)?;
        sys::mount_attr::map_ids(mount.as_fd(), namespace.as_fd(), ids.recursive)
            .map_err(|error| Error::file("map ids of", tree.source.as_ref(), error))?;
    }
    Ok(mount)
}

/// Keeps the numbers of descriptors that the container gets from being used for ours. What is
/// returned must live until the clone.
pub(super) fn reserve(kept: u32) -> Result<Vec<OwnedFd>, Error> {
    let mut held = Vec::new();
    loop {
        let null = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let null = null.map_err(|error| Error::file("open", "/dev/null".as_ref(), error))?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&null);
        if i64::from(number) >= 3 + i64::from(kept) {
            return Ok(held);
        }
        held.push(null);
    }
}

/// Connects to the socket at `path`.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |error| Error::file("connect to", path, error);
    let socket = stream().map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    rustix::net::connect(&socket, &address).map_err(failed)?;
    Ok(socket)
}

/// A path to `name` in `directory` that is short enough for a socket's address.
pub(super) fn short(directory: &OwnedFd, name: &str) -> String {
    let number = std::os::fd::AsRawFd::as_raw_fd(directory);
    format!("/proc/self/fd/{number}/{name}")
}

/// Listens on the socket `path`, for root or the user alone.
pub(super) fn listen(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |error| Error::file("listen on", path, error);
    let directory = open_parent(path)?;
    let socket = stream().map_err(failed)?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let address = SocketAddrUnix::new(short(&directory, "start")).map_err(failed)?;
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(before);
    bound.map_err(failed)?;
    rustix::net::listen(&socket, 1).map_err(failed)?;
    Ok(socket)
}

/// Connects to such a socket.
pub(super) fn connect_short(path: &Path) -> Result<OwnedFd, Error> {
    let directory = open_parent(path)?;
    connect(short(&directory, "start").as_ref())
}

fn open_parent(path: &Path) -> Result<OwnedFd, Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(parent, flags, Mode::empty())
        .map_err(|error| Error::file("open", parent, error))
}

fn stream() -> Result<OwnedFd, rustix::io::Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}
