//! Room kept back on the disk, so that an image can be removed when nothing else is left.
//!
//! It helps removals alone: a pull that took it would fill the disk all the same.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// More than a list of a thousand images takes.
const BYTES: u64 = 512 << 10;

/// Has the room there, if the disk still has so much.
pub fn keep(path: &Path) {
    let is_there = path.metadata().is_ok_and(|about| about.len() == BYTES);
    if !is_there && allocate(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    Ok(fallocate(file, FallocateFlags::empty(), 0, BYTES)?)
}

/// Does it, and once more with the room given up if there was too little.
///
/// # Errors
/// What `work` answers last.
pub fn spend<T>(path: &Path, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match work() {
        Err(e) if e.kind() == io::ErrorKind::StorageFull && path.exists() => {
            sys::durable::remove(path)?;
            work()
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_done_again_in_the_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        keep(&path);
        assert_eq!(path.metadata().unwrap().len(), BYTES);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let work = || if path.exists() { Err(full()) } else { Ok(7) };
        assert_eq!(spend(&path, work).unwrap(), 7);
        let again = spend(&path, || Err::<(), _>(full())).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::StorageFull);
        keep(&path);
        assert!(path.exists());
    }
}
