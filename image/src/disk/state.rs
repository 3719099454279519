//! STATE: ext4 with the first generation of the configuration, written in place by debugfs.
//!
//! Not filled by `mke2fs -d`: that takes owners, change times and the order of folders from the
//! host. Nothing here is formatted again, ever: a host only grows it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use formats::config::{self, Config};

use super::layout::Extent;
use super::{Contents, DiskError, at, guid};
use crate::host::{DEBUGFS, MKE2FS};
use crate::recipe::Disk;

/// Spelled out, so that the host's mke2fs.conf and the version's defaults have no say.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,\
                        flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,\
                        metadata_csum";
/// Where logins for registries lie.
const SECRETS: &str = "/etc/containers/auth.json";
/// Bytes of a block; fixed, so that growing never meets another size.
const BLOCK: u64 = 4096;

/// Makes the file system at its place on the disk and fills it.
///
/// # Errors
/// When the configuration is none, or a tool is missing or fails.
pub fn write(
    disk: &Path,
    place: Extent,
    recipe: &Disk,
    id: &str,
    contents: &Contents,
) -> Result<(), DiskError> {
    let date = contents.source_date.to_string();
    let environment = [
        ("SOURCE_DATE_EPOCH", &*date),
        ("E2FSPROGS_FAKE_TIME", &*date),
        ("MKE2FS_CONFIG", "/dev/null"),
    ];
    let extended = format!(
        "offset={},hash_seed={},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=1",
        place.start,
        guid::derive(id, "state directories")
    );
    let (uuid, journal) = (guid::derive(id, "state").to_string(), recipe.journal_mib);
    let (block, journal) = (BLOCK.to_string(), format!("size={journal}"));
    let options = [
        ["-O", FEATURES],
        ["-b", &block],
        ["-I", "256"],
        ["-i", "16384"],
        ["-m", "1"],
        ["-J", &journal],
        ["-L", "STATE"],
        ["-U", &uuid],
        ["-E", &extended],
    ];
    let mut make: Vec<OsString> = ["-q", "-F", "-t", "ext4"].map(OsString::from).into();
    make.extend(options.as_flattened().iter().map(OsString::from));
    make.push(disk.into());
    make.push((place.bytes() / BLOCK).to_string().into());
    MKE2FS.run(make, &environment)?;

    // A folder beside the disk for what debugfs reads: its scripts have no safe way to quote.
    let mut stage = disk.as_os_str().to_owned();
    stage.push(".state");
    let stage = Path::new(&stage);
    let filled = fill(disk, place, contents, stage, &environment);
    let _ = fs::remove_dir_all(stage);
    filled
}

fn fill(
    disk: &Path,
    place: Extent,
    contents: &Contents,
    stage: &Path,
    environment: &[(&str, &str)],
) -> Result<(), DiskError> {
    let _ = fs::remove_dir_all(stage);
    // It may hold credentials.
    let mut private = fs::DirBuilder::new();
    private.mode(0o700).create(stage).map_err(at(stage))?;
    let mut script = Script {
        stage,
        text: String::new(),
        files: 0,
    };
    script.folder("lib", 0o755)?;
    script.folder("lib/skeg-config", 0o700)?;
    script.folder("lib/skeg-config/1", 0o755)?;
    script.bytes(
        &format!("lib/skeg-config/1/{}", config::FILE),
        &first_config(contents.config)?,
    )?;
    let etc = format!("lib/skeg-config/1/{}", config::ETC);
    script.folder(&etc, 0o755)?;
    if let Some(folder) = contents.config {
        if !folder.join(config::ETC).exists() && !folder.join(config::FILE).exists() {
            return Err(DiskError::Config {
                path: folder.to_owned(),
                reason: format!(
                    "expected {}/ or {}, found neither",
                    config::ETC,
                    config::FILE
                ),
            });
        }
        script.copy(&folder.join(config::ETC), &etc)?;
    }
    script.link("lib/skeg-config/current", "1")?;
    let commands = stage.join("commands");
    fs::write(&commands, &script.text).map_err(at(&commands))?;
    let mut target = disk.as_os_str().to_owned();
    target.push(format!("?offset={}", place.start));
    let arguments = ["-w".into(), "-f".into(), OsString::from("commands"), target];
    let words = DEBUGFS.complaints_in(stage, arguments, environment)?;
    // Its exit status is 0 whatever happens; besides its name it says something only on failure.
    let complaint = words.lines().find(|line| !line.starts_with("debugfs "));
    complaint.map_or(Ok(()), |line| Err(DiskError::Debugfs(line.to_owned())))
}

