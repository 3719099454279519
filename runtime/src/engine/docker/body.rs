//! An object of a request's body, taken apart field by field.
//!
//! What nobody has taken and is not empty is refused at the end by its name: no field is passed over in
//! silence.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// An object, and where it stands in the body.
#[derive(Debug, Default)]
pub struct Body {
    place: String,
    fields: Map<String, Value>,
}

impl Body {
    /// Of a whole body; `null` and nothing are an empty object.
    ///
    /// # Errors
    /// When it is no object.
    pub fn new(place: &str, value: Value) -> Result<Self, Refusal> {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            _ => return Err(Refusal::invalid(format!("{place}: expected an object"))),
        };
        Ok(Self {
            place: place.into(),
            fields,
        })
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.fields.remove(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> Refusal {
        Refusal::invalid(format!("{}: expected {expected}", self.path(key)))
    }

    /// A field's name with its place.
    pub fn path(&self, key: &str) -> String {
        match self.place.as_str() {
            "" => key.into(),
            place => format!("{place}.{key}"),
        }
    }

    /// Takes a text; an empty one is none.
    ///
    /// # Errors
    /// When it is no text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|t| !t.is_empty())),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// Takes a number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&mut self, key: &str) -> Result<Option<i64>, Refusal> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(key, "a whole number")),
            },
        }
    }

    /// Takes a number that means a limit when it is above 0.
    ///
    /// # Errors
    /// When it is none.
    pub fn limit(&mut self, key: &str) -> Result<Option<u64>, Refusal> {
        let number = self.number(key)?.filter(|n| *n > 0);
        Ok(number.map(i64::unsigned_abs))
    }

    /// Takes a truth value; none is false.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&mut self, key: &str) -> Result<bool, Refusal> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// Takes a list of texts; a single text is a list of one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn words(&mut self, key: &str) -> Result<Vec<String>, Refusal> {
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::String(one)) => return Ok(vec![one]),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.wrong(key, "a list of strings")),
        };
        let texts = list.into_iter().map(|value| match value {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(key, "a list of strings")),
        });
        texts.collect()
    }

    /// Takes an object of texts.
    ///
    /// # Errors
    /// When it is something else.
    pub fn pairs(&mut self, key: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let object = match self.take(key) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(self.wrong(key, "an object of strings")),
        };
        let texts = object.into_iter().map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(self.wrong(key, "an object of strings")),
        });
        texts.collect()
    }

    /// Takes the keys of an object that is a set.
    ///
    /// # Errors
    /// When it is no object.
    pub fn keys(&mut self, key: &str) -> Result<Vec<String>, Refusal> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(object)) => Ok(object.into_iter().map(|(name, _)| name).collect()),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    /// Takes an object; none is an empty one.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&mut self, key: &str) -> Result<Body, Refusal> {
        let value = self.take(key).unwrap_or(Value::Null);
        Body::new(&self.path(key), value)
    }

    /// Takes an object of objects.
    ///
    /// # Errors
    /// When it is something else.
    pub fn objects(&mut self, key: &str) -> Result<Vec<(String, Body)>, Refusal> {
        let all = self.object(key)?;
        let place = all.place;
        let each = all.fields.into_iter().map(|(name, value)| {
            let body = Body::new(&format!("{place}.{name}"), value)?;
            Ok((name, body))
        });
        each.collect()
    }

    /// Takes a list of objects.
    ///
    /// # Errors
    /// When it is something else.
    pub fn list(&mut self, key: &str) -> Result<Vec<Body>, Refusal> {
        let list = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.wrong(key, "a list of objects")),
        };
        let place = self.path(key);
        let each = list.into_iter().map(|value| Body::new(&place, value));
        each.collect()
    }

    /// Takes something as it is.
    pub fn value(&mut self, key: &str) -> Value {
        self.take(key).unwrap_or(Value::Null)
    }

    /// Takes fields that mean nothing here.
    pub fn pass_over(&mut self, keys: &[&str]) {
        for key in keys {
            self.fields.remove(*key);
        }
    }

    /// Ends the taking apart.
    ///
    /// # Errors
    /// What is left and says something.
    pub fn finish(self) -> Result<(), Refusal> {
        let left = self.fields.iter().find(|(_, value)| !says_nothing(value));
        match left {
            None => Ok(()),
            Some((key, _)) => {
                let path = self.path(key);
                Err(Refusal::unsupported(&path, "leave it out"))
            }
        }
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.values().all(says_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_took_is_refused_by_its_name_unless_it_says_nothing() {
        let value = json!({"A": "x", "B": {"C": true}, "D": [], "E": {"F": 0}, "G": null});
        let mut body = Body::new("", value).unwrap();
        assert_eq!(body.text("A").unwrap().as_deref(), Some("x"));
        let refused = body.finish().unwrap_err();
        assert_eq!(refused.status, 501);
        assert!(
            refused.message.starts_with("B is not supported"),
            "{refused}"
        );
        let mut body = Body::new("HostConfig", json!({"Memory": "many"})).unwrap();
        let refused = body.limit("Memory").unwrap_err();
        assert_eq!(
            refused.message,
            "HostConfig.Memory: expected a whole number"
        );
    }
}
