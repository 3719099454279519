//! What a mirror has, as `apt-cache show` prints it.
//!
//! Pure; skips stanzas without what we need.

/// A package that the mirror has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 as the signed index gives it.
    pub sha256: String,
}

impl Candidate {
    /// All packages in what `apt-cache show` prints.
    #[must_use]
    pub fn all_in(text: &str) -> Vec<Self> {
        let stanza = |stanza: &str| {
            let field = |key: &str| {
                let value = stanza.lines().find_map(|line| line.strip_prefix(key));
                value.map(|value| value.trim().to_owned())
            };
            Some(Candidate {
                name: field("Package:")?,
                version: field("Version:")?,
                sha256: field("SHA256:")?,
            })
        };
        text.split("\n\n").filter_map(stanza).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_shows_is_read() {
        let text = "Package: a\nVersion: 1\nSHA256: aa\n\nPackage: a\nVersion: 2\nSHA256: bb\n\n";
        let all = Candidate::all_in(text);
        assert_eq!(all.len(), 2);
        assert_eq!((&*all[1].version, &*all[1].sha256), ("2", "bb"));
    }
}
