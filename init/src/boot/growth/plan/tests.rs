//! The plan on disks in memory, cut at every sector.
//!
//! A disk is whole when one copy of its table is where a kernel looks for it: at block 1, or else
//! at the last block.

use super::*;
use crate::boot::gpt::{self, guid_bytes};
use proptest::prelude::*;

const BLOCK: usize = 512;
const MIB: usize = 1 << 20;
const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

fn geometry(disk: &[u8]) -> Geometry {
    Geometry {
        block: BLOCK,
        last: (disk.len() / BLOCK - 1) as u64,
    }
}

fn reader(disk: &[u8]) -> impl FnMut(u64, usize) -> Option<Vec<u8>> {
    |at, length| {
        let start = usize::try_from(at).ok()?.checked_mul(BLOCK)?;
        Some(disk.get(start..start.checked_add(length)?)?.to_vec())
    }
}

fn planned(disk: &[u8]) -> Result<Plan, Odd> {
    plan(geometry(disk), reader(disk))
}

/// A disk with these partitions: type, first and last block.
fn disk(size: usize, partitions: &[(&str, u64, u64)]) -> Vec<u8> {
    let mut disk = vec![0; size];
    let mut entries = vec![0; 128 * 128];
    for (entry, (kind, first, last)) in entries.chunks_mut(128).zip(partitions) {
        entry[..16].copy_from_slice(&guid_bytes(kind).unwrap());
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let mut header = gpt::test_header(2, 128, &entries);
    let last = geometry(&disk).last;
    header[40..48].copy_from_slice(&34u64.to_le_bytes());
    header[48..56].copy_from_slice(&(last - 33).to_le_bytes());
    header[56..72].copy_from_slice(b"the disk's guid.");
    let table = Table::of(header, entries);
    disk[446 + 4] = 0xee;
    disk[446 + 8] = 1;
    disk[458..462].copy_from_slice(&u32::try_from(last).unwrap().to_le_bytes());
    let writes = [
        primary_step(&table, geometry(&disk)),
        backup_step(&table, geometry(&disk)),
    ];
    for (at, bytes) in writes.iter().flat_map(|step| &step.writes) {
        put(&mut disk, *at, bytes);
    }
    disk
}

/// ESP, and STATE from 2 MiB to the last MiB.
fn ours(size: usize) -> Vec<u8> {
    let end = (size / MIB - 1) * MIB / BLOCK;
    disk(
        size,
        &[
            (ESP, 2048, 4095),
            (STATE_PARTITION_TYPE, 4096, end as u64 - 1),
        ],
    )
}

fn put(disk: &mut [u8], at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A step as the writes of single sectors.
fn sectors(step: &Step) -> Vec<(u64, Vec<u8>)> {
    let all = step.writes.iter().flat_map(|(at, bytes)| {
        let numbered = (0u64..).zip(bytes.chunks(BLOCK));
        numbered.map(move |(n, part)| (at + n * BLOCK as u64, part.to_vec()))
    });
    all.collect()
}

/// The table that a kernel with `gpt` on its command line uses.
fn table(disk: &[u8]) -> Option<Table> {
    let mut read = reader(disk);
    let last = geometry(disk).last;
    let primary = Table::read(1, BLOCK, &mut read);
    primary
        .or_else(|_| Table::read(last, BLOCK, &mut read))
        .ok()
}

/// Boots: plans and does all of it.
fn boot(disk: &mut [u8]) -> Plan {
    let plan = planned(disk).unwrap();
    for (at, bytes) in plan.steps.iter().flat_map(|step| &step.writes) {
        put(disk, *at, bytes);
    }
    plan
}

fn state_of(disk: &[u8]) -> Extent {
    the_state(&table(disk).expect("one copy of the table is whole")).unwrap()
}

/// After a cut: a table, STATE where it began, and a boot that ends where an uncut one does.
fn survives(mut cut: Vec<u8>, small: &[u8], grown: &[u8]) {
    let (before, after) = (state_of(small), state_of(grown));
    let found = state_of(&cut);
    assert!(found == before || found == after, "{found:?}");
    boot(&mut cut);
    assert!(
        cut == grown,
        "the next boot does not end where an uncut one does"
    );
    assert!(planned(&cut).unwrap().steps.is_empty());
}

#[test]
fn state_grows_to_the_last_mebibyte_and_then_nothing_is_left_to_do() {
    let mut larger = ours(4 * MIB);
    larger.resize(9 * MIB, 0);
    let plan = boot(&mut larger);
    assert_eq!((plan.state.first, plan.state.last), (4096, 8 * 2048 - 1));
    assert!(larger == grown_from_scratch(&larger), "as if made so large");
    assert!(planned(&larger).unwrap().steps.is_empty());
}

/// What the image builder would have made; the old copy in the middle is nobody's.
fn grown_from_scratch(larger: &[u8]) -> Vec<u8> {
    let mut made = ours(larger.len());
    let middle = 3 * MIB..4 * MIB;
    made[middle.clone()].copy_from_slice(&larger[middle]);
    made
}

#[test]
fn a_cut_after_any_sector_leaves_a_table_and_the_next_boot_completes() {
    let mut small = ours(4 * MIB);
    small.resize(6 * MIB, 0);
    let mut grown = small.clone();
    let plan = boot(&mut grown);
    let mut cut = small.clone();
    survives(cut.clone(), &small, &grown);
    for (at, bytes) in plan.steps.iter().flat_map(sectors) {
        put(&mut cut, at, &bytes);
        survives(cut.clone(), &small, &grown);
    }
    assert!(cut == grown);
}

#[test]
fn a_few_more_sectors_hold_a_new_copy_over_the_old_one_all_the_same() {
    for more in 1..33 {
        let mut small = ours(4 * MIB);
        small.resize(4 * MIB + more * BLOCK, 0);
        let plan = planned(&small).unwrap();
        // Less than a mebibyte is not worth a write.
        assert!(plan.steps.is_empty());
    }
    let mut small = disk(4 * MIB, &[(STATE_PARTITION_TYPE, 4096, 6100)]);
    small.resize(4 * MIB + 8 * BLOCK, 0);
    let mut grown = small.clone();
    let plan = boot(&mut grown);
    let mut cut = small.clone();
    for (at, bytes) in plan.steps.iter().flat_map(sectors) {
        put(&mut cut, at, &bytes);
        survives(cut.clone(), &small, &grown);
    }
}

#[test]
fn what_is_odd_is_refused_by_name() {
    let mut behind = disk(
        4 * MIB,
        &[(STATE_PARTITION_TYPE, 2048, 4095), (ESP, 4096, 6143)],
    );
    behind.resize(9 * MIB, 0);
    assert_eq!(planned(&behind), Err(Odd::NotLast(2)));
    let two = [
        (STATE_PARTITION_TYPE, 2048, 4095),
        (STATE_PARTITION_TYPE, 4096, 6143),
    ];
    let mut two = disk(4 * MIB, &two);
    two.resize(9 * MIB, 0);
    assert_eq!(planned(&two), Err(Odd::Count(2)));
    let shrunk = &ours(9 * MIB)[..8 * MIB];
    assert_eq!(planned(shrunk), Err(Odd::Shrunk(2048)));
    assert_eq!(planned(&vec![0; MIB]), Err(Odd::NoTable));
}

#[test]
fn entries_that_lie_elsewhere_are_not_written_behind_the_header() {
    let mut disk = ours(4 * MIB);
    disk[1024] ^= 1;
    disk[BLOCK + 72] = 40;
    let refused = Odd::Foreign("its entries are not right behind its header");
    assert_eq!(planned(&disk), Err(refused));
}

#[test]
fn the_end_of_another_disk_does_not_replace_a_damaged_start() {
    let mut disk = ours(4 * MIB);
    disk[1024] ^= 1;
    let mut strange = disk.clone();
    assert_eq!(planned(&disk).unwrap().steps.len(), 1);
    // Another disk's header, whole in itself.
    let last = geometry(&strange).last;
    let mut other = Table::read(last, BLOCK, &mut reader(&strange)).unwrap();
    other.set_guid(*b"another one.....");
    for (at, bytes) in backup_step(&other, geometry(&disk)).writes {
        put(&mut strange, at, &bytes);
    }
    assert_eq!(planned(&strange), Err(Odd::Stranger));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn sectors_of_one_step_may_reach_the_disk_in_any_order(
        step in 0usize..3, kept in prop::collection::vec(any::<bool>(), 40)
    ) {
        let mut small = ours(4 * MIB);
        small.resize(6 * MIB, 0);
        let mut grown = small.clone();
        let plan = boot(&mut grown);
        let mut cut = small.clone();
        for (at, bytes) in plan.steps[..step].iter().flat_map(sectors) {
            put(&mut cut, at, &bytes);
        }
        for ((at, bytes), _) in sectors(&plan.steps[step]).iter().zip(kept).filter(|(_, kept)| *kept) {
            put(&mut cut, *at, bytes);
        }
        survives(cut, &small, &grown);
    }

    #[test]
    fn no_table_makes_the_planner_panic(
        at in 0usize..100, bit in 0u8..8, size in 1usize..6, fix in any::<bool>()
    ) {
        let mut disk = ours(4 * MIB);
        disk[BLOCK + at] ^= 1 << bit;
        if fix {
            disk[BLOCK + 16..BLOCK + 20].fill(0);
            let crc = gpt::crc32(&disk[BLOCK..BLOCK + 92]);
            disk[BLOCK + 16..BLOCK + 20].copy_from_slice(&crc.to_le_bytes());
        }
        disk.resize(size * MIB, 0);
        if let Ok(plan) = planned(&disk) {
            for (at, bytes) in plan.steps.iter().flat_map(|step| &step.writes) {
                prop_assert!(*at as usize + bytes.len() <= disk.len());
            }
        }
    }
}
