//! From publisher to host: what `image` publishes and a server serves, a host puts together again.
//!
//! Needs libostree: `cargo test -p updater --features libostree`.

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use formats::manifest::Role;
use formats::name::Name;
use formats::version::Version;
use image::publish::keys::Signers;
use image::publish::{self, Change, Publisher, Release};
use tempfile::TempDir;
use tokio::runtime::Builder;
use updater::fetch::{
    Assembly, Base, Counted, Download, FetchError, FolderSource, HttpSource, Mirrors, Settings,
    look,
};
use updater::reader::{Archive, ReadError, Reader, oracle::Oracle};
use updater::trust::{Clock, Host, Memory, TrustedRoot, VerifiedRelease};
use world::{DAY, NOW, Server, answer};

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A kernel, a large program whose addresses change with each build, and files that do not change.
fn uki(build: u8) -> Vec<u8> {
    sized(build, 1_000_000)
}

fn sized(build: u8, size: usize) -> Vec<u8> {
    let mut program = noise(2, size);
    program.splice(
        size / 20..size / 20,
        noise(u64::from(build), 16 * usize::from(build)),
    );
    for at in (0..program.len()).step_by(40) {
        program[at] = program[at].wrapping_add(build * 16);
    }
    let files = [
        (
            "etc/os-release",
            format!("IMAGE_VERSION=1.{build}.0").into_bytes(),
        ),
        ("usr/bin/skeg", program),
        ("usr/lib/module.ko", noise(3, size / 8)),
    ];
    world::uki(&noise(4, size * 8 / 5), &files)
}

struct Shop {
    folder: TempDir,
    /// Bytes of the program that changes; kernel and module grow with it.
    size: usize,
    product: Name,
    stable: Name,
}

impl Shop {
    /// A repository with keys and releases of these builds, the last one in the channel.
    fn with(builds: &[u8]) -> Self {
        Self::sized(builds, 1_000_000)
    }

