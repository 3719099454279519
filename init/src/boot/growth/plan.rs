//! What has to be written so that STATE reaches to the end of its disk.
//!
//! Pure: blocks of a disk in, writes out. The disk is the only memory: whatever write was the last
//! one before a cut, the next plan goes on from there, and one copy of the table is always whole.

use super::table::{Extent, Table};
use crate::boot::gpt::{GptError, u64_at};
use formats::paths::STATE_PARTITION_TYPE;

/// Partitions end on borders of this many bytes.
const ALIGNMENT: u64 = 1 << 20;

/// One copy of the table; what it holds may reach the disk in any order, and is flushed before the
/// next step begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// For people.
    pub name: &'static str,
    /// Byte offsets and what goes there.
    pub writes: Vec<(u64, Vec<u8>)>,
}

/// What to do, and where STATE is afterwards.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// In this order; none when the table is as it should be.
    pub steps: Vec<Step>,
    /// STATE.
    pub state: Extent,
}

/// Why a disk is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Odd {
    /// Nothing to start from.
    #[error("no copy of its partition table is whole")]
    NoTable,
    /// The table was made for another disk.
    #[error("its partition table speaks of {0} blocks more than the disk has")]
    Shrunk(u64),
    /// Not the one STATE that there should be.
    #[error("expected one partition of STATE's type, found {0}")]
    Count(usize),
    /// Something is behind STATE, or inside it.
    #[error("partition {0} does not end before STATE begins")]
    NotLast(u32),
    /// Fields that contradict each other.
    #[error("the partition table is none of ours: {0}")]
    Foreign(&'static str),
    /// Two tables, and no way to know which one is meant.
    #[error("the first partition table is damaged and the last one is another disk's")]
    Stranger,
}

/// A disk's geometry, in blocks.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    /// Bytes of a block.
    pub block: usize,
    /// The last block's number.
    pub last: u64,
}

/// Plans. `read` takes a block and a length in bytes.
///
/// # Errors
/// [`Odd`]: nothing may be written.
pub fn plan(
    geometry: Geometry,
    mut read: impl FnMut(u64, usize) -> Option<Vec<u8>>,
) -> Result<Plan, Odd> {
    let Geometry { block, last } = geometry;
    let first_block = read(0, block).unwrap_or_default();
    match Table::read(1, block, &mut read) {
        Ok(primary) if primary.other_copy() > last => Err(Odd::Shrunk(primary.other_copy() - last)),
        Ok(primary) if primary.other_copy() == last => Ok(Plan {
            steps: Vec::new(),
            state: the_state(&primary)?,
        }),
        Ok(primary) => enlarge(primary, geometry, &first_block),
        // A cut while the first copy was written: the last one is whole, and newer.
        Err(GptError::Damaged) => {
            let torn = read(1, block).unwrap_or_default();
            let backup = Table::read(last, block, &mut read).map_err(|_| Odd::NoTable)?;
            if !backup.same_disk(&torn) {
                return Err(Odd::Stranger);
            }
            // Whatever was torn, the entries have always been right behind the header.
            in_its_place(u64_at(&torn, 72).unwrap_or(0), &backup, block)?;
            Ok(Plan {
                state: the_state(&backup)?,
                steps: start_steps(&backup, geometry, &first_block),
            })
        }
        Err(GptError::Absent) => Err(Odd::NoTable),
    }
}

fn the_state(table: &Table) -> Result<Extent, Odd> {
    let (all, found) = table.partitions(STATE_PARTITION_TYPE);
    let [state] = found[..] else {
        return Err(Odd::Count(found.len()));
    };
    if state.first > state.last || state.first < table.first_usable() {
        return Err(Odd::Foreign("STATE lies outside of what it calls usable"));
    }
    let mut others = all.iter().filter(|other| other.number != state.number);
    match others.find(|other| other.last >= state.first) {
        Some(other) => Err(Odd::NotLast(other.number)),
        None => Ok(state),
    }
}

fn in_its_place(entries_block: u64, table: &Table, block: usize) -> Result<(), Odd> {
    let room = table.first_usable() >= 2 + table.entries_blocks(block);
    (entries_block == 2 && room)
        .then_some(())
        .ok_or(Odd::Foreign("its entries are not right behind its header"))
}

fn enlarge(mut table: Table, geometry: Geometry, first_block: &[u8]) -> Result<Plan, Odd> {
    let Geometry { block, last } = geometry;
    let mut state = the_state(&table)?;
    let entries = table.entries_blocks(block);
    in_its_place(table.entries_block(), &table, block)?;
    let last_usable = last.saturating_sub(entries + 1);
    let unit = ALIGNMENT / block as u64;
    let end = (last_usable + 1) / unit * unit;
    if end <= state.last + 1 {
        let steps = Vec::new();
        return Ok(Plan { steps, state });
    }
    state.last = end - 1;
    table.set_last(state.number, state.last);
    table.set_last_usable(last_usable);
    let mut steps = vec![backup_step(&table, geometry)];
    steps.extend(start_steps(&table, geometry, first_block));
    Ok(Plan { steps, state })
}

fn backup_step(table: &Table, Geometry { block, last }: Geometry) -> Step {
    let at = last - table.entries_blocks(block);
    let (header, entries) = table.write(last, 1, at, block);
    let offset = |at: u64| at * block as u64;
    Step {
        name: "the partition table at the disk's end",
        writes: vec![(offset(at), entries), (offset(last), header)],
    }
}

/// The protective MBR goes first: with the table all is done, and nothing reminds of it.
fn start_steps(table: &Table, geometry: Geometry, first_block: &[u8]) -> Vec<Step> {
    let mbr = protective(first_block, geometry.last).map(|bytes| Step {
        name: "the protective MBR",
        writes: vec![(0, bytes)],
    });
    let last = Some(primary_step(table, geometry));
    mbr.into_iter().chain(last).collect()
}

fn primary_step(table: &Table, Geometry { block, last }: Geometry) -> Step {
    let (header, entries) = table.write(1, last, 2, block);
    Step {
        name: "the partition table at the disk's start",
        writes: vec![(2 * block as u64, entries), (block as u64, header)],
    }
}

/// The protective MBR for a disk that ends at `last`; none when it is not just that, or right already.
fn protective(first_block: &[u8], last: u64) -> Option<Vec<u8>> {
    let records = first_block.get(446..510)?;
    let alone = records[4] == 0xee && records[16..].iter().all(|byte| *byte == 0);
    let blocks = u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes();
    if !alone || records[8..12] != 1u32.to_le_bytes() || records[12..16] == blocks {
        return None;
    }
    let mut bytes = first_block.to_vec();
    bytes[458..462].copy_from_slice(&blocks);
    Some(bytes)
}

#[cfg(test)]
mod tests;
