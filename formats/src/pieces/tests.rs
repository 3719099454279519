//! Cuts are the same everywhere: golden, and for any bytes at all.

use std::convert::Infallible;

use super::*;
use proptest::prelude::*;

fn lengths(file: &[u8]) -> Vec<u64> {
    let mut read = |at: u64, buffer: &mut [u8]| -> Result<(), Infallible> {
        let at = usize::try_from(at).unwrap();
        buffer.copy_from_slice(&file[at..at + buffer.len()]);
        Ok(())
    };
    cut(file.len() as u64, &mut read).unwrap()
}

fn record(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    let (size, name_size) = (data.len(), name.len() + 1);
    for field in [0, mode as usize, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0] {
        bytes.extend(format!("{field:08x}").bytes());
    }
    bytes.extend(name.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A PE file with `.linux` of `kernel` bytes at 0x400 and `.initrd` after it.
fn uki(kernel: usize, initrd: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 0x400];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 0x40;
    file[0x40..0x44].copy_from_slice(b"PE\0\0");
    file[0x46] = 2;
    let sections = [
        (b".linux\0\0", 0x400, kernel),
        (b".initrd\0", 0x400 + kernel, initrd.len()),
    ];
    for (index, (name, start, size)) in sections.into_iter().enumerate() {
        let at = 0x58 + index * 40;
        file[at..at + 8].copy_from_slice(name);
        file[at + 16..at + 20].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        file[at + 20..at + 24].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
    }
    file.resize(0x400 + kernel, 7);
    file.extend(initrd);
    file
}

fn initrd(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in files {
        bytes.extend(record(name, 0o100_644, data));
    }
    bytes.extend(record("TRAILER!!!", 0, b""));
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn golden_cuts() {
    let large = vec![1; 20_001];
    let first = initrd(&[("a", b"small"), ("b", &large), ("c", b"small")]);
    let second = initrd(&[("agent", &large)]);
    let file = uki(0x20_0000 + 512, &[first, second].concat());
    // Headers; kernel in steps and its rest; a and b's header; b; c, trailer and agent's header; agent; trailer.
    let expected = [1024, 1 << 20, 1 << 20, 512, 232, 20_004, 360, 20_004, 360];
    assert_eq!(lengths(&file), expected);
}

#[test]
fn a_file_that_grows_leaves_the_pieces_of_all_others() {
    let (before, after) = (vec![2; 1 << 20], vec![3; 40_000]);
    let cuts = |middle: &[u8]| {
        let file = uki(
            40_000,
            &initrd(&[("a", &before), ("b", middle), ("c", &after)]),
        );
        let mut at = 0;
        let pieces = lengths(&file).into_iter().map(|length| {
            let length = usize::try_from(length).unwrap();
            at += length;
            file[at - length..at].to_vec()
        });
        pieces.collect::<Vec<_>>()
    };
    let (old, new) = (cuts(&vec![4; 50_000]), cuts(&vec![5; 60_000]));
    let changed: usize = new
        .iter()
        .filter(|piece| !old.contains(piece))
        .map(Vec::len)
        .sum();
    // b, its header, the PE header with the sizes, and the padding at the end.
    assert!(changed < 62_000, "{changed}");
}

#[test]
fn an_empty_file_has_no_pieces() {
    assert!(lengths(&[]).is_empty());
    assert_eq!(lengths(&[1]), [1]);
}

#[test]
fn names_are_offsets_in_order() {
    assert_eq!(
        (name(0xa3f), offset("00000a3f")),
        ("00000a3f".to_owned(), Some(0xa3f))
    );
    for bad in ["", "a3f", "00000A3F", "0000000a3f", "+0000a3f"] {
        assert_eq!(offset(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_cut_whole(tail in prop::collection::vec(any::<u8>(), 0..4096), at in 0usize..20_000, by in 1u8..) {
        let large = vec![1; 20_000];
        let mut file = uki(17_000, &initrd(&[("a", &large), ("b", b"x")]));
        let at = at % file.len();
        file[at] ^= by;
        file.extend(tail);
        let lengths = lengths(&file);
        prop_assert_eq!(lengths.iter().sum::<u64>(), file.len() as u64);
        prop_assert!(lengths.iter().all(|length| (1..=MAX_PIECE).contains(length)));
    }
}
