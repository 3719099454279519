//! The power goes in the middle of each step on the ESP: any subset of its 512-byte sectors is on the
//! disk, in any order. What is left is judged by fsck.vfat, mtools and a comparison of all bytes.
//!
//! The plans and the repair are the host's own; the FAT driver is mtools, whose every step is taken
//! apart into the sectors that it changed. The kernel's driver is cut in `qemu-tests/tests/cuts.rs`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use updater::esp::plan::{self, Space, Step, Wanted};
use updater::esp::reclaim::reclaim;
use updater::esp::slots::{self, Slots};

const SECTOR: usize = 512;
const MIB: u64 = 1 << 20;
/// Bytes of a release.
const LENGTH: usize = 150_000;
/// Random subsets of each step's sectors.
const SUBSETS: u64 = 6;
/// Prefixes of them, in the order of their places and in the other.
const PREFIXES: usize = 4;

fn tool(name: &str, arguments: &[&str]) -> (bool, Vec<u8>) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(name)
        .args(arguments)
        .env("PATH", path)
        .env("MTOOLSRC", "/dev/null")
        .output()
        .unwrap_or_else(|e| panic!("{name} (dosfstools, mtools): {e}"));
    (output.status.success(), output.stdout)
}

/// What a release holds: another for each version.
fn content(version: &str) -> Vec<u8> {
    let seed = version
        .bytes()
        .fold(7u64, |sum, b| sum.wrapping_mul(31) ^ u64::from(b));
    (0..LENGTH as u64)
        .map(|n| (n.wrapping_mul(seed) >> 7) as u8)
        .collect()
}

struct Esp {
    folder: tempfile::TempDir,
}

/// A name taken apart: version, and tries left if it is counted.
fn name(file: &str) -> Option<(String, Option<u32>)> {
    let stem = file.strip_prefix("skeg_")?.strip_suffix(".efi")?;
    match stem.split_once('+') {
        Some((version, counter)) => {
            let left = counter.split('-').next()?.parse().ok()?;
            Some((version.to_owned(), Some(left)))
        }
        None => Some((stem.to_owned(), None)),
    }
}

impl Esp {
    fn new(files: &[&str]) -> Self {
        let esp = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        File::create(esp.path()).unwrap().set_len(40 * MIB).unwrap();
        esp.ok("mkfs.vfat", &["-F", "32", "-s", "1", &esp.text()]);
        for at in ["::/EFI", "::/EFI/Linux"] {
            esp.ok("mmd", &["-i", &esp.text(), at]);
        }
        for file in files {
            esp.put(file, &content(&name(file).unwrap().0));
        }
        esp
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("esp")
    }

    fn text(&self) -> String {
        self.path().display().to_string()
    }

    fn ok(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let (good, said) = tool(name, arguments);
        assert!(
            good,
            "{name} {arguments:?}: {}",
            String::from_utf8_lossy(&said)
        );
        said
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        let source = self.folder.path().join("source");
        std::fs::write(&source, bytes).unwrap();
        let to = format!("::/EFI/Linux/{file}");
        let source = source.display().to_string();
        self.ok("mcopy", &["-i", &self.text(), &source, &to]);
    }

    fn files(&self) -> Vec<String> {
        let said = self.ok("mdir", &["-b", "-i", &self.text(), "::/EFI/Linux"]);
        let said = String::from_utf8_lossy(&said).into_owned();
        let last = |line: &str| line.trim().rsplit('/').next().unwrap().to_owned();
        said.lines().map(last).filter(|n| !n.is_empty()).collect()
    }

    fn is_whole(&self, file: &str) -> bool {
        let from = format!("::/EFI/Linux/{file}");
        let (good, bytes) = tool("mtype", &["-i", &self.text(), &from]);
        good && bytes == content(&name(file).unwrap().0)
    }

    fn slots(&self, running: &str) -> Slots {
        let file = |name: String| slots::File {
            name,
            length: LENGTH as u64,
        };
        let files = self.files().into_iter().map(file).collect();
        Slots::of(&"skeg".parse().unwrap(), running.parse().unwrap(), files)
    }

