//! What a guest asks and what it is told, one line each; `enclave/guest/EGRESS.md` has the layout.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::Refusal;

const VERSION: &str = "hanzo-egress/1";
/// Longest request in bytes, its newline included: version, a name of 253, a port of 5, two spaces.
const REQUEST_BYTES_MAX: usize = 14 + 1 + 253 + 1 + 5 + 1;
/// Longest DNS name and label (RFC 1035, section 2.3.4), the name without its final dot.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A name and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Not a request, or more than one.
    Malformed,
    /// The guest broke off.
    Gone,
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Reads one request. Nothing may come behind it: a guest sends no more before it is answered.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Asked, Unread> {
    let mut line = Vec::with_capacity(REQUEST_BYTES_MAX);
    loop {
        let mut piece = [0; REQUEST_BYTES_MAX];
        let n = stream.read(&mut piece).await?;
        if n == 0 {
            return Err(Unread::Gone);
        }
        line.extend_from_slice(piece.get(..n).unwrap_or_default());
        match line.iter().position(|b| *b == b'\n') {
            Some(at) if at + 1 == line.len() && line.len() <= REQUEST_BYTES_MAX => {
                line.pop();
                return parse(&line).ok_or(Unread::Malformed);
            }
            None if line.len() < REQUEST_BYTES_MAX => {}
            _ => return Err(Unread::Malformed),
        }
    }
}

fn parse(line: &[u8]) -> Option<Asked> {
    let text = std::str::from_utf8(line).ok()?;
    let (name, port) = text.strip_prefix(VERSION)?.strip_prefix(' ')?.split_once(' ')?;
    let digits = !port.is_empty() && !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
    (digits && is_name(name)).then_some(())?;
    Some(Asked {
        name: name.to_owned(),
        port: port.parse().ok()?,
    })
}

/// True for a whole DNS name in lower case without a final dot: no wildcard, and no address.
pub(crate) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_address = last.bytes().all(|b| b.is_ascii_digit());
    name.len() <= NAME_BYTES_MAX && name.contains('.') && name.split('.').all(is_label) && !is_address
}

/// What follows is the name's.
pub(crate) fn opened() -> String {
    format!("{VERSION} open\n")
}

/// Nothing follows.
pub(crate) fn refused(why: Refusal) -> String {
    format!("{VERSION} refused {}\n", why.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    /// The same bytes stand in `enclave/guest/src/egress/ask.rs`.
    #[tokio::test]
    async fn a_request_is_these_bytes_and_nothing_else_is_one() {
        let good = "hanzo-egress/1 kbs.example.org 8443\n";
        assert_eq!(
            asked(good).await.unwrap(),
            Asked {
                name: "kbs.example.org".into(),
                port: 8443
            }
        );
        let long = format!("hanzo-egress/1 {}a.b 443\n", "a.".repeat(126));
        for bad in [
            "hanzo-egress/2 kbs.example.org 8443\n",
            "hanzo-egress/1 kbs.example.org 8443\r\n",
            "hanzo-egress/1  kbs.example.org 8443\n",
            "hanzo-egress/1 kbs.example.org  8443\n",
            "hanzo-egress/1 kbs.example.org 8443 \n",
            "hanzo-egress/1 kbs.example.org 08443\n",
            "hanzo-egress/1 kbs.example.org 0\n",
            "hanzo-egress/1 kbs.example.org 65536\n",
            "hanzo-egress/1 kbs.example.org +443\n",
            "hanzo-egress/1 kbs.example.org:8443\n",
            "hanzo-egress/1 KBS.example.org 8443\n",
            "hanzo-egress/1 *.example.org 8443\n",
            "hanzo-egress/1 kbs.example.org. 8443\n",
            "hanzo-egress/1 10.0.0.1 8443\n",
            "hanzo-egress/1 [::1] 8443\n",
            "hanzo-egress/1 localhost 8443\n",
            "hanzo-egress/1 kbs.example.org 8443\nhanzo",
            "CONNECT kbs.example.org:8443 HTTP/1.1\n",
            "\n",
            &long,
            &"x".repeat(REQUEST_BYTES_MAX),
        ] {
            assert!(matches!(asked(bad).await, Err(Unread::Malformed)), "{bad:?}");
        }
        for cut in 0..good.len() {
            assert!(matches!(asked(&good[..cut]).await, Err(Unread::Gone)), "{cut}");
        }
    }

    async fn asked(text: &str) -> Result<Asked, Unread> {
        let (mut here, mut there) = tokio::io::duplex(1024);
        there.write_all(text.as_bytes()).await.unwrap();
        drop(there);
        read(&mut here).await
    }

    #[test]
    fn answers_are_these_bytes() {
        assert_eq!(opened(), "hanzo-egress/1 open\n");
        assert_eq!(refused(Refusal::NotListed), "hanzo-egress/1 refused not-listed\n");
        assert!(Refusal::ALL.iter().all(|why| refused(*why).len() <= 64));
    }
}
