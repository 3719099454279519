//! Filters of system calls as files of the image, [`crate::paths::FILTERS`]`/NAME.bpf`: the image's
//! builder writes them, PID 1 hands them to the kernel.
//!
//! It knows the frame alone: what the instructions mean is the builder's, whether they are a program
//! at all is the kernel's to say.

/// What a file begins with; the last byte is the format's version.
pub const MAGIC: [u8; 8] = *b"SKEGBPF\x01";
/// Bytes of one `struct sock_filter`: code (16 bits), jump if true, jump if false, operand (32 bits).
pub const INSTRUCTION: usize = 8;
/// Instructions that the kernel takes at most (`BPF_MAXINSNS`).
pub const MOST: usize = 4096;
/// `AUDIT_ARCH_X86_64`: the instructions' numbers are those of this architecture.
pub const X86_64: u32 = 0xc000_003e;

/// Why a file is no filter for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    /// Another file, or another version.
    #[error("expected a seccomp filter of version 1, found another file")]
    Magic,
    /// Of another machine.
    #[error("expected a seccomp filter for architecture {X86_64:#x}, found one for {0:#x}")]
    Architecture(u32),
    /// Cut, or with something behind.
    #[error("expected a seccomp filter of 1 to {MOST} instructions, found {said} in {bytes} bytes")]
    Length {
        /// What its head says.
        said: u32,
        /// What there is.
        bytes: usize,
    },
}

/// A file around instructions, each 8 bytes in this machine's order.
#[must_use]
pub fn encode(instructions: &[u8]) -> Vec<u8> {
    let count = u32::try_from(instructions.len() / INSTRUCTION).unwrap_or(u32::MAX);
    let mut file = MAGIC.to_vec();
    file.extend(X86_64.to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(instructions);
    file
}

/// The instructions of a file.
///
/// # Errors
/// When it is not whole, or not for this architecture.
pub fn decode(file: &[u8]) -> Result<&[u8], SeccompError> {
    let rest = file.strip_prefix(&MAGIC).ok_or(SeccompError::Magic)?;
    let short = SeccompError::Length {
        said: 0,
        bytes: rest.len(),
    };
    let (architecture, rest) = rest.split_first_chunk().ok_or(short)?;
    let (count, instructions) = rest.split_first_chunk().ok_or(short)?;
    let (architecture, said) = (
        u32::from_le_bytes(*architecture),
        u32::from_le_bytes(*count),
    );
    if architecture != X86_64 {
        return Err(SeccompError::Architecture(architecture));
    }
    let is_whole = usize::try_from(said).is_ok_and(|count| {
        (1..=MOST).contains(&count) && instructions.len() == count * INSTRUCTION
    });
    match is_whole {
        true => Ok(instructions),
        false => Err(SeccompError::Length {
            said,
            bytes: instructions.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let file = encode(&[6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
        let expected =
            b"SKEGBPF\x01\x3e\x00\x00\xc0\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\xff\x7f";
        assert_eq!(file, expected);
        assert_eq!(decode(&file), Ok(&expected[16..]));
    }

    #[test]
    fn a_cut_a_foreign_and_an_endless_file_are_refused() {
        let file = encode(&[0; 16]);
        for end in 0..file.len() {
            assert!(decode(&file[..end]).is_err(), "{end}");
        }
        assert!(decode(&[&file[..], b"x"].concat()).is_err());
        assert!(decode(&encode(&[])).is_err());
        assert!(decode(&encode(&vec![0; (MOST + 1) * INSTRUCTION])).is_err());
        let mut foreign = file.clone();
        foreign[8] = 0xb7;
        assert_eq!(
            decode(&foreign),
            Err(SeccompError::Architecture(0xc000_00b7))
        );
    }
}
