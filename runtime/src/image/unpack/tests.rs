//! Hostile and ordinary archives, unpacked as root into a folder that lies beside a canary.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::PathBuf;

use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;

/// An archive whose headers may say anything, which the crate's own builder refuses.
#[derive(Default, Clone)]
struct Archive(Vec<u8>);

impl Archive {
    fn add(self, kind: EntryType, path: &str, edit: impl FnOnce(&mut Header)) -> Self {
        self.with(kind, path, b"", edit)
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.with(EntryType::Regular, path, content, |_| {})
    }

    fn folder(self, path: &str) -> Self {
        self.add(EntryType::Directory, path, |h| h.set_mode(0o755))
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, path, |h| {
            put(&mut h.as_old_mut().linkname, target);
        })
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.add(EntryType::Link, path, |h| {
            put(&mut h.as_old_mut().linkname, target);
        })
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut length = body.len() + 1;
            while length != body.len() + length.to_string().len() {
                length = body.len() + length.to_string().len();
            }
            bytes.extend(length.to_string().as_bytes());
            bytes.extend(body);
        }
        self.with(EntryType::XHeader, "pax", &bytes, |_| {})
    }

    fn with(
        mut self,
        kind: EntryType,
        path: &str,
        content: &[u8],
        edit: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        put(&mut header.as_old_mut().name, path);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        edit(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
}

fn put(field: &mut [u8], text: &str) {
    field[..text.len()].copy_from_slice(text.as_bytes());
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A root to unpack into, and a file outside that must never change.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("canary"), "alive").unwrap();
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn unpack(&self, archive: Archive) -> Result<Unpacked, UnpackError> {
        self.unpack_within(archive, &Limits::default())
    }

    fn unpack_within(&self, archive: Archive, limits: &Limits) -> Result<Unpacked, UnpackError> {
        let result = unpack(Cursor::new(archive.0), &self.root(), limits);
        let outside: Vec<_> = fs::read_dir(self.folder.path()).unwrap().collect();
        assert_eq!(outside.len(), 2, "something was made outside the root");
        assert_eq!(
            fs::read(self.folder.path().join("canary")).unwrap(),
            b"alive"
        );
        result.map(|(_, unpacked)| unpacked)
    }

    fn refuse(&self, archive: Archive) -> String {
        self.unpack(archive).unwrap_err().to_string()
    }
}

