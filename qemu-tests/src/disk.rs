//! Disks: made by the image builder from a host's configuration, copied sparsely, looked into
//! after the machine is off.
//!
//! Nothing is mounted: the checks of file systems read the disk's file at its partitions' offsets.

use crate::artefacts::Test;
use crate::image::{Image, builder};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a host is told to be: files below `/etc`.
#[derive(Debug, Clone, Default)]
pub struct Config {
    etc: BTreeMap<String, String>,
}

impl Config {
    /// A host that is told nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file below `/etc`, e.g. `hostname`.
    #[must_use]
    pub fn file(mut self, path: &str, text: &str) -> Self {
        self.etc.insert(path.to_owned(), text.to_owned());
        self
    }

    /// A Quadlet unit, e.g. `web.container`.
    #[must_use]
    pub fn unit(self, name: &str, text: &str) -> Self {
        self.file(&format!("containers/systemd/{name}"), text)
    }

    /// Allows plain HTTP to a registry on the harness's side, `10.0.2.2:PORT` for the guest.
    #[must_use]
    pub fn registry(self, port: u16) -> Self {
        let text = format!("[[registry]]\nlocation = \"10.0.2.2:{port}\"\ninsecure = true\n");
        self.file("containers/registries.conf", &text)
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let config = "{\"format\":1,\"generation\":1,\"source\":\"image\"}\n";
        std::fs::create_dir_all(folder.join("etc")).context("create the config's folder")?;
        std::fs::write(folder.join("config.json"), config).context("write config.json")?;
        for (path, text) in &self.etc {
            let file = folder.join("etc").join(path);
            let parent = file.parent().unwrap_or(folder);
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&file, text))
                .with_context(|| format!("write {}", file.display()))?;
        }
        Ok(())
    }
}

/// A raw disk of one test.
pub struct Disk {
    path: PathBuf,
}

/// Blocks that ext4 keeps for its own tables: beyond these no kernel ever fills a disk.
const KEPT_BACK: u64 = 4096;

impl Disk {
    /// A fresh disk with an image's UKI on its ESP and a configuration on STATE.
    ///
    /// # Errors
    /// What the image builder says.
    pub fn fresh(test: &Test, image: &Image, config: &Config) -> Result<Self> {
        let path = test.next_disk();
        let folder = tempfile::tempdir().context("create a folder for the config")?;
        config.write(folder.path())?;
        make(&image.uki()?, folder.path(), &path)?;
        Ok(Self { path })
    }

    /// A small disk with a FAT file system of this label and one file.
    ///
    /// # Errors
    /// What mkfs.fat and mcopy say.
    pub fn volume(test: &Test, label: &str, name: &str, text: &str) -> Result<Self> {
        let path = test.next_disk();
        let file = File::create(&path).context("create a volume")?;
        file.set_len(4 << 20).context("size a volume")?;
        let shown = path.to_string_lossy();
        tool("mkfs.vfat", &["-n", label, &shown])?;
        let volume = Self { path };
        volume.put(0, name, text)?;
        Ok(volume)
    }

    /// Puts a file into a folder of the ESP.
    ///
    /// # Errors
    /// What mtools say.
    pub fn put_on_esp(&self, folder: &str, name: &str, text: &str) -> Result<()> {
        let partitions = partitions(&self.path)?;
        let at = partitions.first().context("no first partition")?.start;
        let image = format!("{}@@{at}", self.path.display());
        tool("mmd", &["-i", &image, &format!("::{folder}")])?;
        self.put(at, &format!("{folder}/{name}"), text)
    }

    /// Where the ESP lies, and its length, in bytes.
    ///
    /// # Errors
    /// There is none.
    pub fn esp(&self) -> Result<(u64, u64)> {
        let partitions = partitions(&self.path)?;
        let esp = partitions.first().context("no first partition")?;
        Ok((esp.start, esp.length))
    }

    /// Copies the ESP into a file of its own.
    ///
    /// # Errors
    /// What dd says.
    pub fn copy_esp(&self, out: &Path) -> Result<()> {
        let (start, length) = self.esp()?;
        extract(&self.path, Partition { start, length }, out)
    }