/// The generation's description: the folder's own, or one that only says where it came from.
fn first_config(folder: Option<&Path>) -> Result<Vec<u8>, DiskError> {
    let path = folder
        .map(|folder| folder.join(config::FILE))
        .filter(|path| path.exists());
    let Some(path) = path else {
        let config = Config {
            format: config::FORMAT,
            generation: 1,
            source: "image".to_owned(),
            hostname: None,
            labels: [].into(),
            digest: None,
        };
        let text = serde_json::to_vec(&config).map_err(std::io::Error::from);
        return text.map_err(at(Path::new(config::FILE)));
    };
    let text = fs::read(&path).map_err(at(&path))?;
    let wrong = |reason| DiskError::Config {
        path: path.clone(),
        reason,
    };
    let config: Config = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    if config.format != config::FORMAT || config.generation != 1 {
        let (format, generation) = (config.format, config.generation);
        return Err(wrong(format!(
            "expected format {} and generation 1, found {format} and {generation}",
            config::FORMAT
        )));
    }
    Ok(text)
}

/// Commands for debugfs, with modes and owners that do not depend on the host.
struct Script<'a> {
    stage: &'a Path,
    text: String,
    files: usize,
}

impl Script<'_> {
    fn folder(&mut self, path: &str, mode: u32) -> Result<(), DiskError> {
        let quoted = quote(path)?;
        self.text += &format!("mkdir {quoted}\n");
        self.text += &format!("set_inode_field {quoted} mode 0{:o}\n", 0o040_000 | mode);
        Ok(())
    }

    fn file(&mut self, path: &str, source: &Path, mode: u32) -> Result<(), DiskError> {
        let bytes = fs::read(source).map_err(at(source))?;
        self.content(path, &bytes, mode)
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.content(path, bytes, 0o644)
    }

    fn content(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        let staged = self.files.to_string();
        self.files += 1;
        let file = self.stage.join(&staged);
        fs::write(&file, bytes).map_err(at(&file))?;
        let quoted = quote(path)?;
        self.text += &format!("write {staged} {quoted}\n");
        self.text += &format!("set_inode_field {quoted} mode 0{:o}\n", 0o100_000 | mode);
        for owner in ["uid", "gid"] {
            self.text += &format!("set_inode_field {quoted} {owner} 0\n");
        }
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<(), DiskError> {
        self.text += &format!("symlink {} {}\n", quote(path)?, quote(target)?);
        Ok(())
    }

    /// Copies what a folder of the host holds, sorted. Of its modes only "executable" counts,
    /// since the others depend on somebody's umask; what holds credentials is for root alone.
    fn copy(&mut self, from: &Path, to: &str) -> Result<(), DiskError> {
        if !from.exists() {
            return Ok(());
        }
        let entries = fs::read_dir(from).map_err(at(from))?;
        let entries: Result<Vec<_>, _> = entries.map(|entry| Ok(entry?.path())).collect();
        let mut entries = entries.map_err(at(from))?;
        entries.sort();
        for source in entries {
            let wrong = |reason: &str| DiskError::Config {
                path: source.clone(),
                reason: reason.to_owned(),
            };
            let name = source.file_name().and_then(|name| name.to_str());
            let path = format!(
                "{to}/{}",
                name.ok_or_else(|| wrong("its name is no UTF-8"))?
            );
            let meta = fs::symlink_metadata(&source).map_err(at(&source))?;
            if meta.is_dir() {
                self.folder(&path, 0o755)?;
                self.copy(&source, &path)?;
            } else if meta.is_symlink() {
                let target = fs::read_link(&source).map_err(at(&source))?;
                let target = target
                    .to_str()
                    .ok_or_else(|| wrong("its target is no UTF-8"))?;
                self.link(&path, target)?;
            } else if meta.is_file() {
                let executable = meta.permissions().mode() & 0o100 != 0;
                let mode = match executable {
                    _ if path.ends_with(SECRETS) => 0o600,
                    true => 0o755,
                    false => 0o644,
                };
                self.file(&path, &source, mode)?;
            } else {
                return Err(wrong("expected files, folders and links only"));
            }
        }
        Ok(())
    }
}

/// debugfs takes `"…"` for words with spaces and knows no escape.
fn quote(path: &str) -> Result<String, DiskError> {
    if path.contains(['"', '\n', '\r', '\0']) || path.is_empty() {
        return Err(DiskError::Config {
            path: path.into(),
            reason: "names with quotes or line ends cannot be written".to_owned(),
        });
    }
    Ok(format!("\"{path}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_for_root_alone_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let (from, stage) = (
            folder.path().join("etc/containers"),
            folder.path().join("stage"),
        );
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&stage).unwrap();
        let secret = from.join("auth.json");
        fs::write(&secret, b"{}").unwrap();
        let mut script = Script {
            stage: &stage,
            text: String::new(),
            files: 0,
        };
        script.copy(&folder.path().join("etc"), "lib/etc").unwrap();
        let expected = "set_inode_field \"lib/etc/containers/auth.json\" mode 0100600";
        assert!(script.text.contains(expected), "{}", script.text);
    }
}
