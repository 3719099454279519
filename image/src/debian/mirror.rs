//! Which Debian mirror this machine uses, read from its own apt sources.
//!
//! Pure: takes the texts of the sources, one-line or deb822, and never looks at a file.

/// Where Debian's archives are, as this machine's apt would say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Base of the main archive.
    pub main: Option<String>,
    /// Base of the security archive.
    pub security: Option<String>,
}

/// Debian's suites; a source with any other one is somebody else's.
const SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
}

impl Mirrors {
    /// Finds the mirrors in the texts of apt's source files.
    #[must_use]
    pub fn find<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let sources: Vec<_> = texts.into_iter().flat_map(sources).collect();
        let pick = |suffix: &str| {
            let serves = |source: &&Source| {
                let suite =
                    |s: &String| s.strip_suffix(suffix).is_some_and(|s| SUITES.contains(&s));
                source.components.iter().any(|c| c == "main") && source.suites.iter().any(suite)
            };
            let uris: Vec<_> = sources
                .iter()
                .filter(serves)
                .flat_map(|s| &s.uris)
                .collect();
            let debian = uris.iter().find(|uri| last_part(uri).starts_with("debian"));
            debian
                .or(uris.first())
                .map(|uri| uri.trim_end_matches('/').to_owned())
        };
        Self {
            main: pick(""),
            security: pick("-security"),
        }
    }

    /// apt's sources for one release, all signed for by `keyring`; none without a main archive.
    #[must_use]
    pub fn source_list(&self, release: &str, keyring: &str) -> Option<String> {
        let main = self.main.as_deref()?;
        let line = |uri: &str, suite: &str| {
            format!("deb [arch=amd64 signed-by={keyring}] {uri} {suite} main\n")
        };
        let mut text = line(main, release);
        if let Some(security) = &self.security {
            text += &line(security, &format!("{release}-security"));
        }
        Some(text)
    }
}

/// Others publish under Debian's suite names too, but not below a folder that is called debian.
fn last_part(uri: &str) -> &str {
    uri.trim_end_matches('/').rsplit('/').next().unwrap_or("")
}

fn sources(text: &str) -> Vec<Source> {
    let one_line = text.lines().filter_map(one_line);
    let stanzas = text.split("\n\n").filter_map(stanza);
    one_line.chain(stanzas).collect()
}

/// `deb [options] uri suite component…`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
    })
}

/// A deb822 stanza; values may go on in lines that begin with a space.
fn stanza(text: &str) -> Option<Source> {
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let unfolded = text.replace("\n ", " ").replace("\n\t", " ");
    let words = |key: &str| -> Vec<String> {
        let value = unfolded.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(key).then_some(value)
        });
        value
            .unwrap_or("")
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let enabled = !words("Enabled")
        .iter()
        .any(|word| word.eq_ignore_ascii_case("no"));
    let binary = words("Types").iter().any(|word| word == "deb");
    (enabled && binary).then(|| Source {
        uris: words("URIs"),
        suites: words("Suites"),
        components: words("Components"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deb822_sources_are_understood() {
        let text = "# comment\nTypes: deb deb-src\n# URIs: http://old.test/debian\nURIs: \
                    http://mirror.test/debian/\nSuites: bookworm bookworm-updates\nComponents: main\n\n\
                    Types: deb\nURIs: http://mirror.test/debian-security\nSuites:\n bookworm-security\n\
                    Components: main\n";
        let mirrors = Mirrors::find([text]);
        assert_eq!(mirrors.main.as_deref(), Some("http://mirror.test/debian"));
        let security = mirrors.security.as_deref();
        assert_eq!(security, Some("http://mirror.test/debian-security"));
    }

    #[test]
    fn one_line_sources_are_understood_and_other_peoples_left_alone() {
        let text = "deb https://vendor.test/apt bookworm main\n\
                    deb [signed-by=/k.gpg arch=amd64] http://m.test/debian trixie main contrib\n\
                    # deb http://old.test/debian trixie main\n";
        let mirrors = Mirrors::find([text]);
        assert_eq!(mirrors.main.as_deref(), Some("http://m.test/debian"));
        assert_eq!(mirrors.security, None);
    }

    #[test]
    fn a_machine_without_debian_sources_has_no_mirror() {
        let text = "Types: deb\nURIs: https://vendor.test/x\nSuites: nodistro\nComponents: main\n";
        assert_eq!(Mirrors::find([text]), Mirrors::default());
    }

    #[test]
    fn the_sources_are_signed_for_by_debian_alone() {
        let mirrors = Mirrors {
            main: Some("http://m.test/debian".into()),
            security: Some("http://m.test/sec".into()),
        };
        let list = mirrors.source_list("trixie", "/k.gpg").unwrap();
        let signed = "signed-by=/k.gpg";
        assert!(list.lines().all(|line| line.contains(signed)));
        assert!(list.ends_with("http://m.test/sec trixie-security main\n"));
        assert_eq!(Mirrors::default().source_list("trixie", "/k.gpg"), None);
    }
}
