//! PE32+ files: what sections they have, and how to append more (Microsoft's PE format, chapters
//! "Optional Header" and "Section Table").
//!
//! Never moves an existing section, so everything that points into the file stays right.

use std::ops::Range;

use object::pe::{self, ImageNtHeaders64, ImageSectionHeader};
use object::read::pe::PeFile64;
use object::{LittleEndian as LE, Object, ObjectSection, U32, pod};

/// Why a PE file cannot be read or extended.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeError {
    /// Not the format.
    #[error("no PE32+ file: {0}")]
    Malformed(String),
    /// The section table would run into the first section.
    #[error("the header has room for {room} more sections, {wanted} are needed")]
    NoRoom {
        /// How many fit.
        room: usize,
        /// How many were to be added.
        wanted: usize,
    },
    /// Names are unique in what loaders read.
    #[error("it already has a section {0}")]
    Taken(String),
    /// PE has 32 bits for sizes and addresses, and eight bytes for names.
    #[error("section {0}: its name is too long or it ends beyond 4 GiB")]
    TooLarge(String),
}

/// A section.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where its bytes lie in the file.
    pub offset: u64,
    /// Its bytes, without padding.
    pub data: &'a [u8],
}

fn malformed(error: impl ToString) -> PeError {
    PeError::Malformed(error.to_string())
}

/// All sections of a file, in the order of the section table.
///
/// # Errors
/// When it is no PE32+ file, or is cut short.
pub fn sections(file: &[u8]) -> Result<Vec<Section<'_>>, PeError> {
    let pe = PeFile64::parse(file).map_err(malformed)?;
    let all = pe.sections().map(|section| {
        // Names borrow from the iterator's item; the file holds the same bytes for longer.
        let raw = &section.pe_section().name;
        let at = raw.as_ptr() as usize - file.as_ptr() as usize;
        let length = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
        let name = std::str::from_utf8(&file[at..at + length]).map_err(malformed)?;
        let data = section.data().map_err(malformed)?;
        let offset = section.file_range().map_or(0, |(offset, _)| offset);
        Ok(Section { name, offset, data })
    });
    all.collect()
}

/// What must be known about a file to append to it.
struct Shape {
    nt_headers: usize,
    table_end: usize,
    header_end: usize,
    file_alignment: u32,
    section_alignment: u32,
    next_address: u32,
}

impl Shape {
    fn of(file: &[u8]) -> Result<Self, PeError> {
        let pe = PeFile64::parse(file).map_err(malformed)?;
        let optional = pe.nt_headers().optional_header;
        let table = pe.section_table();
        let headers: Vec<_> = table.iter().collect();
        let first = headers
            .first()
            .ok_or_else(|| malformed("it has no sections"))?;
        let table_start = std::ptr::from_ref(*first) as usize - file.as_ptr() as usize;
        let raw_starts = headers.iter().map(|h| h.pointer_to_raw_data.get(LE));
        let first_raw = raw_starts.filter(|start| *start != 0).min().unwrap_or(0);
        let end = |h: &&ImageSectionHeader| {
            let size = h.virtual_size.get(LE).max(h.size_of_raw_data.get(LE));
            h.virtual_address.get(LE).saturating_add(size)
        };
        let shape = Self {
            nt_headers: pe.dos_header().e_lfanew.get(LE) as usize,
            table_end: table_start + headers.len() * size_of::<ImageSectionHeader>(),
            header_end: first_raw.min(optional.size_of_headers.get(LE)) as usize,
            file_alignment: optional.file_alignment.get(LE),
            section_alignment: optional.section_alignment.get(LE),
            next_address: headers.iter().map(end).max().unwrap_or(0),
        };
        let power = |alignment: u32| alignment.is_power_of_two();
        if !power(shape.file_alignment) || !power(shape.section_alignment) {
            return Err(malformed("its alignments are no powers of two"));
        }
        Ok(shape)
    }

    fn room(&self) -> usize {
        self.header_end.saturating_sub(self.table_end) / size_of::<ImageSectionHeader>()
    }
}

/// Appends sections of initialized, readable data after the last one.
///
/// # Errors
/// When the file is no PE32+ file, its header has no room, or a section cannot be added.
pub fn append(file: &[u8], added: &[(&str, &[u8])]) -> Result<Vec<u8>, PeError> {
    let shape = Shape::of(file)?;
    if shape.room() < added.len() {
        return Err(PeError::NoRoom {
            room: shape.room(),
            wanted: added.len(),
        });
    }
    let present = sections(file)?;
    let mut out = file.to_vec();
    let mut address = shape.next_address;
    let mut grown = 0;
    for (index, (name, data)) in added.iter().enumerate() {
        if present.iter().any(|section| section.name == *name) {
            return Err(PeError::Taken((*name).to_owned()));
        }
        out.resize(out.len().next_multiple_of(shape.file_alignment as usize), 0);
        let too_large = || PeError::TooLarge((*name).to_owned());
        let header = header_for(name, data.len(), out.len(), address, &shape);
        let header = header.ok_or_else(too_large)?;
        out.extend(*data);
        out.resize(out.len().next_multiple_of(shape.file_alignment as usize), 0);
        let at = shape.table_end + index * size_of::<ImageSectionHeader>();
        let place: Range<usize> = at..at + size_of::<ImageSectionHeader>();
        out[place].copy_from_slice(pod::bytes_of(&header));
        let end = header
            .virtual_address
            .get(LE)
            .checked_add(header.virtual_size.get(LE));
        address = end.ok_or_else(too_large)?;
        grown += header.size_of_raw_data.get(LE);
    }
    patch(&mut out, &shape, added.len(), address, grown)?;
    Ok(out)
}

