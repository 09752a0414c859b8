//! An answer as it arrives, in pieces of any size.
//!
//! The length of a body is found as RFC 9112, section 6.3, says. Bodies are counted, and kept only where somebody wants to look at them.

/// The longest head.
const HEAD: usize = 64 << 10;
/// Header lines in a head.
const HEADERS: usize = 100;
/// The longest line of a chunk's size, with its extensions.
const CHUNK_LINE: usize = 1 << 10;
/// How much of a body is kept for those who look at it.
const KEPT: usize = 1 << 20;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// It is no HTTP.
    #[error("not HTTP/1.1")]
    NotHttp,
    /// Its head does not end.
    #[error("a head of more than {HEAD} bytes")]
    HeadTooLong,
    /// The length of its body is not a number, or said twice.
    #[error("a body of unknown length")]
    Length,
    /// A chunk of its body begins wrongly.
    #[error("a malformed chunk")]
    Chunk,
    /// More came than the answer has.
    #[error("bytes after the end")]
    Surplus,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to come.
    More,
    /// It is whole.
    Done {
        /// Its status.
        status: u16,
        /// Whether the connection can be used again.
        keep_alive: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes.
    Length(u64),
    /// To the end of the connection.
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    /// The end of line after a chunk.
    ChunkEnd,
    Trailer,
    Done,
}

/// Takes an answer's bytes.
#[derive(Clone, Debug)]
pub struct Parser {
    state: State,
    /// A head or a line that is not whole yet.
    pending: Vec<u8>,
    status: u16,
    keep_alive: bool,
    is_head: bool,
    /// Bytes of the body so far, without its framing.
    body: u64,
    kept: Option<Kept>,
}

/// An answer for those who look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Kept {
    /// The body, of at most 1 MiB.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The first header of a name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        head.parse(&self.head).ok()?;
        let found = head
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(found.value).into_owned())
    }

    fn put(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.body.len()).min(bytes.len());
        self.body
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
    }
}

impl Parser {
    /// At the beginning; `is_head` for an answer to HEAD, which has no body; `keeps` for one that is looked at.
    #[must_use]
    pub fn new(is_head: bool, keeps: bool) -> Self {
        Self {
            kept: keeps.then(Kept::default),
            state: State::Head,
            pending: Vec::new(),
            status: 0,
            keep_alive: false,
            is_head,
            body: 0,
        }
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body
    }

    /// What was kept.
    #[must_use]
    pub fn take_kept(&mut self) -> Option<Kept> {
        self.kept.take()
    }

