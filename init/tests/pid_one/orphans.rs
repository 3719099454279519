//! Ten thousand orphans for PID 1: forked by a role, disowned in groups, reaped without an allocation.
//!
//! What PID 1 allocates is told by itself after each turn; the rest is `/proc`'s word.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

const GROUPS: usize = 100;
const IN_A_GROUP: usize = 100;

/// Where the host tells how often it has allocated.
const COUNT: &str = "allocations";

/// What the host does after each of its turns; it allocates nothing itself.
pub fn teller(folder: &Path) -> impl FnMut() + use<> {
    let file = File::create(folder.join(COUNT)).unwrap();
    move || {
        let bytes = sys::counting::allocations().to_le_bytes();
        file.write_all_at(&bytes, 0).unwrap();
    }
}

fn allocations(folder: &Path) -> usize {
    let bytes = fs::read(folder.join(COUNT)).unwrap();
    usize::from_le_bytes(bytes.try_into().unwrap())
}

/// Pages of PID 1's own, in kB.
fn anonymous() -> u64 {
    let text = fs::read_to_string("/proc/1/smaps_rollup").unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.unwrap().parse().unwrap()
}

/// Makes orphans: their parent ends as soon as it has them all.
fn disown(how_many: usize) {
    let parent = sys::reap::run_in_copy(|| {
        for _ in 0..how_many {
            if sys::reap::run_in_copy(|| 0).is_err() {
                return 1;
            }
        }
        0
    });
    let parent = i32::try_from(parent.unwrap()).unwrap();
    let parent = rustix::process::Pid::from_raw(parent);
    let ended = rustix::process::waitpid(parent, rustix::process::WaitOptions::empty());
    let (_, status) = ended.unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}

/// Waits until no child of PID 1 is left but this role.
fn await_reaped() {
    let is_orphan = |name: &str| {
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
        let of_pid_1 = stat.rsplit_once(')').is_some_and(|(_, rest)| {
            let mut fields = rest.split_whitespace();
            fields.nth(1) == Some("1")
        });
        of_pid_1 && name != std::process::id().to_string()
    };
    while fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.bytes().all(|b| b.is_ascii_digit()) && is_orphan(&name)
    }) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The role: the first group shows that the host is at rest and has touched its stack.
pub fn play(folder: &Path) {
    let status = || fs::read_to_string(folder.join("status.json")).unwrap_or_default();
    while !status().contains("\"running\"") {
        std::thread::sleep(Duration::from_millis(20));
    }
    disown(IN_A_GROUP);
    await_reaped();
    let before = (allocations(folder), anonymous());
    assert!(before.0 > 0, "the host does not tell its allocations");
    (0..GROUPS).for_each(|_| disown(IN_A_GROUP));
    await_reaped();
    assert_eq!((allocations(folder), anonymous()), before);
}
