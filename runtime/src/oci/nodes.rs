//! Device nodes for a container whose user namespace may make none.
//!
//! A helper makes them in a mount namespace of its own, and only clones of their mounts come back: no
//! path of the host ever leads to them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use sys::clone3::{Cloned, clone3};

use super::error::Error;
use crate::container::devices::{self, Node as Made};
use crate::container::failure::{Doing, Failure};
use crate::container::mounts;
use crate::container::namespaces::Namespace;
use crate::container::plan::{Node, Plan};
use crate::zygote::wire;

/// Where the helper mounts, in its own namespace: every host has it.
const PLACE: &str = "/proc";

/// Makes the nodes of the plan's trees, in their order.
pub(super) fn make(plan: &Plan) -> Result<Vec<OwnedFd>, Error> {
    let nodes: Vec<Node> = plan.trees.iter().filter_map(|tree| tree.node).collect();
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| Error::io("socketpair", error))?;
    match clone3(Namespace::Mnt.clone_flag(), None) {
        Ok(Cloned::Child) => {
            drop(ours);
            let made = make_here(&nodes, &theirs);
            if let Err(failure) = &made {
                let text = serde_json::to_vec(failure).unwrap_or_default();
                let _ = wire::send(theirs.as_fd(), &text, &[]);
            }
            sys::child::exit_now(made.is_err().into())
        }
        Ok(Cloned::Parent { pidfd, .. }) => {
            drop(theirs);
            let received = receive(&ours, nodes.len());
            super::relay::reap(&pidfd);
            received
        }
        Err(error) => Err(Failure::kernel("clone3", "", error).into()),
    }
}

fn receive(socket: &OwnedFd, count: usize) -> Result<Vec<OwnedFd>, Error> {
    let mut all = Vec::new();
    while all.len() < count {
        let (bytes, fds) = wire::receive(socket.as_fd()).map_err(|e| Error::io("nodes", e))?;
        if let Ok(failure) = serde_json::from_slice::<Failure>(&bytes) {
            return Err(failure.into());
        }
        if fds.is_empty() {
            return Err(Error::Other("nodes: the helper died".into()));
        }
        all.extend(fds);
    }
    Ok(all)
}

fn make_here(nodes: &[Node], answer: &OwnedFd) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing("mount", "/")?;
    rustix::mount::mount("tmpfs", PLACE, "tmpfs", MountFlags::empty(), c"mode=700")
        .doing("mount tmpfs", PLACE)?;
    rustix::process::umask(Mode::empty());
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let root = rustix::fs::open(PLACE, flags, Mode::empty()).doing("open", PLACE)?;
    let mut clones = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let path = format!("/{at}");
        let made = Made {
            path: &path,
            kind: node.kind,
            major: node.major,
            minor: node.minor,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
        };
        devices::mknod(root.as_fd(), &made)?;
        let full = format!("{PLACE}{path}");
        clones.push(mounts::clone_of_host(&full, false, &Default::default())?);
    }
    clones.chunks(wire::MAX_FDS).try_for_each(|some| {
        let fds: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        wire::send(answer.as_fd(), b"nodes", &fds).doing("sendmsg", "nodes")
    })
}
