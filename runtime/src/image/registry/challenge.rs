//! The `WWW-Authenticate` header: how a registry wants to be asked.
//!
//! Pure. Only the first Bearer or Basic challenge counts.

/// What the registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A name and password with each request.
    Basic,
    /// A token from somewhere else.
    Bearer {
        /// Where tokens are had.
        realm: String,
        /// What the token is for.
        service: Option<String>,
        /// What it must allow.
        scope: Option<String>,
    },
}

/// Reads the header.
#[must_use]
pub fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (key, value) in parameters(rest) {
        match key.as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
    }
    Some(Challenge::Bearer {
        realm: realm?,
        service,
        scope,
    })
}

/// `key="quoted, with \" commas",key=token`
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        all.push((key, value));
        text = rest;
    }
    all
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bearer_challenges_give_realm_service_and_scope() {
        let header = r#"Bearer realm="https://auth.a.io/token",service="a.io",scope="repository:x/y:pull,push", error="invalid_token""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.a.io/token".to_owned(),
            service: Some("a.io".to_owned()),
            scope: Some("repository:x/y:pull,push".to_owned()),
        };
        assert_eq!(parse(header), Some(expected));
        let bare = Challenge::Bearer {
            realm: "r\"1".to_owned(),
            service: None,
            scope: None,
        };
        assert_eq!(
            parse(r#"bearer Realm = "r\"1""#.replace(" = ", "=").as_str()),
            Some(bare)
        );
    }

    #[test]
    fn other_challenges_are_basic_or_nothing() {
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("Bearer service=x"), None);
        assert_eq!(parse("Negotiate"), None);
        assert_eq!(parse(""), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC*", tail in "\\PC*") {
            let _ = parse(&text);
            let _ = parse(&format!("Bearer {text}=\"{tail}"));
        }
    }
}
