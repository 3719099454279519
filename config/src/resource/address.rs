//! Where a resource is: in the document itself (RFC 2397), or on a server.
//!
//! Refuses every scheme that the host cannot fetch, by name.

use data_encoding::BASE64;

/// Where a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Here.
    Data(Vec<u8>),
    /// At this URL of `http` or `https`.
    Http(String),
}

impl Address {
    /// Reads a `source`; an empty one is an empty file, as Ignition has it.
    ///
    /// # Errors
    /// What was expected; never the text itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Data(Vec::new()));
        }
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| "expected a URL like data:,text or https://server/file".to_owned())?;
        match scheme.to_ascii_lowercase().as_str() {
            "data" => data(rest).map(Self::Data),
            "http" | "https" => http(text, rest),
            scheme @ ("tftp" | "s3" | "gs" | "arn") => Err(format!(
                "{scheme}: is refused: this host fetches over http and https; use an https URL of the same object"
            )),
            _ => Err("expected a URL of data, http or https".to_owned()),
        }
    }
}

fn http(text: &str, rest: &str) -> Result<Address, String> {
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    let authority = &authority[..end];
    if authority.is_empty() {
        return Err("expected a server's name after http:// or https://".to_owned());
    }
    if authority.contains('@') {
        return Err("has a user's name or password in it: use httpHeaders".to_owned());
    }
    let odd = |c: char| !c.is_ascii_graphic() || "<>\"\\^`{}|".contains(c);
    if text.contains(odd) {
        return Err("has a character that no URL has: write it as %XX".to_owned());
    }
    let whole = text.split('#').next().unwrap_or(text);
    Ok(Address::Http(whole.to_owned()))
}

/// `[TYPE][;base64],DATA`, after `data:`.
fn data(rest: &str) -> Result<Vec<u8>, String> {
    let (kind, data) = rest
        .split_once(',')
        .ok_or_else(|| "expected data:,… with a comma before the data".to_owned())?;
    let bytes = percent(data)?;
    if kind.rsplit(';').next() != Some("base64") {
        return Ok(bytes);
    }
    BASE64
        .decode(&bytes)
        .map_err(|e| format!("expected base64: {e}"))
}

fn percent(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
        let (high, low) = (digit(tail.first()), digit(tail.get(1)));
        let (Some(high), Some(low)) = (high, low) else {
            return Err("expected two hexadecimal digits after '%'".to_owned());
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
        rest = &tail[2..];
    }
    Ok(bytes)
}

/// A URL for people: without what may be a secret in it.
#[must_use]
pub fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let plain: String = url[..end].chars().filter(|c| !c.is_control()).collect();
    match end < url.len() {
        true => format!("{plain}?…"),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read_plain_and_packed() {
        let data = |text: &str| match Address::parse(text) {
            Ok(Address::Data(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(data("data:,a%20b%0A"), "a b\n");
        assert_eq!(data("data:text/plain;charset=utf-8;base64,aGk="), "hi");
        assert_eq!(data("data:text/plain;base64,aGk%3D"), "hi");
        assert_eq!(data(""), "");
    }

    #[test]
    fn a_refused_url_is_not_repeated_since_it_may_be_a_secret() {
        for bad in [
            "ftp://hunter2/x",
            "https://me:hunter2@server/x",
            "data:;base64,hunter2",
            "hunter2",
            "data:hunter2",
            "data:,%hunter2",
            "s3://hunter2/x",
            "https:///hunter2",
            "https://server/hunter2 x",
        ] {
            let text = Address::parse(bad).unwrap_err();
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert_eq!(shown("https://s/a?token=hunter2"), "https://s/a?…");
    }
}
