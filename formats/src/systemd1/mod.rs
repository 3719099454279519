//! The subset of `org.freedesktop.systemd1` that Skeg speaks: introspection XML and object paths.
//!
//! The engine serves it, the fleet's agent calls it; on a systemd host the same calls reach systemd.
//! Types and names are those of org.freedesktop.systemd1(5), so nothing here may differ from them.

/// Well-known bus name and prefix of the interfaces.
pub const NAME: &str = "org.freedesktop.systemd1";
/// Object path of the manager.
pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// Prefix of unit objects: [`escape`]d name follows.
pub const UNIT_PREFIX: &str = "/org/freedesktop/systemd1/unit/";
/// Prefix of job objects: the number follows.
pub const JOB_PREFIX: &str = "/org/freedesktop/systemd1/job/";
/// Interface of [`MANAGER_PATH`].
pub const MANAGER: &str = include_str!("manager.xml");
/// Interface of every unit.
pub const UNIT: &str = include_str!("unit.xml");
/// Further interface of `.service` units.
pub const SERVICE: &str = include_str!("service.xml");
/// Further interface of `.timer` units.
pub const TIMER: &str = include_str!("timer.xml");
/// Interface of a queued job.
pub const JOB: &str = include_str!("job.xml");

/// Escapes a name for an object path, as sd_bus_path_encode(3): `web.service` → `web_2eservice`.
#[must_use]
pub fn escape(name: &str) -> String {
    if name.is_empty() {
        return "_".into();
    }
    let mut out = String::with_capacity(name.len() + 8);
    for (i, b) in name.bytes().enumerate() {
        if b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit()) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("_{b:02x}"));
        }
    }
    out
}

/// Undoes [`escape`]; `None` for a text that it never returns.
#[must_use]
pub fn unescape(label: &str) -> Option<String> {
    if label == "_" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(label.len());
    let mut rest = label.bytes();
    while let Some(b) = rest.next() {
        let decoded = match b {
            b'_' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b => b,
        };
        bytes.push(decoded);
    }
    let name = String::from_utf8(bytes).ok()?;
    (escape(&name) == label).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// FNV-1a, 64 bit: enough to notice that a contract has changed.
    fn fingerprint(text: &str) -> u64 {
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    #[test]
    fn the_contract_has_not_changed_unnoticed() {
        let prints = [MANAGER, UNIT, SERVICE, TIMER, JOB].map(fingerprint);
        assert_eq!(
            prints.map(|p| format!("{p:016x}")),
            GOLDEN,
            "a change of the contract: say so"
        );
    }

    const GOLDEN: [&str; 5] = [
        "ce9ab60c798cb78a",
        "1b9ab5236dccc070",
        "a104c4b6d4828d15",
        "a462b318f4114cd2",
        "bf0d80774f0c3860",
    ];

    #[test]
    fn names_are_escaped_as_systemctl_does() {
        assert_eq!(escape("web.service"), "web_2eservice");
        assert_eq!(escape("1-a@b.service"), "_31_2da_40b_2eservice");
        assert_eq!(escape(""), "_");
    }

    proptest! {
        #[test]
        fn an_escaped_name_comes_back(name in any::<String>()) {
            let label = escape(&name);
            prop_assert!(label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            prop_assert_eq!(unescape(&label), Some(name));
        }

        #[test]
        fn no_label_panics(label in "[ -~]{0,20}") {
            let _ = unescape(&label);
        }
    }
}
