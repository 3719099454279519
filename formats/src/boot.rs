//! The boot timeline, `/run/skeg/boot.json`: when each stage of this boot was reached.
//!
//! PID 1 is the only writer and uses [`write_json`], which needs no serializer; readers use serde.

use std::fmt::{self, Write};

/// Version of the format. Readers refuse others.
pub const FORMAT: u32 = 1;

/// One moment of the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stage {
    /// What was reached, e.g. `init`, `modules`, `state`, `service:engine`, `container:web`.
    pub name: String,
    /// Microseconds of `CLOCK_BOOTTIME`, i.e. since the kernel started.
    pub at_us: u64,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timeline {
    /// [`FORMAT`].
    pub format: u32,
    /// In the order in which they were stamped, so `at_us` never falls.
    pub stages: Vec<Stage>,
}

/// Writes the timeline as JSON, byte for byte as serde would.
///
/// # Errors
/// Only what the writer itself returns.
pub fn write_json(out: &mut impl Write, stages: &[Stage]) -> fmt::Result {
    write!(out, "{{\"format\":{FORMAT},\"stages\":[")?;
    for (i, stage) in stages.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{{\"name\":")?;
        write_json_string(out, &stage.name)?;
        write!(out, ",\"at_us\":{}}}", stage.at_us)?;
    }
    out.write_str("]}")
}

/// Writes `text` as a JSON string (RFC 8259, section 7), escaping as serde does.
///
/// # Errors
/// Only what the writer itself returns.
pub fn write_json_string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{c}' => out.write_str("\\f")?,
            c if u32::from(c) < 0x20 => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let stages = [
            Stage {
                name: "init".into(),
                at_us: 1_450_000,
            },
            Stage {
                name: "container:web".into(),
                at_us: 3_200_001,
            },
        ];
        let mut out = String::new();
        write_json(&mut out, &stages).unwrap();
        assert_eq!(
            out,
            r#"{"format":1,"stages":[{"name":"init","at_us":1450000},{"name":"container:web","at_us":3200001}]}"#
        );
    }

    proptest! {
        #[test]
        fn the_hand_written_json_is_what_serde_writes(
            names in prop::collection::vec(any::<String>(), 0..4), at in any::<u32>()
        ) {
            let stages: Vec<Stage> = names
                .into_iter()
                .map(|name| Stage { name, at_us: at.into() })
                .collect();
            let mut by_hand = String::new();
            write_json(&mut by_hand, &stages).unwrap();
            let timeline = Timeline { format: FORMAT, stages };
            prop_assert_eq!(by_hand, serde_json::to_string(&timeline).unwrap());
        }
    }
}