    fn sized(builds: &[u8], size: usize) -> Self {
        let shop = Self {
            folder: tempfile::tempdir().unwrap(),
            size,
            product: "skeg-vm".parse().unwrap(),
            stable: "stable".parse().unwrap(),
        };
        let role = |name: &str, count| Signers::make(&shop.keys(name), count).unwrap();
        let root = role("root", 1);
        let (release, channel) = (role("release", 3).keys(2), role("channel", 1).keys(1));
        shop.publisher()
            .first_root((&root, 1), release, channel)
            .unwrap();
        for build in builds {
            shop.release(*build);
        }
        shop.change(Change::Promote(version(*builds.last().unwrap()), at_once()));
        shop
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn keys(&self, role: &str) -> PathBuf {
        self.folder.path().join("keys").join(role)
    }

    fn publisher(&self) -> Publisher {
        let clock = publish::Clock {
            now: NOW,
            valid: 30 * DAY,
        };
        Publisher::open(&self.repository(), self.product.clone(), clock).unwrap()
    }

    fn release(&self, build: u8) {
        let uki = sized(build, self.size);
        let release = Release {
            version: version(build),
            uki: &uki,
            loader: Some(b"a loader"),
            channels: vec![self.stable.clone()],
            minimum: version(0),
            patches: 10,
        };
        let signers = Signers::read(&self.keys("release")).unwrap();
        publish::release(&self.publisher(), &release, &signers).unwrap();
        fs::write(self.uki_file(build), &uki).unwrap();
    }

    fn change(&self, change: Change) {
        let signers = Signers::read(&self.keys("channel")).unwrap();
        self.publisher()
            .change(&self.stable, change, &signers)
            .unwrap();
    }

    fn uki_file(&self, build: u8) -> PathBuf {
        self.folder.path().join(format!("{build}.efi"))
    }

    /// A server of plain files.
    fn server(&self) -> Server {
        let folder = self.repository();
        Server::new(move |request, stream| {
            match fs::read(folder.join(request.target.trim_start_matches('/'))) {
                Ok(bytes) => answer(stream, "200 OK", "", &bytes),
                Err(_) => answer(stream, "404 Not Found", "", b""),
            }
        })
    }

    /// What a host on `running` finds.
    async fn found(&self, source: &mut HttpSource, running: Version) -> VerifiedRelease {
        let pinned = fs::read(self.repository().join("skeg/skeg-vm/root/1.jsonl")).unwrap();
        let host = Host {
            channel: &self.stable,
            running,
            denied: &|_| None,
        };
        let root = TrustedRoot::pinned(&pinned).unwrap();
        let clock = Clock { now: NOW };
        let look = look(source, root, &host, &Memory::default(), clock)
            .await
            .unwrap();
        look.release.unwrap().unwrap()
    }

    /// Fetches the channel's release onto a host that has this file.
    fn fetch(&self, base: Option<&Path>) -> (Vec<u8>, Counted) {
        let server = self.server();
        block_on(async {
            let mut source = HttpSource::new(&server.url(), Settings::default()).unwrap();
            let release = self.found(&mut source, version(0)).await;
            let base = base.map(|path| Base::open(path).unwrap());
            let reader = Reader::new(source);
            let mut assembly = Assembly::begin(reader, &release, Role::Uki, base, 0)
                .await
                .unwrap();
            let mut made = Vec::new();
            while let Some(bytes) = assembly.next().await.unwrap() {
                made.extend(bytes);
            }
            (made, assembly.counted())
        })
    }
}

fn version(build: u8) -> Version {
    format!("1.{build}.0").parse().unwrap()
}

fn at_once() -> formats::channel::Rollout {
    formats::channel::Rollout {
        start: NOW,
        curve: vec![],
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn a_program_that_changed_costs_less_than_a_tenth_and_the_file_is_the_same_to_the_byte() {
    let shop = Shop::with(&[1, 2, 3]);
    for base in [1, 2] {
        let (made, counted) = shop.fetch(Some(&shop.uki_file(base)));
        assert!(made == uki(3), "from {base}");
        assert!(
            counted.fetched * 10 < counted.total,
            "from {base}: {counted:?}"
        );
        assert_eq!(counted.done, counted.total);
    }
}

#[test]
fn a_host_with_a_release_that_nobody_knows_fetches_what_it_lacks() {
    let shop = Shop::with(&[3]);
    let other = shop.folder.path().join("other.efi");
    fs::write(&other, uki(9)).unwrap();
    let (made, counted) = shop.fetch(Some(&other));
    assert!(made == uki(3));
    assert!(
        counted.reused > 1_600_000,
        "kernel and module are there: {counted:?}"
    );
    let (made, counted) = shop.fetch(None);
    assert!(made == uki(3));
    assert_eq!(counted.reused, 0);
}

#[test]
fn a_download_that_ended_early_goes_on_where_it_was() {
    let shop = Shop::with(&[1]);
    let server = shop.server();
    block_on(async {
        let mut source = HttpSource::new(&server.url(), Settings::default()).unwrap();
        let release = shop.found(&mut source, version(0)).await;
        let folder = || Reader::new(FolderSource::new(&shop.repository()));
        let mut first = Assembly::begin(folder(), &release, Role::Uki, None, 0)
            .await
            .unwrap();
        let mut made = first.next().await.unwrap().unwrap();
        made.extend(first.next().await.unwrap().unwrap());
        let from = first.counted().done;
        drop(first);
        let mut rest = Assembly::begin(folder(), &release, Role::Uki, None, from)
            .await
            .unwrap();
        while let Some(bytes) = rest.next().await.unwrap() {
            made.extend(bytes);
        }
        assert!(made == uki(1));
        let between = Assembly::begin(folder(), &release, Role::Uki, None, from + 1).await;
        assert!(matches!(between.err(), Some(FetchError::Offset(_))));
        let loader = Assembly::begin(folder(), &release, Role::Loader, None, 0).await;
        assert_eq!(loader.unwrap().next().await.unwrap().unwrap(), b"a loader");
    });
}

#[test]
fn nothing_that_hosts_would_refuse_can_be_published() {
    let shop = Shop::with(&[1, 2]);
    let signers = Signers::read(&shop.keys("channel")).unwrap();
    let change = |name: &str, to| {
        let change = Change::Promote(version(to), at_once());
        shop.publisher()
            .change(&name.parse().unwrap(), change, &signers)
            .unwrap_err()
            .to_string()
    };
    assert!(change("stable", 1).contains("hosts never go back"));
    assert!(change("beta", 2).contains("not released for channel beta"));
    assert!(change("stable", 3).contains("release 1.3.0"));
    let release = Release {
        version: version(2),
        uki: &uki(3),
        loader: None,
        channels: vec![shop.stable.clone()],
        minimum: version(0),
        patches: 0,
    };
    let signers = Signers::read(&shop.keys("release")).unwrap();
    let taken = publish::release(&shop.publisher(), &release, &signers).unwrap_err();
    assert!(
        taken.to_string().contains("a release never changes"),
        "{taken}"
    );
    fs::remove_file(shop.keys("release").join("1.key")).unwrap();
    fs::remove_file(shop.keys("release").join("2.key")).unwrap();
    let signers = Signers::read(&shop.keys("release")).unwrap();
    let release = Release {
        version: version(4),
        ..release
    };
    let few = publish::release(&shop.publisher(), &release, &signers).unwrap_err();
    assert!(
        few.to_string()
            .contains("1 of its keys are here, 2 must sign"),
        "{few}"
    );
}

#[test]
fn what_is_pruned_is_gone_and_what_a_channel_is_at_stays() {
    let shop = Shop::with(&[1, 2]);
    let objects = || walk(&shop.repository().join("objects")).len();
    let before = objects();
    shop.release(3);
    assert!(objects() > before);
    let gone = publish::prune(&shop.publisher(), 0).unwrap();
    assert!(gone > 0);
    assert_eq!(shop.publisher().versions(), [version(2)]);
    let (made, _) = shop.fetch(None);
    assert!(made == uki(2));
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let each = entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            walk(&path)
        } else {
            vec![path]
        }
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all
}

#[test]
fn a_host_follows_a_change_of_keys_and_the_old_ones_sign_no_more() {
    let shop = Shop::sized(&[1], 40_000);
    let old = Signers::read(&shop.keys("root")).unwrap();
    let release = Signers::read(&shop.keys("release")).unwrap().keys(2);
    let root = Signers::make(&shop.keys("root-2"), 2).unwrap();
    let channel = Signers::make(&shop.keys("channel-2"), 1).unwrap();
    let rotated = shop
        .publisher()
        .rotate(&old, (&root, 2), release, channel.keys(1));
    assert!(rotated.unwrap().ends_with("root/2.jsonl"));
    let before = Signers::read(&shop.keys("channel")).unwrap();
    let renew = |signers| {
        shop.publisher()
            .change(&shop.stable, Change::Renew, signers)
    };
    let few = renew(&before).unwrap_err().to_string();
    assert!(few.contains("0 of its keys are here"), "{few}");
    renew(&channel).unwrap();
    let (made, _) = shop.fetch(None);
    assert!(made == sized(1, shop.size));
}

#[test]
fn a_mirror_with_damaged_files_is_passed_over() {
    let shop = Shop::sized(&[1], 40_000);
    let server = shop.server();
    let damaged = shop.folder.path().join("damaged");
    for object in walk(&shop.repository().join("objects")) {
        let to = damaged.join(object.strip_prefix(shop.repository()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, b"something else").unwrap();
    }
    block_on(async {
        let mut source = HttpSource::new(&server.url(), Settings::default()).unwrap();
        let release = shop.found(&mut source, version(0)).await;
        let folders = |folders: &[&Path]| {
            let each = folders.iter().map(|folder| FolderSource::new(folder));
            Reader::new(Mirrors::new(each.collect()))
        };
        let both = folders(&[&damaged, &shop.repository()]);
        assert!(whole(both, &release).await.unwrap() == sized(1, shop.size));
        let none = whole(folders(&[&damaged, &damaged]), &release).await;
        assert!(matches!(
            none,
            Err(FetchError::Read(ReadError::Checksum { .. }))
        ));
    });
}

/// All that a reader gives of a release's UKI.
async fn whole<A: Archive>(archive: A, release: &VerifiedRelease) -> Result<Vec<u8>, FetchError> {
    let mut assembly = Assembly::begin(archive, release, Role::Uki, None, 0).await?;
    let mut made = Vec::new();
    while let Some(bytes) = assembly.next().await? {
        made.extend(bytes);
    }
    Ok(made)
}

/// Spoils each object in turn in several ways. Where libostree refuses, ours must; where libostree
/// reads, the bytes must be equal or ours must refuse, as it does what follows the deflated content.
#[test]
fn our_reader_and_libostree_agree_on_good_and_damaged_repositories() {
    let shop = Shop::sized(&[1], 40_000);
    let server = shop.server();
    let repository = shop.repository();
    block_on(async {
        let mut source = HttpSource::new(&server.url(), Settings::default()).unwrap();
        let release = shop.found(&mut source, version(0)).await;
        let ours = || Reader::new(FolderSource::new(&repository));
        let oracle = || Oracle::open(&repository).unwrap();
        let good = whole(oracle(), &release).await.unwrap();
        assert!(good == sized(1, shop.size) && good == whole(ours(), &release).await.unwrap());
        let mut stricter = 0;
        for object in walk(&repository.join("objects")) {
            let bytes = fs::read(&object).unwrap();
            for damaged in damages(&bytes) {
                fs::remove_file(&object).unwrap();
                if let Some(damaged) = &damaged {
                    fs::write(&object, damaged).unwrap();
                }
                let (one, two) = (
                    whole(ours(), &release).await,
                    whole(oracle(), &release).await,
                );
                match (one, two) {
                    (Ok(one), Ok(two)) => assert!(one == two && one == good, "{object:?}"),
                    (Ok(_), Err(e)) => panic!("{object:?}: only libostree refuses: {e}"),
                    (Err(FetchError::Read(ReadError::Malformed { .. })), Ok(_)) => stricter += 1,
                    (Err(e), Ok(_)) => panic!("{object:?}: only ours refuses: {e}"),
                    (Err(_), Err(_)) => {}
                }
                if !object.exists() {
                    fs::write(&object, b"").unwrap();
                }
            }
            fs::write(&object, &bytes).unwrap();
        }
        assert!(
            stricter > 0,
            "bytes after the content are refused by ours alone"
        );
    });
}

/// Not there, empty, torn, one bit flipped at the beginning, in the middle and at the end, and longer.
fn damages(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let flipped = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 4;
        Some(bytes)
    };
    let last = bytes.len() - 1;
    let longer = [bytes, b"more"].concat();
    let torn = Some(bytes[..last].to_vec());
    vec![
        None,
        Some(vec![]),
        torn,
        flipped(3),
        flipped(last / 2),
        flipped(last),
        Some(longer),
    ]
}
