//! The file allocation table of a FAT32 volume (Microsoft's FAT specification, 1.03): chains in, free
//! clusters and changed sectors out.
//!
//! It knows no names. The first copy is the one that counts, as the kernel has it.

use super::{ReclaimError, Write};
use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// No table is larger, in bytes: a volume of 16 GiB at 4 KiB a cluster.
const MOST: u64 = 16 << 20;
const MASK: u32 = 0x0fff_ffff;
const BAD: u32 = 0x0fff_fff7;
const END: u32 = 0x0fff_fff8;

/// Where things lie on a volume, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) sector: u64,
    pub(super) cluster: u64,
    tables: u64,
    table: u64,
    copies: u64,
    data: u64,
    /// One past the last cluster.
    pub(super) end: u32,
    pub(super) root: u32,
    information: u64,
    state: u8,
}

/// How a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chain {
    Whole,
    /// The same, behind what the file's length needs.
    Longer,
    /// Too early, or in a free, bad or impossible cluster, or in itself.
    Torn,
}

/// A chain.
#[derive(Debug)]
pub(super) struct Clusters {
    pub(super) clusters: Vec<u32>,
    pub(super) end: Chain,
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) layout: Layout,
    entries: Vec<u32>,
    /// All copies as they are.
    before: Vec<Vec<u8>>,
    information: Vec<u8>,
}

impl Layout {
    fn parse(boot: &[u8]) -> Result<Self, ReclaimError> {
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let u32_at = |at: usize| u32_at(boot, at);
        let (sector, per_cluster) = (u16_at(11), u64::from(boot[13]));
        let (reserved, copies, table) = (u16_at(14), u64::from(boot[16]), u64::from(u32_at(36)));
        let total = u64::from(u32_at(32));
        if boot[510..512] != [0x55, 0xaa] || u16_at(17) != 0 || u16_at(22) != 0 || table == 0 {
            return Err(ReclaimError::Format("no FAT32"));
        }
        let sane = [512, 1024, 2048, 4096].contains(&sector)
            && per_cluster.is_power_of_two()
            && (1..=4).contains(&copies)
            && reserved >= 1
            && table * sector <= MOST;
        let data = reserved + copies * table;
        let clusters = total.checked_sub(data).map(|n| n / per_cluster.max(1));
        let (Some(clusters), true) = (clusters, sane) else {
            return Err(ReclaimError::Format("its boot sector makes no sense"));
        };
        if clusters + 2 > table * sector / 4 {
            return Err(ReclaimError::Format("its table is too short"));
        }
        Ok(Self {
            sector,
            cluster: sector * per_cluster,
            tables: reserved * sector,
            table: table * sector,
            copies,
            data: data * sector,
            end: u32::try_from(clusters + 2)
                .map_err(|_| ReclaimError::Format("too many clusters"))?,
            root: u32_at(44),
            information: u16_at(48) * sector,
            state: boot[65],
        })
    }

    /// Where a cluster lies.
    pub(super) fn at(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.cluster
    }
}

impl Table {
    pub(super) fn read(file: &File) -> Result<Self, ReclaimError> {
        let mut boot = vec![0; 512];
        file.read_exact_at(&mut boot, 0)?;
        let layout = Layout::parse(&boot)?;
        let mut before = Vec::new();
        for copy in 0..layout.copies {
            let mut bytes = vec![0; usize::try_from(layout.table).unwrap_or(0)];
            file.read_exact_at(&mut bytes, layout.tables + copy * layout.table)?;
            before.push(bytes);
        }
        let mut information = vec![0; 512];
        file.read_exact_at(&mut information, layout.information)?;
        let entries = before[0].chunks_exact(4).map(|b| u32_at(b, 0));
        Ok(Self {
            entries: entries.collect(),
            layout,
            before,
            information,
        })
    }

    /// The clusters from `start` on; none for an empty file.
    pub(super) fn chain(&self, start: u32) -> Clusters {
        let mut clusters = Vec::new();
        let mut next = start;
        let end = loop {
            match next {
                0 if clusters.is_empty() => break Chain::Whole,
                END..=MASK => break Chain::Whole,
                2.. if next < self.layout.end && clusters.len() < self.entries.len() => {
                    // A free cluster is nobody's, whatever a name says.
                    if self.entries[next as usize] & MASK == 0 {
                        break Chain::Torn;
                    }
                    clusters.push(next);
                    next = self.entries[next as usize] & MASK;
                }
                _ => break Chain::Torn,
            }
        };
        Clusters { clusters, end }
    }

    /// How the chain of a file of so many bytes ends.
    pub(super) fn chain_of(&self, start: u32, length: u32) -> Chain {
        let chain = self.chain(start);
        let needed = u64::from(length).div_ceil(self.layout.cluster.max(1));
        match (chain.clusters.len() as u64).cmp(&needed) {
            Ordering::Less => Chain::Torn,
            Ordering::Greater if chain.end == Chain::Whole => Chain::Longer,
            _ => chain.end,
        }
    }

    /// Frees every cluster that is taken and not kept; gives how many.
    pub(super) fn free_all_but(&mut self, kept: impl Fn(u32) -> bool) -> usize {
        let mut freed = 0;
        for cluster in 2..self.layout.end {
            let entry = &mut self.entries[cluster as usize];
            if *entry & MASK != 0 && *entry & MASK != BAD && !kept(cluster) {
                *entry &= !MASK;
                freed += 1;
            }
        }
        freed
    }

    /// The sectors of all copies that are not what they should be.
    pub(super) fn writes(&self) -> Vec<Write> {
        let wanted: Vec<u8> = self.entries.iter().flat_map(|e| e.to_le_bytes()).collect();
        let sector = usize::try_from(self.layout.sector).unwrap_or(512);
        let mut writes = Vec::new();
        for (copy, before) in (0..).zip(&self.before) {
            let at = self.layout.tables + copy * self.layout.table;
            let pairs = wanted.chunks(sector).zip(before.chunks(sector));
            for (number, (new, old)) in (0..).zip(pairs) {
                if new != old {
                    writes.push((at + number * self.layout.sector, new.to_vec()));
                }
            }
        }
        writes
    }

    /// The count of free clusters, and that the volume was left in order.
    pub(super) fn marks(&self) -> Vec<Write> {
        let mut marks = Vec::new();
        let used = self.entries[2..self.layout.end as usize].iter();
        let free = used.filter(|e| **e & MASK == 0).count();
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        let signed = self.layout.information != 0 && self.information.starts_with(b"RRaA");
        if signed && u32_at(&self.information, 488) != free {
            marks.push((self.layout.information + 488, free.to_le_bytes().to_vec()));
        }
        // The kernel's mark of a volume that is mounted, which a cut leaves for ever.
        if self.layout.state & 1 != 0 {
            marks.push((65, vec![self.layout.state & !1]));
        }
        marks
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
