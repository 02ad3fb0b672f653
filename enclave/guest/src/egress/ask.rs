//! What the guest says to the host's broker before a connection is the server's: one line each way.
//!
//! # Layout
//! `hanzo-egress/1 NAME PORT\n`; the answer is `hanzo-egress/1 open\n` or `hanzo-egress/1 refused WHY\n`. ASCII, one space between
//! words, no other white space, the port in decimal without leading zeros. The guest sends nothing more before the answer.

use std::io;

use hanzo_attestation::config::HostName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::Refusal;

const VERSION: &str = "hanzo-egress/1";
/// Longest answer in bytes, its newline included.
const ANSWER_BYTES_MAX: usize = 64;

/// What the broker said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Open,
    Refused(Refusal),
    /// Another version, another word, more than a line may hold.
    Unknown,
}

pub(super) async fn ask<S>(stream: &mut S, host: &HostName, port: u16) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request(host, port).as_bytes()).await?;
    stream.flush().await?;
    // Byte by byte: what follows the newline is the server's.
    let mut line = Vec::new();
    while line.len() < ANSWER_BYTES_MAX {
        match stream.read_u8().await? {
            b'\n' => return Ok(answer(&line)),
            byte => line.push(byte),
        }
    }
    Ok(Answer::Unknown)
}

fn request(host: &HostName, port: u16) -> String {
    format!("{VERSION} {host} {port}\n")
}

fn answer(line: &[u8]) -> Answer {
    let Some(rest) = line.strip_prefix(VERSION.as_bytes()) else {
        return Answer::Unknown;
    };
    match rest.strip_prefix(b" refused ") {
        None if rest == b" open" => Answer::Open,
        None => Answer::Unknown,
        Some(word) => Refusal::of(word).map_or(Answer::Unknown, Answer::Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes stand in `host-proxy/egress/src/request.rs`.
    #[test]
    fn a_request_is_these_bytes() {
        let host = HostName::new("kbs.example.org").unwrap();
        assert_eq!(request(&host, 8443), "hanzo-egress/1 kbs.example.org 8443\n");
    }

    #[test]
    fn the_broker_s_words_are_known_and_no_others() {
        assert_eq!(answer(b"hanzo-egress/1 open"), Answer::Open);
        assert_eq!(
            answer(b"hanzo-egress/1 refused not-listed"),
            Answer::Refused(Refusal::NotListed)
        );
        for bad in [
            "",
            "open",
            "hanzo-egress/1",
            "hanzo-egress/1open",
            "hanzo-egress/1  open",
            "hanzo-egress/1 open ",
            "hanzo-egress/1 open\r",
            "hanzo-egress/2 open",
            "hanzo-egress/1 refused",
            "hanzo-egress/1 refused ",
            "hanzo-egress/1 refused because",
            "hanzo-egress/1 Open",
            "HTTP/1.1 200 OK",
        ] {
            assert_eq!(answer(bad.as_bytes()), Answer::Unknown, "{bad}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_nothing_behind_it_is_read() {
        let host = HostName::new("a.b").unwrap();
        let (mut here, mut there) = tokio::io::duplex(4096);
        there.write_all(b"hanzo-egress/1 open\nserver first").await.unwrap();
        assert_eq!(ask(&mut here, &host, 1).await.unwrap(), Answer::Open);
        let mut rest = [0; 12];
        here.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"server first");
        there.write_all(&[b'x'; 100]).await.unwrap();
        assert_eq!(ask(&mut here, &host, 1).await.unwrap(), Answer::Unknown);
        drop(there);
        let (mut here, there) = tokio::io::duplex(4096);
        drop(there);
        assert!(ask(&mut here, &host, 1).await.is_err());
    }
}
