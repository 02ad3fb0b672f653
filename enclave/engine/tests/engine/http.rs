//! Just enough HTTP/1.1 over a Unix socket, by hand: what goes over the wire is what is tested.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn code(&self) -> String {
        self.json()
            .pointer("/error/code")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// The SSE frames, without the closing `[DONE]`, which must be there.
    pub fn frames(&self) -> Vec<Value> {
        let mut frames: Vec<&str> = self.body.split("\n\n").filter(|frame| !frame.is_empty()).collect();
        assert_eq!(frames.pop(), Some("data: [DONE]"), "{}", self.body);
        frames
            .iter()
            .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }

    pub fn text(&self) -> String {
        self.frames()
            .iter()
            .map(|frame| frame["choices"][0]["delta"]["content"].as_str().unwrap())
            .collect()
    }
}

pub fn get(socket: &Path, path: &str) -> Reply {
    finish(open(socket, "GET", path, b""))
}

pub fn post(socket: &Path, path: &str, body: impl AsRef<[u8]>) -> Reply {
    finish(open(socket, "POST", path, body.as_ref()))
}

/// Sends a request and hands over the stream, with head and body still unread.
pub fn open(socket: &Path, method: &str, path: &str, body: &[u8]) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // The server may refuse before it has read all.
    let _ = stream.write_all(body);
    BufReader::new(stream)
}

fn finish(mut reader: BufReader<UnixStream>) -> Reply {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{line}"));
    let mut chunked = false;
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        let _ = reader.read_to_end(&mut body);
    }
    Reply {
        status,
        body: String::from_utf8(body).unwrap(),
    }
}
