//! Asking another node over HTTP/1.1 for what this one does not have. Nothing it says is believed here.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hanzo_chain_rpc::calls::Call;
use hanzo_chain_rpc::client::{CallError, PATH, answer, request};
use hanzo_init::node::Followed;

use crate::sync;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one step of reading or writing.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// For all of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer: the longest of sync in hex, and what stands around it.
const ANSWER_BYTES_MAX: usize = 2 * sync::ANSWER_BYTES_MAX + 16 * 1024;
/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It is not there, or slow.
    #[error("{at}: {source}")]
    Unreachable {
        /// Where.
        at: std::net::SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It does not speak as it should.
    #[error("{at}: expected {expected}, got {got}")]
    Answer {
        /// Where.
        at: std::net::SocketAddr,
        /// What was awaited.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// It refused the call, or its answer is none.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Asks and waits for the answer.
///
/// # Does not establish
/// That any of it is so.
///
/// # Errors
/// [`FollowError`].
pub fn ask<C: Call>(followed: &Followed, call: &C) -> Result<C::Answer, FollowError> {
    let at = followed.address;
    let unreachable = |source| FollowError::Unreachable { at, source };
    let body = request(1, call);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        followed.host(),
        body.len()
    );
    let mut stream = TcpStream::connect_timeout(&at, CONNECT_TIMEOUT).map_err(unreachable)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT)).map_err(unreachable)?;
    stream.set_write_timeout(Some(STEP_TIMEOUT)).map_err(unreachable)?;
    stream
        .write_all(&[head.as_bytes(), &body].concat())
        .map_err(unreachable)?;
    let begun = Instant::now();
    let (mut all, mut chunk) = (Vec::new(), vec![0; CHUNK]);
    loop {
        let count = stream.read(&mut chunk).map_err(unreachable)?;
        if count == 0 {
            break;
        }
        all.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let wrong = |expected, got: String| FollowError::Answer { at, expected, got };
        if all.len() > ANSWER_BYTES_MAX {
            return Err(wrong(
                "an answer of bounded length",
                format!("more than {ANSWER_BYTES_MAX} bytes"),
            ));
        }
        if begun.elapsed() > ANSWER_TIMEOUT {
            return Err(wrong(
                "an answer within a minute",
                format!("{} bytes of one", all.len()),
            ));
        }
    }
    let body = body_of(&all).map_err(|(expected, got)| FollowError::Answer { at, expected, got })?;
    Ok(answer::<C>(1, body)?)
}

/// The body of a whole response with status 200 and a length.
fn body_of(all: &[u8]) -> Result<&[u8], (&'static str, String)> {
    let end = all.windows(4).position(|at| at == b"\r\n\r\n");
    let (head, body) = end
        .and_then(|end| Some((all.get(..end)?, all.get(end.checked_add(4)?..)?)))
        .ok_or_else(|| ("an HTTP response", format!("{} bytes that are none", all.len())))?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(("status 200", status.chars().take(80).collect()));
    }
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().to_owned())
    };
    let length = lines.find_map(named);
    match length.as_deref().map(str::parse::<usize>) {
        Some(Ok(length)) if length == body.len() => Ok(body),
        _ => Err((
            "a body as long as content-length says",
            format!("{} bytes and content-length {length:?}", body.len()),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn a_response_counts_whole_or_not_at_all() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(body_of(good), Ok(&b"{}"[..]));
        let refused: [(&[u8], &str); 5] = [
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{",
                "a body as long as content-length says",
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}x",
                "a body as long as content-length says",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}",
                "a body as long as content-length says",
            ),
            (b"HTTP/1.1 421 Misdirected\r\nContent-Length: 2\r\n\r\n{}", "status 200"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "an HTTP response"),
        ];
        for (bytes, expected) in refused {
            assert_eq!(body_of(bytes).unwrap_err().0, expected);
        }
    }
}
