//! Where a guest is reached: `host:port`, optionally written as `https://host:port`.

use std::fmt;
use std::str::FromStr;

use crate::error::ClientError;

/// A TCP address, by name or number. It authorises nothing: whoever answers must prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// The host without brackets, and the port, as `TcpStream::connect` takes them.
    pub fn host_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ClientError::Endpoint { got: text.to_owned() };
        if text.starts_with("http://") {
            return Err(wrong());
        }
        let rest = text.strip_prefix("https://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_host_name(host) => host.to_owned(),
            None => return Err(wrong()),
        };
        Ok(Self { host, port })
    }
}

fn is_host_name(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_both_required_and_plain_http_is_refused() {
        for (text, shown) in [
            ("guest.example:8443", "guest.example:8443"),
            ("https://127.0.0.1:1/", "127.0.0.1:1"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for bad in [
            "guest",
            "guest:",
            "guest:0",
            "guest:65536",
            ":1",
            "http://guest:1",
            "a b:1",
            "::1:9",
            "https://g:1/x",
        ] {
            assert_eq!(
                bad.parse::<Endpoint>().unwrap_err().code(),
                "endpoint.malformed",
                "{bad}"
            );
        }
    }
}
