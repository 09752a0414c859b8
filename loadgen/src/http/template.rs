//! What is sent: bytes that are always the same, or with variables in them.

use std::sync::Arc;

use http::{HeaderName, Method, Uri};

/// The names of the variables that a template may use; a value's place is its name's.
pub type Names = [String];

/// A template that cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It uses a variable that there is not.
    #[error("`${{{name}}}`: there is no variable `{name}`; known: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A `${` has no end.
    #[error("`${{` without a `}}`; write `$${{` for the characters themselves")]
    Open,
}

/// A request as a user describes it; all texts may have variables, `${name}`.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Where to; `host` is its authority.
    pub target: &'a Uri,
    /// Path and query.
    pub path: &'a str,
    /// Headers beside those that are needed.
    pub headers: &'a [(HeaderName, String)],
    /// The body.
    pub body: &'a str,
    /// Whether the connection is to be used again.
    pub keep_alive: bool,
}

/// What happens to a value before it is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    /// Nothing.
    No,
    /// What has a meaning in a path or a query becomes `%XX`.
    Path,
    /// Control characters would begin another header: they go.
    Header,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Value { place: usize, escape: Escape },
}

/// What is sent, over and over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Without the length of the body and the empty line.
    head: Vec<Piece>,
    body: Vec<Piece>,
    /// Whether the head has the length of the body.
    has_length: bool,
    /// The bytes, where they are always the same.
    fixed: Option<Arc<[u8]>>,
    /// Whether the answer has no body whatever its head says.
    is_head: bool,
}

impl Template {
    /// Of a request. `host`, `content-length` and `connection` are written here where they are not given.
    ///
    /// # Errors
    /// [`TemplateError`] for a variable that is none.
    pub fn new(request: &Request<'_>, names: &Names) -> Result<Self, TemplateError> {
        let mut head = Pieces::default();
        head.text(request.method.as_str());
        head.text(" ");
        head.parse(request.path, Escape::Path, names)?;
        head.text(" HTTP/1.1\r\n");
        let has = |name: &str| request.headers.iter().any(|(given, _)| given == name);
        if !has("host") {
            let host = request.target.authority().map_or("", |at| at.as_str());
            head.text(&format!("host: {host}\r\n"));
        }
        if !has("connection") && !request.keep_alive {
            head.text("connection: close\r\n");
        }
        for (name, value) in request.headers {
            head.text(name.as_str());
            head.text(": ");
            head.parse(value, Escape::Header, names)?;
            head.text("\r\n");
        }
        let mut body = Pieces::default();
        body.parse(request.body, Escape::No, names)?;
        let may_have_none = request.body.is_empty() && request.method != Method::POST;
        let mut template = Self {
            head: head.0,
            body: body.0,
            has_length: !has("content-length") && !may_have_none,
            fixed: None,
            is_head: request.method == Method::HEAD,
        };
        if template.head.iter().chain(&template.body).all(is_text) {
            let mut bytes = Vec::new();
            template.fill(&[], None, &mut bytes);
            template.fixed = Some(bytes.into());
        }
        Ok(template)
    }

    /// Bytes as they are, whatever they are.
    #[must_use]
    pub fn raw(bytes: &[u8]) -> Self {
        Self {
            head: Vec::new(),
            body: Vec::new(),
            has_length: false,
            fixed: Some(bytes.into()),
            is_head: false,
        }
    }

    /// As it goes over the wire, where that is always the same.
    #[must_use]
    pub fn fixed(&self) -> Option<&Arc<[u8]>> {
        self.fixed.as_ref()
    }

    /// Whether headers can be added.
    #[must_use]
    pub fn takes_headers(&self) -> bool {
        !self.head.is_empty()
    }

    /// Writes it as it goes over the wire: with these values, and one header more.
    pub fn fill(&self, values: &[String], header: Option<(&str, &str)>, into: &mut Vec<u8>) {
        into.clear();
        if let Some(fixed) = &self.fixed
            && (header.is_none() || !self.takes_headers())
        {
            into.extend_from_slice(fixed);
            return;
        }
        put(&self.head, values, into);
        if self.has_length {
            let mut body = Vec::new();
            put(&self.body, values, &mut body);
            into.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        if let Some((name, value)) = header {
            for text in [name, ": ", value, "\r\n"] {
                into.extend_from_slice(text.as_bytes());
            }
        }
        into.extend_from_slice(b"\r\n");
        put(&self.body, values, into);
    }

    /// Whether the answer is one to HEAD.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.is_head
    }
}

/// A text in which nothing is a variable.
#[must_use]
pub fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

fn is_text(piece: &Piece) -> bool {
    matches!(piece, Piece::Text(_))
}

