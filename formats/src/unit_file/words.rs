//! Splitting values into words as systemd does: quotes and C escapes (systemd.syntax(7)).
//!
//! It expands neither variables nor specifiers.

/// Splits at white space; `'…'` and `"…"` hold words together, `\` escapes.
///
/// # Errors
/// An open quote, or an escape that names no character.
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

    proptest! {
        #[test]
        fn no_text_makes_splitting_panic(text in "(\\PC|[\\\\\"'%xuU0 ])*") {
            let _ = split(&text);
        }
    }
}
