//! The program `image` as its users run it, on a small kernel and packages that are made here.
//!
//! Never reaches a network: the cache is filled beforehand, which is all that an offline build has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const KERNEL: &str = "6.12.1-test";

/// A recipe folder, a full cache and binaries, in a temporary folder.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
        bench.put(
            "recipe/recipe.toml",
            &fs::read(ours.join("recipe.toml")).unwrap(),
        );
        let lock = fs::read_to_string(ours.join("debian.lock")).unwrap();
        bench.put("recipe/debian.lock", lock.as_bytes());
        bench.put("recipe/etc/hosts", b"127.0.0.1 localhost\n");
        bench.put("recipe/accounts", b"u skeg-net 64901\n");
        let service =
            b"[Service]\nExecStart=/usr/bin/skeg\nSystemCallFilter=@program\nUser=skeg-net\n";
        bench.put("recipe/services/engine.service", service);
        bench.put(
            "recipe/services/agent.service",
            b"[Service]\nExecStart=/agent\n",
        );
        let package = |role: &str| {
            let table = lock.split(&format!("[package.{role}]")).nth(1).unwrap();
            let hash = table.split("sha256 = \"").nth(1).unwrap();
            format!("cache/{}", &hash[..64])
        };
        bench.kernel(&package("kernel"));
        let efi = format!("{}/usr/lib/systemd/boot/efi", package("boot"));
        bench.put(&format!("{efi}/linuxx64.efi.stub"), &stub());
        bench.put(&format!("{efi}/systemd-bootx64.efi"), b"MZ loader");
        let e2fsck = format!("{}/usr/sbin/e2fsck.static", package("e2fsck"));
        bench.put(&e2fsck, b"\x7fELF e2fsck");
        let certificates = package("certificates");
        for name in ["B.crt", "A.crt"] {
            let path = format!("{certificates}/usr/share/ca-certificates/mozilla/{name}");
            bench.put(&path, format!("{name}\n").as_bytes());
        }
        for name in ["init", "skeg", "daemons", "ssh", "agent"] {
            bench.put(name, format!("\x7fELF {name}").as_bytes());
        }
        bench
    }

    /// A kernel that has each wanted module, all of which depend on one that nobody asked for.
    fn kernel(&self, package: &str) {
        let modules = format!("{package}/usr/lib/modules/{KERNEL}");
        let recipe = fs::read_to_string(self.path("recipe/recipe.toml")).unwrap();
        let lists = recipe.split("modules = [").skip(1);
        let lists = lists.map(|rest| rest.split(']').next().unwrap());
        for name in lists.flat_map(|list| list.split('"').skip(1).step_by(2)) {
            let path = format!("{modules}/kernel/{name}.ko");
            self.put(&path, &module("depends=base-mod\0"));
        }
        self.put(
            &format!("{modules}/kernel/base-mod.ko"),
            &module("depends=\0"),
        );
        self.put(
            &format!("{modules}/modules.builtin"),
            b"kernel/fs/ext4/ext4.ko\n",
        );
        self.put(&format!("{package}/boot/vmlinuz-{KERNEL}"), b"MZ kernel");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn image(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_image"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("SOURCE_DATE_EPOCH", "1767225600")
            .env_remove("CARGO_MANIFEST_DIR")
            .output()
            .unwrap()
    }

    fn build(&self, profile: &str) {
        let arguments = [
            "build",
            "--profile",
            profile,
            "--out",
            profile,
            "--program",
            "init=init",
            "--program",
            "skeg=skeg",
            "--program",
            "daemons=daemons",
            "--program",
            "ssh=ssh",
            "--program",
            "agent=agent",
            "--recipe",
            "recipe",
            "--cache",
            "cache",
            "--locked",
        ];
        let output = self.image(&arguments);
        assert!(output.status.success(), "{}", words(&output));
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A PE32+ file with one section that says it is systemd's stub, and a large header.
fn stub() -> Vec<u8> {
    let mut file = vec![0; 0x400];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x40, b"PE\0\0");
    put(0x44, &0x8664_u16.to_le_bytes()); // machine
    put(0x46, &1_u16.to_le_bytes()); // sections
    put(0x54, &240_u16.to_le_bytes()); // size of the optional header
    put(0x58, &0x20b_u16.to_le_bytes()); // PE32+
    put(0x58 + 32, &0x1000_u32.to_le_bytes()); // section alignment
    put(0x58 + 36, &0x200_u32.to_le_bytes()); // file alignment
    put(0x58 + 60, &0x400_u32.to_le_bytes()); // size of headers
    put(0x58 + 108, &16_u32.to_le_bytes()); // data directories
    let section = 0x58 + 240;
    put(section, b".sdmagic");
    put(section + 8, &12_u32.to_le_bytes()); // virtual size
    put(section + 12, &0x1000_u32.to_le_bytes()); // virtual address
    put(section + 16, &0x200_u32.to_le_bytes()); // size in the file
    put(section + 20, &0x400_u32.to_le_bytes()); // place in the file
    file.extend(b"systemd-stub");
    file.resize(0x600, 0);
    file
}

/// A relocatable ELF object with a section `.modinfo`.
fn module(modinfo: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16] = 1; // relocatable
    file[18] = 62; // x86-64
    file[20] = 1;
    file[52] = 64; // size of this header
    file[58] = 64; // size of a section header
    file[60] = 3; // section headers
    file[62] = 2; // the one with the names
    let info_at = file.len() as u64;
    file.extend(modinfo.as_bytes());
    let names_at = file.len() as u64;
    file.extend(names);
    file.resize(file.len().next_multiple_of(8), 0);
    let table = (file.len() as u64).to_le_bytes();
    file[40..48].copy_from_slice(&table);
    file.extend([0; 64]);
    let sections = [
        (1_u32, 1_u32, info_at, modinfo.len()),
        (10, 3, names_at, names.len()),
    ];
    for (name, kind, at, length) in sections {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend([0; 16]); // flags, address
        file.extend(at.to_le_bytes());
        file.extend((length as u64).to_le_bytes());
        file.extend([0; 8]); // link, info
        file.extend(1_u64.to_le_bytes()); // alignment
        file.extend([0; 8]);
    }
    file
}