fn put(pieces: &[Piece], values: &[String], into: &mut Vec<u8>) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => into.extend_from_slice(text),
            Piece::Value { place, escape } => {
                let value = values.get(*place).map_or("", String::as_str);
                match escape {
                    Escape::No => into.extend_from_slice(value.as_bytes()),
                    Escape::Header => into.extend(
                        value
                            .bytes()
                            .filter(|byte| *byte == b'\t' || !byte.is_ascii_control()),
                    ),
                    Escape::Path => percent_encoded(value, into),
                }
            }
        }
    }
}

/// All but RFC 3986's unreserved characters and the slash, so that a `Location` can be followed.
fn percent_encoded(value: &str, into: &mut Vec<u8>) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            into.push(byte);
        } else {
            into.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[derive(Debug, Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Piece::Text(last)) = self.0.last_mut() {
            last.extend_from_slice(text.as_bytes());
        } else {
            self.0.push(Piece::Text(text.as_bytes().to_vec()));
        }
    }

    fn parse(
        &mut self,
        mut text: &str,
        escape: Escape,
        names: &Names,
    ) -> Result<(), TemplateError> {
        while let Some(at) = text.find("${") {
            let (before, rest) = text.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                self.text(before);
                self.text("${");
                text = rest.get(2..).unwrap_or_default();
                continue;
            }
            self.text(before);
            let end = rest.find('}').ok_or(TemplateError::Open)?;
            let name = rest.get(2..end).unwrap_or_default().trim();
            let place = names
                .iter()
                .position(|known| known == name)
                .ok_or_else(|| TemplateError::Unknown {
                    name: name.to_owned(),
                    known: if names.is_empty() {
                        "none".to_owned()
                    } else {
                        names.join(", ")
                    },
                })?;
            self.0.push(Piece::Value { place, escape });
            text = rest.get(end + 1..).unwrap_or_default();
        }
        self.text(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(
        method: &'a Method,
        target: &'a Uri,
        path: &'a str,
        headers: &'a [(HeaderName, String)],
        body: &'a str,
    ) -> Request<'a> {
        Request {
            method,
            target,
            path,
            headers,
            body,
            keep_alive: true,
        }
    }

    fn filled(template: &Template, values: &[&str], header: Option<(&str, &str)>) -> String {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut bytes = Vec::new();
        template.fill(&values, header, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_request_has_what_it_needs_and_what_was_given() {
        let uri: Uri = "http://localhost:8000/a?b=c".parse().unwrap();
        let get = Template::new(&request(&Method::GET, &uri, "/a?b=c", &[], ""), &[]).unwrap();
        let plain = "GET /a?b=c HTTP/1.1\r\nhost: localhost:8000\r\n\r\n";
        assert_eq!(get.fixed().unwrap().as_ref(), plain.as_bytes());
        let given = [(HeaderName::from_static("host"), "shop".to_owned())];
        let mut post = request(&Method::POST, &uri, "/a", &given, "{}");
        post.keep_alive = false;
        let post = Template::new(&post, &[]).unwrap();
        assert_eq!(
            filled(&post, &[], None),
            "POST /a HTTP/1.1\r\nconnection: close\r\nhost: shop\r\ncontent-length: 2\r\n\r\n{}"
        );
        assert_eq!(
            filled(&get, &[], Some(("traceparent", "00-1-2-01"))),
            "GET /a?b=c HTTP/1.1\r\nhost: localhost:8000\r\ntraceparent: 00-1-2-01\r\n\r\n"
        );
    }

    #[test]
    fn variables_are_put_in_as_each_place_allows() {
        let uri: Uri = "http://h".parse().unwrap();
        let names = ["a".to_owned(), "b".to_owned()];
        let headers = [(HeaderName::from_static("x"), "${b}".to_owned())];
        let template = Template::new(
            &request(
                &Method::PUT,
                &uri,
                "/p/${a}?q=${ b }",
                &headers,
                "{\"$${a}\": \"${a}\"}",
            ),
            &names,
        )
        .unwrap();
        assert!(template.fixed().is_none());
        assert_eq!(
            filled(&template, &["1 /2", "x\r\ny: z"], None),
            "PUT /p/1%20/2?q=x%0D%0Ay%3A%20z HTTP/1.1\r\nhost: h\r\nx: xy: z\r\ncontent-length: 16\r\n\r\n{\"${a}\": \"1 /2\"}"
        );
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        let uri: Uri = "http://h".parse().unwrap();
        let refused = |path| {
            Template::new(
                &request(&Method::GET, &uri, path, &[], ""),
                &["sku".to_owned()],
            )
            .unwrap_err()
            .to_string()
        };
        assert!(refused("/${skv}").contains("there is no variable `skv`; known: sku"));
        assert!(refused("/${sku").contains("without a `}`"));
    }
}
