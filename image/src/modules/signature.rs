//! The signature that Debian appends to its modules (kernel, include/linux/module_signature.h).
//!
//! Only cuts it off: whether that is right is the recipe's to say.

const MARKER: &[u8] = b"~Module signature appended~\n";
/// Eight bytes about algorithms, four of length, big-endian.
const TRAILER: usize = 12;

/// The module without its signature; unchanged when it has none.
#[must_use]
pub fn strip(module: &[u8]) -> &[u8] {
    stripped(module).unwrap_or(module)
}

fn stripped(module: &[u8]) -> Option<&[u8]> {
    let rest = module.strip_suffix(MARKER)?;
    let (rest, trailer) = rest.split_at_checked(rest.len().checked_sub(TRAILER)?)?;
    let length = u32::from_be_bytes(trailer[8..].try_into().ok()?);
    rest.get(..rest.len().checked_sub(length as usize)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(length: u32) -> Vec<u8> {
        let mut bytes = b"ELF signature".to_vec();
        bytes.extend([0, 0, 2, 0, 0, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(MARKER);
        bytes
    }

    #[test]
    fn exactly_the_signature_is_cut_off() {
        assert_eq!(strip(&signed(9)), b"ELF ");
        assert_eq!(strip(b"ELF"), b"ELF");
    }

    #[test]
    fn a_length_beyond_the_module_changes_nothing() {
        assert_eq!(strip(&signed(14)), signed(14));
        assert_eq!(strip(MARKER), MARKER);
    }
}
