//! The ESP as a file system: mounted read-only to look, writable only while a plan is carried out.
//!
//! It decides nothing. After a step returns, what it did is on the disk.

use super::device::once_free;
use super::plan::{Space, Step, Wanted};
use super::slots::{File, Slots};
use super::{osrel, reclaim};
use formats::digest::{Hex, Sha256};
use formats::name::Name;
use formats::version::Version;
use rustix::fs::{Advice, fadvise};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sha2::Digest;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where releases lie, below the mount point.
const FOLDER: &str = "EFI/Linux";
/// What is read or written at once, in bytes.
const BLOCK: usize = 1 << 20;
/// Written bytes are pushed to the disk this often: the cache stays small.
const PUSH: u64 = 8 << 20;

/// Why the ESP cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// An operation on it.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// What was written is not what was to be written.
    #[error("{name}: expected {expected} on the disk, read back {found}")]
    Torn {
        /// The file.
        name: String,
        /// Length and hash.
        expected: String,
        /// Length and hash.
        found: String,
    },
    /// Not the release that its manifest says.
    #[error("{name}: {source}")]
    Osrel {
        /// The file.
        name: String,
        /// Why.
        source: osrel::OsrelError,
    },
    /// The bytes did not come.
    #[error("{0}")]
    Feed(String),
}

/// Gives a release's bytes; `None` after the last. An error is a sentence.
pub type Feed<'a> = dyn FnMut() -> Result<Option<Vec<u8>>, String> + 'a;

/// An ESP that is not mounted.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its device.
    pub device: PathBuf,
    /// Where it is mounted while it is used.
    pub target: PathBuf,
}

/// A mounted ESP; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    target: PathBuf,
    own: bool,
}

impl Volume {
    /// Mounts it to look.
    ///
    /// # Errors
    /// As mount(2).
    pub fn look(&self) -> Result<Mounted, EspError> {
        self.mount(MountFlags::RDONLY)
    }

    /// Gives back what cuts have leaked, and mounts it writable.
    ///
    /// # Errors
    /// As mount(2).
    pub fn change(&self, product: &Name) -> Result<Mounted, EspError> {
        // What an updater that was killed has left mounted would be changed under its feet.
        while unmount(&self.target, UnmountFlags::empty()).is_ok() {}
        match reclaim::reclaim(&self.device, product) {
            Ok(done) if done.is_something() => tracing::warn!("the ESP: {done}"),
            Ok(_) => {}
            Err(e) => tracing::warn!("the ESP: {e}"),
        }
        self.mount(MountFlags::empty())
    }

    fn mount(&self, flags: MountFlags) -> Result<Mounted, EspError> {
        let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let data = c"umask=0077,errors=remount-ro";
        let mounted = once_free(|| {
            mount(&self.device, &self.target, c"vfat", flags | safe, data).map_err(Into::into)
        });
        mounted.map_err(at("mount", &self.device))?;
        Ok(Mounted {
            target: self.target.clone(),
            own: true,
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.own
            && let Err(e) = unmount(&self.target, UnmountFlags::empty())
        {
            tracing::error!("unmount {}: {e}", self.target.display());
        }
    }
}

impl Mounted {
    /// A folder that stands for a mounted ESP.
    #[must_use]
    pub fn folder(target: &Path) -> Self {
        Self {
            target: target.to_owned(),
            own: false,
        }
    }

    /// The path of a release's file.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.target.join(FOLDER).join(name)
    }

    /// What lies there.
    ///
    /// # Errors
    /// As readdir(3).
    pub fn slots(&self, product: &Name, running: Version) -> Result<Slots, EspError> {
        let folder = self.target.join(FOLDER);
        let failed = || at("read", &folder);
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let found = entry.metadata().map_err(failed())?;
            if let (true, Ok(name)) = (found.is_file(), entry.file_name().into_string()) {
                files.push(File {
                    name,
                    length: found.len(),
                });
            }
        }
        Ok(Slots::of(product, running, files))
    }

    /// Its room.
    ///
    /// # Errors
    /// As statvfs(3).
    pub fn space(&self) -> Result<Space, EspError> {
        let found = rustix::fs::statvfs(&self.target);
        let found = found.map_err(|e| at("statvfs", &self.target)(e.into()))?;
        Ok(Space {
            cluster: found.f_frsize,
            total: found.f_blocks,
            free: found.f_bfree,
        })
    }

