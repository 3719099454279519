//! The values that the face speaks, apart from any library's.
//!
//! It encodes nothing: [`super::wire`] does.

/// A D-Bus value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Str(String),
    /// `o`
    Path(String),
    /// An array; the signature of its elements stands with it since it may be empty.
    List(&'static str, Vec<Value>),
    /// A structure.
    Tuple(Vec<Value>),
    /// `a{sv}`
    Dict(Vec<(String, Value)>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// Its signature.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".into(),
            Self::I32(_) => "i".into(),
            Self::U32(_) => "u".into(),
            Self::U64(_) => "t".into(),
            Self::F64(_) => "d".into(),
            Self::Str(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::List(of, _) => format!("a{of}"),
            Self::Tuple(fields) => {
                let inner: String = fields.iter().map(Self::signature).collect();
                format!("({inner})")
            }
            Self::Dict(_) => "a{sv}".into(),
            Self::Variant(_) => "v".into(),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::U64(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

/// `as`
pub fn strings<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> Value {
    let values = values.into_iter().map(|v| v.as_ref().into());
    Value::List("s", values.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_d_bus() {
        let tuple = Value::Tuple(vec!["a".into(), 1u32.into(), Value::Path("/".into())]);
        assert_eq!(tuple.signature(), "(suo)");
        assert_eq!(Value::List("(ss)", Vec::new()).signature(), "a(ss)");
        assert_eq!(strings(["a"]).signature(), "as");
        let boxed = Value::Variant(Box::new(true.into()));
        assert_eq!(boxed.signature(), "v");
    }
}
