//! Splitting values into words as systemd does: quotes, C escapes, and specifiers such as `%n`.
//!
//! It expands no variables (`$X`): Quadlet hands them to the container as they are.

/// Splits at white space; `'…'` and `"…"` hold words together, `\` escapes.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (_, '\\') => {
                let word = word.get_or_insert_default();
                unescape(&mut chars, word)?;
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!(
            "expected a closing {quote}, found the end of the value"
        ));
    }
    words.extend(word);
    Ok(words)
}

fn unescape(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let Some(c) = chars.next() else {
        return Err("expected a character after '\\', found the end of the value".into());
    };
    let plain = match c {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        's' => ' ',
        'x' => return number(chars, 2, 16, word, c),
        'u' => return number(chars, 4, 16, word, c),
        'U' => return number(chars, 8, 16, word, c),
        // Anything else keeps its backslash, as systemd's relaxed mode does for commands.
        '\\' | '"' | '\'' | ' ' => c,
        other => {
            word.push('\\');
            other
        }
    };
    word.push(plain);
    Ok(())
}

fn number(
    chars: &mut std::str::Chars<'_>,
    digits: usize,
    base: u32,
    word: &mut String,
    escape: char,
) -> Result<(), String> {
    let text: String = chars.by_ref().take(digits).collect();
    let value = u32::from_str_radix(&text, base).ok();
    let c = value
        .filter(|_| text.len() == digits)
        .and_then(char::from_u32)
        .filter(|c| *c != '\0')
        .ok_or_else(|| {
            format!("expected {digits} hexadecimal digits after '\\{escape}', found '{text}'")
        })?;
    word.push(c);
    Ok(())
}

/// Replaces the specifiers that a unit file may use: `%n %N %p %i %j %t %S %E %T %h %%`.
pub fn expand(text: &str, unit: &UnitName) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(&unit.service()),
            Some('N') => out.push_str(unit.stem()),
            Some('p') => out.push_str(unit.prefix()),
            Some('i') => out.push_str(unit.instance()),
            Some('j') => out.push_str(unit.prefix().rsplit('-').next().unwrap_or_default()),
            Some('t') => out.push_str("/run"),
            Some('S') => out.push_str("/var/lib"),
            Some('E') => out.push_str("/etc"),
            Some('T') => out.push_str("/tmp"),
            Some('h') => out.push_str("/root"),
            Some(other) => {
                return Err(format!(
                    "specifier '%{other}' is not supported (write %% for a percent sign)"
                ));
            }
            None => {
                return Err(
                    "expected a specifier after '%', found the end (write %% for a percent sign)"
                        .into(),
                );
            }
        }
    }
    Ok(out)
}

/// Whether a service's name is that of a template, which is no unit before it has an instance.
pub fn is_template(service: &str) -> bool {
    service.ends_with("@.service")
}

/// A unit's name, taken from its file: `web.container` is the service `web.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// From a file name without its extension.
    pub fn new(stem: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-@:\\".contains(&b);
        if stem.is_empty() || stem.len() > 200 || !stem.bytes().all(allowed) {
            return Err(format!(
                "expected a unit name of letters, digits, '_', '.', '-', '@', found '{stem}'"
            ));
        }
        Ok(Self(stem.to_string()))
    }

    /// The name without its suffix.
    pub fn stem(&self) -> &str {
        &self.0
    }

    /// `web.service`.
    pub fn service(&self) -> String {
        format!("{}.service", self.0)
    }

    /// What stands before `@`.
    pub fn prefix(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }

    /// What stands after `@`, or nothing.
    pub fn instance(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, instance)| instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_as_systemd_splits_them() {
        let words = |text| split(text).unwrap();
        assert_eq!(words("a  b\tc"), ["a", "b", "c"]);
        assert_eq!(
            words(r#"sh -c "echo 'x y'" '' "#),
            ["sh", "-c", "echo 'x y'", ""]
        );
        assert_eq!(words(r#"A="b c"d"#), ["A=b cd"]);
        assert_eq!(words(r"a\x41\tb\ c\.d"), ["aA\tb c\\.d"]);
        assert!(split("\"open").is_err());
        assert!(split("a\\").is_err());
        assert!(split(r"\x4").is_err());
        assert!(split(r"\x00").is_err());
    }

    #[test]
    fn specifiers_name_the_unit() {
        let unit = UnitName::new("a-web@3").unwrap();
        let text = expand("%n %N %p %i %j 100%%", &unit).unwrap();
        assert_eq!(text, "a-web@3.service a-web@3 a-web 3 web 100%");
        assert!(expand("%y", &unit).unwrap_err().contains("%y"));
        assert!(expand("%", &unit).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_splitting_or_expanding_panic(text in "(\\PC|[\\\\\"'%xuU0 ])*") {
            let _ = split(&text);
            let _ = expand(&text, &UnitName::new("u").unwrap());
        }
    }
}