/// Owners, devices and trusted attributes need root; CI has it.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn files_folders_and_links_come_out_as_they_went_in() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let archive = Archive::default()
        .add(EntryType::Directory, "./", |h| h.set_mode(0o711))
        .add(EntryType::Directory, "etc/", |h| h.set_mode(0o1777))
        .with(EntryType::Regular, "./etc/shadow", b"secret", |h| {
            h.set_mode(0o4750);
            h.set_uid(1000);
            h.set_gid(70_000);
        })
        .hard_link("etc/same", "./etc/shadow")
        .symlink("bin", "/usr/bin")
        .add(EntryType::Fifo, "pipe", |h| h.set_mode(0o600))
        .add(EntryType::Char, "null", |h| {
            h.set_mode(0o666);
            h.set_device_major(1).unwrap();
            h.set_device_minor(3).unwrap();
        })
        .file("no/parents/given", b"x");
    let unpacked = place.unpack(archive).unwrap();
    assert_eq!(
        unpacked,
        Unpacked {
            size: 7,
            is_opaque: false
        }
    );

    let shadow = fs::metadata(place.at("etc/shadow")).unwrap();
    assert_eq!(shadow.mode() & 0o7777, 0o4750);
    assert_eq!((shadow.uid(), shadow.gid()), (1000, 70_000));
    assert_eq!((shadow.mtime(), shadow.nlink()), (1_600_000_000, 2));
    assert_eq!(
        fs::metadata(place.at("etc/same")).unwrap().ino(),
        shadow.ino()
    );
    let etc = fs::metadata(place.at("etc")).unwrap();
    assert_eq!((etc.mode() & 0o7777, etc.mtime()), (0o1777, 1_600_000_000));
    assert_eq!(fs::metadata(place.root()).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(
        fs::read_link(place.at("bin")).unwrap(),
        PathBuf::from("/usr/bin")
    );
    assert_eq!(
        fs::symlink_metadata(place.at("bin")).unwrap().mtime(),
        1_600_000_000
    );
    assert!(
        fs::metadata(place.at("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    let null = fs::metadata(place.at("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.mode() & 0o777), (0x103, 0o666));
    assert_eq!(
        fs::metadata(place.at("no/parents")).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn whiteouts_and_opaque_folders_become_overlays_own() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let archive = Archive::default()
        .file("a/.wh.gone", b"")
        .file("b/.wh..wh..opq", b"")
        .file("b/kept", b"x")
        // Removed below and made again here, in either order.
        .file(".wh.again", b"")
        .folder("again/")
        .folder("early/")
        .file("early/file", b"x")
        .file(".wh.early", b"")
        .file(".wh.implied", b"")
        .file("implied/file", b"x")
        .file(".wh.file", b"")
        .file("file", b"new")
        .file(".wh..wh.plnk/1.2", b"aufs");
    place.unpack(archive).unwrap();

    let gone = fs::symlink_metadata(place.at("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |path: &str| xattr::get(place.at(path), "trusted.overlay.opaque").unwrap();
    for path in ["b", "again", "early", "implied"] {
        assert_eq!(opaque(path).as_deref(), Some(&b"y"[..]), "{path}");
    }
    assert_eq!(opaque("a"), None);
    assert_eq!(fs::read(place.at("file")).unwrap(), b"new");
    let names: Vec<_> = fs::read_dir(place.root())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn an_opaque_root_is_reported_since_overlay_has_no_mark_for_it() {
    let place = Place::new();
    let unpacked = place
        .unpack(Archive::default().file(".wh..wh..opq", b""))
        .unwrap();
    assert!(unpacked.is_opaque);
}

#[test]
fn names_cannot_climb_out() {
    for path in ["../canary", "a/../../canary", "..", "./../canary"] {
        let place = Place::new();
        let error = place.refuse(Archive::default().file(path, b"dead"));
        assert!(error.contains("`..` would leave the layer"), "{error}");
    }
    let place = Place::new();
    let error = place.refuse(Archive::default().file(".wh...", b""));
    assert!(error.contains("whiteout of nothing"), "{error}");
}

#[test]
fn absolute_names_lie_below_the_root() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place
        .unpack(Archive::default().file("//abs/file", b"x"))
        .unwrap();
    assert_eq!(fs::read(place.at("abs/file")).unwrap(), b"x");
}

#[test]
fn a_link_in_the_way_is_resolved_inside_the_root_or_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let outside = place.folder.path().to_str().unwrap().to_owned();
    // Absolute and climbing targets: the kernel treats the root as `/`, where they do not exist.
    for target in [outside.as_str(), "..", "../..", "/../../.."] {
        let place = Place::new();
        let archive = Archive::default()
            .symlink("up", target)
            .file("up/canary", b"dead");
        match place.unpack(archive) {
            Ok(_) => assert!(place.at("canary").exists(), "`..` of the root is the root"),
            Err(e) => assert!(e.to_string().contains("`up`: is in the way"), "{e}"),
        }
    }
    let archive = Archive::default()
        .folder("usr/lib/")
        .symlink("lib", "/usr/lib")
        .file("lib/x.so", b"x")
        .symlink("loop", "loop");
    place.unpack(archive.clone()).unwrap();
    assert_eq!(fs::read(place.at("usr/lib/x.so")).unwrap(), b"x");
    let place = Place::new();
    assert!(place.refuse(archive.file("loop/x", b"")).contains("`loop`"));
}

#[test]
fn writing_to_a_name_that_is_a_link_replaces_the_link() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let canary = place.folder.path().join("canary");
    let archive = Archive::default()
        .symlink("x", canary.to_str().unwrap())
        .file("x", b"dead")
        .symlink("d", place.folder.path().to_str().unwrap())
        .folder("d")
        .file("d/canary", b"dead");
    place.unpack(archive).unwrap();
    assert!(fs::symlink_metadata(place.at("x")).unwrap().is_file());
    assert!(fs::symlink_metadata(place.at("d")).unwrap().is_dir());
}

#[test]
fn hard_links_cannot_reach_out_through_links() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let outside = place.folder.path().to_str().unwrap();
    let through_folder = Archive::default()
        .symlink("up", outside)
        .hard_link("mine", "up/canary");
    assert!(place.refuse(through_folder).contains("no such file here"));
    // A link at the end is linked itself, so writing through the new name replaces a link.
    let canary = place.folder.path().join("canary");
    let place = Place::new();
    let at_the_end = Archive::default()
        .symlink("l", canary.to_str().unwrap())
        .hard_link("mine", "l")
        .file("mine", b"dead");
    place.unpack(at_the_end).unwrap();
    assert_eq!(fs::read(&canary).unwrap(), b"alive");

    for (link, part) in [
        ("../canary", "`..`"),
        ("nowhere", "no such file"),
        ("", "no such file"),
    ] {
        let place = Place::new();
        let error = place.refuse(Archive::default().hard_link("mine", link));
        assert!(error.contains(part), "{link}: {error}");
    }
}

#[test]
fn a_link_that_was_in_the_root_before_is_not_followed_either() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    symlink("../canary", place.at("trap")).unwrap();
    place
        .unpack(Archive::default().file("trap", b"dead"))
        .unwrap();
    assert!(fs::symlink_metadata(place.at("trap")).unwrap().is_file());
}