    /// Changes a file on the ESP of a machine that is off.
    ///
    /// # Errors
    /// What mtools say.
    pub fn change_on_esp(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let at = partitions(&self.path)?.first().context("no ESP")?.start;
        let image = format!("{}@@{at}", self.path.display());
        let file = tempfile::NamedTempFile::new().context("create a file")?;
        let copy = file.path().to_string_lossy().into_owned();
        let path = format!("::{name}");
        tool("mcopy", &["-n", "-o", "-i", &image, &path, &copy])?;
        let mut bytes = std::fs::read(file.path()).context("read a file")?;
        change(&mut bytes);
        std::fs::write(file.path(), bytes).context("write a file")?;
        tool("mcopy", &["-D", "o", "-o", "-i", &image, &copy, &path])
    }

    fn put(&self, at: u64, name: &str, text: &str) -> Result<()> {
        let source = tempfile::NamedTempFile::new().context("create a file")?;
        std::fs::write(source.path(), text).context("write a file")?;
        let image = format!("{}@@{at}", self.path.display());
        let source = source.path().to_string_lossy();
        tool("mcopy", &["-i", &image, &source, &format!("::{name}")])
    }

    /// A disk that is already there.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// A copy as it is now; holes stay holes.
    ///
    /// # Errors
    /// What `cp` says.
    pub fn copy(&self, test: &Test) -> Result<Self> {
        let path = test.next_disk();
        let cp = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto", "--"])
            .args([&self.path, &path])
            .output()
            .context("run cp")?;
        if !cp.status.success() {
            bail!("copy a disk: {}", String::from_utf8_lossy(&cp.stderr));
        }
        Ok(Self { path })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the disk larger, as a hypervisor does: behind the partition table's back.
    ///
    /// # Errors
    /// As the file system says.
    pub fn enlarge(&self, bytes: u64) -> Result<()> {
        let file = File::options().write(true).open(&self.path);
        file.and_then(|file| file.set_len(bytes))
            .with_context(|| format!("enlarge {}", self.path.display()))
    }

    /// Bytes of the disk itself, e.g. of its partition tables.
    ///
    /// # Errors
    /// As the file system says.
    pub fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let file =
            File::open(&self.path).with_context(|| format!("open {}", self.path.display()))?;
        file.read_exact_at(&mut bytes, at)
            .context("read the disk")?;
        Ok(bytes)
    }

    /// Overwrites the disk at an offset, in a machine that is off.
    ///
    /// # Errors
    /// As the file system says.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let file = File::options().write(true).open(&self.path);
        let file = file.with_context(|| format!("open {}", self.path.display()))?;
        file.write_all_at(bytes, at).context("write to the disk")
    }

    /// Overwrites STATE at an offset, in a machine that is off.
    ///
    /// # Errors
    /// As the file system says.
    pub fn spoil_state(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.write(self.state()?.start + at, bytes)
    }

    /// Reads STATE at an offset.
    ///
    /// # Errors
    /// As the file system says.
    pub fn read_state(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        self.read(self.state()?.start + at, length)
    }

    /// STATE's length in bytes, as the partition table at the disk's start says.
    ///
    /// # Errors
    /// There is no STATE.
    pub fn state_length(&self) -> Result<u64> {
        Ok(self.state()?.length)
    }

    /// Gives a request to debugfs, e.g. `cat lib/skeg-time`; it may write.
    ///
    /// # Errors
    /// debugfs cannot be run. What it complains of is no error to it.
    pub fn debugfs(&self, request: &str) -> Result<String> {
        let state = self.state_name()?;
        let output = command("debugfs")
            .args(["-w", "-R", request, &state])
            .output()
            .context("run debugfs")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Fills STATE to the last block that a kernel gives away with a file `filler`, in a machine that is off.
    ///
    /// # Errors
    /// debugfs cannot be run, or does not do it.
    pub fn fill_state(&self) -> Result<()> {
        let free = || -> Result<u64> {
            let about = self.debugfs("show_super_stats -h")?;
            let field = about.lines().find_map(|l| l.strip_prefix("Free blocks:"));
            let field = field.with_context(|| format!("no free blocks in {about}"))?;
            field.trim().parse().context("no number of free blocks")
        };
        self.debugfs("write /dev/null filler")?;
        let blocks = free()?.saturating_sub(KEPT_BACK);
        self.debugfs(&format!("fallocate filler 0 {}", blocks.saturating_sub(1)))?;
        let left = free()?;
        if left > KEPT_BACK {
            bail!("fill STATE: {left} blocks are left");
        }
        Ok(())
    }

    /// Leaves blocks in STATE's journal that belong to free space, as a power cut would.
    ///
    /// # Errors
    /// debugfs cannot be run, or does not do it.
    pub fn leave_in_journal(&self, blocks: u32) -> Result<()> {
        const FREE: u32 = 300_000;
        let content = self.path.with_extension("journal");
        std::fs::write(&content, vec![0x5a; blocks as usize * 4096]).context("write blocks")?;
        let to = FREE + blocks - 1;
        let (state, content) = (self.state_name()?, content.to_string_lossy());
        let requests = format!("jo -c\njw -b {FREE}-{to} {content}\njc\n");
        let script = self.path.with_extension("requests");
        std::fs::write(&script, requests).context("write requests")?;
        let output = command("debugfs")
            .args(["-w", "-f"])
            .arg(&script)
            .arg(state)
            .output();
        let output = output.context("run debugfs")?;
        let about = self.debugfs("show_super_stats -h")?;
        if !about.contains("needs_recovery") {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("leave blocks in the journal: {said}{about}");
        }
        Ok(())
    }

    fn state_name(&self) -> Result<String> {
        Ok(format!(
            "{}?offset={}",
            self.path.display(),
            self.state()?.start
        ))
    }

    fn state(&self) -> Result<Partition> {
        let partitions = partitions(&self.path)?;
        partitions.get(1).copied().context("no second partition")
    }

    /// Lets e2fsck and fsck.vfat look, without repair, at the partitions of a machine that is off.
    ///
    /// # Errors
    /// What they complain of.
    pub fn check_file_systems(&self) -> Result<()> {
        let partitions = partitions(&self.path)?;
        let [esp, state, ..] = partitions[..] else {
            bail!("expected ESP and STATE, found {partitions:?}");
        };
        let state_at = format!("{}?offset={}", self.path.display(), state.start);
        tool("e2fsck", &["-f", "-n", &state_at])?;
        let copy = self.path.with_extension("esp");
        extract(&self.path, esp, &copy)?;
        let checked = tool("fsck.vfat", &["-n", &copy.to_string_lossy()]);
        let _ = std::fs::remove_file(&copy);
        checked
    }
}