fn header_for(
    name: &str,
    length: usize,
    offset: usize,
    after: u32,
    shape: &Shape,
) -> Option<ImageSectionHeader> {
    let mut padded = [0; 8];
    padded
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    let length = u32::try_from(length).ok()?;
    let raw = length.checked_next_multiple_of(shape.file_alignment)?;
    let address = after.checked_next_multiple_of(shape.section_alignment)?;
    u32::try_from(offset).ok()?.checked_add(raw)?;
    let zero = U32::new(LE, 0);
    Some(ImageSectionHeader {
        name: padded,
        virtual_size: U32::new(LE, length),
        virtual_address: U32::new(LE, address),
        size_of_raw_data: U32::new(LE, raw),
        pointer_to_raw_data: U32::new(LE, u32::try_from(offset).ok()?),
        pointer_to_relocations: zero,
        pointer_to_linenumbers: zero,
        number_of_relocations: object::U16::new(LE, 0),
        number_of_linenumbers: object::U16::new(LE, 0),
        characteristics: U32::new(
            LE,
            pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_READ,
        ),
    })
}

/// Tells the headers of the new sections. The checksum becomes 0: firmware does not check it.
fn patch(out: &mut [u8], shape: &Shape, added: usize, end: u32, grown: u32) -> Result<(), PeError> {
    let bad = |()| malformed("its NT headers are cut short");
    let (nt, _) =
        pod::from_bytes_mut::<ImageNtHeaders64>(&mut out[shape.nt_headers..]).map_err(bad)?;
    let file = &mut nt.file_header;
    let count = usize::from(file.number_of_sections.get(LE)) + added;
    file.number_of_sections
        .set(LE, u16::try_from(count).map_err(malformed)?);
    let optional = &mut nt.optional_header;
    let image = end.checked_next_multiple_of(shape.section_alignment);
    let image = image.ok_or_else(|| PeError::TooLarge("last".to_owned()))?;
    optional.size_of_image.set(LE, image);
    let data = optional
        .size_of_initialized_data
        .get(LE)
        .saturating_add(grown);
    optional.size_of_initialized_data.set(LE, data);
    optional.check_sum.set(LE, 0);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest file that is a PE32+ with one section, and room for `room` more.
    pub(crate) fn stub(room: usize) -> Vec<u8> {
        let headers = 0x40 + size_of::<ImageNtHeaders64>() + (1 + room) * 40;
        let headers = u32::try_from(headers.next_multiple_of(8)).unwrap();
        let mut file = vec![0; headers as usize];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x40;
        let (nt, rest) = pod::from_bytes_mut::<ImageNtHeaders64>(&mut file[0x40..]).unwrap();
        nt.signature.set(LE, pe::IMAGE_NT_SIGNATURE);
        nt.file_header.number_of_sections.set(LE, 1);
        let optional = u16::try_from(size_of_val(&nt.optional_header)).unwrap();
        nt.file_header.size_of_optional_header.set(LE, optional);
        nt.optional_header
            .magic
            .set(LE, pe::IMAGE_NT_OPTIONAL_HDR64_MAGIC);
        nt.optional_header.section_alignment.set(LE, 0x1000);
        nt.optional_header.file_alignment.set(LE, 8);
        nt.optional_header.size_of_headers.set(LE, headers);
        let (section, _) = pod::from_bytes_mut::<ImageSectionHeader>(rest).unwrap();
        section.name.copy_from_slice(b".sdmagic");
        section.virtual_address.set(LE, 0x1000);
        section.virtual_size.set(LE, 12);
        section.size_of_raw_data.set(LE, 16);
        section.pointer_to_raw_data.set(LE, headers);
        file.extend(b"systemd-stub\0\0\0\0");
        file
    }

    #[test]
    fn what_is_appended_is_found_and_what_was_there_is_untouched() {
        let file = append(&stub(2), &[(".linux", b"MZ kernel"), (".cmdline", b"a=b")]).unwrap();
        let all = sections(&file).unwrap();
        let seen: Vec<_> = all.iter().map(|s| (s.name, s.data)).collect();
        let expected: [(&str, &[u8]); 3] = [
            (".sdmagic", b"systemd-stub"),
            (".linux", b"MZ kernel"),
            (".cmdline", b"a=b"),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn addresses_are_aligned_and_the_image_size_covers_them() {
        let file = append(&stub(2), &[(".linux", &[1; 0x1001]), (".initrd", b"x")]).unwrap();
        let pe = PeFile64::parse(&file[..]).unwrap();
        let table = pe.section_table();
        let addresses: Vec<_> = table.iter().map(|h| h.virtual_address.get(LE)).collect();
        assert_eq!(addresses, [0x1000, 0x2000, 0x4000]);
        assert_eq!(
            pe.nt_headers().optional_header.size_of_image.get(LE),
            0x5000
        );
    }

    #[test]
    fn a_header_without_room_is_an_error_and_not_an_overlap() {
        let error = append(&stub(1), &[(".a", b"1"), (".b", b"2")]).unwrap_err();
        assert_eq!(error, PeError::NoRoom { room: 1, wanted: 2 });
    }

    #[test]
    fn a_file_that_is_cut_short_is_refused_at_every_length() {
        let file = append(&stub(1), &[(".linux", b"0123456789abcdef")]).unwrap();
        for end in 0..file.len() {
            assert!(sections(&file[..end]).is_err(), "{end}");
        }
    }
}
