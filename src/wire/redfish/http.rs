//! HTTP/1.1 as a Redfish service needs it: one request, one bounded answer (RFC 9112).
//!
//! ```text
//! Head ─► Sized(left) ──────────────────────────► answer
//!   ├───► ChunkSize ─► Chunk(left) ─► ChunkEnd ┐
//!   │        ▲  └─ last: Trailers ─► answer    │
//!   │        └─────────────────────────────────┘
//!   ├───► UntilEnd ──end of the stream──────────► answer
//!   └───► (204, 304) ───────────────────────────► answer
//! ```
//!
//! It asks for no compression and understands none. Every part of an answer is bounded.

use httparse::{Status, parse_chunk_size, parse_headers};

/// The longest head of an answer in bytes.
pub const HEAD_LEN_MAX: usize = 16 << 10;
/// The most header fields of an answer.
const HEADERS_MAX: usize = 64;
/// The longest body of an answer in bytes.
pub const BODY_LEN_MAX: usize = 256 << 10;
/// The longest line that tells the size of a chunk, in bytes.
const CHUNK_LINE_LEN_MAX: usize = 256;
/// The most interim answers (1xx) before the real one.
const INTERIMS_MAX: usize = 8;

/// The methods that are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Read a document.
    Get,
    /// Begin a session, carry out an action.
    Post,
    /// End a session.
    Delete,
}

impl Method {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// The bytes of a request. `fields` are header fields besides those that are always sent.
pub fn request(
    method: Method,
    host: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Option<&str>,
) -> Vec<u8> {
    let mut text = format!("{} {path} HTTP/1.1\r\nHost: {host}\r\n", method.name());
    text.push_str("Accept: application/json\r\nOData-Version: 4.0\r\nUser-Agent: tandem\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str("Content-Type: application/json\r\n");
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// `Location`.
    pub location: Option<String>,
    /// `X-Auth-Token`.
    pub token: Option<String>,
    /// At most [`BODY_LEN_MAX`] bytes.
    pub body: Vec<u8>,
    /// Whether another request may follow on the same connection.
    pub stays_open: bool,
}

/// Why what came is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// It is not HTTP/1.
    NotHttp,
    /// Its head is longer than [`HEAD_LEN_MAX`] or has too many fields.
    LongHead,
    /// Its body is longer than [`BODY_LEN_MAX`].
    LongBody,
    /// It is compressed, though that was not asked for.
    Compressed,
    /// It tells its length in a way that makes no sense.
    Length,
    /// It ended too early.
    Cut,
}

impl Broken {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotHttp => "what answers does not speak HTTP",
            Self::LongHead => "the head of its answer does not end",
            Self::LongBody => "its answer is longer than any that is needed",
            Self::Compressed => "its answer is compressed, though that was not asked for",
            Self::Length => "it tells the length of its answer in a way that makes no sense",
            Self::Cut => "its answer ended too early",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Sized(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailers,
    UntilEnd,
    Done,
}

/// Reads one answer, in pieces of any size.
pub struct Reader {
    stage: Stage,
    /// What has come and is not yet understood.
    waiting: Vec<u8>,
    response: Response,
    interims: usize,
}

impl Reader {
    /// A reader of which nothing was read.
    pub fn new() -> Self {
        let response = Response::default();
        Self { stage: Stage::Head, waiting: Vec::new(), response, interims: 0 }
    }

    /// Whether nothing of an answer has come yet.
    pub fn is_untouched(&self) -> bool {
        self.stage == Stage::Head && self.waiting.is_empty() && self.interims == 0
    }

    /// Takes the next bytes; the answer once it is complete.
    ///
    /// # Errors
    /// If it can no longer become an answer.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Response>, Broken> {
        self.waiting.extend_from_slice(bytes);
        while self.stage != Stage::Done {
            if !self.advance()? {
                return Ok(None);
            }
        }
        Ok(Some(core::mem::take(&mut self.response)))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// If the answer is not complete by that.
    pub fn end(mut self) -> Result<Response, Broken> {
        if self.stage != Stage::UntilEnd {
            return Err(Broken::Cut);
        }
        Ok(core::mem::take(&mut self.response))
    }

