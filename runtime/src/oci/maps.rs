//! Id maps of a new user namespace: written by root itself, for others by newuidmap and newgidmap.
//!
//! It never widens a map: what the helpers do not grant fails.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use sys::clone3::{Cloned, clone3};

use super::error::Error;
use crate::container::idmap::{Mapping, text};
use crate::container::namespaces::Namespace;
use crate::container::plan::IdMaps;

/// Whether this process is not root of the first user namespace.
pub(super) fn is_rootless() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_ascii_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// Writes the maps of the process `pid`.
pub(super) fn write(pid: u32, uids: &[Mapping], gids: &[Mapping]) -> Result<(), Error> {
    let rootless = !rustix::process::geteuid().is_root();
    if rootless && gids.len() == 1 && gids[0].size == 1 {
        // Without a helper, a user may map itself only when groups cannot be dropped.
        put(pid, "setgroups", "deny")?;
    }
    for (file, helper, maps) in [
        ("gid_map", "newgidmap", gids),
        ("uid_map", "newuidmap", uids),
    ] {
        let own = maps.len() == 1 && maps[0].size == 1;
        if rootless && !own {
            ask(helper, pid, maps)?;
        } else {
            put(pid, file, &text(maps))?;
        }
    }
    Ok(())
}

fn put(pid: u32, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, text).map_err(|error| Error::file("write", path.as_ref(), error))
}

fn ask(helper: &'static str, pid: u32, maps: &[Mapping]) -> Result<(), Error> {
    let mut command = Command::new(helper);
    command.arg(pid.to_string());
    for one in maps {
        command.args([one.inside, one.outside, one.size].map(|id| id.to_string()));
    }
    let output = command.output().map_err(|error| Error::io(helper, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Other(format!("{helper}: {}", said.trim())))
}

/// A user namespace with these maps and nobody in it, for an idmapped mount.
pub(super) fn namespace(ids: &IdMaps) -> Result<OwnedFd, Error> {
    let (hold, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Error::io("pipe", error))?;
    match clone3(Namespace::User.clone_flag(), None) {
        Ok(Cloned::Child) => {
            drop(held);
            let _ = rustix::io::read(hold.as_fd(), &mut [0u8; 1]);
            sys::child::exit_now(0)
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            drop(hold);
            let mapped = write(pid, &ids.uids, &ids.gids).and_then(|()| {
                let path = format!("/proc/{pid}/ns/user");
                let file = std::fs::File::open(&path);
                file.map_err(|error| Error::file("open", path.as_ref(), error))
            });
            drop(held);
            let options = rustix::process::WaitIdOptions::EXITED;
            let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), options);
            mapped.map(OwnedFd::from)
        }
        Err(error) => Err(Error::io("clone3 user", error)),
    }
}
