//! A publisher that is killed at any point: hosts see the release before, or the next one, whole.
//!
//! Needs libostree: `cargo test -p updater --features libostree`. The publisher is this program again.

mod world;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use formats::manifest::Role;
use formats::name::Name;
use formats::version::Version;
use image::publish::keys::Signers;
use image::publish::{self, Change, Publisher, Release};
use tokio::runtime::Builder;
use updater::fetch::{Assembly, Download, FolderSource, look};
use updater::reader::Reader;
use updater::trust::{Clock, Host, Memory, TrustedRoot};
use world::{DAY, NOW};

/// The folder that the publisher's process works in; set in the process that is killed.
const FOLDER: &str = "SKEG_TEST_PUBLISH_IN";
const ROUNDS: u32 = 40;

fn version(number: u32) -> Version {
    format!("1.{number}.0").parse().unwrap()
}

fn uki(number: u32) -> Vec<u8> {
    let body = format!("release {number} ").repeat(40_000);
    let same = "never changes ".repeat(20_000);
    world::uki(same.as_bytes(), &[("usr/bin/skeg", body.into_bytes())])
}

fn publisher(folder: &Path) -> Publisher {
    let clock = publish::Clock {
        now: NOW,
        valid: 30 * DAY,
    };
    let product = "skeg-vm".parse().unwrap();
    Publisher::open(&folder.join("repository"), product, clock).unwrap()
}

fn stable() -> Name {
    "stable".parse().unwrap()
}

/// Releases and promotes the next version.
fn publish_next(folder: &Path) {
    let publisher = publisher(folder);
    let last = publisher.versions().last().map_or(0, |last| last.minor);
    let at = publisher
        .channels()
        .unwrap()
        .first()
        .map_or(0, |c| c.release.version.minor);
    // What was released and not promoted is only promoted.
    if at == last {
        let uki = uki(last + 1);
        let release = Release {
            version: version(last + 1),
            uki: &uki,
            loader: None,
            channels: vec![stable()],
            minimum: version(0),
            patches: 1,
        };
        let signers = Signers::read(&folder.join("keys/release")).unwrap();
        publish::release(&publisher, &release, &signers).unwrap();
    }
    let rollout = formats::channel::Rollout {
        start: NOW,
        curve: vec![],
    };
    let signers = Signers::read(&folder.join("keys/channel")).unwrap();
    let change = Change::Promote(version(at + 1), rollout);
    publisher.change(&stable(), change, &signers).unwrap();
}

/// The version and the UKI that a host gets.
fn got(folder: &Path) -> (u32, Vec<u8>) {
    let repository = folder.join("repository");
    let pinned = fs::read(repository.join("skeg/skeg-vm/root/1.jsonl")).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut source = FolderSource::new(&repository);
        let channel = stable();
        let host = Host {
            channel: &channel,
            running: version(0),
            denied: &|_| None,
        };
        let root = TrustedRoot::pinned(&pinned).unwrap();
        let clock = Clock { now: NOW };
        let look = look(&mut source, root, &host, &Memory::default(), clock).await;
        let release = look.unwrap().release.unwrap().unwrap();
        let reader = Reader::new(source);
        let mut assembly = Assembly::begin(reader, &release, Role::Uki, None, 0)
            .await
            .unwrap();
        let mut made = Vec::new();
        while let Some(bytes) = assembly.next().await.unwrap() {
            made.extend(bytes);
        }
        (release.version().minor, made)
    })
}

fn child(folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "a_publisher_that_is_killed_anywhere_leaves_a_whole_release";
    command.args(["--exact", name]).env(FOLDER, folder);
    command.stdout(std::process::Stdio::null());
    command
}

#[test]
fn a_publisher_that_is_killed_anywhere_leaves_a_whole_release() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return publish_next(&PathBuf::from(folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let role = |name: &str| Signers::make(&folder.join("keys").join(name), 1).unwrap();
    let (release, channel) = (role("release").keys(1), role("channel").keys(1));
    publisher(folder)
        .first_root((&role("root"), 1), release, channel)
        .unwrap();
    let began = std::time::Instant::now();
    assert!(child(folder).status().unwrap().success());
    let whole = began.elapsed();
    let mut last = got(folder).0;
    let mut killed = 0;
    for round in 0..ROUNDS {
        let mut publisher = child(folder).spawn().unwrap();
        // The moment is the fault: spread over a whole run and a little more.
        std::thread::sleep(whole.mul_f64(f64::from(round) * 1.2 / f64::from(ROUNDS)));
        let _ = publisher.kill();
        killed += u32::from(publisher.wait().unwrap().signal().is_some());
        let (version, made) = got(folder);
        assert!(
            version == last || version == last + 1,
            "{last} then {version}"
        );
        assert!(
            made == uki(version),
            "round {round}: release {version} is not whole"
        );
        last = version;
    }
    assert!(
        killed > 0,
        "every round came to its end: the test shows nothing"
    );
    assert!(
        child(folder).status().unwrap().success(),
        "the next publisher goes on"
    );
    assert_eq!(got(folder).0, last + 1);
}
