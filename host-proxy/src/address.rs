//! Where to listen and where the guest is.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::error::ProxyError;

/// An endpoint of either transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// `IP:PORT`.
    Tcp(SocketAddr),
    /// `vsock:CID:PORT`; CID 2 is the host, 3 and up are guests, 4294967295 is any.
    Vsock {
        /// Context identifier.
        cid: u32,
        /// Port.
        port: u32,
    },
}

impl FromStr for Address {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let wrong = || ProxyError::Address {
            text: text.chars().take(80).collect(),
        };
        if let Some(rest) = text.strip_prefix("vsock:") {
            let (cid, port) = rest.split_once(':').ok_or_else(wrong)?;
            return Ok(Self::Vsock {
                cid: cid.parse().map_err(|_| wrong())?,
                port: port.parse().map_err(|_| wrong())?,
            });
        }
        text.parse().map(Self::Tcp).map_err(|_| wrong())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => at.fmt(f),
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read_and_others_refused() {
        assert_eq!(
            "127.0.0.1:1".parse::<Address>().unwrap(),
            Address::Tcp("127.0.0.1:1".parse().unwrap())
        );
        assert_eq!(
            "vsock:3:8443".parse::<Address>().unwrap(),
            Address::Vsock { cid: 3, port: 8443 }
        );
        for bad in [
            "",
            "localhost:1",
            "127.0.0.1",
            "127.0.0.1:99999",
            "vsock:3",
            "vsock:x:1",
            "vsock:3:1:1",
            "https://a",
        ] {
            assert_eq!(bad.parse::<Address>().unwrap_err().code(), "proxy.address", "{bad}");
        }
    }
}
