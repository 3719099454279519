//! Between the face's values and zbus's messages.
//!
//! It decides nothing: a value that the face does not speak is an error of the caller's.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use zbus::message::Message;
use zbus::names::{InterfaceName, MemberName};
use zbus::wire::{Array, Dict, ObjectPath, Signature, Structure, StructureBuilder, Type, Variant};

use super::asked::Call;
use super::value::Value;

/// Reads a call.
///
/// # Errors
/// When its arguments are of types that no method here takes.
pub fn call(message: &Message) -> zbus::Result<Call> {
    let header = message.header();
    let body = message.body();
    let arguments = if body.is_empty() {
        Vec::new()
    } else {
        let fields: Structure<'_> = body.deserialize()?;
        fields
            .fields()
            .iter()
            .map(value)
            .collect::<zbus::Result<_>>()?
    };
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    Ok(Call {
        path: text(header.path().map(ObjectPath::as_str)),
        interface: text(header.interface().map(InterfaceName::as_str)),
        member: text(header.member().map(MemberName::as_str)),
        arguments,
    })
}

fn value(variant: &Variant<'_>) -> zbus::Result<Value> {
    Ok(match variant {
        Variant::Bool(v) => Value::Bool(*v),
        Variant::I32(v) => Value::I32(*v),
        Variant::U32(v) => Value::U32(*v),
        Variant::U64(v) => Value::U64(*v),
        Variant::Str(v) => Value::Str(v.as_str().to_owned()),
        Variant::ObjectPath(v) => Value::Path(v.as_str().to_owned()),
        Variant::Array(v) if *v.element_signature() == Signature::Str => {
            let items = v.inner().iter().map(value);
            Value::List("s", items.collect::<zbus::Result<_>>()?)
        }
        other => {
            let text = format!(
                "arguments of type '{}' are not taken",
                other.value_signature()
            );
            return Err(zbus::Error::Failure(text));
        }
    })
}

/// Several values as a message's body.
pub fn body(values: &[Value]) -> zbus::Result<Structure<'static>> {
    let fields = values
        .iter()
        .map(variant)
        .collect::<zbus::Result<Vec<_>>>()?;
    structure(fields)
}

/// `a{sv}` in the order that it is written in: `systemctl` takes the later of two properties that say
/// the same, and a dictionary of zbus is sorted.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct InOrder(#[serde(serialize_with = "in_order")] Vec<(String, Variant<'static>)>);

impl Type for InOrder {
    const SIGNATURE: &'static Signature = <HashMap<String, Variant<'static>> as Type>::SIGNATURE;
}

fn in_order<S: Serializer>(
    entries: &[(String, Variant<'static>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(name, value)| (name, value)))
}

/// A dictionary as a message's whole body.
pub fn dictionary(entries: &[(String, Value)]) -> zbus::Result<InOrder> {
    let entries = entries.iter();
    let entries = entries.map(|(name, value)| Ok((name.clone(), variant(value)?)));
    Ok(InOrder(entries.collect::<zbus::Result<_>>()?))
}

fn structure(fields: Vec<Variant<'static>>) -> zbus::Result<Structure<'static>> {
    let mut builder = StructureBuilder::new();
    for field in fields {
        builder.push_value(field);
    }
    builder.build()
}

fn variant(value: &Value) -> zbus::Result<Variant<'static>> {
    Ok(match value {
        Value::Bool(v) => Variant::from(*v),
        Value::I32(v) => Variant::from(*v),
        Value::U32(v) => Variant::from(*v),
        Value::U64(v) => Variant::from(*v),
        Value::F64(v) => Variant::from(*v),
        Value::Str(v) => Variant::from(v.clone()),
        Value::Path(v) => Variant::from(ObjectPath::try_from(v.clone())?),
        Value::List(of, items) => {
            let mut array = Array::new(&Signature::try_from(*of)?);
            for item in items {
                array.append(variant(item)?)?;
            }
            Variant::from(array)
        }
        Value::Tuple(fields) => {
            let fields = fields
                .iter()
                .map(variant)
                .collect::<zbus::Result<Vec<_>>>()?;
            Variant::from(structure(fields)?)
        }
        Value::Dict(entries) => {
            let mut dict = Dict::new(&Signature::Str, &Signature::Variant);
            for (name, entry) in entries {
                let boxed = Variant::Variant(Box::new(variant(entry)?));
                dict.append(Variant::from(name.clone()), boxed)?;
            }
            Variant::from(dict)
        }
        Value::Variant(inner) => Variant::Variant(Box::new(variant(inner)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::value::strings;
    use super::*;

    #[test]
    fn each_value_is_encoded_with_its_own_signature() {
        let row = Value::Tuple(vec!["a".into(), Value::Path("/".into())]);
        let values = [
            Value::List("(so)", vec![row]),
            Value::Dict(vec![("x".into(), 1u64.into())]),
            strings::<&str>([]),
            Value::Variant(Box::new(true.into())),
            Value::F64(1.0),
        ];
        let body = body(&values).unwrap();
        assert_eq!(body.signature().to_string(), "(a(so)a{sv}asvd)");
    }

    #[test]
    fn a_call_is_read_with_its_arguments() {
        let message = Message::method_call("/org/freedesktop/systemd1", "StartUnit")
            .interface("org.freedesktop.systemd1.Manager")
            .build(&("web.service", "replace"))
            .unwrap();
        let call = call(&message).unwrap();
        assert_eq!(call.own_interface(), Some("Manager"));
        assert_eq!(call.text(1).unwrap(), "replace");
        let refusal = call.number(0).unwrap_err().message;
        assert!(refusal.contains("expected a number as argument 1, found type 's'"));
        assert!(call.texts(2).unwrap_err().message.contains("found nothing"));
    }

    #[test]
    fn a_dictionary_keeps_its_order() {
        let entries = [("z".to_owned(), 1u32.into()), ("a".to_owned(), true.into())];
        let message = Message::method_call("/", "M")
            .build(&dictionary(&entries).unwrap())
            .unwrap();
        assert_eq!(message.body().signature().to_string(), "a{sv}");
        let bytes = message.body().data().to_vec();
        let at = |c: u8| bytes.iter().position(|b| *b == c).unwrap();
        assert!(at(b'z') < at(b'a'), "{bytes:?}");
    }

    #[test]
    fn one_list_is_one_argument() {
        let message = Message::method_call("/", "M")
            .build(&vec!["a", "b"])
            .unwrap();
        assert_eq!(call(&message).unwrap().texts(0).unwrap(), ["a", "b"]);
    }
}
