//! Entry names: cleaned paths, and OCI's whiteouts told from ordinary names.
//!
//! Pure. A [`Name`] has no `..`, no empty part and no NUL; it says nothing of symbolic links, which
//! only the kernel can resolve safely.

use super::error::UnpackError;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";
/// Folders deeper than this are refused: removing them again takes a descriptor each.
pub const MAX_DEPTH: usize = 256;

/// A cleaned path below the layer's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The parent's path, `.` for the root.
    pub parent: Vec<u8>,
    /// The last part; empty for the root itself.
    pub last: Vec<u8>,
}

/// What an entry's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// An ordinary entry.
    Entry(Name),
    /// `.wh.NAME`: whatever NAME is in lower layers, it is gone.
    Whiteout(Name),
    /// `.wh..wh..opq`: nothing of this folder shines through from lower layers.
    Opaque(Vec<u8>),
    /// Bookkeeping of aufs, without meaning for anyone else.
    Skip,
}

impl Name {
    /// Cleans a path: leading slashes and `.` parts go, `..` is refused.
    ///
    /// # Errors
    /// For `..`, a NUL, or more than [`MAX_DEPTH`] parts.
    pub fn parse(path: &[u8]) -> Result<Self, UnpackError> {
        let parts: Vec<_> = path
            .split(|b| *b == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .collect();
        if path.contains(&0) {
            return Err(UnpackError::entry(path, "a name cannot contain NUL"));
        }
        if parts.contains(&&b".."[..]) {
            return Err(UnpackError::entry(path, "`..` would leave the layer"));
        }
        if parts.len() > MAX_DEPTH {
            let what = format!(
                "{} folders deep: at most {MAX_DEPTH} are allowed",
                parts.len()
            );
            return Err(UnpackError::entry(path, what));
        }
        let (last, parents) = parts
            .split_last()
            .map_or((&b""[..], &[][..]), |(l, p)| (*l, p));
        let parent = if parents.is_empty() {
            b".".to_vec()
        } else {
            parents.join(&b'/')
        };
        Ok(Self {
            parent,
            last: last.to_vec(),
        })
    }

    /// The whole path, `.` for the root.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        match (self.parent.as_slice(), self.last.as_slice()) {
            (parent, b"") => parent.to_vec(),
            (b".", last) => last.to_vec(),
            (parent, last) => [parent, b"/", last].concat(),
        }
    }
}

/// Tells what an entry's path means.
///
/// # Errors
/// As [`Name::parse`], and for whiteouts of nothing.
pub fn meaning(path: &[u8]) -> Result<Meaning, UnpackError> {
    let name = Name::parse(path)?;
    let is_aufs = |part: &[u8]| part.starts_with(AUFS) && part != OPAQUE;
    if name.parent.split(|b| *b == b'/').any(is_aufs) || is_aufs(&name.last) {
        return Ok(Meaning::Skip);
    }
    if name
        .parent
        .split(|b| *b == b'/')
        .any(|part| part.starts_with(WHITEOUT))
    {
        return Err(UnpackError::entry(path, "lies below a whiteout"));
    }
    if name.last == OPAQUE {
        return Ok(Meaning::Opaque(name.parent));
    }
    match name.last.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Entry(name)),
        Some(b"" | b"." | b"..") => Err(UnpackError::entry(path, "whiteout of nothing")),
        Some(hidden) => {
            let last = hidden.to_vec();
            Ok(Meaning::Whiteout(Name {
                parent: name.parent,
                last,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(parent: &str, last: &str) -> Name {
        Name {
            parent: parent.into(),
            last: last.into(),
        }
    }

    #[test]
    fn names_are_cleaned() {
        for (path, parent, last) in [
            ("a", ".", "a"),
            ("./a/b/", "a", "b"),
            ("/etc//passwd", "etc", "passwd"),
            ("./", ".", ""),
            ("", ".", ""),
            ("/", ".", ""),
            ("a/./b/c", "a/b", "c"),
            ("..a/...", "..a", "..."),
        ] {
            assert_eq!(
                Name::parse(path.as_bytes()).unwrap(),
                name(parent, last),
                "{path}"
            );
        }
    }

    #[test]
    fn names_that_leave_the_layer_are_refused() {
        for path in ["..", "../x", "a/../../x", "/..", "a/..", "a\0b"] {
            assert!(Name::parse(path.as_bytes()).is_err(), "{path}");
        }
        assert!(Name::parse("a/".repeat(257).as_bytes()).is_err());
    }

    #[test]
    fn whiteouts_are_told_from_names() {
        let whiteout = |p, l| Meaning::Whiteout(name(p, l));
        for (path, expected) in [
            ("a/.wh.b", whiteout("a", "b")),
            (".wh.x", whiteout(".", "x")),
            ("./.wh..hidden", whiteout(".", ".hidden")),
            ("a/.wh..wh..opq", Meaning::Opaque(b"a".to_vec())),
            (".wh..wh..opq", Meaning::Opaque(b".".to_vec())),
            (".wh..wh.plnk/1.2", Meaning::Skip),
            (".wh..wh.aufs", Meaning::Skip),
            ("a/.whx", Meaning::Entry(name("a", ".whx"))),
            ("a/x.wh.b", Meaning::Entry(name("a", "x.wh.b"))),
        ] {
            assert_eq!(meaning(path.as_bytes()).unwrap(), expected, "{path}");
        }
        for path in [
            ".wh.",
            ".wh..",
            ".wh...",
            "a/.wh.b/c",
            ".wh.a/.wh.b",
            "../.wh.x",
        ] {
            assert!(meaning(path.as_bytes()).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_name_can_climb(path: Vec<u8>) {
            if let Ok(Meaning::Entry(n) | Meaning::Whiteout(n)) = meaning(&path) {
                let whole = n.path();
                prop_assert!(!whole.starts_with(b"/"));
                prop_assert!(whole.split(|b| *b == b'/').all(|part| part != b".."));
                prop_assert!(!n.last.contains(&b'/') && !n.last.contains(&0));
            }
        }

        #[test]
        fn a_whiteout_hides_exactly_the_name_after_its_mark(last in "[a-z.]{1,10}") {
            prop_assume!(last != "." && last != ".." && !last.starts_with(".wh."));
            let path = format!("d/.wh.{last}");
            prop_assert_eq!(
                meaning(path.as_bytes()).unwrap(),
                Meaning::Whiteout(name("d", &last))
            );
        }
    }
}
