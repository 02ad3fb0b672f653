//! The engine as a process, with this very program as the server behind it: what each of the two may still do, and that the one
//! ends with the other. Without a harness: a server has a command line of its own.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const EPERM: i32 = 1;

fn main() {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("stand-in") => stand_in(&words.next().unwrap()),
        Some("--list") => println!("process: test"),
        _ => {
            a_server_is_started_confined_and_missed();
            what_does_not_start_says_so();
        }
    }
}

/// Answers with what it could not do; ends when it is told to.
fn stand_in(socket: &str) {
    let listener = UnixListener::bind(socket).unwrap();
    let mut refused = Vec::new();
    let errno = |error: std::io::Error| error.raw_os_error() == Some(EPERM);
    refused.push(Command::new("/bin/true").spawn().is_err_and(errno));
    refused.push(UnixStream::connect(socket).is_err_and(errno));
    refused.push(std::net::TcpListener::bind("127.0.0.1:0").is_err_and(errno));
    let text = if refused.iter().all(|refused| *refused) {
        "confined"
    } else {
        "free"
    };
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let mut bytes = [0; 4096];
        let length = connection.read(&mut bytes).unwrap_or(0);
        let request = String::from_utf8_lossy(bytes.get(..length).unwrap()).into_owned();
        let (kind, body) = match request.split(' ').nth(1) {
            Some("/health") => ("application/json", "{}".to_owned()),
            Some("/tokenize") if request.contains("end yourself") => std::process::exit(3),
            Some("/tokenize") => ("application/json", "{\"tokens\":[1]}".to_owned()),
            _ => {
                let chunk = |text: &str, finish: &str, more: &str| {
                    format!(
                        "data: {{\"object\":\"text_completion\",\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":{finish}}}]{more}}}\n\n"
                    )
                };
                let usage = ",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}";
                let body = chunk(text, "null", "") + &chunk("", "\"stop\"", usage) + "data: [DONE]\n\n";
                ("text/event-stream", body)
            }
        };
        let _ = write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}

fn exchange(socket: &Path, path: &str, body: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    write!(
        stream,
        "{} {path} HTTP/1.1\r\nHost: e\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        if body.is_empty() { "GET" } else { "POST" },
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn engine(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-engine-upstream"));
    command
        .args(["serve", "--speaks", "llama-server", "--context-tokens", "64"])
        .arg("--model-dir")
        .arg(dir)
        .arg("--socket")
        .arg(dir.join("engine.sock"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn a_server_is_started_confined_and_missed() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let itself = std::env::current_exe().unwrap();
    let child = engine(dir.path())
        .arg(format!("--upstream-arg={}", itself.display()))
        .args(["--upstream-arg=stand-in", "--upstream-arg={socket}"])
        .spawn()
        .unwrap();
    while !exchange(&socket, "/health", "").is_some_and(|answer| answer.contains("ready")) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let chat = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":4,\"stream\":true}";
    let raw = "{\"prompt\":\"hi\",\"max_tokens\":4,\"stream\":true}";
    let answer = exchange(&socket, "/v1/completions", raw).unwrap();
    assert!(answer.contains("\"confined\""), "{answer}");
    assert!(
        answer.contains("{\"prompt_tokens\":1,\"completion_tokens\":2}"),
        "{answer}"
    );
    assert!(answer.contains("[DONE]"), "{answer}");
    // The stand-in renders no template: its document is refused, and the engine goes on.
    let answer = exchange(&socket, "/v1/chat/completions", chat).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 502") && answer.contains("upstream_head"),
        "{answer}"
    );
    let vectors = exchange(&socket, "/v1/embeddings", "{\"input\":[\"a\"]}").unwrap();
    assert!(vectors.contains("\"unsupported\""), "{vectors}");
    // With the server ends the engine, and says so.
    let _ = exchange(&socket, "/tokenize", "{\"text\":\"end yourself\"}");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(hanzo_engine_upstream::EXIT_UPSTREAM));
    let lines = String::from_utf8(ended.stderr).unwrap();
    assert!(lines.contains("engine.upstream_died"), "{lines}");
    assert!(!lines.contains("end yourself"), "{lines}");
}

fn what_does_not_start_says_so() {
    for (argument, code) in [
        ("--upstream-arg=/nowhere/server", "engine.upstream_start"),
        ("--upstream-arg=server{x}", "engine.upstream_mark"),
        ("--upstream-arg=", "engine.upstream_command"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let ended = engine(dir.path()).arg(argument).output().unwrap();
        assert!(!ended.status.success());
        let lines = String::from_utf8(ended.stderr).unwrap();
        assert!(lines.contains(code), "{argument}: {lines}");
    }
}