    /// Carries a plan out. A plan that writes takes the bytes from `feed`.
    ///
    /// # Errors
    /// The first step that failed; those before it are done.
    pub fn carry_out(
        &self,
        steps: &[Step],
        product: &Name,
        feed: &mut Feed<'_>,
    ) -> Result<(), EspError> {
        for step in steps {
            tracing::info!("the ESP: {step:?}");
            match step {
                Step::Remove(name) => {
                    let path = self.path(name);
                    fs::remove_file(&path).map_err(at("remove", &path))?;
                }
                Step::Write { name, length } => self.write(name, *length, feed)?,
                Step::Verify { name, release } => self.verify(name, release, product)?,
                Step::Rename { from, to } => {
                    let path = self.path(from);
                    fs::rename(&path, self.path(to)).map_err(at("rename", &path))?;
                }
            }
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EspError> {
        let folder = self.target.join(FOLDER);
        let opened = fs::File::open(&folder).map_err(at("open", &folder))?;
        rustix::fs::syncfs(&opened).map_err(|e| at("sync", &folder)(e.into()))
    }

    fn write(&self, name: &str, length: u64, feed: &mut Feed<'_>) -> Result<(), EspError> {
        let path = self.path(name);
        let failed = || at("write", &path);
        let mut file = fs::File::create_new(&path).map_err(failed())?;
        let (mut done, mut pushed) = (0, 0);
        while let Some(bytes) = feed().map_err(EspError::Feed)? {
            done += bytes.len() as u64;
            if done > length {
                break;
            }
            file.write_all(&bytes).map_err(failed())?;
            if done - pushed >= PUSH {
                file.sync_data().map_err(failed())?;
                let _ = fadvise(&file, 0, None, Advice::DontNeed);
                pushed = done;
            }
        }
        if done != length {
            let text = format!("{name}: expected {length} bytes, got {done}");
            return Err(EspError::Feed(text));
        }
        file.sync_all().map_err(at("sync", &path))
    }

    /// Reads from the disk: the pages in the cache are dropped first.
    fn verify(&self, name: &str, release: &Wanted, product: &Name) -> Result<(), EspError> {
        let path = self.path(name);
        let mut file = fs::File::open(&path).map_err(at("open", &path))?;
        let dropped = fadvise(&file, 0, None, Advice::DontNeed);
        dropped.map_err(|e| at("drop the cache of", &path)(e.into()))?;
        let (length, sha256) = hash(&mut file).map_err(at("read back", &path))?;
        if (length, sha256) != (release.length, release.sha256) {
            return Err(EspError::Torn {
                name: name.to_owned(),
                expected: format!("{} bytes {}", release.length, release.sha256),
                found: format!("{length} bytes {sha256}"),
            });
        }
        let checked = osrel::check(&file, product, release.version);
        checked.map_err(|source| EspError::Osrel {
            name: name.to_owned(),
            source,
        })
    }
}

/// Length and hash of what a reader gives.
///
/// # Errors
/// As read(2).
pub fn hash(file: &mut impl Read) -> io::Result<(u64, Sha256)> {
    let mut hasher = sha2::Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok((length, Hex(hasher.finalize().into()))),
            n => {
                hasher.update(&block[..n]);
                length += n as u64;
            }
        }
    }
}

fn at<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> EspError + 'a {
    move |source| EspError::Io {
        operation,
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esp::osrel::tests::uki;
    use crate::esp::plan;

    struct Bench {
        folder: tempfile::TempDir,
        product: Name,
        bytes: Vec<u8>,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join(FOLDER)).unwrap();
            let release = "IMAGE_ID=skeg\nIMAGE_VERSION=1.1.0\n";
            let bench = Self {
                folder,
                product: "skeg".parse().unwrap(),
                bytes: uki(release, 3 << 20),
            };
            fs::write(bench.esp().path("skeg_1.0.0.efi"), b"running").unwrap();
            bench
        }

        fn esp(&self) -> Mounted {
            Mounted::folder(self.folder.path())
        }

        fn stage(&self, given: &[u8]) -> Result<(), EspError> {
            let (length, sha256) = hash(&mut &self.bytes[..]).unwrap();
            let version = "1.1.0".parse().unwrap();
            let wanted = Wanted {
                version,
                length,
                sha256,
            };
            let slots = self.esp().slots(&self.product, "1.0.0".parse().unwrap())?;
            let steps = plan::stage(&slots, self.esp().space()?, &wanted).unwrap();
            let mut blocks = given.chunks(BLOCK);
            let mut feed = || Ok(blocks.next().map(<[u8]>::to_vec));
            self.esp().carry_out(&steps, &self.product, &mut feed)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(self.folder.path().join(FOLDER)).unwrap();
            let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_release_gets_its_name_when_it_was_read_back_whole() {
        let bench = Bench::new();
        bench.stage(&bench.bytes).unwrap();
        assert_eq!(bench.names(), ["skeg_1.0.0.efi", "skeg_1.1.0+3.efi"]);
        let written = fs::read(bench.esp().path("skeg_1.1.0+3.efi")).unwrap();
        assert_eq!(written, bench.bytes);
    }

    #[test]
    fn what_is_short_long_or_wrong_never_gets_a_name_that_boots() {
        let bench = Bench::new();
        let mut wrong = bench.bytes.clone();
        wrong[2 << 20] ^= 1;
        let long = [&bench.bytes[..], b"x"].concat();
        let short = &bench.bytes[..bench.bytes.len() - 1];
        for given in [&wrong[..], &long, short, b""] {
            assert!(bench.stage(given).is_err());
            assert_eq!(bench.names(), ["skeg_1.0.0.efi", "skeg_1.1.0.new"]);
        }
        bench.stage(&bench.bytes).unwrap();
        assert_eq!(bench.names(), ["skeg_1.0.0.efi", "skeg_1.1.0+3.efi"]);
    }

    #[test]
    fn a_uki_of_another_version_is_refused_whatever_its_hash() {
        let mut bench = Bench::new();
        bench.bytes = uki("IMAGE_ID=skeg\nIMAGE_VERSION=9.0.0\n", 0);
        let refused = bench.stage(&bench.bytes).unwrap_err().to_string();
        assert!(refused.contains("IMAGE_VERSION=1.1.0"), "{refused}");
        assert_eq!(bench.names(), ["skeg_1.0.0.efi", "skeg_1.1.0.new"]);
    }
}
