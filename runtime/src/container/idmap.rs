//! Id maps: which ids of a user namespace are which outside of it.
//!
//! Pure values; the files of procfs are written by whoever may.

use std::fmt;

use oci_spec::runtime::LinuxIdMapping;
use serde::{Deserialize, Serialize};

/// `size` ids from `inside` on are those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// First id in the namespace.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub size: u32,
}

impl Mapping {
    /// From the spec's type.
    #[must_use]
    pub fn from_spec(mapping: &LinuxIdMapping) -> Self {
        Self {
            inside: mapping.container_id(),
            outside: mapping.host_id(),
            size: mapping.size(),
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.size)
    }
}

/// The text of `uid_map` or `gid_map`.
#[must_use]
pub fn text(mappings: &[Mapping]) -> String {
    mappings.iter().map(|one| format!("{one}\n")).collect()
}

/// Refuses maps that the kernel would refuse, with the reason that it does not give.
///
/// # Errors
/// The mapping that is empty, that leaves the range of ids, or that overlaps another.
pub fn check(mappings: &[Mapping], field: &str) -> Result<(), String> {
    const MOST: usize = 340;
    if mappings.len() > MOST {
        let found = mappings.len();
        return Err(format!(
            "{field}: expected at most {MOST} mappings, found {found}"
        ));
    }
    for (at, one) in mappings.iter().enumerate() {
        if one.size == 0 {
            return Err(format!("{field}: {one}: the size is 0"));
        }
        let fits = |start: u32| start.checked_add(one.size).is_some();
        if !fits(one.inside) || !fits(one.outside) {
            return Err(format!("{field}: {one}: is past the last id"));
        }
        let overlaps = |other: &&Mapping| {
            overlap(one.inside, one.size, other.inside, other.size)
                || overlap(one.outside, one.size, other.outside, other.size)
        };
        if let Some(other) = mappings[..at].iter().find(overlaps) {
            return Err(format!("{field}: {one} overlaps {other}"));
        }
    }
    Ok(())
}

fn overlap(a: u32, a_size: u32, b: u32, b_size: u32) -> bool {
    let (a, b) = (u64::from(a), u64::from(b));
    a < b + u64::from(b_size) && b < a + u64::from(a_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(inside: u32, outside: u32, size: u32) -> Mapping {
        Mapping {
            inside,
            outside,
            size,
        }
    }

    #[test]
    fn maps_are_written_as_the_kernel_reads_them() {
        let text = text(&[map(0, 100_000, 65536), map(65536, 7, 1)]);
        assert_eq!(text, "0 100000 65536\n65536 7 1\n");
    }

    #[test]
    fn maps_that_overlap_on_either_side_are_refused_by_name() {
        let error = check(&[map(0, 1000, 10), map(9, 2000, 1)], "linux.uidMappings");
        assert_eq!(
            error.unwrap_err(),
            "linux.uidMappings: 9 2000 1 overlaps 0 1000 10"
        );
        assert!(check(&[map(0, 1000, 10), map(10, 1009, 1)], "x").is_err());
        assert!(check(&[map(0, 1000, 10), map(10, 1010, 1)], "x").is_ok());
    }

    #[test]
    fn maps_of_nothing_or_past_the_end_are_refused() {
        assert!(check(&[map(0, 0, 0)], "x").is_err());
        assert!(check(&[map(u32::MAX, 0, 2)], "x").is_err());
    }
}
