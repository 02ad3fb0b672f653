//! The PROXY protocol, versions 1 and 2: who the client is, said by a load balancer in front.
//!
//! Anybody can write such a header. It is read only on connections from peers that the configuration lists, where it must be
//! there, and it decides which limits and which guest apply, nothing else.
//!
//! # Spec
//! HAProxy, "The PROXY protocol, versions 1 & 2", revision of 2020/03/05, §2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Of version 2, before its length field.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Of version 1.
const LINE_START: &[u8] = b"PROXY ";

/// §2.1: the longest line of version 1, its CRLF included.
const LINE_BYTES_MAX: usize = 107;

/// A longer block of addresses and TLVs in version 2 is refused; the largest addresses in use need 36 bytes.
const BLOCK_BYTES_MAX: usize = 1024;

/// More bytes than any header that is accepted.
pub const HEADER_BYTES_MAX: usize = 16 + BLOCK_BYTES_MAX;

/// What a complete header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes it takes; the client's own follow.
    pub length: usize,
    /// The client. None for a connection of the balancer itself (`LOCAL`, a health check) or an unknown transport.
    pub source: Option<SocketAddr>,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The connection starts with something else.
    #[error(
        "PROXY header: expected \"PROXY \" or the signature of version 2; this peer is listed as one that sends it"
    )]
    Missing,
    /// Version 1, not as the specification spells it.
    #[error("PROXY header, version 1: {0}")]
    Line(&'static str),
    /// Version 2, a field that is not defined.
    #[error("PROXY header, version 2, {field}: got {got:#04x}")]
    Field {
        /// Which.
        field: &'static str,
        /// Its value.
        got: u8,
    },
    /// Version 2, a length that cannot be.
    #[error("PROXY header, version 2, len: expected {expected}, got {got}")]
    Length {
        /// What is accepted.
        expected: &'static str,
        /// Its value.
        got: usize,
    },
}

impl HeaderError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "proxy.header.missing",
            Self::Line(_) => "proxy.header.line",
            Self::Field { .. } => "proxy.header.field",
            Self::Length { .. } => "proxy.header.length",
        }
    }
}

/// Reads the header at the start of a connection; `None` asks for more bytes.
///
/// # Errors
/// [`HeaderError`] as soon as the bytes cannot become an acceptable header.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Some(block) = bytes.strip_prefix(&SIGNATURE) {
        return version_2(block);
    }
    if bytes.starts_with(LINE_START) {
        return version_1(bytes);
    }
    match SIGNATURE.starts_with(bytes) || LINE_START.starts_with(bytes) {
        true => Ok(None),
        false => Err(HeaderError::Missing),
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let seen = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = seen.windows(2).position(|two| two == b"\r\n") else {
        return match seen.len() < LINE_BYTES_MAX {
            true => Ok(None),
            false => Err(HeaderError::Line("expected CRLF within 107 bytes")),
        };
    };
    let line = seen.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    let words: Vec<_> = line.ok_or(HeaderError::Line("expected ASCII"))?.split(' ').collect();
    let source = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let is_4 = *family == "TCP4";
            let source = address(source, is_4).ok_or(HeaderError::Line("source address"))?;
            address(destination, is_4).ok_or(HeaderError::Line("destination address"))?;
            port(destination_port).ok_or(HeaderError::Line("destination port"))?;
            let port = port(source_port).ok_or(HeaderError::Line("source port"))?;
            Some(SocketAddr::new(source, port))
        }
        _ => {
            return Err(HeaderError::Line(
                "expected UNKNOWN, or TCP4 or TCP6 with two addresses and two ports",
            ));
        }
    };
    Ok(Some(Header {
        length: end + 2,
        source,
    }))
}

fn address(text: &str, is_4: bool) -> Option<IpAddr> {
    match is_4 {
        true => text.parse().ok().map(IpAddr::V4),
        false => text.parse().ok().map(IpAddr::V6),
    }
}

/// Decimal, without sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| text.parse().ok()).flatten()
}

/// `block` starts after the signature.
fn version_2(block: &[u8]) -> Result<Option<Header>, HeaderError> {
    if let Some(&version_command) = block.first()
        && !matches!(version_command, 0x20 | 0x21)
    {
        return Err(HeaderError::Field {
            field: "version and command",
            got: version_command,
        });
    }
    let Some((&[version_command, family, high, low], rest)) = block.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > BLOCK_BYTES_MAX {
        return Err(HeaderError::Length {
            expected: "at most 1024",
            got: length,
        });
    }
    let Some(addresses) = rest.get(..length) else {
        return Ok(None);
    };
    let too_short = |expected| HeaderError::Length { expected, got: length };
    let source = match (version_command, family) {
        (0x20, _) => None,
        (_, 0x00) => None,
        (_, 0x11) => {
            let all = addresses
                .first_chunk::<12>()
                .ok_or(too_short("at least 12 for TCP over IPv4"))?;
            let &[a, b, c, d, _, _, _, _, high, low, _, _] = all;
            Some(SocketAddr::new(
                Ipv4Addr::new(a, b, c, d).into(),
                u16::from_be_bytes([high, low]),
            ))
        }
        (_, 0x21) => {
            let too_short = too_short("at least 36 for TCP over IPv6");
            let (ip, rest) = addresses.split_first_chunk::<16>().ok_or(too_short)?;
            let (_destination, ports) = rest.split_first_chunk::<16>().ok_or(too_short)?;
            let &[high, low, _, _] = ports.first_chunk::<4>().ok_or(too_short)?;
            Some(SocketAddr::new(
                Ipv6Addr::from(*ip).to_canonical(),
                u16::from_be_bytes([high, low]),
            ))
        }
        (_, got) => {
            return Err(HeaderError::Field {
                field: "address family and protocol",
                got,
            });
        }
    };
    Ok(Some(Header {
        length: SIGNATURE.len() + 4 + length,
        source,
    }))
}

/// Which version is sent to guests, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The line of text.
    One,
    /// The binary header.
    Two,
}

/// The header for a connection from `source` to `destination`; without addresses of one family it says so.
pub fn write(version: Version, source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Vec<u8> {
    let pair = match (source, destination) {
        (Some(SocketAddr::V4(s)), Some(SocketAddr::V4(d))) => Some((SocketAddr::V4(s), SocketAddr::V4(d))),
        // One of both is IPv6: the other is written as a mapped address.
        (Some(s), Some(d)) => Some((as_6(s), as_6(d))),
        _ => None,
    };
    match (version, pair) {
        (Version::One, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (Version::One, Some((s, d))) => {
            let family = if s.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", s.ip(), d.ip(), s.port(), d.port()).into_bytes()
        }
        (Version::Two, pair) => {
            let mut out = SIGNATURE.to_vec();
            let (family, block) = match pair {
                None => (0x00, Vec::new()),
                Some((s, d)) => (if s.is_ipv4() { 0x11 } else { 0x21 }, block(s, d)),
            };
            out.extend([0x21, family, 0, block.len() as u8]);
            out.extend(block);
            out
        }
    }
}

fn as_6(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), at.port())
}

fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(36);
    for at in [source, destination] {
        match at.ip() {
            IpAddr::V4(ip) => out.extend(ip.octets()),
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
    }
    out.extend(source.port().to_be_bytes());
    out.extend(destination.port().to_be_bytes());
    out
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
