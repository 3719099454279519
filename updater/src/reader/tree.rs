//! Commits and folders (`OSTREE_COMMIT_GVARIANT_FORMAT`, `OSTREE_TREE_GVARIANT_FORMAT` in libostree's
//! ostree-core.h).
//!
//! Pure: bytes in, values out. Their checksums are checked by the caller, before.

use formats::digest::{Hex, Sha256};

use super::variant::{elements, ends, string};

/// What a folder holds, by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its files.
    pub files: Vec<(String, Sha256)>,
    /// Its folders.
    pub folders: Vec<(String, Sha256)>,
}

/// The root folder of a commit: `(a{sv}aya(say)sstayay)`, the member before the last.
pub fn root_of(commit: &[u8]) -> Option<Sha256> {
    let (ends, last) = ends(commit, 6)?;
    let text_end = ends[4];
    let time = text_end.checked_next_multiple_of(8)?..text_end.checked_next_multiple_of(8)? + 8;
    let tree = checksum(commit.get(time.end..ends[5])?)?;
    checksum(commit.get(ends[5]..last)?)?;
    Some(tree)
}

/// A folder: `(a(say)a(sayay))`.
pub fn folder(bytes: &[u8]) -> Option<Folder> {
    let (ends, last) = ends(bytes, 1)?;
    let files = elements(&bytes[..ends[0]])?.into_iter().map(file_entry);
    let folders = elements(&bytes[ends[0]..last])?
        .into_iter()
        .map(folder_entry);
    let folder = Folder {
        files: files.collect::<Option<_>>()?,
        folders: folders.collect::<Option<_>>()?,
    };
    let in_order = |list: &[(String, Sha256)]| list.windows(2).all(|two| two[0].0 < two[1].0);
    (in_order(&folder.files) && in_order(&folder.folders)).then_some(folder)
}

fn file_entry(entry: &[u8]) -> Option<(String, Sha256)> {
    let (ends, last) = ends(entry, 1)?;
    let name = name(&entry[..ends[0]])?;
    Some((name, checksum(&entry[ends[0]..last])?))
}

fn folder_entry(entry: &[u8]) -> Option<(String, Sha256)> {
    let (ends, last) = ends(entry, 2)?;
    checksum(&entry[ends[1]..last])?;
    let name = name(&entry[..ends[0]])?;
    Some((name, checksum(&entry[ends[0]..ends[1]])?))
}

fn name(bytes: &[u8]) -> Option<String> {
    let name = string(bytes)?;
    let plain = !matches!(name, "" | "." | "..") && !name.contains('/');
    plain.then(|| name.to_owned())
}

fn checksum(bytes: &[u8]) -> Option<Sha256> {
    Some(Hex(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `([('a', <32 × 1>)], [('b', <32 × 2>, <32 × 3>)])`
    fn sample() -> Vec<u8> {
        let mut bytes = b"a\0".to_vec();
        bytes.extend([1; 32]);
        bytes.extend([2, 35]);
        bytes.extend(b"b\0");
        bytes.extend([2; 32]);
        bytes.extend([3; 32]);
        bytes.extend([34, 2, 68, 36]);
        bytes
    }

    #[test]
    fn a_folder_gives_its_files_and_folders() {
        let folder = folder(&sample()).unwrap();
        assert_eq!(folder.files, [("a".to_owned(), Hex([1; 32]))]);
        assert_eq!(folder.folders, [("b".to_owned(), Hex([2; 32]))]);
    }

    #[test]
    fn a_torn_folder_is_refused_at_every_length() {
        for length in 0..sample().len() {
            assert_eq!(folder(&sample()[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = root_of(&bytes);
            let _ = folder(&bytes);
        }

        #[test]
        fn no_flipped_byte_makes_it_panic(at in 0usize..106, by in 1u8..) {
            let mut bytes = sample();
            bytes[at] ^= by;
            let _ = folder(&bytes);
            let _ = root_of(&bytes);
        }
    }
}