#[test]
fn an_entry_replaces_what_has_its_name() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let archive = Archive::default()
        .file("d/deep/file", b"old")
        .file("d", b"now a file")
        .file("f", b"old")
        .folder("f")
        .file("f/x", b"1")
        .folder("f")
        .file("f/y", b"2")
        .file("w", b"first")
        .file("w", b"second");
    place.unpack(archive).unwrap();
    assert_eq!(fs::read(place.at("d")).unwrap(), b"now a file");
    assert_eq!(fs::read_dir(place.at("f")).unwrap().count(), 2);
    assert_eq!(fs::read(place.at("w")).unwrap(), b"second");
}

#[test]
fn long_names_times_owners_and_attributes_come_from_pax() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let gnu = format!("{}/{}", "g".repeat(120), "h".repeat(120));
    let capability =
        b"\x01\x00\x00\x02\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let archive = Archive::default()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"3000000"),
            ("mtime", b"1600000001.25"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.note", b"n"),
        ])
        .with(EntryType::Regular, "short", b"content", |_| {})
        .with(
            EntryType::GNULongName,
            "././@LongLink",
            format!("{gnu}\0").as_bytes(),
            |_| {},
        )
        .file("short2", b"gnu");
    place.unpack(archive).unwrap();
    let file = place.at(&long);
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_eq!(
        (metadata.uid(), metadata.mtime_nsec()),
        (3_000_000, 250_000_000)
    );
    assert_eq!(
        xattr::get(&file, "security.capability").unwrap().unwrap(),
        capability
    );
    assert_eq!(xattr::get(&file, "trusted.overlay.redirect").unwrap(), None);
    assert_eq!(fs::read(place.at(&gnu)).unwrap(), b"gnu");
}

#[test]
fn what_cannot_be_unpacked_is_refused_by_name() {
    let huge = |h: &mut Header| h.set_size(3 << 30);
    let cases = [
        (
            Archive::default().add(EntryType::GNUSparse, "s", |_| {}),
            "`s`: sparse",
        ),
        (
            Archive::default()
                .pax(&[("GNU.sparse.major", b"1")])
                .file("s", b""),
            "`s`: sparse",
        ),
        (
            Archive::default().add(EntryType::new(b'V'), "v", |_| {}),
            "unknown kind of entry `V`",
        ),
        (
            Archive::default().add(EntryType::XHeader, "x", huge),
            "extension header of 3221225472",
        ),
        (
            Archive::default().add(EntryType::GNULongName, "x", huge),
            "extension header of",
        ),
        (
            Archive::default().file("c", b"1234").cut(514),
            "ends within an entry",
        ),
        (
            Archive::default().file("c", b"1234").cut(100),
            "ends within a header",
        ),
        (Archive(vec![7; 1024]), "wrong header checksum"),
        (
            Archive::default().file("a", b"").file("a/b", b""),
            "`a`: is in the way",
        ),
        (
            Archive::default()
                .pax(&[("path", "a/".repeat(300).as_bytes())])
                .file("x", b""),
            "deep",
        ),
        (
            Archive::default()
                .pax(&[("uid", b"4294967295")])
                .file("x", b""),
            "out of range",
        ),
        (
            Archive::default().pax(&[("path", b"a\0b")]).file("x", b""),
            "NUL",
        ),
        (
            Archive::default().symlink("./", "x"),
            "root must be a folder",
        ),
    ];
    for (archive, part) in cases {
        let error = Place::new().refuse(archive);
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn links_cannot_be_chained_into_a_tree_too_deep_to_remove() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let deep = "d/".repeat(200);
    let archive = Archive::default()
        .pax(&[("path", deep.as_bytes())])
        .folder("d")
        .pax(&[("linkpath", deep.as_bytes())])
        .symlink("s", "d")
        .pax(&[("path", format!("s/{deep}").as_bytes())])
        .folder("d");
    assert!(place.refuse(archive).contains("name too long"));
}

#[test]
fn limits_stop_it_before_the_disk_is_full() {
    if !is_root() {
        return;
    }
    let two = Archive::default().file("a", b"1").file("b", b"2");
    let limits = Limits {
        entries: 1,
        ..Limits::default()
    };
    let error = Place::new()
        .unpack_within(two.clone(), &limits)
        .unwrap_err();
    assert!(error.to_string().contains("more than 1 entries"), "{error}");
    let limits = Limits {
        reserve: u64::MAX / 2,
        ..Limits::default()
    };
    let error = Place::new().unpack_within(two, &limits).unwrap_err();
    assert!(error.to_string().starts_with("no space: "), "{error}");
}

#[test]
fn an_archive_without_its_last_padding_and_end_is_taken() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let archive = Archive::default().file("a", b"1").file("b", b"1234");
    place.unpack(archive.cut(512 + 512 + 512 + 4)).unwrap();
    assert_eq!(fs::read(place.at("b")).unwrap(), b"1234");
}

