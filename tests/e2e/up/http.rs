//! Asking a running appliance's endpoint as any program does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

/// An answer.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head)).1
    }

    /// Status, code and type of an error.
    pub fn refusal(&self) -> (u16, &str, &str) {
        let member = |name: &str| self.body["error"][name].as_str().unwrap_or_default();
        (self.status, member("code"), member("type"))
    }
}

/// Asks the endpoint at `base`: `POST` with a body, `GET` without; `key` is an API key's text.
pub fn ask(base: &str, key: Option<&str>, path: &str, body: Option<Value>) -> Reply {
    let at = base.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(at).unwrap();
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map_or_else(String::new, |body| body.to_string());
    let shown = key.map_or_else(String::new, |key| format!("authorization: Bearer {key}\r\n"));
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: {at}\r\nconnection: close\r\ncontent-type: application/json\r\n{shown}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Reply {
        status: status.unwrap_or_else(|| panic!("{head}")),
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}")),
    }
}
