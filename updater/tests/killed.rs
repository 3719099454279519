//! An updater that is killed at any moment, or is not the only one: a name that boots is whole, and the
//! next updater goes on.
//!
//! The updater is this program again, on a folder instead of an ESP.

use formats::digest::Hex;
use formats::update::{Memory, Phase};
use formats::version::Version;
use sha2::Digest;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use updater::daemon::records::Records;
use updater::esp::plan::{self, Wanted};
use updater::esp::volume::Mounted;

/// The folder that the updater's process works in; set in the process that is killed.
const FOLDER: &str = "SKEG_TEST_STAGE_IN";
const KILLS: u32 = 200;
const LENGTH: usize = 512 << 10;
const TRIAL: &str = "skeg_1.1.0+3.efi";

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// A UKI's outline that says it is release 1.1.0.
fn uki() -> Vec<u8> {
    let text = b"IMAGE_ID=skeg\nIMAGE_VERSION=1.1.0\n";
    let mut file = vec![0; 0x400];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    file[0x40..0x44].copy_from_slice(b"PE\0\0");
    file[0x46] = 1;
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    file[0x58..0x5e].copy_from_slice(b".osrel");
    for at in [0x60, 0x68] {
        file[at..at + 4].copy_from_slice(&length);
    }
    file[0x6c..0x70].copy_from_slice(&0x400u32.to_le_bytes());
    file.extend(text);
    let rest = (file.len()..LENGTH).map(|n| ((n * 31) >> 5) as u8);
    file.extend(rest.collect::<Vec<_>>());
    file
}

fn records(folder: &Path) -> Records {
    Records {
        memory: folder.join("state.json"),
        boot_ok: folder.join("boot-ok.json"),
        denied: folder.join("denied"),
    }
}

/// What an updater does between two reboots: stages, remembers.
fn stage(folder: &Path) -> Result<(), String> {
    let (product, bytes) = ("skeg".parse().unwrap(), uki());
    let wanted = Wanted {
        version: version("1.1.0"),
        length: bytes.len() as u64,
        sha256: Hex(sha2::Sha256::digest(&bytes).into()),
    };
    let esp = Mounted::folder(&folder.join("esp"));
    let told = |e: &dyn std::fmt::Display| e.to_string();
    let remember = |phase| {
        let memory = Memory {
            phase,
            ..Memory::new("b")
        };
        records(folder).remember(&memory).map_err(|e| told(&e))
    };
    remember(Phase::Staging {
        version: wanted.version,
    })?;
    let slots = esp
        .slots(&product, version("1.0.0"))
        .map_err(|e| told(&e))?;
    let space = esp.space().map_err(|e| told(&e))?;
    let steps = plan::stage(&slots, space, &wanted).map_err(|e| told(&e))?;
    let mut blocks = bytes.chunks(64 << 10);
    let mut feed = || Ok(blocks.next().map(<[u8]>::to_vec));
    let carried = esp.carry_out(&steps, &product, &mut feed);
    carried.map_err(|e| told(&e))?;
    remember(Phase::Staged {
        version: wanted.version,
    })
}

fn updater(folder: &Path, test: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(FOLDER, folder);
    let silent = std::process::Stdio::null;
    command.stdout(silent()).stderr(silent()).spawn().unwrap()
}

fn host() -> tempfile::TempDir {
    // A kill loses nothing that was written, and the cuts are tested elsewhere: no disk is waited for.
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let slots = folder.path().join("esp/EFI/Linux");
    fs::create_dir_all(&slots).unwrap();
    fs::write(slots.join("skeg_1.0.0.efi"), "running").unwrap();
    folder
}

/// What lies there is what a cut may leave.
fn is_sound(folder: &Path, what: &str) {
    let slots = folder.join("esp/EFI/Linux");
    for entry in fs::read_dir(&slots).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = ["skeg_1.0.0.efi", "skeg_1.1.0.new", TRIAL];
        assert!(known.contains(&&*name), "{what}: {name}");
    }
    assert_eq!(fs::read(slots.join("skeg_1.0.0.efi")).unwrap(), b"running");
    if let Ok(found) = fs::read(slots.join(TRIAL)) {
        assert!(found == uki(), "{what}: a name that boots is not whole");
    }
    let (_, torn) = records(folder).recall("b");
    assert_eq!(torn, None, "{what}");
}

fn ends_whole(folder: &Path) {
    stage(folder).unwrap();
    let names = fs::read_dir(folder.join("esp/EFI/Linux")).unwrap();
    assert_eq!(names.count(), 2);
    assert_eq!(
        fs::read(folder.join("esp/EFI/Linux").join(TRIAL)).unwrap(),
        uki()
    );
    let (memory, _) = records(folder).recall("b");
    assert!(matches!(memory.phase, Phase::Staged { .. }));
    // Each of the others is on the disk too, or was never seen.
    let state = fs::read_dir(folder).unwrap().flatten();
    let left: Vec<_> = state.map(|e| e.file_name()).collect();
    assert!(left.len() <= 3, "left behind: {left:?}");
}

#[test]
fn an_updater_that_is_killed_at_200_moments_never_leaves_half_a_release_under_a_name_that_boots() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return stage(&PathBuf::from(folder)).unwrap();
    }
    let test = "an_updater_that_is_killed_at_200_moments_never_leaves_half_a_release_under_a_name_that_boots";
    let folder = host();
    let began = std::time::Instant::now();
    assert!(updater(folder.path(), test).wait().unwrap().success());
    let whole = began.elapsed().max(Duration::from_millis(20));
    let mut killed = 0;
    for round in 0..KILLS {
        let mut child = updater(folder.path(), test);
        // The moment is the fault: spread over a whole run.
        std::thread::sleep(whole.mul_f64(f64::from(round * 37 % KILLS) / f64::from(KILLS)));
        let _ = child.kill();
        killed += u32::from(child.wait().unwrap().signal().is_some());
        is_sound(folder.path(), &format!("kill {round}"));
    }
    assert!(
        killed > KILLS / 10,
        "only {killed} were killed before their end"
    );
    ends_whole(folder.path());
}

#[test]
fn of_two_updaters_at_once_neither_gives_half_a_release_a_name_that_boots() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        // The other one may take the file away: an error, and no more.
        let _ = stage(&PathBuf::from(folder));
        return;
    }
    let test = "of_two_updaters_at_once_neither_gives_half_a_release_a_name_that_boots";
    let folder = host();
    for round in 0..20 {
        let mut both = [updater(folder.path(), test), updater(folder.path(), test)];
        for child in &mut both {
            child.wait().unwrap();
        }
        is_sound(folder.path(), &format!("round {round}"));
    }
    ends_whole(folder.path());
}