#[test]
fn the_stream_comes_back_at_the_archives_end() {
    let place = Place::new();
    let mut bytes = Archive::default().0;
    bytes.resize(1024, 0);
    bytes.extend(b"trailing");
    let input = Cursor::new(bytes);
    let (mut rest, _) = unpack(input, &place.root(), &Limits::default()).unwrap();
    let mut tail = Vec::new();
    rest.read_to_end(&mut tail).unwrap();
    assert!(tail.ends_with(b"trailing"));
}

impl Archive {
    fn cut(mut self, length: usize) -> Self {
        self.0.truncate(length);
        self
    }
}

fn hostile_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just(".."),
        Just("."),
        Just(""),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
        Just(".wh.b"),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_archive_of_links_and_files_writes_outside(
        entries in prop::collection::vec((0..5u8, hostile_name(), hostile_name()), 1..12)
    ) {
        let place = Place::new();
        let mut archive = Archive::default();
        for (kind, path, target) in entries {
            archive = match kind {
                0 => archive.file(&path, b"dead"),
                1 => archive.folder(&path),
                2 => archive.symlink(&path, &target),
                3 => archive.symlink(&path, &format!("../{target}")),
                _ => archive.hard_link(&path, &target),
            };
        }
        let _ = place.unpack(archive);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..1500), fix: bool) {
        if fix && bytes.len() >= 512 {
            let mut header = Header::from_byte_slice(&bytes[..512]).clone();
            header.set_cksum();
            bytes[..512].copy_from_slice(header.as_bytes());
        }
        let mut entries = Entries::new(Cursor::new(bytes));
        while let Ok(Some(_)) = entries.next() {}
    }
}

/// The kernel's own word on whiteouts and opaque folders, in a mount namespace of this thread.
#[test]
fn overlay_hides_what_the_upper_layer_removed() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    if !is_root() {
        return;
    }
    let (lower, upper) = (Place::new(), Place::new());
    let below = Archive::default()
        .file("kept", b"1")
        .file("gone", b"1")
        .file("removed/x", b"1")
        .file("emptied/x", b"1")
        .file("again/x", b"1");
    lower.unpack(below).unwrap();
    let above = Archive::default()
        .file(".wh.gone", b"")
        .file(".wh.removed", b"")
        .folder("emptied")
        .file("emptied/.wh..wh..opq", b"")
        .file("emptied/y", b"2")
        .file(".wh.again", b"")
        .file("again/y", b"2");
    upper.unpack(above).unwrap();
    let options = format!(
        "lowerdir={}:{}",
        upper.root().display(),
        lower.root().display()
    );
    let target = tempfile::tempdir().unwrap();
    let names = std::thread::spawn(move || {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).ok()?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).ok()?;
        let at = target.path();
        mount(
            Some("overlay"),
            at,
            Some("overlay"),
            MsFlags::MS_RDONLY,
            Some(&*options),
        )
        .ok()?;
        let mut names = Vec::new();
        for folder in ["", "emptied", "again"] {
            let listing = fs::read_dir(at.join(folder)).unwrap();
            names.extend(listing.map(|e| (folder, e.unwrap().file_name().into_string().unwrap())));
        }
        nix::mount::umount(at).unwrap();
        names.sort();
        Some(names)
    });
    let Some(names) = names.join().unwrap() else {
        eprintln!("overlay cannot be mounted here: not tested");
        return;
    };
    let expected = [
        ("", "again"),
        ("", "emptied"),
        ("", "kept"),
        ("again", "y"),
        ("emptied", "y"),
    ];
    assert_eq!(
        names,
        expected.map(|(folder, name)| (folder, name.to_owned()))
    );
}

#[test]
fn a_layer_may_not_take_the_hosts_last_inodes() {
    let folder = tempfile::tempdir().unwrap();
    let mut stat = rustix::fs::statvfs(folder.path()).unwrap();
    (stat.f_bavail, stat.f_frsize) = (1 << 20, 4096);
    (stat.f_files, stat.f_favail) = (262_144, RESERVE_INODES);
    enough(&stat, 0, 64 << 20).unwrap();
    stat.f_favail -= 1;
    let error = enough(&stat, 0, 64 << 20).unwrap_err().to_string();
    assert!(error.contains("4095 more files"), "{error}");
    (stat.f_files, stat.f_favail) = (0, 0);
    enough(&stat, 0, 64 << 20).unwrap();
}
