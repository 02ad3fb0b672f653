//! A discoverer behind a Unix socket, for sources that need credentials and TLS.
//!
//! # Layout
//! The discoverer writes lines, the proxy writes nothing. A line is ASCII, at most 8192 bytes with its newline: `1`, then 0 to 64
//! addresses, each after one space. A line holds until the next one; one comes at least every 10 s. After 30 s without one, and
//! after a line that is not such a line, the connection is closed and made anew.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::{Follower, GUESTS_MAX};
use crate::address::Address;

/// Longest line, its newline included.
const LINE_BYTES_MAX: usize = 8192;
/// A discoverer that says nothing for so long is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Reads lines until something is wrong, and says what.
pub(super) async fn listen(socket: &Path, follower: &mut Follower) -> &'static str {
    let soon = Instant::now() + Duration::from_secs(1);
    let Ok(Ok(mut stream)) = timeout_at(soon, UnixStream::connect(socket)).await else {
        return "nobody answers there";
    };
    let mut held = Vec::new();
    let mut silent_at = Instant::now() + SILENCE_MAX;
    loop {
        while let Some(end) = held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = held.drain(..=end).collect();
            match read(&line) {
                Some(guests) => follower.named(guests),
                None => return "a line that is not understood",
            }
            silent_at = Instant::now() + SILENCE_MAX;
        }
        if held.len() >= LINE_BYTES_MAX {
            return "a line of more than 8192 bytes";
        }
        let mut piece = [0; 1024];
        match timeout_at(silent_at.min(follower.next_look()), stream.read(&mut piece)).await {
            Ok(Ok(n)) if n > 0 => held.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Ok(_) => return "it closed the connection",
            Err(_) if Instant::now() >= silent_at => return "it said nothing for 30 s",
            Err(_) => follower.expire(),
        }
    }
}

/// One line.
fn read(line: &[u8]) -> Option<Vec<Address>> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let mut words = text.split(' ');
    if words.next() != Some("1") {
        return None;
    }
    let guests: Vec<Address> = words.map(|w| w.parse().ok()).collect::<Option<_>>()?;
    (guests.len() <= GUESTS_MAX).then_some(guests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_its_nearest_neighbours_are_not() {
        let two = read(b"1 10.0.0.1:8443 vsock:3:8443\n").unwrap();
        assert_eq!(two.len(), 2);
        assert!(read(b"1\n").unwrap().is_empty());
        let many = |n: usize| format!("1{}\n", " [::1]:1".repeat(n));
        assert_eq!(read(many(64).as_bytes()).unwrap().len(), 64);
        assert!(read(many(65).as_bytes()).is_none());
        for bad in [
            "1 10.0.0.1:8443",
            "2 10.0.0.1:8443\n",
            "1  10.0.0.1:8443\n",
            "1 10.0.0.1:8443 \n",
            "1 10.0.0.1\n",
            "1 guest:8443\n",
            "1 10.0.0.1:8443\r\n",
            "\n",
        ] {
            assert!(read(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
