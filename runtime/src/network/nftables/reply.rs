//! What the kernel answers to a transaction.
//!
//! Pure: reads datagrams, however damaged, without a panic.

use std::io;

const ERROR: u16 = 2;
const HEADER: usize = 16;
const FLAG_CAPPED: u16 = 0x100;
const FLAG_HAS_ATTRIBUTES: u16 = 0x200;
const MESSAGE_TEXT: u16 = 1;

/// The kernel refused one message of a transaction, and so all of it.
#[derive(Debug)]
pub struct Refusal {
    /// The refused message.
    pub sequence: u32,
    /// Its errno, with the kernel's own words where it has some.
    pub source: io::Error,
}

/// The first refusal in a datagram of answers; `None` if it only holds acknowledgements.
pub fn first_refusal(mut datagram: &[u8]) -> Option<Refusal> {
    while datagram.len() >= HEADER + 4 {
        let length = number(datagram, 0)? as usize;
        let message = datagram
            .get(..length)
            .filter(|message| message.len() >= HEADER)?;
        if let Some(refusal) = refusal(message) {
            return Some(refusal);
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    None
}

fn refusal(message: &[u8]) -> Option<Refusal> {
    let (kind, flags) = (half(message, 4)?, half(message, 6)?);
    let code = number(message, HEADER)?.cast_signed();
    if kind != ERROR || code == 0 {
        return None;
    }
    let error = io::Error::from_raw_os_error(code.saturating_neg());
    let source = match words(message, flags) {
        Some(words) => io::Error::new(error.kind(), format!("{error}: {words}")),
        None => error,
    };
    Some(Refusal {
        sequence: number(message, HEADER + 12)?,
        source,
    })
}

/// The kernel's own words: an attribute after the (capped) copy of the refused message.
fn words(message: &[u8], flags: u16) -> Option<&str> {
    if flags & FLAG_HAS_ATTRIBUTES == 0 {
        return None;
    }
    let copied = if flags & FLAG_CAPPED == 0 {
        number(message, HEADER + 4)? as usize
    } else {
        HEADER
    };
    let mut rest = message.get(HEADER + 4 + copied.next_multiple_of(4)..)?;
    while rest.len() >= 4 {
        let (length, kind) = (usize::from(half(rest, 0)?), half(rest, 2)?);
        let value = rest.get(4..length)?;
        if kind == MESSAGE_TEXT {
            return std::str::from_utf8(value)
                .ok()
                .map(|text| text.trim_end_matches('\0'));
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at.checked_add(4)?)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at.checked_add(2)?)?
        .try_into()
        .ok()
        .map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(code: i32, sequence: u32, text: Option<&str>) -> Vec<u8> {
        let attribute = text.map_or_else(Vec::new, |text| {
            let mut bytes = Vec::new();
            bytes.extend(u16::try_from(text.len() + 5).unwrap().to_ne_bytes());
            bytes.extend(MESSAGE_TEXT.to_ne_bytes());
            bytes.extend(text.as_bytes());
            bytes.resize(bytes.len() + 1, 0);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        });
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(36 + attribute.len()).unwrap().to_ne_bytes());
        bytes.extend(ERROR.to_ne_bytes());
        let flags = FLAG_CAPPED
            | if text.is_some() {
                FLAG_HAS_ATTRIBUTES
            } else {
                0
            };
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(code.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(attribute);
        bytes
    }

    #[test]
    fn the_first_refusal_is_found_behind_acknowledgements() {
        let datagram = [
            answer(0, 1, None),
            answer(-2, 7, None),
            answer(-22, 8, None),
        ]
        .concat();
        let refusal = first_refusal(&datagram).unwrap();
        assert_eq!(
            (refusal.sequence, refusal.source.raw_os_error()),
            (7, Some(2))
        );
    }

    #[test]
    fn the_kernels_words_are_handed_on() {
        let refusal = first_refusal(&answer(-22, 3, Some("no such chain"))).unwrap();
        assert!(
            refusal.source.to_string().contains("no such chain"),
            "{}",
            refusal.source
        );
    }

    #[test]
    fn acknowledgements_are_no_refusal() {
        assert!(first_refusal(&[answer(0, 1, None), answer(0, 2, None)].concat()).is_none());
    }

    proptest! {
        #[test]
        fn damaged_answers_are_read_without_a_panic(at in 0usize..48, byte: u8, cut in 0usize..60) {
            let mut bytes = answer(-22, 3, Some("no such chain"));
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(cut);
            let _ = first_refusal(&bytes);
        }
    }
}
