//! Filters of system calls as files of the image, [`crate::paths::FILTERS`]`/NAME.bpf`: the image's
//! builder writes them, PID 1 hands them to the kernel.
//!
//! It knows the frame alone: what the instructions mean is the builder's, whether they are a program
//! at all is the kernel's to say.

/// What a file begins with; the last byte is the format's version.
pub const MAGIC: [u8; 8] = *b"SKEGBPF\x02";
/// Bytes of one `struct sock_filter`: code (16 bits), jump if true, jump if false, operand (32 bits).
pub const INSTRUCTION: usize = 8;
/// Instructions that the kernel takes at most (`BPF_MAXINSNS`).
pub const MOST: usize = 4096;
/// Filters of one program at most.
pub const MOST_FILTERS: usize = 4;
/// `AUDIT_ARCH_X86_64`: the instructions' numbers are those of this architecture.
pub const X86_64: u32 = 0xc000_003e;

/// One filter; those of a program are loaded in the file's order. Of results that weigh the same the last
/// loaded one's counts (seccomp(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Whether what it refuses is told in the kernel's log (`SECCOMP_FILTER_FLAG_LOG`).
    pub is_told: bool,
    /// `struct sock_filter`s, each [`INSTRUCTION`] bytes in this machine's order.
    pub instructions: Vec<u8>,
}

/// Why a file is no filter for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// Another file, or another version.
    #[error("expected seccomp filters of version 2, found another file")]
    Magic,
    /// Of another machine.
    #[error("expected seccomp filters for architecture {X86_64:#x}, found some for {0:#x}")]
    Architecture(u32),
    /// None, or more than a program has.
    #[error("expected 1 to {MOST_FILTERS} seccomp filters, found {0}")]
    Count(usize),
    /// What follows is neither 0 nor 1.
    #[error("expected a seccomp filter that is told (1) or not (0), found {0}")]
    Told(u32),
    /// Cut, or with something behind.
    #[error("expected a seccomp filter of 1 to {MOST} instructions, found {said} in {bytes} bytes")]
    Length {
        /// What its head says.
        said: u32,
        /// What there is.
        bytes: usize,
    },
}

/// A file of filters.
#[must_use]
pub fn encode(filters: &[Filter]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(X86_64.to_le_bytes());
    for filter in filters {
        let count = filter.instructions.len() / INSTRUCTION;
        file.extend(u32::from(filter.is_told).to_le_bytes());
        file.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        file.extend(&filter.instructions);
    }
    file
}

/// The filters of a file.
///
/// # Errors
/// When it is not whole, or not for this architecture.
pub fn decode(file: &[u8]) -> Result<Vec<Filter>, SeccompError> {
    let rest = file.strip_prefix(&MAGIC).ok_or(SeccompError::Magic)?;
    let (architecture, mut rest) = word(rest)?;
    if architecture != X86_64 {
        return Err(SeccompError::Architecture(architecture));
    }
    let mut filters = Vec::new();
    while !rest.is_empty() && filters.len() <= MOST_FILTERS {
        let (filter, after) = one(rest)?;
        filters.push(filter);
        rest = after;
    }
    match (1..=MOST_FILTERS).contains(&filters.len()) {
        true => Ok(filters),
        false => Err(SeccompError::Count(filters.len())),
    }
}

fn one(bytes: &[u8]) -> Result<(Filter, &[u8]), SeccompError> {
    let (told, rest) = word(bytes)?;
    let (said, rest) = word(rest)?;
    let is_told = match told {
        0 => false,
        1 => true,
        other => return Err(SeccompError::Told(other)),
    };
    let whole = usize::try_from(said).ok();
    let whole = whole.filter(|count| (1..=MOST).contains(count));
    match whole.and_then(|count| rest.split_at_checked(count * INSTRUCTION)) {
        Some((instructions, after)) => {
            let instructions = instructions.to_vec();
            Ok((
                Filter {
                    is_told,
                    instructions,
                },
                after,
            ))
        }
        None => Err(SeccompError::Length {
            said,
            bytes: rest.len(),
        }),
    }
}

fn word(bytes: &[u8]) -> Result<(u32, &[u8]), SeccompError> {
    match bytes.split_first_chunk() {
        Some((word, rest)) => Ok((u32::from_le_bytes(*word), rest)),
        None => Err(SeccompError::Length {
            said: 0,
            bytes: bytes.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(is_told: bool, instructions: &[u8]) -> Filter {
        Filter {
            is_told,
            instructions: instructions.to_vec(),
        }
    }

    #[test]
    fn golden_bytes() {
        let filters = [
            filter(false, &[6, 0, 0, 0, 0, 0, 0xff, 0x7f]),
            filter(true, &[6, 0, 0, 0, 1, 0, 5, 0]),
        ];
        let expected = b"SKEGBPF\x02\x3e\x00\x00\xc0\
            \x00\x00\x00\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\xff\x7f\
            \x01\x00\x00\x00\x01\x00\x00\x00\x06\x00\x00\x00\x01\x00\x05\x00";
        assert_eq!(encode(&filters), expected);
        assert_eq!(decode(expected), Ok(filters.to_vec()));
    }

    #[test]
    fn a_cut_a_foreign_and_an_endless_file_are_refused() {
        let file = encode(&[filter(false, &[0; 16])]);
        for end in 0..file.len() {
            assert!(decode(&file[..end]).is_err(), "{end}");
        }
        assert!(decode(&[&file[..], b"x"].concat()).is_err());
        assert!(decode(&encode(&[filter(true, &[])])).is_err());
        let endless = vec![0; (MOST + 1) * INSTRUCTION];
        assert!(decode(&encode(&[filter(true, &endless)])).is_err());
        let many = vec![filter(true, &[0; 8]); MOST_FILTERS + 1];
        assert_eq!(
            decode(&encode(&many)),
            Err(SeccompError::Count(MOST_FILTERS + 1))
        );
        assert_eq!(decode(&encode(&[])), Err(SeccompError::Count(0)));
        let (mut foreign, mut odd) = (file.clone(), file.clone());
        foreign[8] = 0xb7;
        assert_eq!(
            decode(&foreign),
            Err(SeccompError::Architecture(0xc000_00b7))
        );
        odd[12] = 2;
        assert_eq!(decode(&odd), Err(SeccompError::Told(2)));
        let older = [b"SKEGBPF\x01".as_slice(), &file[8..]].concat();
        assert_eq!(decode(&older), Err(SeccompError::Magic));
    }
}
