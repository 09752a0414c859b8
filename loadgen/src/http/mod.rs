//! HTTP/1.1 from a client's side, without I/O: a request as bytes, an answer as it arrives.

mod response;

pub use response::{Parser, Progress, ResponseError};

use http::{HeaderName, HeaderValue, Method, Uri};

/// What is sent, over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    bytes: Vec<u8>,
    /// Whether the answer has no body whatever its head says.
    is_head: bool,
}

impl Template {
    /// The bytes of a request. `host`, `content-length` and `connection` are written here where they are not given.
    #[must_use]
    pub fn new(
        method: &Method,
        target: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        body: &[u8],
        keep_alive: bool,
    ) -> Self {
        let path = target.path_and_query().map_or("/", |path| path.as_str());
        let mut bytes = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        let mut put = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        let has = |name: &str| headers.iter().any(|(given, _)| given == name);
        if !has("host") {
            put(
                "host",
                target.authority().map_or("", |at| at.as_str()).as_bytes(),
            );
        }
        if !has("content-length") && (!body.is_empty() || method == Method::POST) {
            put("content-length", body.len().to_string().as_bytes());
        }
        if !has("connection") && !keep_alive {
            put("connection", b"close");
        }
        for (name, value) in headers {
            put(name.as_str(), value.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self {
            bytes,
            is_head: method == Method::HEAD,
        }
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A parser for its answer.
    #[must_use]
    pub fn parser(&self) -> Parser {
        Parser::new(self.is_head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_what_it_needs_and_what_was_given() {
        let uri: Uri = "http://localhost:8000/a?b=c".parse().unwrap();
        let get = Template::new(&Method::GET, &uri, &[], b"", true);
        assert_eq!(
            get.bytes(),
            b"GET /a?b=c HTTP/1.1\r\nhost: localhost:8000\r\n\r\n"
        );
        let given = [(
            HeaderName::from_static("host"),
            HeaderValue::from_static("shop"),
        )];
        let post = Template::new(&Method::POST, &uri, &given, b"{}", false);
        assert_eq!(
            post.bytes(),
            b"POST /a?b=c HTTP/1.1\r\ncontent-length: 2\r\nconnection: close\r\nhost: shop\r\n\r\n{}"
        );
    }
}
