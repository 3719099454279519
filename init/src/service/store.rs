//! The descriptor store of one service: what it keeps with PID 1 across its own restarts.
//!
//! Bounded by `FileDescriptorStoreMax=`. A hang-up on a stored descriptor changes nothing: a pipe
//! whose writer is dead still holds the last lines.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Name of descriptors that came without one.
const NAMELESS: &str = "stored";

/// Stored descriptors, in the order in which they came.
#[derive(Debug, Default)]
pub struct Store {
    held: Vec<(String, OwnedFd)>,
}

impl Store {
    /// Stores descriptors; those beyond `max` are closed, and their number is returned. One that is
    /// stored under this name already is closed too, and does not count.
    pub fn put(
        &mut self,
        name: Option<&str>,
        fds: impl Iterator<Item = OwnedFd>,
        max: usize,
    ) -> usize {
        let name = name.unwrap_or(NAMELESS);
        let mut refused = 0;
        for fd in fds {
            let same = |(known, held): &(String, OwnedFd)| known == name && is_same(held, &fd);
            if self.held.iter().any(same) {
                continue;
            }
            if self.held.len() < max {
                self.held.push((name.to_owned(), fd));
            } else {
                refused += 1;
            }
        }
        refused
    }

    /// Closes all of this name.
    pub fn remove(&mut self, name: &str) {
        self.held.retain(|(known, _)| known != name);
    }

    /// How many are stored.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// What goes into `LISTEN_FDNAMES`.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.held.iter().map(|(name, _)| name.as_str()).collect();
        names.join(":")
    }

    /// The descriptors, in the order of [`Store::names`].
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.held.iter().map(|(_, fd)| fd.as_fd())
    }
}

/// Whether both name the same end of the same thing: a pipe's two ends differ in their mode only.
fn is_same(a: &OwnedFd, b: &OwnedFd) -> bool {
    let key = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd).ok()?;
        let mode = rustix::fs::fcntl_getfl(fd).ok()? & rustix::fs::OFlags::ACCMODE;
        Some((stat.st_dev, stat.st_ino, mode))
    };
    key(a).is_some() && key(a) == key(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_dead_writers_last_lines_are_still_in_the_stored_pipe() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut store = Store::default();
        assert_eq!(store.put(Some("log"), [reader.into()].into_iter(), 4), 0);
        writer.write_all(b"last words").unwrap();
        drop(writer);
        let again = store.fds().next().unwrap().try_clone_to_owned().unwrap();
        let mut text = String::new();
        std::fs::File::from(again)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "last words");
    }

    #[test]
    fn the_store_is_bounded_and_the_same_descriptor_takes_one_place() {
        let (reader, writer) = std::io::pipe().unwrap();
        let copy = reader.try_clone().unwrap();
        let mut store = Store::default();
        let fds: [OwnedFd; 3] = [reader.into(), copy.into(), writer.into()];
        assert_eq!(store.put(Some("a"), fds.into_iter(), 4), 0);
        assert_eq!(store.count(), 2);
        let more = (0..4).map(|_| OwnedFd::from(tempfile::tempfile().unwrap()));
        assert_eq!(store.put(None, more, 4), 2);
        assert_eq!(store.names(), "a:a:stored:stored");
        store.remove("a");
        assert_eq!(store.count(), 2);
    }
}
