//! One transaction that makes the kernel's table equal to the wanted one.
//!
//! Pure: bytes out. The table is created, deleted and created anew in the same transaction, so it
//! does not matter what was there before, and no packet meets a half-made table. Connections that
//! are already translated live in conntrack and are not touched.

use super::attribute::Attributes;
use super::{Chain, Rule, Table};

const FAMILY_IPV4: u8 = 2;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

const REQUEST: u16 = 0x1;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const COMMENT: u8 = 0;
const LONGEST_COMMENT: usize = 127;

/// A transaction, and what each of its messages is for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    steps: Vec<String>,
}

impl Batch {
    /// Replaces `table` whole.
    pub fn replacing(table: &Table) -> Batch {
        let mut batch = Batch::default();
        batch.clear(table.name);
        batch.table(NEW_TABLE, CREATE, table.name, "create");
        for chain in &table.chains {
            batch.chain(table, chain);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                batch.rule(table, chain, rule);
            }
        }
        batch.end();
        batch
    }

    /// Removes the table `name`, whether there is one or not.
    pub fn removing(name: &str) -> Batch {
        let mut batch = Batch::default();
        batch.clear(name);
        batch.end();
        batch
    }

    /// The bytes for the kernel, in one datagram.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the message with this sequence number is for.
    pub fn step(&self, sequence: u32) -> &str {
        self.steps
            .get(sequence as usize)
            .map_or("unknown message", String::as_str)
    }

    /// Creating first makes the deletion succeed when there is no such table.
    fn clear(&mut self, name: &str) {
        self.push("begin transaction".to_owned(), BATCH_BEGIN, 0, &[]);
        self.table(NEW_TABLE, CREATE, name, "create");
        self.table(DELETE_TABLE, 0, name, "delete");
    }

    fn end(&mut self) {
        self.push("end transaction".to_owned(), BATCH_END, 0, &[]);
    }

    fn table(&mut self, message: u16, flags: u16, name: &str, verb: &str) {
        let mut attributes = Attributes::default();
        attributes.text(1, name);
        self.push(
            format!("{verb} table ip {name}"),
            message,
            flags,
            attributes.as_bytes(),
        );
    }

    fn chain(&mut self, table: &Table, chain: &Chain) {
        let mut attributes = Attributes::default();
        attributes.text(1, table.name).text(3, chain.name);
        if let Some(hook) = &chain.hook {
            attributes.nested(4, |inner| {
                inner
                    .number(1, hook.point as u32)
                    .bytes(2, &hook.priority.to_be_bytes());
            });
            attributes.number(5, hook.policy as u32).text(7, hook.kind);
        }
        let step = format!("create chain {} of table ip {}", chain.name, table.name);
        self.push(step, NEW_CHAIN, CREATE, attributes.as_bytes());
    }

    fn rule(&mut self, table: &Table, chain: &Chain, rule: &Rule) {
        let mut attributes = Attributes::default();
        attributes
            .text(1, table.name)
            .text(2, chain.name)
            .nested(4, |list| {
                rule.expressions
                    .iter()
                    .for_each(|expression| expression.encode(list));
            });
        attributes.bytes(7, &comment(&rule.comment));
        let step = format!(
            "add rule {:?} to chain {} of table ip {}",
            rule.comment, chain.name, table.name
        );
        self.push(step, NEW_RULE, CREATE | APPEND, attributes.as_bytes());
    }

    fn push(&mut self, step: String, message: u16, flags: u16, attributes: &[u8]) {
        let sequence = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.steps.push(step);
        self.bytes
            .extend(frame(message, flags, sequence, attributes));
    }
}

/// A netlink message with nf_tables' own header.
fn frame(message: u16, flags: u16, sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let is_bound = matches!(message, BATCH_BEGIN | BATCH_END);
    let (family, resource) = if is_bound {
        (0, SUBSYSTEM)
    } else {
        (FAMILY_IPV4, 0)
    };
    let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(20 + attributes.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(message.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// nft's own form of a comment: type, length, text with its closing zero.
fn comment(text: &str) -> Vec<u8> {
    let ends = text
        .char_indices()
        .map(|(start, character)| start + character.len_utf8());
    let kept = ends
        .take_while(|end| *end <= LONGEST_COMMENT)
        .last()
        .unwrap_or(0);
    let mut bytes = vec![COMMENT, u8::try_from(kept + 1).unwrap_or(u8::MAX)];
    bytes.extend(&text.as_bytes()[..kept]);
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_one_transaction_that_creates_before_it_deletes() {
        let batch = Batch::removing("skeg");
        let words: Vec<u16> = messages(batch.as_bytes());
        assert_eq!(words, [BATCH_BEGIN, NEW_TABLE, DELETE_TABLE, BATCH_END]);
        assert_eq!(batch.step(2), "delete table ip skeg");
        assert_eq!(batch.step(99), "unknown message");
    }

    #[test]
    fn long_comments_are_cut_between_characters() {
        let bytes = comment(&"ö".repeat(100));
        assert_eq!((bytes.len(), bytes[1]), (2 + 126 + 1, 127));
        assert_eq!(comment("web"), b"\x00\x04web\0");
    }

    fn messages(mut bytes: &[u8]) -> Vec<u16> {
        let mut kinds = Vec::new();
        while let [a, b, c, d, e, f, ..] = *bytes {
            kinds.push(u16::from_ne_bytes([e, f]));
            bytes = &bytes[u32::from_ne_bytes([a, b, c, d]) as usize..];
        }
        kinds
    }
}
