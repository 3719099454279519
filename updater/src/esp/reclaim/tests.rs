//! Volumes that mkfs.vfat made and mtools filled, broken by hand, judged by fsck.vfat.

use super::*;
use std::process::Command;

const MIB: u64 = 1 << 20;

fn tool(name: &str, arguments: &[&str]) -> (bool, String) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(name);
    command
        .args(arguments)
        .env("PATH", path)
        .env("MTOOLSRC", "/dev/null");
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{name} (dosfstools, mtools): {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.success(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}

struct Volume {
    folder: tempfile::TempDir,
}

impl Volume {
    fn new() -> Self {
        let volume = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        File::create(volume.path())
            .unwrap()
            .set_len(40 * MIB)
            .unwrap();
        volume.ok("mkfs.vfat", &["-F", "32", "-s", "1", &volume.text()]);
        for at in ["::/EFI", "::/EFI/Linux"] {
            volume.ok("mmd", &["-i", &volume.text(), at]);
        }
        volume.put("skeg_1.0.0.efi", 3);
        volume.put("skeg_1.1.0+2-1.efi", 2);
        volume
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("esp")
    }

    fn text(&self) -> String {
        self.path().display().to_string()
    }

    fn ok(&self, name: &str, arguments: &[&str]) -> String {
        let (good, text) = tool(name, arguments);
        assert!(good, "{name}: {text}");
        text
    }

    fn put(&self, name: &str, mib: u64) {
        let file = self.folder.path().join("content");
        std::fs::write(&file, content(name, mib)).unwrap();
        let to = format!("::/EFI/Linux/{name}");
        self.ok(
            "mcopy",
            &["-o", "-i", &self.text(), &file.display().to_string(), &to],
        );
    }

    fn has(&self, name: &str, mib: u64) {
        let file = self.folder.path().join("out");
        let from = format!("::/EFI/Linux/{name}");
        self.ok(
            "mcopy",
            &[
                "-n",
                "-o",
                "-i",
                &self.text(),
                &from,
                &file.display().to_string(),
            ],
        );
        assert!(
            std::fs::read(file).unwrap() == content(name, mib),
            "{name} is another"
        );
    }

    fn file(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(self.path())
            .unwrap()
    }

    fn found(&self, name: &str) -> Found {
        let file = self.file();
        let all = walk(&file, &Table::read(&file).unwrap()).unwrap();
        all.into_iter()
            .find(|f| f.name.eq_ignore_ascii_case(name))
            .unwrap_or_else(|| panic!("no {name}"))
    }

    fn is_clean(&self) -> (bool, String) {
        tool("fsck.vfat", &["-n", &self.text()])
    }

    fn reclaimed(&self) -> Reclaimed {
        let done = reclaim(&self.path(), &"skeg".parse().unwrap()).unwrap();
        let (clean, text) = self.is_clean();
        assert!(clean, "{text}");
        done
    }

    /// Sets a cluster's entry in the first table, as the kernel would.
    fn link(&self, cluster: u32, next: u32) {
        let table = 32 * 512 + u64::from(cluster) * 4;
        self.file()
            .write_all_at(&next.to_le_bytes(), table)
            .unwrap();
    }
}

fn content(name: &str, mib: u64) -> Vec<u8> {
    let seed = name
        .bytes()
        .fold(7u64, |sum, b| sum.wrapping_mul(31) ^ u64::from(b));
    (0..mib * MIB)
        .map(|n| (n.wrapping_mul(seed) >> 7) as u8)
        .collect()
}

#[test]
fn a_volume_in_order_is_left_as_it_is() {
    let volume = Volume::new();
    let before = std::fs::read(volume.path()).unwrap();
    assert_eq!(volume.reclaimed(), Reclaimed::default());
    assert!(std::fs::read(volume.path()).unwrap() == before);
}

#[test]
fn clusters_of_no_file_are_given_back_and_files_are_not_touched() {
    let volume = Volume::new();
    for cluster in 60_000..60_500 {
        volume.link(cluster, cluster + 1);
    }
    volume.link(60_500, 0x0fff_ffff);
    assert!(!volume.is_clean().0, "fsck.vfat sees nothing wrong");
    assert_eq!(volume.reclaimed().clusters, 501);
    volume.has("skeg_1.0.0.efi", 3);
    volume.has("skeg_1.1.0+2-1.efi", 2);
    assert_eq!(volume.reclaimed(), Reclaimed::default());
}

#[test]
fn of_two_names_of_one_release_one_goes_and_its_clusters_stay() {
    let volume = Volume::new();
    // As a rename that was cut leaves it: the new name is there, the old one too.
    volume.put("skeg_1.1.0.efi", 0);
    let old = volume.found("skeg_1.1.0+2-1.efi");
    let new = volume.found("skeg_1.1.0.efi");
    let mut entry = [0; 32];
    volume.file().read_exact_at(&mut entry, old.at).unwrap();
    volume
        .file()
        .write_all_at(&entry[20..], new.at + 20)
        .unwrap();
    assert!(!volume.is_clean().0, "fsck.vfat sees nothing wrong");
    assert_eq!(
        volume.reclaimed(),
        Reclaimed {
            clusters: 0,
            names: 1
        }
    );
    let names = volume.ok("mdir", &["-b", "-i", &volume.text(), "::/EFI/Linux"]);
    assert!(
        names.contains("skeg_1.1.0.efi") && !names.contains("2-1"),
        "{names}"
    );
    let file = volume.folder.path().join("out");
    volume.ok(
        "mcopy",
        &[
            "-n",
            "-o",
            "-i",
            &volume.text(),
            "::/EFI/Linux/skeg_1.1.0.efi",
            &file.display().to_string(),
        ],
    );
    assert!(std::fs::read(file).unwrap() == content("skeg_1.1.0+2-1.efi", 2));
}

#[test]
fn half_a_staging_goes_with_all_that_it_had() {
    let volume = Volume::new();
    volume.put("skeg_1.2.0.new", 2);
    let start = volume.found("skeg_1.2.0.new").start;
    // Its table was written in part: a hole in the chain.
    volume.link(start + 100, 0);
    let done = volume.reclaimed();
    assert_eq!(
        done,
        Reclaimed {
            clusters: 4095,
            names: 1
        }
    );
    volume.has("skeg_1.0.0.efi", 3);
}

#[test]
fn files_of_others_that_share_clusters_are_left_alone() {
    let volume = Volume::new();
    volume.put("a.txt", 1);
    let (other, ours) = (volume.found("a.txt"), volume.found("skeg_1.0.0.efi"));
    volume.link(other.start, ours.start + 5);
    let before = std::fs::read(volume.path()).unwrap();
    let refused = reclaim(&volume.path(), &"skeg".parse().unwrap());
    assert!(
        matches!(refused, Err(ReclaimError::Shared(_))),
        "{refused:?}"
    );
    assert!(std::fs::read(volume.path()).unwrap() == before);
}

#[test]
fn no_damage_makes_it_panic_or_touch_a_good_file() {
    let volume = Volume::new();
    let data = volume.found("skeg_1.0.0.efi").start;
    let from = Table::read(&volume.file()).unwrap().layout.at(data);
    // Boot sector, tables, and the folders before the first file.
    let mut front = vec![0; usize::try_from(from).unwrap()];
    let mut kept = vec![0; 3 << 20];
    volume.file().read_exact_at(&mut front, 0).unwrap();
    volume.file().read_exact_at(&mut kept, from).unwrap();
    let (mut seed, mut after) = (1u64, kept.clone());
    for _ in 0..200 {
        let mut damaged = front.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(seed >> 33).unwrap() % front.len();
            damaged[at] ^= (seed >> 20) as u8;
        }
        volume.file().write_all_at(&damaged, 0).unwrap();
        let _ = reclaim(&volume.path(), &"skeg".parse().unwrap());
        volume.file().read_exact_at(&mut after, from).unwrap();
        assert!(after == kept, "a file was written to");
    }
}