    /// One step; whether there may be another.
    fn advance(&mut self) -> Result<bool, Broken> {
        match self.stage {
            Stage::Head => self.read_head(),
            Stage::Sized(left) => {
                let left = self.read_body(left)?;
                self.stage = if left == 0 { Stage::Done } else { Stage::Sized(left) };
                Ok(left == 0)
            }
            Stage::ChunkSize => self.read_chunk_size(),
            Stage::Chunk(left) => {
                let left = self.read_body(left)?;
                self.stage = if left == 0 { Stage::ChunkEnd } else { Stage::Chunk(left) };
                Ok(left == 0)
            }
            Stage::ChunkEnd => match self.waiting.get(..2) {
                Some(b"\r\n") => {
                    self.waiting.drain(..2);
                    self.stage = Stage::ChunkSize;
                    Ok(true)
                }
                Some(_) => Err(Broken::Length),
                None => Ok(false),
            },
            Stage::Trailers => self.read_trailers(),
            Stage::UntilEnd => {
                self.read_body(usize::MAX)?;
                Ok(false)
            }
            Stage::Done => Ok(false),
        }
    }

    /// Moves at most `left` bytes into the body; how many are left then.
    fn read_body(&mut self, left: usize) -> Result<usize, Broken> {
        let len = left.min(self.waiting.len());
        self.response.body.extend(self.waiting.drain(..len));
        if self.response.body.len() > BODY_LEN_MAX {
            return Err(Broken::LongBody);
        }
        Ok(left.saturating_sub(len))
    }

    fn read_head(&mut self) -> Result<bool, Broken> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let len = match parsed.parse(&self.waiting) {
            Ok(Status::Complete(len)) if len <= HEAD_LEN_MAX => len,
            Ok(Status::Partial) if self.waiting.len() <= HEAD_LEN_MAX => return Ok(false),
            Ok(Status::Complete(_) | Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Broken::LongHead);
            }
            Err(_) => return Err(Broken::NotHttp),
        };
        let status = parsed.code.unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            self.interims = self.interims.saturating_add(1);
            if self.interims > INTERIMS_MAX {
                return Err(Broken::LongHead);
            }
        } else if (200..600).contains(&status) {
            let (response, stage) = understand(status, parsed.version, parsed.headers)?;
            self.response = response;
            self.stage = stage;
        } else {
            return Err(Broken::NotHttp);
        }
        self.waiting.drain(..len);
        Ok(true)
    }

    fn read_chunk_size(&mut self) -> Result<bool, Broken> {
        match parse_chunk_size(&self.waiting) {
            Ok(Status::Complete((len, size))) => {
                let size = usize::try_from(size).map_err(|_too_long| Broken::LongBody)?;
                self.waiting.drain(..len);
                self.stage = if size == 0 { Stage::Trailers } else { Stage::Chunk(size) };
                Ok(true)
            }
            Ok(Status::Partial) if self.waiting.len() <= CHUNK_LINE_LEN_MAX => Ok(false),
            Ok(Status::Partial) | Err(_) => Err(Broken::Length),
        }
    }

    fn read_trailers(&mut self) -> Result<bool, Broken> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        match parse_headers(&self.waiting, &mut headers) {
            Ok(Status::Complete(_)) => {
                self.stage = Stage::Done;
                Ok(true)
            }
            Ok(Status::Partial) if self.waiting.len() <= HEAD_LEN_MAX => Ok(false),
            Ok(Status::Partial) | Err(_) => Err(Broken::Length),
        }
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