    /// Whether anything has come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state != State::Head || !self.pending.is_empty()
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// See [`ResponseError`]; the connection is of no use then.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Progress, ResponseError> {
        while !bytes.is_empty() {
            match self.state {
                State::Head => bytes = self.head(bytes)?,
                State::Length(left) => {
                    bytes = self.body(bytes, left, State::Length, State::Done);
                }
                State::UntilClose => {
                    self.body += bytes.len() as u64;
                    if let Some(kept) = &mut self.kept {
                        kept.put(bytes);
                    }
                    bytes = &[];
                }
                State::ChunkData(left) => {
                    bytes = self.body(bytes, left, State::ChunkData, State::ChunkEnd);
                }
                State::ChunkSize | State::ChunkEnd | State::Trailer => bytes = self.line(bytes)?,
                State::Done => return Err(ResponseError::Surplus),
            }
        }
        Ok(self.progress())
    }

    /// The connection has ended: for some answers that is their end.
    #[must_use]
    pub fn closed(&mut self) -> Progress {
        if self.state == State::UntilClose {
            self.state = State::Done;
            self.keep_alive = false;
        }
        self.progress()
    }

    fn progress(&self) -> Progress {
        if self.state == State::Done {
            Progress::Done {
                status: self.status,
                keep_alive: self.keep_alive,
            }
        } else {
            Progress::More
        }
    }

    /// Takes some of a stretch of the body that has `left` bytes; what comes after it.
    fn body<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        within: fn(u64) -> State,
        after: State,
    ) -> &'a [u8] {
        let length = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.body += length as u64;
        if let Some(kept) = &mut self.kept {
            kept.put(bytes.get(..length).unwrap_or_default());
        }
        self.state = match left - length as u64 {
            0 => after,
            left => within(left),
        };
        bytes.get(length..).unwrap_or_default()
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ResponseError> {
        // Most heads come whole.
        if self.pending.is_empty() {
            return match self.parse_head(bytes)? {
                Some(length) => Ok(bytes.get(length..).unwrap_or_default()),
                None => {
                    self.pending.extend_from_slice(bytes);
                    Ok(&[])
                }
            };
        }
        let had = self.pending.len();
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        match self.parse_head(&pending)? {
            Some(length) => Ok(bytes.get(length.saturating_sub(had)..).unwrap_or_default()),
            None => {
                self.pending = pending;
                Ok(&[])
            }
        }
    }

    /// The length of the head at the beginning, where it is whole.
    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, ResponseError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(ResponseError::HeadTooLong),
            Err(_) => return Err(ResponseError::NotHttp),
        };
        let status = head.code.ok_or(ResponseError::NotHttp)?;
        // 100 and 103 announce the answer itself.
        if (100..200).contains(&status) {
            return Ok(Some(length));
        }
        if let Some(kept) = &mut self.kept {
            kept.head = bytes.get(..length).unwrap_or_default().to_vec();
        }
        self.status = status;
        self.keep_alive = head.version == Some(1);
        let (mut content_length, mut is_chunked) = (None, false);
        for header in head.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                let value = std::str::from_utf8(header.value).unwrap_or_default();
                // `parse` alone would take a sign.
                let is_number =
                    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let value: u64 = match value.parse() {
                    Ok(value) if is_number => value,
                    _ => return Err(ResponseError::Length),
                };
                if content_length.is_some_and(|known| known != value) {
                    return Err(ResponseError::Length);
                }
                content_length = Some(value);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = has_word(header.value, "chunked");
                if !is_chunked {
                    self.keep_alive = false;
                }
            } else if header.name.eq_ignore_ascii_case("connection") {
                if has_word(header.value, "close") {
                    self.keep_alive = false;
                } else if has_word(header.value, "keep-alive") {
                    self.keep_alive = true;
                }
            }
        }
        self.state = if self.is_head || status == 204 || status == 304 {
            State::Done
        } else if is_chunked {
            State::ChunkSize
        } else {
            match content_length {
                Some(0) => State::Done,
                Some(length) => State::Length(length),
                None => State::UntilClose,
            }
        };
        Ok(Some(length))
    }

    /// Takes a line of a chunked body.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ResponseError> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.pending.extend_from_slice(bytes);
            if self.pending.len() > CHUNK_LINE {
                return Err(ResponseError::Chunk);
            }
            return Ok(&[]);
        };
        let (line, rest) = bytes.split_at(end + 1);
        self.pending.extend_from_slice(line);
        let line = std::mem::take(&mut self.pending);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.state = match self.state {
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => State::Trailer,
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailer,
                Some(size) => State::ChunkData(size),
                None => return Err(ResponseError::Chunk),
            },
            _ => return Err(ResponseError::Chunk),
        };
        Ok(rest)
    }
}

