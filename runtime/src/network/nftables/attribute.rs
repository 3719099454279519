//! Netlink attributes: length, type and value, padded to four bytes, and nested.
//!
//! Lengths are 16 bits wide in the kernel; nothing that we encode comes near.

/// Set in the type of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
const HEADER: usize = 4;

/// Attributes being written, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    /// A value as it is.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        self.put(kind, value)
    }

    /// A number in network order, as nf_tables wants all of its own.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Attributes {
        self.put(kind, &value.to_be_bytes())
    }

    /// A name, with the closing zero.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Attributes {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Attributes within an attribute.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes)) -> &mut Attributes {
        let mut inner = Attributes::default();
        fill(&mut inner);
        self.put(kind | NESTED, &inner.bytes)
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn put(&mut self, kind: u16, value: &[u8]) -> &mut Attributes {
        let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_padded_and_lengths_are_not() {
        let mut attributes = Attributes::default();
        attributes.text(1, "skeg").number(2, 1);
        assert_eq!(
            attributes.as_bytes(),
            b"\x09\0\x01\0skeg\0\0\0\0\x08\0\x02\0\0\0\0\x01"
        );
    }

    #[test]
    fn nesting_is_marked_in_the_type() {
        let mut attributes = Attributes::default();
        attributes.nested(4, |inner| {
            inner.bytes(1, &[7]);
        });
        assert_eq!(
            attributes.as_bytes(),
            b"\x0c\0\x04\x80\x05\0\x01\0\x07\0\0\0"
        );
    }
}
