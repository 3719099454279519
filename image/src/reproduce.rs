//! Builds everything twice under circumstances that must not matter, and compares byte for byte.
//!
//! The second build has other paths, another umask, time zone and home, and later file times. Never
//! calls the builder's functions: it runs the program, as a user would.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;

/// What to build twice.
#[derive(Debug)]
pub struct Subject<'a> {
    /// This program.
    pub program: PathBuf,
    /// The folder of the recipe.
    pub recipe: &'a Path,
    /// The cache, which both builds read.
    pub cache: &'a Path,
    /// The profile.
    pub profile: &'a str,
    /// Binaries by the recipe's names.
    pub binaries: Vec<(&'a str, &'a Path)>,
    /// Version of the image.
    pub version: &'a str,
    /// Seconds since 1970.
    pub source_date: u64,
}

struct Circumstances {
    folder: &'static str,
    umask: u32,
    zone: &'static str,
}

const FIRST: Circumstances = Circumstances {
    folder: "a",
    umask: 0o022,
    zone: "UTC",
};
const SECOND: Circumstances = Circumstances {
    folder: "another/place with spaces",
    umask: 0o077,
    zone: "Asia/Tokyo",
};

/// Builds images and disks twice below `work` and returns the names of the files that are equal.
///
/// # Errors
/// When a build fails, or any file differs; the message says where.
pub fn twice(subject: &Subject, work: &Path) -> Result<Vec<String>> {
    let first = once(subject, work, &FIRST)?;
    // FAT counts in two seconds; less could hide a clock that leaks.
    std::thread::sleep(Duration::from_millis(2100));
    let second = once(subject, work, &SECOND)?;
    let names = names(&first)?;
    let others = self::names(&second)?;
    if names != others {
        bail!("the builds made different files: {names:?} and {others:?}");
    }
    for name in &names {
        same(&first.join(name), &second.join(name))?;
    }
    Ok(names)
}

fn once(subject: &Subject, work: &Path, around: &Circumstances) -> Result<PathBuf> {
    let folder = work.join(around.folder);
    let before = rustix::process::umask(Mode::from_raw_mode(around.umask));
    let result = build(subject, &folder, around);
    rustix::process::umask(before);
    result
}

fn build(subject: &Subject, folder: &Path, around: &Circumstances) -> Result<PathBuf> {
    let (recipe, out) = (folder.join("recipe"), folder.join("out"));
    copy(subject.recipe, &recipe)?;
    let run = || {
        let mut command = Command::new(&subject.program);
        command
            .current_dir(folder)
            .env("TZ", around.zone)
            .env("HOME", folder)
            // Both list the crates of the same workspace.
            .env("CARGO_MANIFEST_DIR", subject.recipe)
            .env("SOURCE_DATE_EPOCH", subject.source_date.to_string())
            .stdout(Stdio::null());
        command
    };
    let place = |command: &mut Command| {
        let cache = subject.cache;
        command
            .arg("--recipe")
            .arg(&recipe)
            .arg("--cache")
            .arg(cache);
    };
    let mut build = run();
    build.args(["build", "--profile", subject.profile, "--out", "out"]);
    build.args(["--version-string", subject.version]);
    for (name, path) in &subject.binaries {
        let copy = folder.join(name);
        fs::write(
            &copy,
            fs::read(path).with_context(|| format!("read {}", path.display()))?,
        )?;
        let mut given = OsString::from(format!("{name}="));
        given.push(copy);
        build.arg("--program").arg(given);
    }
    place(&mut build);
    finish(build)?;

    let uki = names(&out)?.into_iter().find(|name| name.ends_with(".efi"));
    let mut disk = run();
    disk.args([
        "disk",
        "--out",
        "out/disk.raw",
        "--size",
        "832M",
        "--config",
        "config",
        "--uki",
    ]);
    disk.arg(out.join(uki.context("the build made no .efi")?));
    place(&mut disk);
    let etc = folder.join("config/etc");
    // In another order than the second time: folders of the host list files as they please.
    let mut files = [
        "containers/systemd/web.container",
        "hostname",
        "containers/x/y z",
    ];
    if around.umask == SECOND.umask {
        files.reverse();
    }
    for name in files {
        let path = etc.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&etc))?;
        fs::write(path, name)?;
    }
    finish(disk)?;
    Ok(out)
}

fn finish(mut command: Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for name in ["recipe.toml", "debian.lock", "accounts"] {
        fs::copy(from.join(name), to.join(name)).with_context(|| format!("copy {name}"))?;
    }
    for name in ["etc", "services"] {
        copy_folder(&from.join(name), &to.join(name))?;
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            // Written anew, so that the umask of this build decides about its mode.
            fs::write(target, fs::read(source)?)?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Compares piece by piece: a disk is larger than one would like to hold twice.
fn same(a: &Path, b: &Path) -> Result<()> {
    use std::io::Read;
    let open = |path: &Path| {
        let file = fs::File::open(path);
        file.with_context(|| format!("open {}", path.display()))
    };
    let (mut first, mut second) = (open(a)?, open(b)?);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        x.clear();
        y.clear();
        first.by_ref().take(1 << 20).read_to_end(&mut x)?;
        second.by_ref().take(1 << 20).read_to_end(&mut y)?;
        if x != y {
            let inside = x.iter().zip(&y).take_while(|(x, y)| x == y).count();
            bail!(
                "{} and {} differ at byte {}",
                a.display(),
                b.display(),
                at + inside
            );
        }
        if x.is_empty() {
            return Ok(());
        }
        at += x.len();
    }
}