/// The size before a chunk; extensions after it mean nothing to us.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok()?;
    is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn has_word(value: &[u8], word: &str) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DONE: Progress = Progress::Done {
        status: 200,
        keep_alive: true,
    };

    fn whole(text: &[u8]) -> Result<Progress, ResponseError> {
        Parser::new(false, false).feed(text)
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(whole(format!("{head}12345").as_bytes()), Ok(DONE));
        assert_eq!(whole(format!("{head}1234").as_bytes()), Ok(Progress::More));
        assert_eq!(
            whole(format!("{head}123456").as_bytes()),
            Err(ResponseError::Surplus)
        );
    }

    #[test]
    fn a_chunked_answer_ends_after_its_trailer() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\n12345\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(whole(text), Ok(DONE));
        let mut parser = Parser::new(false, false);
        assert_eq!(parser.feed(text), Ok(DONE));
        assert_eq!(parser.body_bytes(), 5);
    }

    #[test]
    fn an_answer_that_is_looked_at_is_kept_without_its_framing() {
        let text = b"HTTP/1.1 201 Created\r\nLocation: /orders/7\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let mut parser = Parser::new(false, true);
        for byte in text {
            parser.feed(&[*byte]).unwrap();
        }
        let kept = parser.take_kept().unwrap();
        assert_eq!(kept.body(), b"abcde");
        assert_eq!(kept.header("location").as_deref(), Some("/orders/7"));
        assert_eq!(kept.header("etag"), None);
    }

    #[test]
    fn an_answer_without_a_length_ends_with_its_connection() {
        let mut parser = Parser::new(false, false);
        let text = b"HTTP/1.1 200 OK\r\n\r\nsome";
        assert_eq!(parser.feed(text), Ok(Progress::More));
        assert_eq!(
            parser.closed(),
            Progress::Done {
                status: 200,
                keep_alive: false
            }
        );
        // One that has a length is cut off by it.
        let mut parser = Parser::new(false, false);
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome";
        assert_eq!(parser.feed(cut), Ok(Progress::More));
        assert_eq!(parser.closed(), Progress::More);
    }

    #[test]
    fn heads_decide_about_bodies_and_connections() {
        for (head, status, keep_alive) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, true),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                304,
                true,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                200,
                true,
            ),
            (
                "HTTP/1.1 503 x\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
                503,
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, false),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
                200,
                true,
            ),
        ] {
            assert_eq!(
                whole(head.as_bytes()),
                Ok(Progress::Done { status, keep_alive }),
                "{head}"
            );
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(Parser::new(true, false).feed(head), Ok(DONE));
    }

    #[test]
    fn garbage_is_told_apart() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (text, error) in [
            ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), ResponseError::NotHttp),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n".to_owned(),
                ResponseError::Length,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(),
                ResponseError::Length,
            ),
            (format!("{chunked}xyz\r\n"), ResponseError::Chunk),
            (format!("{chunked}-1\r\n"), ResponseError::Chunk),
            (format!("{chunked}1\r\naa\r\n"), ResponseError::Chunk),
            (
                format!("{chunked}{}", "1".repeat(2_000)),
                ResponseError::Chunk,
            ),
            (
                format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(70_000)),
                ResponseError::HeadTooLong,
            ),
        ] {
            assert_eq!(whole(text.as_bytes()), Err(error), "{text:.60}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_pieces_end(cuts in prop::collection::vec(1_usize..40, 1..40), chunked: bool) {
            let text: &[u8] = if chunked {
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
            } else {
                b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\nabc0123456789abcdef"
            };
            let mut parser = Parser::new(false, false);
            let (mut rest, mut progress) = (text, Ok(Progress::More));
            for cut in cuts.into_iter().cycle() {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                progress = parser.feed(piece);
                rest = left;
                if rest.is_empty() {
                    break;
                }
                prop_assert_eq!(progress, Ok(Progress::More));
            }
            prop_assert_eq!(progress, Ok(DONE));
            prop_assert_eq!(parser.body_bytes(), 19);
        }

        #[test]
        fn whatever_comes_ends_in_progress_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
            let mut parser = Parser::new(false, false);
            let mut text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            text.extend_from_slice(&bytes);
            let cut = cut.min(text.len());
            if parser.feed(&text[..cut]).is_ok() {
                let _ = parser.feed(&text[cut..]);
            }
            let _ = Parser::new(false, false).feed(&bytes);
        }
    }
}