#[test]
fn two_builds_on_two_paths_are_equal_byte_for_byte() {
    let bench = Bench::new();
    let arguments = [
        "reproduce",
        "--profile",
        "test",
        "--work",
        "twice",
        "--program",
        "init=init",
        "--program",
        "skeg=skeg",
        "--program",
        "daemons=daemons",
        "--program",
        "ssh=ssh",
        "--program",
        "agent=agent",
        "--recipe",
        "recipe",
        "--cache",
        "cache",
        "--locked",
    ];
    let output = bench.image(&arguments);
    assert!(output.status.success(), "{}", words(&output));
    let equal = "equal in both builds: cmdline, disk.raw, initrd.cpio, sbom.json, skeg_0.1.0.efi, \
                 vmlinuz\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), equal);
}

#[test]
fn the_vm_profile_has_no_shell_no_libc_and_no_test_channel_and_test_has_one() {
    let bench = Bench::new();
    bench.build("vm");
    bench.build("test");
    let vm = bench.image(&["check", "vm/skeg_0.1.0.efi"]);
    assert!(vm.status.success(), "{}", words(&vm));
    let test = bench.image(&["check", "test/skeg_0.1.0.efi"]);
    assert!(words(&test).contains("/usr/lib/skeg/agent is the tests' agent"));
    assert!(!test.status.success());
}

#[test]
fn the_test_profile_is_the_vm_profile_with_a_segment_behind() {
    let bench = Bench::new();
    bench.build("vm");
    bench.build("test");
    let read = |name: &str| fs::read(bench.path(name)).unwrap();
    assert!(read("test/initrd.cpio").starts_with(&read("vm/initrd.cpio")));
    assert_eq!(read("test/cmdline"), read("vm/cmdline"));
}

#[test]
fn modules_are_listed_after_what_they_depend_on() {
    let bench = Bench::new();
    bench.build("vm");
    let output = bench.image(&["inspect", "--files", "vm/skeg_0.1.0.efi"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let module = format!("/usr/lib/modules/{KERNEL}/kernel/base-mod.ko");
    assert!(text.contains(&module), "{text}");
    let initrd = fs::read(bench.path("vm/initrd.cpio")).unwrap();
    let initrd = String::from_utf8_lossy(&initrd).into_owned();
    let list = format!("{KERNEL}/kernel/base-mod.ko\n{KERNEL}/kernel/virtio_blk.ko\n");
    assert!(initrd.contains(&list));
}

#[test]
fn a_spare_module_is_packed_and_stands_in_a_list_of_its_own() {
    let bench = Bench::new();
    bench.build("vm");
    let initrd = fs::read(bench.path("vm/initrd.cpio")).unwrap();
    let initrd = String::from_utf8_lossy(&initrd).into_owned();
    // Between a file's name and its content there is nothing but zeroes.
    let list = format!("usr/lib/skeg/modules.spare{KERNEL}/kernel/softdog.ko\n");
    assert!(initrd.replace('\0', "").contains(&list));
    assert!(!initrd.contains(&format!("{KERNEL}/kernel/softdog.ko\n{KERNEL}")));
}

#[test]
fn what_is_wrong_is_said_in_one_line_and_nothing_is_left_behind() {
    let bench = Bench::new();
    bench.build("vm");
    let recipe = ["--recipe", "recipe", "--cache", "cache"];
    let uki = ["disk", "--uki", "vm/skeg_0.1.0.efi"];
    let cases: [(&[&str], &str); 6] = [
        (
            &["build", "--out", "x"],
            "image: profile vm needs --program init=PATH\n",
        ),
        (
            &["build", "--out", "x", "--profile", "metal"],
            "image: recipe: profile \"metal\": expected one of test, vm\n",
        ),
        (
            &[
                "build",
                "--out",
                "x",
                "--program",
                "init=gone",
                "--program",
                "skeg=skeg",
                "--program",
                "daemons=daemons",
                "--program",
                "ssh=ssh",
            ],
            "image: gone: No such file or directory (os error 2)\n",
        ),
        (
            &["disk", "--uki", "init", "--out", "x"],
            "image: init: no PE32+ file: ",
        ),
        (
            &[uki[0], uki[1], uki[2], "--out", "x", "--size", "500M"],
            "image: a disk of 524288000 bytes is too small: ",
        ),
        (
            &[uki[0], uki[1], uki[2], "--out", "x", "--config", "gone"],
            "image: --config gone: no such folder\n",
        ),
    ];
    for (arguments, expected) in cases {
        let output = bench.image(&[arguments, &recipe[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            words(&output).starts_with(expected),
            "{arguments:?}: {}",
            words(&output)
        );
    }
    assert!(!bench.path("x").exists());
    assert!(!bench.path("x.partial").exists());
}
