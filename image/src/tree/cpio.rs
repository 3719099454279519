//! A tree as a `newc` cpio archive, the format that the kernel unpacks (its
//! Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Never compresses and never counts inodes, which only hard links would need: an update then carries only what changed. Reads back only what it writes.

use super::{Content, Tree, TreeError};

const MAGIC: &[u8] = b"070701";
const TRAILER: &str = "TRAILER!!!";
const HEADER: usize = 110;
/// Segments end on this border, so that one can follow another.
const BLOCK: usize = 512;

const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CpioError {
    /// The format has 32 bits for times and sizes.
    #[error("cpio: {what} does not fit into 32 bits")]
    TooLarge {
        /// The file, or the time.
        what: String,
    },
    /// Not what this module writes.
    #[error("cpio: byte {at}: expected {expected}")]
    Malformed {
        /// Offset of the header.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// A path that no tree can hold.
    #[error("cpio: {0}")]
    Tree(#[from] TreeError),
}

/// Writes one segment: all entries owned by root and last changed at `mtime`.
///
/// # Errors
/// When a file or the time does not fit into the format's 32 bits.
pub fn write(tree: &Tree, mtime: u64) -> Result<Vec<u8>, CpioError> {
    let mtime = fits(mtime, "the source date")?;
    let mut out = Vec::new();
    for (path, entry) in tree.iter() {
        let (kind, data, device): (u32, &[u8], (u32, u32)) = match &entry.content {
            Content::File(bytes) => (S_IFREG, bytes, (0, 0)),
            Content::Directory => (S_IFDIR, &[], (0, 0)),
            Content::Link(target) => (S_IFLNK, target.as_bytes(), (0, 0)),
            Content::Device { major, minor } => (S_IFCHR, &[], (*major, *minor)),
        };
        let fields = Fields {
            mode: kind | entry.mode,
            links: if kind == S_IFDIR { 2 } else { 1 },
            mtime,
            size: fits(data.len() as u64, path)?,
            device,
        };
        push(&mut out, &fields, path, data);
    }
    let end = Fields {
        links: 1,
        ..Fields::default()
    };
    push(&mut out, &end, TRAILER, &[]);
    pad(&mut out, BLOCK);
    Ok(out)
}

#[derive(Default)]
struct Fields {
    mode: u32,
    links: u32,
    mtime: u32,
    size: u32,
    device: (u32, u32),
}

fn push(out: &mut Vec<u8>, fields: &Fields, path: &str, data: &[u8]) {
    let Fields {
        mode,
        links,
        mtime,
        size,
        device: (major, minor),
    } = *fields;
    let name = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
    out.extend(MAGIC);
    for number in [
        0, mode, 0, 0, links, mtime, size, 0, 0, major, minor, name, 0,
    ] {
        out.extend(format!("{number:08x}").as_bytes());
    }
    out.extend(path.as_bytes());
    out.push(0);
    pad(out, 4);
    out.extend(data);
    pad(out, 4);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn fits(number: u64, what: &str) -> Result<u32, CpioError> {
    u32::try_from(number).map_err(|_| CpioError::TooLarge {
        what: what.to_owned(),
    })
}

/// Reads all segments of an initramfs, each laid over those before it.
///
/// # Errors
/// When the bytes are no sequence of whole, uncompressed `newc` segments.
pub fn read(bytes: &[u8]) -> Result<Tree, CpioError> {
    let mut whole = Tree::default();
    let mut segment = Tree::default();
    let mut at = 0;
    while at < bytes.len() {
        let record = Record::at(bytes, at)?;
        at = record.end;
        if record.name == TRAILER {
            whole = whole.overlaid(std::mem::take(&mut segment));
            at = at.next_multiple_of(BLOCK);
            continue;
        }
        let path = format!("/{}", record.name);
        segment.put(&path, record.mode & !S_IFMT, record.content()?)?;
    }
    if segment != Tree::default() {
        return Err(CpioError::Malformed {
            at,
            expected: "a trailer",
        });
    }
    Ok(whole)
}

struct Record<'a> {
    at: usize,
    name: &'a str,
    mode: u32,
    device: (u32, u32),
    data: &'a [u8],
    end: usize,
}

impl<'a> Record<'a> {
    fn at(bytes: &'a [u8], at: usize) -> Result<Self, CpioError> {
        let bad = |expected| CpioError::Malformed { at, expected };
        let header = bytes.get(at..at + HEADER).ok_or(bad("a whole header"))?;
        if !header.starts_with(MAGIC) {
            return Err(bad("the magic 070701"));
        }
        let number = |index: usize| {
            let field = header.get(6 + index * 8..14 + index * 8)?;
            u32::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
        };
        let number = |index| number(index).ok_or(bad("hexadecimal numbers"));
        let name_end = at + HEADER + number(11)? as usize;
        let name = bytes
            .get(at + HEADER..name_end)
            .ok_or(bad("a whole name"))?;
        let name = name
            .strip_suffix(b"\0")
            .ok_or(bad("a name that ends in a zero byte"))?;
        let start = name_end.next_multiple_of(4);
        let end = start + number(6)? as usize;
        Ok(Self {
            at,
            name: std::str::from_utf8(name).map_err(|_| bad("a name in UTF-8"))?,
            mode: number(1)?,
            device: (number(9)?, number(10)?),
            data: bytes.get(start..end).ok_or(bad("a whole file"))?,
            end: end.next_multiple_of(4),
        })
    }

    fn content(&self) -> Result<Content, CpioError> {
        let bad = |expected| CpioError::Malformed {
            at: self.at,
            expected,
        };
        Ok(match self.mode & S_IFMT {
            S_IFREG => Content::File(self.data.to_vec()),
            S_IFDIR => Content::Directory,
            S_IFLNK => {
                let target = std::str::from_utf8(self.data);
                Content::Link(target.map_err(|_| bad("a link in UTF-8"))?.to_owned())
            }
            S_IFCHR => Content::Device {
                major: self.device.0,
                minor: self.device.1,
            },
            _ => return Err(bad("a file, folder, link or character device")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = Tree::default();
        tree.file("/init", 0o755, b"run".to_vec()).unwrap();
        tree.put(
            "/dev/console",
            0o600,
            Content::Device { major: 5, minor: 1 },
        )
        .unwrap();
        tree.put("/etc/os-release", 0o777, Content::Link("../usr".into()))
            .unwrap();
        tree
    }

    #[test]
    fn golden_bytes() {
        let mut tree = Tree::default();
        tree.file("/init", 0o755, b"run".to_vec()).unwrap();
        let bytes = write(&tree, 0x1234_5678).unwrap();
        let record = concat!(
            "070701",
            "00000000",
            "000081ed",
            "00000000",
            "00000000",
            "00000001",
            "12345678",
            "00000003",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000000",
            "init\0\0run\0"
        );
        assert_eq!(&bytes[..record.len()], record.as_bytes());
        assert!(bytes[record.len()..].starts_with(b"070701"));
        assert_eq!(bytes.len(), 512);
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(read(&write(&sample(), 7).unwrap()).unwrap(), sample());
    }

    #[test]
    fn a_later_segment_replaces_files_of_an_earlier_one() {
        let mut later = Tree::default();
        later.file("/init", 0o755, b"other".to_vec()).unwrap();
        let mut bytes = write(&sample(), 7).unwrap();
        bytes.extend(write(&later, 7).unwrap());
        assert_eq!(read(&bytes).unwrap(), sample().overlaid(later));
    }

    #[test]
    fn a_torn_archive_is_refused_at_every_length() {
        let bytes = write(&sample(), 7).unwrap();
        let trailer = bytes
            .windows(10)
            .position(|w| w == TRAILER.as_bytes())
            .unwrap();
        for end in 1..trailer + TRAILER.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
    }
}
