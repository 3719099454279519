//! Names in `EFI/Linux`: a product, a version, and the loader's counter (UAPI group's Automatic Boot
//! Assessment).
//!
//! A name that is not ours is never guessed at: it is foreign, and left alone.

use formats::name::Name;
use formats::version::Version;
use std::fmt;

/// Tries that a staged release is given.
pub const TRIES: u32 = 3;
/// What the loader takes for a kernel, in any case of letters.
const LOADED: &str = ".efi";
/// What it does not: a file that is being written.
const PARTIAL: &str = ".new";

/// The loader's counter: `+LEFT` or `+LEFT-DONE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Counter {
    /// Tries left; at 0 every other entry comes first.
    pub left: u32,
    /// Tries taken.
    pub done: u32,
}

/// The name of a release's UKI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UkiName {
    /// `IMAGE_ID`.
    pub product: Name,
    /// `IMAGE_VERSION`.
    pub version: Version,
    /// None: blessed.
    pub counter: Option<Counter>,
}

/// What a file in `EFI/Linux` is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A release.
    Uki(UkiName),
    /// The remains of a staging.
    Partial,
    /// Somebody else's.
    Foreign,
}

impl Kind {
    /// What a file of this name is on a host of this product.
    #[must_use]
    pub fn of(name: &str, product: &Name) -> Self {
        if let Some(stem) = name.strip_suffix(PARTIAL) {
            return match UkiName::parse_stem(stem) {
                Some(uki) if uki.product == *product => Self::Partial,
                _ => Self::Foreign,
            };
        }
        match UkiName::parse(name) {
            Some(uki) if uki.product == *product => Self::Uki(uki),
            _ => Self::Foreign,
        }
    }
}

impl UkiName {
    /// A release that was found good.
    #[must_use]
    pub fn blessed(product: &Name, version: Version) -> Self {
        Self {
            product: product.clone(),
            version,
            counter: None,
        }
    }

    /// The same release, to be tried.
    #[must_use]
    pub fn on_trial(&self) -> Self {
        self.counted(TRIES, 0)
    }

    /// The same release, behind every other; what it was is kept in the second number.
    #[must_use]
    pub fn denied(&self) -> Self {
        let done = self.counter.map_or(1, |c| c.done.saturating_add(c.left));
        self.counted(0, done.max(1))
    }

    fn counted(&self, left: u32, done: u32) -> Self {
        Self {
            counter: Some(Counter { left, done }),
            ..self.clone()
        }
    }

    /// The name while it is written: the loader does not look at it.
    #[must_use]
    pub fn partial(&self) -> String {
        format!("{}_{}{PARTIAL}", self.product, self.version)
    }

    fn parse(name: &str) -> Option<Self> {
        let cut = name.len().checked_sub(LOADED.len())?;
        let (stem, suffix) = (name.get(..cut)?, name.get(cut..)?);
        suffix
            .eq_ignore_ascii_case(LOADED)
            .then(|| Self::parse_stem(stem))?
    }

    fn parse_stem(stem: &str) -> Option<Self> {
        let (base, counter) = match stem.rsplit_once('+') {
            Some((base, counter)) => (base, Some(Counter::parse(counter)?)),
            None => (stem, None),
        };
        let (product, version) = base.rsplit_once('_')?;
        Some(Self {
            product: product.parse().ok()?,
            version: version.parse().ok()?,
            counter,
        })
    }
}

impl Counter {
    fn parse(text: &str) -> Option<Self> {
        let (left, done) = text.split_once('-').unwrap_or((text, "0"));
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok())?
        };
        Some(Self {
            left: number(left)?,
            done: number(done)?,
        })
    }
}

impl fmt::Display for UkiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.product, self.version)?;
        match self.counter {
            None => {}
            Some(Counter { left, done: 0 }) if left > 0 => write!(f, "+{left}")?,
            Some(Counter { left, done }) => write!(f, "+{left}-{done}")?,
        }
        f.write_str(LOADED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn skeg() -> Name {
        "skeg".parse().unwrap()
    }

    fn uki(name: &str) -> UkiName {
        match Kind::of(name, &skeg()) {
            Kind::Uki(uki) => uki,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn the_counter_is_what_the_loader_writes() {
        assert_eq!(uki("skeg_1.4.0.efi").counter, None);
        let counter = |left, done| Some(Counter { left, done });
        assert_eq!(uki("skeg_1.4.0+3.efi").counter, counter(3, 0));
        assert_eq!(uki("skeg_1.4.0+2-1.efi").counter, counter(2, 1));
        assert_eq!(
            uki("SKEG_1.4.0+0-3.EFI".to_lowercase().as_str()).counter,
            counter(0, 3)
        );
        assert_eq!(uki("skeg_1.4.0.EFI").version.to_string(), "1.4.0");
    }

    #[test]
    fn what_is_not_ours_is_foreign_and_what_is_half_is_partial() {
        for foreign in [
            "linux.efi",
            "skeg_1.4.efi",
            "other_1.4.0.efi",
            "skeg_1.4.0+x.efi",
            "skeg_1.4.0+-1.efi",
            "skeg_1.4.0",
            ".efi",
            "",
            "ä.efi",
            "skeg_1.4.0+3+3.efi",
            "other_1.4.0.new",
            "notes.new",
        ] {
            assert_eq!(Kind::of(foreign, &skeg()), Kind::Foreign, "{foreign}");
        }
        assert_eq!(Kind::of("skeg_1.4.0.new", &skeg()), Kind::Partial);
        assert_eq!(uki("skeg_1.4.0.efi").partial(), "skeg_1.4.0.new");
    }

    #[test]
    fn a_denied_name_has_no_tries_and_keeps_how_often_it_was_tried() {
        for (from, to) in [
            ("skeg_1.4.0+2-1.efi", "skeg_1.4.0+0-3.efi"),
            ("skeg_1.4.0+3.efi", "skeg_1.4.0+0-3.efi"),
            ("skeg_1.4.0.efi", "skeg_1.4.0+0-1.efi"),
            ("skeg_1.4.0+0-2.efi", "skeg_1.4.0+0-2.efi"),
        ] {
            assert_eq!(uki(from).denied().to_string(), to);
            assert_eq!(uki(from).on_trial().to_string(), "skeg_1.4.0+3.efi");
        }
    }

    proptest! {
        #[test]
        fn every_name_of_ours_is_read_back(
            numbers: (u32, u32, u32), counter in prop::option::of((any::<u32>(), any::<u32>()))
        ) {
            let (major, minor, patch) = numbers;
            let counter = counter.map(|(left, done)| Counter { left, done });
            let name = UkiName { counter, ..UkiName::blessed(&skeg(), Version { major, minor, patch }) };
            prop_assert_eq!(Kind::of(&name.to_string(), &skeg()), Kind::Uki(name));
        }

        #[test]
        fn no_name_makes_the_parser_panic(name: String) {
            let _ = Kind::of(&name, &skeg());
            let _ = Kind::of(&format!("{name}.efi"), &skeg());
        }
    }
}
