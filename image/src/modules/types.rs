//! The types (BTF) that Debian adds to its modules, for BPF programs that call into a module.
//!
//! Only blanks them in a module's file, and changes nothing else; what the kernel has of its own stays.

use object::elf::{FileHeader64, SHT_NULL, SectionHeader64};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, SectionHeader};

const SECTION: &[u8] = b".BTF";

/// The module without its types; unchanged when it has none or is no module.
#[must_use]
pub fn strip(module: &[u8]) -> Vec<u8> {
    let mut bytes = module.to_vec();
    if let Some((header, content)) = find(module) {
        bytes[content].fill(0);
        // An entry of no type, name and length: loaders pass it over.
        bytes[header].fill(0);
    }
    bytes
}

type Place = std::ops::Range<usize>;

/// Where the section's header and its content lie.
fn find(module: &[u8]) -> Option<(Place, Place)> {
    let header = FileHeader64::<LittleEndian>::parse(module).ok()?;
    let sections = header.sections(LittleEndian, module).ok()?;
    let size = size_of::<SectionHeader64<LittleEndian>>();
    for (index, section) in sections.enumerate() {
        if section.sh_type(LittleEndian) == SHT_NULL
            || sections.section_name(LittleEndian, section).ok()? != SECTION
        {
            continue;
        }
        let (offset, length) = section.file_range(LittleEndian)?;
        let offset = usize::try_from(offset).ok()?;
        let content = offset..offset.checked_add(usize::try_from(length).ok()?)?;
        let table = usize::try_from(header.e_shoff(LittleEndian)).ok()?;
        let start = table + index.0 * size;
        let both = (start..start + size, content);
        return (both.0.end <= module.len() && both.1.end <= module.len()).then_some(both);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[u8] = b"\0.BTF\0.text\0.shstrtab\0";

    fn section(name: u32, kind: u32, offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = [name.to_le_bytes(), kind.to_le_bytes()].concat();
        for number in [0, 0, offset, size, 0, 1, 0] {
            bytes.extend(u64::to_le_bytes(number));
        }
        bytes
    }

    /// A header, four bytes each of types and code, the sections' names, then their table.
    fn module() -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        bytes.extend([1, 0, 62, 0, 1, 0, 0, 0]);
        let table = 64 + 8 + NAMES.len() as u64;
        for number in [0, 0, table] {
            bytes.extend(u64::to_le_bytes(number));
        }
        bytes.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 4, 0, 3, 0]);
        bytes.extend(b"typecode");
        bytes.extend(NAMES);
        bytes.extend(section(0, 0, 0, 0));
        bytes.extend(section(1, 1, 64, 4));
        bytes.extend(section(6, 1, 68, 4));
        bytes.extend(section(12, 3, 72, NAMES.len() as u64));
        bytes
    }

    #[test]
    fn the_types_are_blank_and_all_else_is_as_it_was() {
        let (before, after) = (module(), strip(&module()));
        assert_eq!(before.len(), after.len());
        assert_eq!(after[64..72], *b"\0\0\0\0code");
        let table = 64 + 8 + NAMES.len();
        assert_eq!(after[table + 64..table + 128], [0; 64]);
        let mut put_back = after.clone();
        put_back[64..68].copy_from_slice(b"type");
        put_back[table + 64..table + 128].copy_from_slice(&before[table + 64..table + 128]);
        assert_eq!(put_back, before);
        assert_eq!(strip(&after), after, "it has none now");
    }

    #[test]
    fn what_is_no_module_or_ends_early_changes_nothing() {
        assert_eq!(strip(b"\x7fELF module"), b"\x7fELF module");
        let cut = &module()[..200];
        assert_eq!(strip(cut), cut);
    }
}
