//! The first request of a connection, where it is the channel proof: answered before HTTP is set up.
//!
//! Nearly every connection asks for its proof first, and some ask for nothing else. This reader knows one spelling of that
//! request, the one that this project's clients write. Everything else (another request, another spelling, a part of it,
//! something wrong with it) is left where it is, unread, for the HTTP server, which answers or refuses it: nothing is
//! refused here.

use hanzo_channel::proof::{REQUEST_BYTES, RESPONSE_BYTES};

use crate::well_known::{Connection, ProofDesk};

const START: &[u8] = b"POST /.well-known/hanzo/channel-proof HTTP/1.1\r\n";
const CONTENT_TYPE: &[u8] = b"content-type: application/json";
const CONTENT_LENGTH: &[u8] = b"content-length: 2250";
const ANSWER_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 76\r\n\r\n";
const _: () = assert!(REQUEST_BYTES == 2250 && RESPONSE_BYTES == 76, "the two lengths above");

/// An answer, and how many bytes of what came it answers.
pub(crate) struct Answered {
    pub(crate) answer: Vec<u8>,
    pub(crate) taken: usize,
}

/// Answers the proof request that `bytes` begin with, if they hold all of it.
pub(crate) fn answer(bytes: &[u8], proofs: &ProofDesk, connection: &Connection) -> Option<Answered> {
    let head = head_len(bytes)?;
    let taken = head.checked_add(REQUEST_BYTES)?;
    let document = bytes.get(head..taken)?;
    let document = proofs.answer_document(document, connection)?;
    Some(Answered {
        answer: [ANSWER_HEAD, &document].concat(),
        taken,
    })
}

/// Length of the head, if it is the known one: the request line, then `host`, `content-type` and `content-length`, each once.
fn head_len(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes.strip_prefix(START)?;
    let (mut host, mut kind, mut length) = (false, false, false);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\r')?;
        let (line, more) = rest.split_at_checked(end)?;
        rest = more.strip_prefix(b"\r\n")?;
        let seen = match line {
            [] if host && kind && length => return bytes.len().checked_sub(rest.len()),
            CONTENT_TYPE => &mut kind,
            CONTENT_LENGTH => &mut length,
            _ => {
                let name = line.strip_prefix(b"host: ")?;
                if !is_host(name) {
                    return None;
                }
                &mut host
            }
        };
        if std::mem::replace(seen, true) {
            return None;
        }
    }
}

/// What no reader of HTTP could take for anything but a name and a port.
fn is_host(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
        && name
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> String {
        format!(
            "POST /.well-known/hanzo/channel-proof HTTP/1.1\r\nhost: guest\r\ncontent-type: application/json\r\ncontent-length: {REQUEST_BYTES}\r\n\r\n"
        )
    }

    #[test]
    fn the_head_that_our_clients_write_is_known_in_any_order_and_what_follows_is_left() {
        let head = message();
        assert_eq!(head_len(head.as_bytes()), Some(head.len()));
        let followed = format!("{head}{{\"enc\":\r\n\r\n");
        assert_eq!(head_len(followed.as_bytes()), Some(head.len()));
        let other = head
            .replace("host: guest\r\n", "")
            .replace("\r\n\r\n", "\r\nhost: [::1]:8443\r\n\r\n");
        assert_eq!(head_len(other.as_bytes()), Some(other.len()));
    }

    #[test]
    fn every_other_head_is_left_to_the_http_server() {
        let good = message();
        let changed = |from: &str, to: &str| {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(head_len(bad.as_bytes()), None, "{from} -> {to}");
        };
        for (from, to) in [
            ("POST", "PUT"),
            ("POST", "post"),
            ("channel-proof", "channel-proof?x"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("host: guest\r\n", ""),
            ("host: guest\r\n", "host: guest\r\nhost: guest\r\n"),
            ("host: guest", "host: a b"),
            ("host: guest", "host: "),
            ("host: guest", "Host: guest"),
            ("host: guest", "host:guest"),
            ("host: guest\r\n", "host: guest\n"),
            ("content-type: application/json\r\n", ""),
            ("application/json", "text/plain"),
            ("content-length: 2250\r\n", ""),
            ("2250", "2251"),
            ("2250", "02250"),
            ("2250", "2250 "),
            ("2250\r\n", "2250\r\ncontent-length: 2250\r\n"),
            ("2250\r\n", "2250\r\ntransfer-encoding: chunked\r\n"),
            ("2250\r\n", "2250\r\nexpect: 100-continue\r\n"),
            ("2250\r\n", "2250\r\nconnection: close\r\n"),
            ("2250\r\n", "2250\r\n folded\r\n"),
        ] {
            changed(from, to);
        }
        for cut in 0..good.len() {
            assert_eq!(head_len(&good.as_bytes()[..cut]), None, "{cut}");
        }
    }
}
