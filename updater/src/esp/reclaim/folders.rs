//! The folders of a FAT32 volume: every file and folder, with its long name and where its entries lie.
//!
//! It follows what the entries say and judges nothing; a volume of any content ends.

use super::ReclaimError;
use super::table::{Chain, Table, u32_at};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

const ENTRY: usize = 32;
/// More files than any ESP has.
const MOST: usize = 1 << 16;
const LONG: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The folder's path, in capitals.
    pub(super) folder: String,
    /// Its name.
    pub(super) name: String,
    /// Where its own entry lies, in bytes.
    pub(super) at: u64,
    /// Where all its entries lie, those of the long name too.
    pub(super) slots: Vec<u64>,
    /// Its first cluster; 0 where it is empty.
    pub(super) start: u32,
    /// Whether its chain comes to an end.
    pub(super) chain: Chain,
    is_folder: bool,
}

/// Everything, the root folder first.
pub(super) fn walk(file: &File, table: &Table) -> Result<Vec<Found>, ReclaimError> {
    let mut all = vec![Found {
        folder: String::new(),
        name: String::new(),
        at: u64::MAX,
        slots: Vec::new(),
        start: table.layout.root,
        chain: table.chain(table.layout.root).end,
        is_folder: true,
    }];
    let mut seen = BTreeSet::new();
    let mut next = 0;
    while let Some(entry) = all.get(next).cloned() {
        next += 1;
        if all.len() > MOST {
            return Err(ReclaimError::Format("too many files"));
        }
        if !entry.is_folder {
            continue;
        }
        // A folder in which something cannot be found would lose all of it.
        if entry.chain != Chain::Whole || !seen.insert(entry.start) {
            return Err(ReclaimError::Format("a folder is torn"));
        }
        let path = match (&*entry.folder, &*entry.name) {
            (_, "") => String::new(),
            ("", name) => name.to_uppercase(),
            (folder, name) => format!("{folder}/{}", name.to_uppercase()),
        };
        all.extend(read(file, table, &entry, &path)?);
    }
    Ok(all)
}

fn read(
    file: &File,
    table: &Table,
    folder: &Found,
    path: &str,
) -> Result<Vec<Found>, ReclaimError> {
    let mut found = Vec::new();
    let mut long = Long::default();
    let mut cluster = vec![0; usize::try_from(table.layout.cluster).unwrap_or(0)];
    for number in table.chain(folder.start).clusters {
        let start = table.layout.at(number);
        file.read_exact_at(&mut cluster, start)?;
        for (at, entry) in (start..).step_by(ENTRY).zip(cluster.chunks_exact(ENTRY)) {
            match (entry[0], entry[11]) {
                (0, _) => return Ok(found),
                (0xe5, _) => long = Long::default(),
                (_, LONG) => long.take(entry, at),
                (b'.', _) => long = Long::default(),
                (_, attributes) if attributes & LABEL != 0 => long = Long::default(),
                (_, attributes) => {
                    let long = std::mem::take(&mut long);
                    let start = u32::from(entry[26]) | u32::from(entry[27]) << 8;
                    let start = start | (u32_at(entry, 18) >> 16 & 0xffff) << 16;
                    let (name, mut slots) = long.name(entry);
                    slots.push(at);
                    let is_folder = attributes & FOLDER != 0;
                    let chain = match is_folder {
                        true => table.chain(start).end,
                        false => table.chain_of(start, u32_at(entry, 28)),
                    };
                    found.push(Found {
                        folder: path.to_owned(),
                        name,
                        at,
                        slots,
                        start,
                        chain,
                        is_folder,
                    });
                }
            }
        }
    }
    Ok(found)
}

/// A long name, from its last part to its first.
#[derive(Default)]
struct Long {
    units: Vec<u16>,
    slots: Vec<u64>,
    checksum: u8,
}

impl Long {
    fn take(&mut self, entry: &[u8], at: u64) {
        if entry[0] & 0x40 != 0 {
            *self = Self::default();
        }
        let parts = [&entry[1..11], &entry[14..26], &entry[28..32]];
        let units = parts.iter().flat_map(|part| part.chunks_exact(2));
        let mut units: Vec<u16> = units.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        units.append(&mut self.units);
        self.units = units;
        self.slots.push(at);
        self.checksum = entry[13];
    }

    /// The name; a long one that does not belong to this entry is none of its own.
    fn name(self, entry: &[u8]) -> (String, Vec<u64>) {
        let sum = entry[..11]
            .iter()
            .fold(0u8, |sum, b| sum.rotate_right(1).wrapping_add(*b));
        if self.slots.is_empty() || sum != self.checksum {
            return (short(entry), Vec::new());
        }
        let units = self.units.into_iter().take_while(|unit| *unit != 0);
        let units: Vec<u16> = units.collect();
        (String::from_utf16_lossy(&units), self.slots)
    }
}

fn short(entry: &[u8]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match (part(&entry[..8]), part(&entry[8..11])) {
        (name, extension) if extension.is_empty() => name,
        (name, extension) => format!("{name}.{extension}"),
    }
}
