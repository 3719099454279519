//! A command line in words: blanks separate, quotes and backslashes keep together.
//!
//! Pure. There are no variables, patterns, pipes or substitutions: it is not a shell, and says so
//! where somebody writes as if it were one.

/// Longest command line that is read, in bytes.
pub const LONGEST: usize = 32 * 1024;

/// What would mean something to a shell, outside of quotes.
const OF_SHELLS: &str = "|&;<>()`$*?";

/// Splits a command line.
///
/// # Errors
/// A sentence: a quote that is not closed, or a sign that only a shell would understand.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    if line.len() > LONGEST {
        return Err(format!(
            "expected a command of at most {LONGEST} bytes, found {}",
            line.len()
        ));
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        match sign {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => quoted(&mut signs, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut signs, '"', word.get_or_insert_default())?,
            '\\' => {
                let next = signs.next();
                let next = next.ok_or("expected a sign after the backslash, found the end")?;
                word.get_or_insert_default().push(next);
            }
            '\0' => return Err("expected text, found a zero byte".to_owned()),
            sign if OF_SHELLS.contains(sign) => {
                return Err(format!(
                    "there is no shell here that would understand \"{sign}\": write one command of skeg, quotes around what is meant as it stands"
                ));
            }
            sign => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(signs: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), String> {
    loop {
        match signs.next() {
            None => return Err(format!("expected a closing {quote}, found the end")),
            Some(sign) if sign == quote => return Ok(()),
            Some('\0') => return Err("expected text, found a zero byte".to_owned()),
            // In double quotes a backslash stands before what would end or escape.
            Some('\\') if quote == '"' => match signs.next() {
                Some(sign @ ('"' | '\\' | '$' | '`')) => word.push(sign),
                Some(sign) => word.extend(['\\', sign]),
                None => return Err("expected a closing \", found the end".to_owned()),
            },
            Some(sign) => word.push(sign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_what_a_shell_would_make_of_plain_text_and_quotes() {
        for (line, expected) in [
            ("", &[][..]),
            ("  ps  -a ", &["ps", "-a"]),
            ("logs 'my web' x", &["logs", "my web", "x"]),
            (r#"run "a b"c"#, &["run", "a bc"]),
            (r"run a\ b", &["run", "a b"]),
            (r#"exec "say \"hi\" \n""#, &["exec", r#"say "hi" \n"#]),
            ("run ''", &["run", ""]),
            ("run '$HOME|x'", &["run", "$HOME|x"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_would_understand_is_named() {
        for (line, named) in [
            ("ps | grep web", "\"|\""),
            ("status; ps", "\";\""),
            ("run $X", "\"$\""),
            ("logs 'web", "closing '"),
            ("logs \"web", "closing \""),
            ("x\\", "backslash"),
            ("a\0b", "zero byte"),
        ] {
            let error = split(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_comes_back_as_one_word(text in "[^'\0]{0,40}") {
            prop_assert_eq!(split(&format!("'{text}'")).unwrap(), vec![text]);
        }

        #[test]
        fn no_line_is_too_odd(line in ".{0,60}") {
            let _ = split(&line);
        }
    }
}