fn make(uki: &Path, config: &Path, out: &Path) -> Result<()> {
    let built = Command::new(builder()?)
        .arg("disk")
        .arg("--uki")
        .arg(uki)
        .arg("--config")
        .arg(config)
        .arg("--out")
        .arg(out)
        .output()
        .context("run the image builder")?;
    if !built.status.success() {
        bail!(
            "image disk: {}{}",
            String::from_utf8_lossy(&built.stdout),
            String::from_utf8_lossy(&built.stderr)
        );
    }
    Ok(())
}

/// A check that must end with exit code 0: clean, nothing to repair.
fn tool(name: &str, arguments: &[&str]) -> Result<()> {
    let output = command(name)
        .args(arguments)
        .output()
        .with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} is not content ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// A tool that may be in one of root's folders.
pub(crate) fn command(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

/// Where a partition lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Partition {
    start: u64,
    length: u64,
}

/// The partitions of a GPT disk (UEFI specification, section 5.3), in their order.
fn partitions(disk: &Path) -> Result<Vec<Partition>> {
    const SECTOR: u64 = 512;
    let file = File::open(disk).with_context(|| format!("open {}", disk.display()))?;
    let mut table = vec![0; 128 * 128];
    file.read_exact_at(&mut table, 2 * SECTOR)
        .context("read the partition table")?;
    let number = |entry: &[u8], at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&entry[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let used = table.chunks(128).filter(|e| e[..16] != [0; 16]);
    Ok(used
        .map(|entry| Partition {
            start: number(entry, 32) * SECTOR,
            length: (number(entry, 40) + 1).saturating_sub(number(entry, 32)) * SECTOR,
        })
        .collect())
}

fn extract(disk: &Path, partition: Partition, out: &Path) -> Result<()> {
    let mib = 1024 * 1024;
    let status = Command::new("dd")
        .arg(format!("if={}", disk.display()))
        .arg(format!("of={}", out.display()))
        .args(["bs=1M", "conv=sparse", "status=none"])
        .arg(format!("skip={}", partition.start / mib))
        .arg(format!("count={}", partition.length / mib))
        .status()
        .context("run dd")?;
    if !status.success() || !partition.start.is_multiple_of(mib) {
        bail!("copy the ESP out of {}", disk.display());
    }
    Ok(())
}
