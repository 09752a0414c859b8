//! Reading a struct from fields whose values come from anywhere, so that what is refused is refused by the field's name.

use std::{fmt, vec};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer,
    },
};

use crate::fault::KINDS;

/// A field that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Its name, where it is known.
    pub(crate) field: Option<String>,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn of_field(field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            reason: reason.into(),
        }
    }

    pub(crate) fn unknown_kind(kind: &str) -> Self {
        let known = KINDS.join(", ");
        Self::of_field("fault", format!("there is no `{kind}`; use one of {known}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(out, "{field}: {}", self.reason),
            None => out.write_str(&self.reason),
        }
    }
}

impl std::error::Error for Refusal {}

impl Error for Refusal {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self {
            field: None,
            reason: reason.to_string(),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let reason = if expected.is_empty() {
            "there is no such field; this fault has none of its own".to_owned()
        } else {
            format!("there is no such field; use {}", expected.join(", "))
        };
        Self::of_field(field, reason)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of_field(field, "is needed and was not given")
    }
}

/// Reads a struct from its fields.
pub(crate) fn read<'de, T, V>(fields: Vec<(String, V)>) -> Result<T, Refusal>
where
    T: Deserialize<'de>,
    V: Deserializer<'de>,
{
    T::deserialize(MapAccessDeserializer::new(Fields {
        rest: fields.into_iter(),
        current: None,
    }))
}

struct Fields<V> {
    rest: vec::IntoIter<(String, V)>,
    current: Option<(String, V)>,
}

impl<'de, V: Deserializer<'de>> MapAccess<'de> for Fields<V> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refusal> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        let key = seed.deserialize(name.as_str().into_deserializer())?;
        self.current = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let Some((name, value)) = self.current.take() else {
            return Err(Refusal::custom("a value without a name"));
        };
        seed.deserialize(value)
            .map_err(|error| Refusal::of_field(&name, error.to_string()))
    }
}

/// A value that was written as text: it becomes whatever is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// One text.
    One(String),
    /// A list of texts.
    Many(Vec<String>),
}

impl Text {
    fn one(self) -> Result<String, Refusal> {
        match self {
            Self::One(text) => Ok(text),
            Self::Many(_) => Err(Refusal::custom("a list is not allowed; use a single value")),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $number:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let text = self.one()?;
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse::<$number>() {
                Ok(number) if digits => visitor.$visit(number),
                _ => Err(Refusal::custom(format!(
                    "`{text}` is not allowed; use a whole number from 0 to {}",
                    <$number>::MAX
                ))),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Text {
    type Error = Refusal;

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_string(self.one()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.one()?.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            text => Err(Refusal::custom(format!(
                "`{text}` is not allowed; use true or false"
            ))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    /// A single text is a list with commas in it, as on the command line.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let texts = match self {
            Self::One(text) => text.split(',').map(str::to_owned).collect(),
            Self::Many(texts) => texts,
        };
        let items = texts.into_iter().map(Self::One);
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(items))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Refusal> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
