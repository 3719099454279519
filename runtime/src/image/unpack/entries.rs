//! Walks a tar stream entry by entry: ustar, GNU long names, PAX records.
//!
//! It touches no file, and holds no more of a stream than one bounded header: the `tar` crate's own
//! iterator reads long names and PAX records of any size into memory and cuts PAX values at line
//! breaks, which binary attributes contain. Fields of the 512-byte header are the crate's.

use std::borrow::Cow;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::UnpackError;
use super::pax::{self, Records};

/// Long names and PAX records beyond this are refused; real ones are below 64 KiB.
const MAX_EXTENSION: u64 = 1 << 20;
const BLOCK: u64 = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with content.
    File,
    /// Another name for a file in this layer.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A folder.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One entry, its extension records already applied.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name as the archive has it.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The walk. After each entry its content can be read from [`Entries::read_content`].
pub struct Entries<R> {
    input: R,
    offset: u64,
    content: u64,
    padding: u64,
}

/// Extension headers seen before an entry.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    records: Records,
}

impl<R: Read> Entries<R> {
    /// A walk from the stream's beginning.
    pub fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            content: 0,
            padding: 0,
        }
    }

    /// The next entry, or `None` at the archive's end.
    ///
    /// # Errors
    /// A broken stream, a broken header, or a kind that cannot be in a layer.
    pub fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.read_header()? else {
                return Ok(None);
            };
            self.begin_content(header.entry_size().map_err(|e| self.malformed(&e))?)?;
            match header.entry_type() {
                EntryType::GNULongName => extensions.long_name = Some(self.read_name()?),
                EntryType::GNULongLink => extensions.long_link = Some(self.read_name()?),
                EntryType::XHeader => {
                    let bytes = self.read_extension()?;
                    extensions.records = pax::parse(&bytes).map_err(|e| self.malformed(&e))?;
                }
                EntryType::XGlobalHeader => self.skip_content()?,
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// Reads the current entry's content; 0 at its end.
    ///
    /// # Errors
    /// A stream that is broken or ends early.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, UnpackError> {
        let want = usize::try_from(self.content)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let got = read_some(&mut self.input, &mut buffer[..want])?;
        if got == 0 {
            return Err(self.malformed(&"ends within an entry"));
        }
        self.offset += got as u64;
        self.content -= got as u64;
        Ok(got)
    }

    /// Gives the stream back, to be read to its end.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, UnpackError> {
        let Extensions {
            long_name,
            long_link,
            mut records,
        } = extensions;
        let path = records.path.take().or(long_name);
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let header_link = || header.link_name_bytes().map(Cow::into_owned);
        let link = records.link.take().or(long_link).or_else(header_link);
        if records.is_sparse || header.entry_type() == EntryType::GNUSparse {
            return Err(UnpackError::entry(
                &path,
                "sparse entries are not supported",
            ));
        }
        if let Some(size) = records.size {
            self.begin_content(size)?;
        }
        let kind = kind_of(header.entry_type(), &path)?;
        if !matches!(
            header.entry_type(),
            EntryType::Regular | EntryType::Continuous
        ) {
            // Links and folders have no content whatever their size field says; so reads Go, too.
            self.begin_content(0)?;
        }
        let bad = |e: io::Error| UnpackError::entry(&path, e.to_string());
        let owner = |records: Option<u64>, field: io::Result<u64>| {
            let id = records.map_or(field, Ok).map_err(bad)?;
            let fits = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            fits.ok_or_else(|| UnpackError::entry(&path, format!("owner {id} is out of range")))
        };
        let (uid, gid) = (
            owner(records.uid, header.uid())?,
            owner(records.gid, header.gid())?,
        );
        let number = |n: io::Result<Option<u32>>| n.map(Option::unwrap_or_default).map_err(bad);
        let is_device = matches!(kind, Kind::Char | Kind::Block);
        let device = match is_device {
            true => (
                number(header.device_major())?,
                number(header.device_minor())?,
            ),
            false => (0, 0),
        };
        let seconds = i64::try_from(header.mtime().map_err(bad)?).unwrap_or_default();
        Ok(Entry {
            link: link.unwrap_or_default(),
            kind,
            mode: header.mode().map_err(bad)? & 0o7777,
            uid,
            gid,
            mtime: records.mtime.unwrap_or((seconds, 0)),
            device,
            xattrs: records.xattrs,
            path,
        })
    }

    /// The next header, or `None` at two zero blocks' first or at the end of the stream.
    fn read_header(&mut self) -> Result<Option<Header>, UnpackError> {
        let mut block = [0; 512];
        let mut filled = 0;
        while filled < block.len() {
            match read_some(&mut self.input, &mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.malformed(&"ends within a header")),
                n => filled += n,
            }
        }
        self.offset += BLOCK;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        let field: u32 = block[148..156].iter().map(|b| u32::from(*b)).sum();
        if header.cksum().ok() != Some(sum - field + 8 * u32::from(b' ')) {
            return Err(self.malformed(&"wrong header checksum"));
        }
        Ok(Some(header))
    }

    fn begin_content(&mut self, size: u64) -> Result<(), UnpackError> {
        if size > u64::MAX / 2 {
            return Err(self.malformed(&format!("entry size {size}")));
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), UnpackError> {
        let mut waste = [0; 8192];
        while self.read_content(&mut waste)? > 0 {}
        // Some writers end the stream without the last padding; so the archive ends here as well.
        let mut padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or_default();
        while padding > 0 {
            match read_some(&mut self.input, &mut waste[..padding])? {
                0 => break,
                n => padding -= n,
            }
            self.offset = self.offset.next_multiple_of(BLOCK);
        }
        Ok(())
    }

    fn read_extension(&mut self) -> Result<Vec<u8>, UnpackError> {
        if self.content > MAX_EXTENSION {
            let what = format!("extension header of {} bytes", self.content);
            return Err(self.malformed(&what));
        }
        let mut bytes = vec![0; usize::try_from(self.content).unwrap_or_default()];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_content(&mut bytes[filled..])?;
        }
        self.skip_content()?;
        Ok(bytes)
    }

    fn read_name(&mut self) -> Result<Vec<u8>, UnpackError> {
        let mut bytes = self.read_extension()?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn malformed(&self, what: &dyn std::fmt::Display) -> UnpackError {
        UnpackError::Malformed {
            offset: self.offset,
            what: what.to_string(),
        }
    }
}

fn kind_of(kind: EntryType, path: &[u8]) -> Result<Kind, UnpackError> {
    Ok(match kind {
        // Before POSIX a folder was a file whose name ends in a slash.
        EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Char => Kind::Char,
        EntryType::Block => Kind::Block,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        other => {
            let byte = char::from(other.as_byte()).escape_default();
            return Err(UnpackError::entry(
                path,
                format!("unknown kind of entry `{byte}`"),
            ));
        }
    })
}

/// One read; the limits of the layer travel as errors inside `io::Error` and come out here.
fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, UnpackError> {
    loop {
        match input.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.downcast().unwrap_or_else(UnpackError::Stream)),
            Ok(n) => return Ok(n),
        }
    }
}
