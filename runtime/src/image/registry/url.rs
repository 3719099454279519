//! The few URLs that a registry client meets: `http` and `https` with a host, a path and a query.
//!
//! Pure. User names in URLs are refused, fragments dropped.

use std::fmt;

use super::super::reference::is_host_and_port;

/// An absolute URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `https` rather than `http`.
    pub is_https: bool,
    /// Host and, if it was given, port.
    pub authority: String,
    /// Path and query, beginning with `/`.
    pub target: String,
}

impl Url {
    /// Reads an absolute URL.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let target = rest.split('#').next().unwrap_or_default();
        let slash = if target.starts_with('/') { "" } else { "/" };
        let url = Self {
            is_https,
            authority: authority.to_ascii_lowercase(),
            target: format!("{slash}{target}"),
        };
        (is_host_and_port(authority) && is_target(&url.target)).then_some(url)
    }

    /// Follows a `Location` header.
    #[must_use]
    pub fn join(&self, location: &str) -> Option<Self> {
        if location.contains("://") && !location.starts_with('/') {
            return Self::parse(location);
        }
        let scheme = if self.is_https { "https" } else { "http" };
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let folder = &path[..=path.rfind('/').unwrap_or(0)];
        let target = match location.as_bytes().first() {
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{path}{location}"),
            _ => format!("{folder}{location}"),
        };
        Self::parse(&format!("{scheme}://{}{target}", self.authority))
    }

    /// The host without port and without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let (host, _) = self.split();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, by the scheme if none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        let default = if self.is_https { 443 } else { 80 };
        self.split()
            .1
            .and_then(|p| p.parse().ok())
            .unwrap_or(default)
    }

    /// Whether a secret for the one may be sent to the other.
    #[must_use]
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_https, self.host(), self.port()) == (other.is_https, other.host(), other.port())
    }

    fn split(&self) -> (&str, Option<&str>) {
        let after_brackets = self.authority.rfind(']').map_or(0, |i| i + 1);
        match self.authority[after_brackets..].find(':') {
            Some(colon) => {
                let colon = after_brackets + colon;
                (&self.authority[..colon], Some(&self.authority[colon + 1..]))
            }
            None => (&self.authority, None),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

/// Adds one query parameter, percent-encoded.
pub fn add_query(target: &mut String, key: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    target.push_str(key);
    target.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn is_target(target: &str) -> bool {
    target.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("https://a.io/v2/", "a.io", 443),
            ("http://a.io", "a.io", 80),
            ("http://10.0.2.2:5000/x?y", "10.0.2.2", 5000),
            ("https://[::1]:8443/x", "::1", 8443),
            ("HTTPS://A.io?x#f", "a.io", 443),
        ] {
            assert_eq!((url(text).host(), url(text).port()), (host, port), "{text}");
        }
        for text in [
            "",
            "a.io",
            "ftp://a.io/",
            "https://",
            "https://u:p@a.io/",
            "http://a b/",
            "http://a/\r\nx",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn redirects_are_followed_from_where_they_are_given() {
        let from = url("https://a.io/v2/x/blobs/1?q");
        for (location, expected) in [
            ("https://b.io/y?z", "https://b.io/y?z"),
            ("//b.io/y", "https://b.io/y"),
            ("/y", "https://a.io/y"),
            ("y", "https://a.io/v2/x/blobs/y"),
            ("?y", "https://a.io/v2/x/blobs/1?y"),
            ("/y?u=http://c.io", "https://a.io/y?u=http://c.io"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), expected);
        }
        assert_eq!(from.join("file:///etc/passwd"), None);
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        let a = url("https://a.io/");
        assert!(a.is_same_origin(&url("https://a.io:443/x")));
        for other in [
            "http://a.io/",
            "https://a.io:444/",
            "https://b.a.io/",
            "https://a.io.b/",
        ] {
            assert!(!a.is_same_origin(&url(other)), "{other}");
        }
    }

    #[test]
    fn query_values_are_encoded() {
        let mut target = "/token".to_owned();
        add_query(&mut target, "scope", "repository:a/b:pull");
        add_query(&mut target, "service", "a & b");
        assert_eq!(
            target,
            "/token?scope=repository:a/b:pull&service=a%20%26%20b"
        );
    }

    proptest! {
        #[test]
        fn no_location_makes_it_panic(location in "\\PC*") {
            let _ = url("http://a.io/v2/").join(&location);
        }
    }
}