/// What a head says, and how its body comes.
fn understand(
    status: u16,
    version: Option<u8>,
    headers: &[httparse::Header<'_>],
) -> Result<(Response, Stage), Broken> {
    let mut response = Response { status, stays_open: version == Some(1), ..Response::default() };
    let mut length: Option<usize> = None;
    let mut is_chunked = false;
    for header in headers {
        let text = core::str::from_utf8(header.value).unwrap_or_default().trim();
        match header.name.to_ascii_lowercase().as_str() {
            "location" => response.location = Some(text.to_owned()),
            "x-auth-token" => response.token = Some(text.to_owned()),
            "connection" => {
                let closes = text.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
                response.stays_open &= !closes;
            }
            "content-encoding" if !text.eq_ignore_ascii_case("identity") => {
                return Err(Broken::Compressed);
            }
            "transfer-encoding" => {
                if !text.eq_ignore_ascii_case("chunked") {
                    return Err(Broken::Length);
                }
                is_chunked = true;
            }
            "content-length" => {
                let told = text.parse().map_err(|_no_number| Broken::Length)?;
                if length.is_some_and(|before| before != told) {
                    return Err(Broken::Length);
                }
                length = Some(told);
            }
            _ => {}
        }
    }
    let stage = match (is_chunked, length) {
        _ if matches!(status, 204 | 304) => Stage::Done,
        (true, _) => Stage::ChunkSize,
        (false, Some(0)) => Stage::Done,
        (false, Some(length)) if length > BODY_LEN_MAX => return Err(Broken::LongBody),
        (false, Some(length)) => Stage::Sized(length),
        (false, None) => {
            response.stays_open = false;
            Stage::UntilEnd
        }
    };
    Ok((response, stage))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn read(text: &str) -> Result<Option<Response>, Broken> {
        Reader::new().take(text.as_bytes())
    }

    /// The answer is the same whether it comes at once or byte by byte.
    fn read_both_ways(text: &str) -> Response {
        let at_once = read(text).unwrap().unwrap();
        let mut reader = Reader::new();
        let (last, first) = text.as_bytes().split_last().unwrap();
        for byte in first {
            assert_eq!(reader.take(&[*byte]), Ok(None), "{text}");
        }
        assert_eq!(reader.take(&[*last]).unwrap().unwrap(), at_once);
        at_once
    }

    #[test]
    fn a_request_holds_what_a_service_needs() {
        let bytes = request(Method::Post, "h:1", "/x", &[("X-Auth-Token", "t")], Some("{}"));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("POST /x HTTP/1.1\r\nHost: h:1\r\n"), "{text}");
        assert!(
            text.ends_with(
                "X-Auth-Token: t\r\nContent-Type: application/json\r\n\
                                Content-Length: 2\r\n\r\n{}"
            ),
            "{text}"
        );
        assert!(!text.contains("Encoding"), "{text}");
    }

    #[test]
    fn bodies_come_sized_chunked_or_until_the_end() {
        let sized =
            read_both_ways("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nLocation: /a\r\n\r\nabc");
        assert_eq!(
            (sized.status, sized.body.as_slice(), sized.stays_open),
            (200, &b"abc"[..], true)
        );
        assert_eq!(sized.location.as_deref(), Some("/a"));
        let chunked = read_both_ways(
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-Auth-Token: t\r\n\
             Connection: close\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n",
        );
        assert_eq!((chunked.body.as_slice(), chunked.stays_open), (&b"abc"[..], false));
        assert_eq!(chunked.token.as_deref(), Some("t"));
        let empty = read_both_ways("HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n");
        assert_eq!(empty.body, b"");
        let after_interim = read_both_ways(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(!after_interim.stays_open, "HTTP/1.0 closes");
        let mut reader = Reader::new();
        assert_eq!(reader.take(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(None));
        assert_eq!(reader.end().unwrap().body, b"abc");
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        for (text, broken) in [
            ("SSH-2.0-OpenSSH\r\n", Broken::NotHttp),
            ("HTTP/1.1 700 What\r\n\r\n", Broken::NotHttp),
            ("HTTP/1.1 101 Switching\r\n\r\n", Broken::NotHttp),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", Broken::Compressed),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Broken::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Broken::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Broken::Length),
            ("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", Broken::LongBody),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Broken::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", Broken::Length),
        ] {
            assert_eq!(read(text), Err(broken), "{text}");
        }
        let mut cut = Reader::new();
        assert_eq!(cut.take(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), Ok(None));
        assert_eq!(cut.end(), Err(Broken::Cut));
        assert!(Reader::new().is_untouched());
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut endless = Reader::new();
        let mut result = endless.take(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..1000 {
            result = endless.take(b"400\r\n").and_then(|_| endless.take(&[b'x'; 0x400]));
            if result.is_err() {
                break;
            }
            result = endless.take(b"\r\n");
        }
        assert_eq!(result, Err(Broken::LongBody));
        let mut head = Reader::new();
        let fed = (0..2000).find_map(|n| head.take(format!("X-{n}: {n}\r\n").as_bytes()).err());
        assert!(fed.is_some(), "no status line");
        let mut head = Reader::new();
        head.take(b"HTTP/1.1 200 OK\r\nX: ").unwrap();
        let fed = (0..2000).find_map(|_| head.take(&[b'x'; 64]).err());
        assert_eq!(fed, Some(Broken::LongHead));
        let interims = "HTTP/1.1 102 Processing\r\n\r\n".repeat(20);
        assert_eq!(read(&interims), Err(Broken::LongHead));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut dice = 0x7265_6466_6973_6821_u64;
        let mut roll = move || {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice.to_le_bytes()[3]
        };
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        for _ in 0..3000 {
            let mut bytes = whole.to_vec();
            let at = usize::from(roll()) % bytes.len();
            bytes[at] = roll();
            drop(Reader::new().take(&bytes));
        }
    }
}
