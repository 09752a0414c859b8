//! What an answer has to say, and what is kept of it.

use std::cell::OnceCell;

use serde_json::Value;

use crate::http::Kept;

/// Something that an answer has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// This text is in its body.
    Contains(String),
    /// Its body is JSON, and has this value at a JSON pointer (RFC 6901).
    Json {
        /// Where.
        pointer: String,
        /// What.
        value: Value,
    },
}

/// Where a value is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The body, as JSON, at a JSON pointer (RFC 6901).
    Json(String),
    /// A header.
    Header(String),
}

/// A value that is kept for later requests; an answer without it does not say what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extract {
    /// Its place among the journey's values.
    pub place: usize,
    /// Where it is taken from.
    pub source: Source,
}

/// An answer's body, understood once for all who ask.
pub(super) struct Body<'a> {
    answer: &'a Kept,
    json: OnceCell<Option<Value>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(answer: &'a Kept) -> Self {
        Self {
            answer,
            json: OnceCell::new(),
        }
    }

    fn json(&self, pointer: &str) -> Option<&Value> {
        self.json
            .get_or_init(|| serde_json::from_slice(self.answer.body()).ok())
            .as_ref()?
            .pointer(pointer)
    }
}

impl Check {
    pub(super) fn holds(&self, body: &Body<'_>) -> bool {
        match self {
            Self::Contains(text) => {
                text.is_empty()
                    || body
                        .answer
                        .body()
                        .windows(text.len())
                        .any(|part| part == text.as_bytes())
            }
            Self::Json { pointer, value } => body.json(pointer) == Some(value),
        }
    }
}

impl Extract {
    pub(super) fn value(&self, body: &Body<'_>) -> Option<String> {
        match &self.source {
            Source::Header(name) => body.answer.header(name),
            Source::Json(pointer) => match body.json(pointer)? {
                Value::String(text) => Some(text.clone()),
                Value::Null => None,
                other => Some(other.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::Parser;

    #[test]
    fn answers_are_looked_at() {
        let body = r#"{"id": 17, "state": "paid", "none": null, "lines": [{"sku": "P1"}]}"#;
        let text = format!(
            "HTTP/1.1 200 OK\r\nETag: abc\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut parser = Parser::new(false, true);
        parser.feed(text.as_bytes()).unwrap();
        let kept = parser.take_kept().unwrap();
        let body = Body::new(&kept);
        let at = |pointer: &str, value| Check::Json {
            pointer: pointer.to_owned(),
            value,
        };
        assert!(at("/state", json!("paid")).holds(&body));
        assert!(at("/lines/0/sku", json!("P1")).holds(&body));
        assert!(!at("/state", json!("open")).holds(&body));
        assert!(!at("/nowhere", json!(null)).holds(&body));
        assert!(Check::Contains("paid".to_owned()).holds(&body));
        assert!(!Check::Contains("void".to_owned()).holds(&body));
        let value = |source| Extract { place: 0, source }.value(&body);
        assert_eq!(value(Source::Json("/id".to_owned())).as_deref(), Some("17"));
        assert_eq!(
            value(Source::Json("/state".to_owned())).as_deref(),
            Some("paid")
        );
        assert_eq!(value(Source::Json("/none".to_owned())), None);
        assert_eq!(
            value(Source::Header("etag".to_owned())).as_deref(),
            Some("abc")
        );
    }
}