    /// As the loader and the firmware's entries do it: the newest with tries; what is not whole takes
    /// the firmware to the next entry, and the loader on to what is left.
    fn boots(&self) -> String {
        let mut found: Vec<_> = self
            .files()
            .into_iter()
            .filter_map(|f| Some((name(&f)?, f)))
            .collect();
        found.sort_by_key(|((version, left), _)| {
            (*left != Some(0), version.clone(), left.unwrap_or(u32::MAX))
        });
        while let Some(((_, left), file)) = found.pop() {
            if self.is_whole(&file) {
                return file;
            }
            assert!(
                left.is_some(),
                "{file} has no counter and is not whole: nothing leads past it"
            );
        }
        panic!("nothing boots: {:?}", self.files());
    }

    fn carry_out(&self, step: &Step) {
        let at = |name: &str| format!("::/EFI/Linux/{name}");
        match step {
            Step::Remove(name) => drop(self.ok("mdel", &["-i", &self.text(), &at(name)])),
            Step::Write { name, .. } => {
                let version = name.trim_start_matches("skeg_").trim_end_matches(".new");
                self.put(name, &content(version));
            }
            Step::Verify { .. } => {}
            Step::Rename { from, to } => {
                drop(self.ok("mren", &["-i", &self.text(), &at(from), &at(to)]));
            }
        }
    }

    fn used(&self) -> String {
        let said = self.ok("fsck.vfat", &["-n", &self.text()]);
        let said = String::from_utf8_lossy(&said).into_owned();
        said.rsplit(", ").next().unwrap().trim().to_owned()
    }

    /// What a host does before it mounts the ESP writable: fsck.vfat has nothing to say then.
    fn repair(&self, what: &str) {
        if let Err(e) = reclaim(&self.path(), &"skeg".parse().unwrap()) {
            panic!("{what}: {e}");
        }
        let (clean, said) = tool("fsck.vfat", &["-n", &self.text()]);
        assert!(clean, "{what}: {}", String::from_utf8_lossy(&said));
    }
}

/// A seeded stream (xorshift64).
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// One step: the disk before it, and the sectors that it changed.
struct Taken {
    before: Vec<u8>,
    changed: Vec<(usize, Vec<u8>)>,
}

fn take(esp: &Esp, step: &Step) -> Taken {
    let before = std::fs::read(esp.path()).unwrap();
    esp.carry_out(step);
    let after = std::fs::read(esp.path()).unwrap();
    let sectors = before.chunks(SECTOR).zip(after.chunks(SECTOR)).enumerate();
    let changed = sectors.filter(|(_, (before, after))| before != after);
    let changed = changed.map(|(n, (_, after))| (n, after.to_vec())).collect();
    Taken { before, changed }
}

impl Taken {
    /// The subsets that are tried.
    fn cuts(&self, seed: u64) -> Vec<Vec<bool>> {
        let count = self.changed.len();
        let mut cuts = Vec::new();
        for n in 0..PREFIXES.min(count) {
            let length = count * n / PREFIXES.min(count);
            cuts.push((0..count).map(|at| at < length).collect());
            cuts.push((0..count).map(|at| at >= length).collect());
        }
        for n in 0..SUBSETS {
            let mut random = random(seed * 1000 + n);
            // Few, many, or half of them.
            let share = [1, 4, 7][usize::try_from(n % 3).unwrap()];
            cuts.push((0..count).map(|_| random() % 8 < share).collect());
        }
        cuts
    }

    fn cut(&self, esp: &Esp, kept: &[bool]) {
        let disk = File::options().write(true).open(esp.path()).unwrap();
        for ((number, after), kept) in self.changed.iter().zip(kept) {
            let at = number * SECTOR;
            let bytes = if *kept {
                after
            } else {
                &self.before[at..at + SECTOR]
            };
            disk.write_all_at(bytes, at as u64).unwrap();
        }
    }

    /// The disk as it was, whatever a repair wrote elsewhere.
    fn restore(&self, esp: &Esp) {
        std::fs::write(esp.path(), &self.before).unwrap();
    }
}

/// Carries steps out, each cut in all ways: something whole boots, before the repair and after it.
fn survives(esp: &Esp, what: &str, steps: &[Step]) {
    for (number, step) in steps.iter().enumerate() {
        let taken = take(esp, step);
        let after = std::fs::read(esp.path()).unwrap();
        for (n, kept) in taken.cuts(number as u64 + 1).iter().enumerate() {
            taken.restore(esp);
            taken.cut(esp, kept);
            let what = format!("{what}, {step:?}, cut {n}");
            let before = esp.boots();
            esp.repair(&what);
            let again = esp.boots();
            assert_eq!(name(&before).unwrap().0, name(&again).unwrap().0, "{what}");
        }
        std::fs::write(esp.path(), after).unwrap();
    }
}

