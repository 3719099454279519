//! The reader: characters in, a tree out.
//!
//! Stops at the first thing that is no JSON, and says where that stands.

use super::{Member, Node, Value};
use crate::problem::{Problem, Spot};

/// No document nests deeper.
const DEEPEST: usize = 64;
/// No object has more names: Ignition's have two dozen.
const MOST_MEMBERS: usize = 1024;

/// Reads one document; `document` is its index, for the places.
///
/// # Errors
/// The first place that is no JSON.
pub fn parse(text: &str, document: usize) -> Result<Node, Problem> {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        at: Spot {
            document,
            line: 1,
            column: 1,
        },
    };
    reader.blank();
    let node = reader.value(0)?;
    reader.blank();
    match reader.peek() {
        None => Ok(node),
        Some(c) => Err(reader.expected("the end of the document", Some(c))),
    }
}

struct Reader<'a> {
    rest: &'a str,
    at: Spot,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.at.line += 1;
            self.at.column = 1;
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.next();
        }
    }

    fn expected(&self, what: &str, found: Option<char>) -> Problem {
        let found = match found {
            None => "the end of the document".to_owned(),
            Some(c) if c.is_control() => format!("the character U+{:04X}", u32::from(c)),
            Some(c) => format!("'{c}'"),
        };
        Problem::new(self.at, "", format!("expected {what}, found {found}"))
    }

    /// Takes this character, or says what was expected.
    fn take(&mut self, c: char, what: &str) -> Result<(), Problem> {
        match self.peek() {
            Some(found) if found == c => {
                self.next();
                Ok(())
            }
            found => Err(self.expected(what, found)),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let at = self.at;
        if depth > DEEPEST {
            let text = format!("nested deeper than {DEEPEST} levels");
            return Err(Problem::new(at, "", text));
        }
        let value = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.text()?),
            Some('-' | '0'..='9') => Value::Number(self.number()?),
            Some('a'..='z') => self.word()?,
            found => return Err(self.expected("a value", found)),
        };
        Ok(Node { at, value })
    }

    fn word(&mut self) -> Result<Value, Problem> {
        let known = [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ];
        for (word, value) in known {
            if self.rest.starts_with(word) {
                word.chars().for_each(|_| {
                    self.next();
                });
                return Ok(value);
            }
        }
        Err(self.expected("a value", self.peek()))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        self.next();
        let mut list = Vec::new();
        self.blank();
        if self.peek() == Some(']') {
            self.next();
            return Ok(Value::List(list));
        }
        loop {
            self.blank();
            list.push(self.value(depth + 1)?);
            self.blank();
            if self.peek() != Some(',') {
                break;
            }
            self.next();
        }
        self.take(']', "',' or ']'")?;
        Ok(Value::List(list))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Problem> {
        self.next();
        let mut members: Vec<Member> = Vec::new();
        self.blank();
        if self.peek() == Some('}') {
            self.next();
            return Ok(Value::Object(members));
        }
        loop {
            self.blank();
            let at = self.at;
            if self.peek() != Some('"') {
                return Err(self.expected("a name in quotes", self.peek()));
            }
            let name = self.text()?;
            if members.len() == MOST_MEMBERS {
                let text = format!("more than {MOST_MEMBERS} names in an object");
                return Err(Problem::new(at, "", text));
            }
            if members.iter().any(|member| member.name == name) {
                return Err(Problem::new(
                    at,
                    "",
                    format!("\"{name}\" stands here twice"),
                ));
            }
            self.blank();
            self.take(':', "':'")?;
            self.blank();
            let node = self.value(depth + 1)?;
            members.push(Member { name, at, node });
            self.blank();
            if self.peek() != Some(',') {
                break;
            }
            self.next();
        }
        self.take('}', "',' or '}'")?;
        Ok(Value::Object(members))
    }

    fn text(&mut self) -> Result<String, Problem> {
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.next();
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some(c) if c >= ' ' => {
                    text.push(c);
                    self.next();
                }
                found => return Err(self.expected("a character or '\"'", found)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        self.next();
        let c = self.peek();
        let plain = match c {
            Some('"' | '\\' | '/') => c,
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => {
                self.next();
                return self.unicode();
            }
            _ => None,
        };
        match plain {
            Some(plain) => {
                self.next();
                Ok(plain)
            }
            None => Err(self.expected("one of \"\\/bfnrtu after '\\'", c)),
        }
    }

    /// Four digits, or two times four for what lies beyond them.
    fn unicode(&mut self) -> Result<char, Problem> {
        let at = self.at;
        let half = |text| Problem::new(at, "", text);
        let first = self.four_digits()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| half("no character has this number"));
        }
        if first >= 0xdc00 || !self.rest.starts_with("\\u") {
            return Err(half("half of a surrogate pair"));
        }
        self.next();
        self.next();
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(half("half of a surrogate pair"));
        }
        let number = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(number).ok_or_else(|| half("no character has this number"))
    }

    fn four_digits(&mut self) -> Result<u32, Problem> {
        let mut number = 0;
        for _ in 0..4 {
            let c = self.peek();
            let Some(digit) = c.and_then(|c| c.to_digit(16)) else {
                return Err(self.expected("four hexadecimal digits after '\\u'", c));
            };
            number = number * 16 + digit;
            self.next();
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<String, Problem> {
        let start = self.rest;
        if self.peek() == Some('-') {
            self.next();
        }
        match self.peek() {
            Some('0') => {
                self.next();
                if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    let text =
                        "a number that begins with 0: JSON has no octal numbers, 0644 is 420";
                    return Err(Problem::new(self.at, "", text));
                }
            }
            _ => self.digits()?,
        }
        if self.peek() == Some('.') {
            self.next();
            self.digits()?;
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.next();
            if matches!(self.peek(), Some('+' | '-')) {
                self.next();
            }
            self.digits()?;
        }
        Ok(start[..start.len() - self.rest.len()].to_owned())
    }

    fn digits(&mut self) -> Result<(), Problem> {
        let found = self.peek();
        if !found.is_some_and(|c| c.is_ascii_digit()) {
            return Err(self.expected("a digit", found));
        }
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.next();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str) -> String {
        let problem = parse(text, 0).unwrap_err();
        format!("{}", problem.told(&["f".into()]))
    }

    #[test]
    fn what_is_no_json_is_told_with_its_line_and_column() {
        for (text, wanted) in [
            ("", "f:1:1: expected a value, found the end of the document"),
            (
                "{\n  \"a\": 1,\n}",
                "f:3:1: expected a name in quotes, found '}'",
            ),
            ("[1 2]", "f:1:4: expected ',' or ']', found '2'"),
            ("{\"a\" 1}", "f:1:6: expected ':', found '1'"),
            ("{\"ä\": tru}", "f:1:7: expected a value, found 't'"),
            ("{\"a\":1,\"a\":2}", "f:1:8: \"a\" stands here twice"),
            (
                "\"a\nb\"",
                "f:1:3: expected a character or '\"', found the character U+000A",
            ),
            (
                "\"\\x\"",
                "f:1:3: expected one of \"\\/bfnrtu after '\\', found 'x'",
            ),
            ("\"\\ud800\"", "f:1:4: half of a surrogate pair"),
            (
                "1.",
                "f:1:3: expected a digit, found the end of the document",
            ),
            ("{} x", "f:1:4: expected the end of the document, found 'x'"),
        ] {
            assert_eq!(told(text), wanted, "{text}");
        }
        assert!(told("0644").contains("0644 is 420"));
        assert!(told(&"[".repeat(100_000)).contains("nested deeper"));
    }

    #[test]
    fn escapes_and_pairs_are_characters() {
        let node = parse(r#""\u00e4\ud83d\ude00\n\/""#, 0).unwrap();
        assert_eq!(node.as_text(), Some("ä😀\n/"));
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text: String) {
            let _ = parse(&text, 0);
        }

        #[test]
        fn nothing_like_json_is_a_panic(text in r#"[\[\]{}",:\\u0-9a-f.eE+\- \n]{0,60}"#) {
            let _ = parse(&text, 0);
        }
    }
}
