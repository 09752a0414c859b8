//! Attributes as JSON.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use serde_json::{Map, Value};

use crate::model::Resource;

/// One value. Bytes become hexadecimal text, numbers that JSON has no form for become text.
#[must_use]
pub fn any_value(value: &AnyValue) -> Value {
    match &value.value {
        Some(Any::StringValue(text)) => Value::String(text.clone()),
        Some(Any::BoolValue(truth)) => Value::Bool(*truth),
        Some(Any::IntValue(number)) => Value::from(*number),
        Some(Any::DoubleValue(number)) => serde_json::Number::from_f64(*number)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        Some(Any::ArrayValue(array)) => array.values.iter().map(any_value).collect(),
        Some(Any::KvlistValue(list)) => Value::Object(map(&list.values)),
        Some(Any::BytesValue(bytes)) => Value::String(hex(bytes)),
        // An index into a dictionary that only profiles have.
        Some(Any::StringValueStrindex(_)) | None => Value::Null,
    }
}

/// A list of attributes as a JSON object's text.
#[must_use]
pub fn object(attributes: &[KeyValue]) -> String {
    if attributes.is_empty() {
        return "{}".to_owned();
    }
    Value::Object(map(attributes)).to_string()
}

fn map(attributes: &[KeyValue]) -> Map<String, Value> {
    attributes
        .iter()
        .map(|attribute| {
            let value = attribute.value.as_ref().map_or(Value::Null, any_value);
            (attribute.key.clone(), value)
        })
        .collect()
}

/// An attribute that is a string.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The sender.
pub(super) fn resource(resource: Option<&OtlpResource>) -> Arc<Resource> {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let service = text(attributes, "service.name").unwrap_or("unknown_service");
    Arc::new(Resource {
        service: service.to_owned(),
        unit: text(attributes, "systemd.unit")
            .unwrap_or(service)
            .to_owned(),
        attributes: object(attributes),
    })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}