fn wanted(version: &str) -> Wanted {
    Wanted {
        version: version.parse().unwrap(),
        length: LENGTH as u64,
        sha256: formats::digest::Hex([0; 32]),
    }
}

fn staging(esp: &Esp, running: &str, version: &str) -> Vec<Step> {
    let space = Space {
        cluster: 512,
        total: 80_000,
        free: 60_000,
    };
    plan::stage(&esp.slots(running), space, &wanted(version)).unwrap()
}

/// What the loader does before it boots.
fn counted(from: &str, to: &str) -> Step {
    Step::Rename {
        from: from.into(),
        to: to.into(),
    }
}

#[test]
fn an_update_that_is_cut_anywhere_from_staging_to_blessing_boots() {
    let esp = Esp::new(&["skeg_0.9.0.efi", "skeg_1.0.0.efi"]);
    survives(&esp, "staging", &staging(&esp, "1.0.0", "1.1.0"));
    assert_eq!(esp.boots(), "skeg_1.1.0+3.efi");
    let count = counted("skeg_1.1.0+3.efi", "skeg_1.1.0+2-1.efi");
    survives(&esp, "the loader's count", &[count]);
    survives(&esp, "blessing", &plan::bless(&esp.slots("1.1.0")));
    assert_eq!(esp.boots(), "skeg_1.1.0.efi");
    // The next one removes what is neither running nor good.
    survives(&esp, "staging again", &staging(&esp, "1.1.0", "1.2.0"));
    let mut files = esp.files();
    files.sort();
    assert_eq!(
        files,
        ["skeg_1.0.0.efi", "skeg_1.1.0.efi", "skeg_1.2.0+3.efi"]
    );
}

#[test]
fn a_way_back_that_is_cut_anywhere_boots() {
    let esp = Esp::new(&["skeg_1.0.0.efi", "skeg_1.1.0+2-1.efi"]);
    let steps = plan::deny(&esp.slots("1.1.0"), "1.1.0".parse().unwrap()).unwrap();
    survives(&esp, "a failed trial", &steps);
    assert_eq!(esp.boots(), "skeg_1.0.0.efi");
    let esp = Esp::new(&["skeg_1.0.0.efi", "skeg_1.1.0.efi"]);
    let steps = plan::prefer(&esp.slots("1.1.0"), "1.0.0".parse().unwrap()).unwrap();
    survives(&esp, "rollback by hand, or a pin", &steps);
    assert_eq!(esp.boots(), "skeg_1.0.0.efi");
    let steps = plan::prefer(&esp.slots("1.0.0"), "1.1.0".parse().unwrap()).unwrap();
    survives(&esp, "a pin of what was put behind", &steps);
    assert!(esp.boots().starts_with("skeg_1.1.0+"));
}

#[test]
fn fifty_cuts_in_a_row_while_staging_leave_the_room_that_was_there() {
    let esp = Esp::new(&["skeg_0.9.0.efi", "skeg_1.0.0.efi"]);
    let first = esp.used();
    for round in 0..50u64 {
        let mut random = random(round + 77);
        let steps = staging(&esp, "1.0.0", "1.1.0");
        let last = usize::try_from(random() % steps.len() as u64).unwrap();
        for (number, step) in steps.iter().enumerate().take(last + 1) {
            let taken = take(&esp, step);
            if number == last {
                let kept: Vec<bool> = taken
                    .changed
                    .iter()
                    .map(|_| random().is_multiple_of(2))
                    .collect();
                taken.cut(&esp, &kept);
            }
        }
        esp.repair(&format!("round {round}"));
        let kept = esp.boots();
        assert!(
            kept == "skeg_1.0.0.efi" || kept == "skeg_1.1.0+3.efi",
            "{kept}"
        );
    }
    // What the next staging removes first.
    for step in staging(&esp, "1.0.0", "1.1.0") {
        if matches!(step, Step::Remove(_)) {
            esp.carry_out(&step);
        }
    }
    assert_eq!(esp.used(), first);
}
