//! JSON whose every value knows its line and column (RFC 8259).
//!
//! Never panics and never recurses deeper than a bound, whatever it is given; a name that stands
//! twice in an object is an error.

mod parse;

pub use parse::parse;

use crate::problem::Spot;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its first character.
    pub at: Spot,
    /// What it is.
    pub value: Value,
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`: to Ignition the same as nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// As it was written.
    Number(String),
    /// Without its quotes and escapes.
    Text(String),
    /// `[…]`.
    List(Vec<Node>),
    /// `{…}`.
    Object(Vec<Member>),
}

/// A name and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Without quotes and escapes.
    pub name: String,
    /// Where the name begins.
    pub at: Spot,
    /// The value.
    pub node: Node,
}

impl Node {
    /// The member of this name, if this is an object that has it and it is not null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Value::Object(members) = &self.value else {
            return None;
        };
        let found = members.iter().find(|member| member.name == name)?;
        (found.node.value != Value::Null).then_some(&found.node)
    }

    /// The text of a member.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// Its own text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of a member.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        match &self.get(name)?.value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The truth of a member.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// The elements of a member; none if it is not there.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &Self> {
        let list = match self.get(name).map(|node| &node.value) {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        list.iter()
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}
