//! A call as it came: object, interface, member and arguments.
//!
//! It knows no method; what an argument has to be is asked for by place.

use super::failure::Failure;
use super::value::Value;

/// A method call.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The object.
    pub path: String,
    /// The interface; empty when the client left it out.
    pub interface: String,
    /// The method.
    pub member: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
}

impl Call {
    fn wrong(&self, at: usize, expected: &str) -> Failure {
        let found = self.arguments.get(at).map_or_else(
            || "nothing".into(),
            |value| format!("type '{}'", value.signature()),
        );
        let number = at + 1;
        Failure::arguments(format!(
            "{}: expected {expected} as argument {number}, found {found}",
            self.member
        ))
    }

    /// A string.
    pub fn text(&self, at: usize) -> Result<&str, Failure> {
        match self.arguments.get(at) {
            Some(Value::Str(text)) => Ok(text),
            _ => Err(self.wrong(at, "a string")),
        }
    }

    /// A number.
    pub fn number(&self, at: usize) -> Result<u32, Failure> {
        match self.arguments.get(at) {
            Some(Value::U32(number)) => Ok(*number),
            _ => Err(self.wrong(at, "a number")),
        }
    }

    /// A signed number.
    pub fn signed(&self, at: usize) -> Result<i32, Failure> {
        match self.arguments.get(at) {
            Some(Value::I32(number)) => Ok(*number),
            _ => Err(self.wrong(at, "a signed number")),
        }
    }

    /// A list of strings.
    pub fn texts(&self, at: usize) -> Result<Vec<&str>, Failure> {
        let wrong = || self.wrong(at, "a list of strings");
        let Some(Value::List("s", items)) = self.arguments.get(at) else {
            return Err(wrong());
        };
        let texts = items.iter().map(|item| match item {
            Value::Str(text) => Ok(text.as_str()),
            _ => Err(wrong()),
        });
        texts.collect()
    }

    /// The last part of a name below `org.freedesktop.systemd1`.
    pub fn own_interface(&self) -> Option<&str> {
        let prefix = formats::systemd1::NAME;
        self.interface.strip_prefix(prefix)?.strip_prefix('.')
    }
}
