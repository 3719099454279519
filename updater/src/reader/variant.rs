//! As much of the GVariant serialization as ostree's objects need (GLib's "GVariant Specification",
//! section 2.5: framing offsets).
//!
//! Copies nothing and allocates nothing but lists as long as the input; any input gives a value or `None`.

/// Bytes of one framing offset in a container of `length` bytes.
const fn offset_size(length: usize) -> usize {
    match length {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// The ends of a tuple's first `count` members of variable size, and the end of its last member.
pub fn ends(tuple: &[u8], count: usize) -> Option<(Vec<usize>, usize)> {
    let size = offset_size(tuple.len());
    let last = tuple.len().checked_sub(count * size)?;
    // The first member's end stands last.
    let ends: Vec<_> = tuple[last..].chunks_exact(size).rev().map(number).collect();
    (ends.iter().all(|end| *end <= last) && ends.is_sorted()).then_some((ends, last))
}

/// The elements of an array whose elements have variable size and no alignment.
pub fn elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    if array.is_empty() {
        return Some(Vec::new());
    }
    let size = offset_size(array.len());
    let table = number(array.get(array.len().checked_sub(size)?..)?);
    let table = array.get(table..)?;
    if table.is_empty() || table.len() % size != 0 {
        return None;
    }
    let mut from = 0;
    let each = table.chunks_exact(size).map(|end| {
        let end = number(end);
        let element = array.get(from..end)?;
        from = end;
        Some(element)
    });
    each.collect()
}

/// A string: UTF-8, ended by its only zero byte.
pub fn string(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes.strip_suffix(b"\0")?).ok()?;
    (!text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tuples_and_arrays_of_the_specifications_examples() {
        // "Structure Example": ('foo', -1) is `foo\0`, 0xff, 0x04.
        let (found, last) = ends(b"foo\0\xff\x04", 1).unwrap();
        assert_eq!((found.as_slice(), last), (&[4][..], 5));
        // "Array of Strings Example": ['i', 'can', 'has', 'strings?'].
        let array = b"i\0can\0has\0strings?\0\x02\x06\x0a\x13";
        let texts: Option<Vec<_>> = elements(array).unwrap().into_iter().map(string).collect();
        assert_eq!(texts.unwrap(), ["i", "can", "has", "strings?"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), count in 0usize..8) {
            let _ = ends(&bytes, count);
            let _ = elements(&bytes);
            let _ = string(&bytes);
        }
    }
}
