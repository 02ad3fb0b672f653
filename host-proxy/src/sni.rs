//! The server name in a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3), read without a TLS library.
//!
//! The name is in the clear and authenticates nobody: it chooses among guests that each prove themselves to the client.
//! With Encrypted ClientHello (draft-ietf-tls-esni) the name seen here is the outer one; browsers send that extension filled
//! with noise to everybody, so its presence says nothing and it is skipped like any other.

/// A ClientHello longer than this is refused, whatever its records claim. Post-quantum key shares need about 2 KiB.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 * 1024;

/// Record headers and a hello, if it came in records of 64 bytes or more.
pub const READ_BYTES_MAX: usize = CLIENT_HELLO_BYTES_MAX + 5 * (CLIENT_HELLO_BYTES_MAX / 64);

const RECORD_HANDSHAKE: u8 = 22;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const RECORD_BYTES_MAX: usize = 1 << 14;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_HOST: u8 = 0;

/// What the first bytes of a connection say.
#[derive(Debug, PartialEq, Eq)]
pub enum Hello {
    /// All fine so far; more bytes are needed.
    Incomplete,
    /// A complete ClientHello with this name, in lower case.
    Named(String),
    /// A complete ClientHello without a server name.
    Nameless,
}

/// Why the first bytes are no ClientHello that can be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The first record is no handshake record.
    #[error("record type: expected 22 (handshake), got {0}")]
    NotHandshake(u8),
    /// Not a version of TLS or SSL 3.
    #[error("record version: expected major 3, got {0}")]
    Version(u8),
    /// Records of no bytes or too many.
    #[error("record length: expected 1 to 16384, got {0}")]
    RecordLength(usize),
    /// Another handshake message.
    #[error("handshake type: expected 1 (client_hello), got {0}")]
    NotClientHello(u8),
    /// Too long.
    #[error("client_hello length: expected at most 16384, got {0}")]
    TooLong(usize),
    /// A field does not fit into what encloses it, or bytes are left over.
    #[error("client_hello {0}: its length does not fit")]
    Malformed(&'static str),
    /// The same extension twice.
    #[error("client_hello extensions: type {0} is there twice")]
    Duplicate(u16),
    /// Not the name of a host.
    #[error("server_name: expected one DNS name of 1 to 253 letters, digits, '-', '_' and '.'")]
    Name,
}

impl HelloError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotHandshake(_) => "proxy.hello.not_handshake",
            Self::Version(_) => "proxy.hello.version",
            Self::RecordLength(_) => "proxy.hello.record_length",
            Self::NotClientHello(_) => "proxy.hello.not_client_hello",
            Self::TooLong(_) => "proxy.hello.too_long",
            Self::Malformed(_) => "proxy.hello.malformed",
            Self::Duplicate(_) => "proxy.hello.duplicate",
            Self::Name => "proxy.hello.name",
        }
    }
}

/// Reads what came so far from the start of a connection. A hello may be spread over records, and records over arrivals.
///
/// # Errors
/// [`HelloError`] as soon as the bytes cannot become an acceptable ClientHello.
pub fn read(bytes: &[u8]) -> Result<Hello, HelloError> {
    let mut records = Cursor(bytes);
    let mut message = Vec::new();
    loop {
        let Some(header) = records.take(5) else {
            // A wrong first byte is known before its record is complete.
            return match (records.0.first(), records.0.get(1)) {
                (Some(&kind), _) if kind != RECORD_HANDSHAKE => Err(HelloError::NotHandshake(kind)),
                (_, Some(&major)) if major != 3 => Err(HelloError::Version(major)),
                _ => Ok(Hello::Incomplete),
            };
        };
        let &[kind, major, _, high, low] = header else {
            return Err(HelloError::Malformed("record"));
        };
        if kind != RECORD_HANDSHAKE {
            return Err(HelloError::NotHandshake(kind));
        }
        if major != 3 {
            return Err(HelloError::Version(major));
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(1..=RECORD_BYTES_MAX).contains(&length) {
            return Err(HelloError::RecordLength(length));
        }
        let complete = records.0.len() >= length;
        message.extend_from_slice(records.take(length.min(records.0.len())).unwrap_or_default());
        if let &[kind, ..] = message.as_slice()
            && kind != HANDSHAKE_CLIENT_HELLO
        {
            return Err(HelloError::NotClientHello(kind));
        }
        if let &[_, a, b, c, ..] = message.as_slice() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > CLIENT_HELLO_BYTES_MAX {
                return Err(HelloError::TooLong(length));
            }
            if let Some(body) = message.get(4..4 + length) {
                return client_hello(body);
            }
        }
        if !complete {
            return Ok(Hello::Incomplete);
        }
    }
}

fn client_hello(body: &[u8]) -> Result<Hello, HelloError> {
    use HelloError::Malformed;
    let mut body = Cursor(body);
    body.take(2 + 32).ok_or(Malformed("random"))?;
    let session = body.sized_8().ok_or(Malformed("session_id"))?;
    if session.len() > 32 {
        return Err(Malformed("session_id"));
    }
    let suites = body.sized_16().ok_or(Malformed("cipher_suites"))?;
    if suites.is_empty() || suites.len() % 2 != 0 {
        return Err(Malformed("cipher_suites"));
    }
    let compression = body.sized_8().ok_or(Malformed("compression_methods"))?;
    if compression.is_empty() {
        return Err(Malformed("compression_methods"));
    }
    if body.0.is_empty() {
        return Ok(Hello::Nameless);
    }
    let mut extensions = Cursor(body.sized_16().ok_or(Malformed("extensions"))?);
    if !body.0.is_empty() {
        return Err(Malformed("extensions"));
    }
    let mut seen = Vec::new();
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or(Malformed("extension type"))?;
        let data = extensions.sized_16().ok_or(Malformed("extension"))?;
        if seen.contains(&kind) {
            return Err(HelloError::Duplicate(kind));
        }
        // A hello has about 20 extensions; 64 keep the search above short.
        if seen.len() == 64 {
            return Err(Malformed("extensions"));
        }
        seen.push(kind);
        if kind == EXTENSION_SERVER_NAME {
            name = Some(server_name(data)?);
        }
    }
    Ok(name.map_or(Hello::Nameless, Hello::Named))
}

fn server_name(data: &[u8]) -> Result<String, HelloError> {
    use HelloError::Malformed;
    let mut data = Cursor(data);
    let mut list = Cursor(data.sized_16().ok_or(Malformed("server_name"))?);
    let kind = list.take(1).ok_or(Malformed("server_name"))?;
    let name = list.sized_16().ok_or(Malformed("server_name"))?;
    if !data.0.is_empty() || !list.0.is_empty() {
        return Err(Malformed("server_name"));
    }
    if kind != [NAME_HOST] {
        return Err(HelloError::Name);
    }
    let name = std::str::from_utf8(name).map_err(|_| HelloError::Name)?;
    match is_host_name(name) {
        true => Ok(name.to_ascii_lowercase()),
        false => Err(HelloError::Name),
    }
}

/// A DNS name without its final dot. RFC 6066 sends no addresses here.
pub(crate) fn is_host_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// Untrusted bytes, taken from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn sized_8(&mut self) -> Option<&'a [u8]> {
        let n = *self.take(1)?.first()?;
        self.take(usize::from(n))
    }

    fn sized_16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }
}

#[cfg(test)]
#[path = "sni_tests.rs"]
mod tests;
