//! What a unit asks of a machine and what a machine has: processor, memory, ports.
//!
//! It only counts; limits are enforced by the host.

use std::collections::BTreeSet;

/// A sum of resources that are divisible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl Amount {
    /// Both, summed; a sum that is too large stays at the largest number.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    /// What is left of `self` when `other` is taken; nothing where it is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory: self.memory.saturating_sub(other.memory),
        }
    }
}

/// `Resources=` of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Demand {
    /// Processor and memory.
    pub amount: Amount,
    /// Ports of the host that only one unit of a machine can have.
    pub ports: BTreeSet<u16>,
}

impl Demand {
    /// Takes one word: `cpu=0.5`, `memory=512M` or `port=8080`.
    ///
    /// # Errors
    /// Another resource, or a value that is no such amount.
    pub fn word(&mut self, word: &str) -> Result<(), String> {
        let (what, value) = word
            .split_once('=')
            .ok_or_else(|| format!("expected cpu=N, memory=BYTES or port=N, found \"{word}\""))?;
        match what {
            "cpu" => self.amount.cpu_milli = cpu(value)?,
            "memory" => self.amount.memory = memory(value)?,
            "port" => {
                let port = value.parse().ok().filter(|port| *port > 0);
                let port = port
                    .ok_or_else(|| format!("expected a port of 1 to 65535, found \"{value}\""))?;
                self.ports.insert(port);
            }
            other => return Err(format!("expected cpu, memory or port, found \"{other}\"")),
        }
        Ok(())
    }
}

fn cpu(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "expected processors like 2 or 0.25, at most three digits after the dot, found \"{text}\""
        )
    };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 || whole.len() > 6 {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| bad())?;
    Ok(whole * 1000 + part)
}

fn memory(text: &str) -> Result<u64, String> {
    let bad = || format!("expected bytes with K, M, G or T (powers of 1024), found \"{text}\"");
    let (digits, shift) = match text.bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let mut demand = Demand::default();
        for word in ["cpu=0.25", "memory=512M", "port=80", "port=443"] {
            demand.word(word).unwrap();
        }
        assert_eq!(demand.amount.cpu_milli, 250);
        assert_eq!(demand.amount.memory, 512 << 20);
        assert_eq!(demand.ports, BTreeSet::from([80, 443]));
    }

    #[test]
    fn what_is_no_amount_says_what_was_expected() {
        let table = [
            ("cpu", "cpu=N"),
            ("cpu=-1", "processors"),
            ("cpu=1.2345", "three digits"),
            ("cpu=", "processors"),
            ("memory=1X", "bytes"),
            ("memory=99999999999T", "bytes"),
            ("memory=é", "bytes"),
            ("port=0", "1 to 65535"),
            ("gpu=1", "cpu, memory or port"),
        ];
        for (word, part) in table {
            let error = Demand::default().word(word).unwrap_err();
            assert!(error.contains(part), "{word}: {error}");
        }
    }
}
