//! The engine as its peers see it: a process and a socket.

use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture;
use crate::http::{Reply, get, open, post};

pub struct Process {
    child: Child,
    pub socket: PathBuf,
}

impl Process {
    pub fn start(model_dir: &Path, root: &Path, extra: &[&str]) -> Self {
        let socket = root.join("engine.sock");
        let child = command(model_dir, &socket, extra).spawn().unwrap();
        let mut process = Self { child, socket };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("the engine ended with {status}: {}", process.log());
            }
            if process.socket.exists() && get(&process.socket, "/health").json() == json!({"status": "ready"}) {
                return process;
            }
            assert!(Instant::now() < deadline, "not ready in time");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn chat(&self, body: &Value) -> Reply {
        post(&self.socket, "/v1/chat/completions", body.to_string())
    }

    /// Stops the engine and returns everything it wrote.
    pub fn stop(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log()
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        self.child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(model_dir: &Path, socket: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-engine"));
    command
        .arg("serve")
        .arg("--model-dir")
        .arg(model_dir)
        .arg("--socket")
        .arg(socket)
        .args(extra);
    command
        .env("MISTRALRS_DEBUG", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn ask(content: &str, max_tokens: usize) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": max_tokens, "stream": true})
}

fn with(mut request: Value, key: &str, value: Value) -> Value {
    request[key] = value;
    request
}

#[test]
fn answers_and_refusals() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(
        &fixture::model_dir(root.path()),
        root.path(),
        &["--body-bytes-max", "20000"],
    );
    let mode = std::fs::metadata(&engine.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // One frame a token, counts that agree, the end marked once.
    let request = ask("canary-prompt-7f3a", 24);
    let reply = engine.chat(&request);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let frames = reply.frames();
    let (last, rest) = frames.split_last().unwrap();
    assert!(
        rest.iter()
            .all(|frame| frame["choices"][0]["finish_reason"].is_null() && frame["usage"].is_null())
    );
    assert_eq!(last["usage"]["completion_tokens"], frames.len());
    let finish = last["choices"][0]["finish_reason"].as_str().unwrap();
    assert_eq!(finish, if frames.len() == 24 { "length" } else { "stop" });
    let tokenized = post(
        &engine.socket,
        "/tokenize",
        json!({"messages": request["messages"]}).to_string(),
    )
    .json();
    assert_eq!(tokenized["count"], last["usage"]["prompt_tokens"]);
    assert_eq!(
        tokenized["tokens"].as_array().unwrap().len() as u64,
        tokenized["count"].as_u64().unwrap()
    );

    // Greedy repeats; a seed repeats, another seed differs.
    assert_eq!(engine.chat(&request).body, reply.body);
    let seeded = |seed: u64| {
        engine
            .chat(&with(
                with(request.clone(), "temperature", json!(1.0)),
                "seed",
                json!(seed),
            ))
            .body
    };
    assert_eq!(seeded(5), seeded(5));
    assert_ne!(seeded(5), seeded(6));

    // A stop string ends the answer before itself and never shows.
    let text = reply.text();
    let stop: String = text.chars().skip(2).take(2).collect();
    let stopped = engine.chat(&with(request.clone(), "stop", json!([stop])));
    let at = text.find(&stop).unwrap();
    assert_eq!(stopped.text(), text[..at]);
    assert_eq!(stopped.frames().last().unwrap()["choices"][0]["finish_reason"], "stop");

    // Each refusal has its status and code, and repeats nothing of the request.
    let refused = |body: &Value| {
        let reply = engine.chat(body);
        assert!(!reply.body.contains("canary"), "{}", reply.body);
        (reply.status, reply.code())
    };
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        refused(&with(request.clone(), "stream", json!(false))),
        code(400, "stream_required")
    );
    assert_eq!(
        refused(&with(request.clone(), "canary", json!(1))),
        code(400, "invalid_request")
    );
    assert_eq!(
        refused(&with(request.clone(), "messages", json!([]))),
        code(400, "invalid_request")
    );
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///canary"}}]}]);
    assert_eq!(
        refused(&with(request.clone(), "messages", picture)),
        code(400, "invalid_request")
    );
    assert_eq!(
        refused(&with(request.clone(), "temperature", json!(3))),
        code(400, "invalid_parameter")
    );
    assert_eq!(
        refused(&with(request.clone(), "max_tokens", json!(0))),
        code(400, "invalid_parameter")
    );
    assert_eq!(refused(&ask(&"canary ".repeat(3000), 4)), code(413, "body_too_large"));
    assert_eq!(engine.chat(&request).status, 200);
    let plain = |path: &str, body: &str| {
        let reply = post(&engine.socket, path, body);
        (reply.status, reply.code())
    };
    assert_eq!(plain("/v1/chat/completions", "canary {"), code(400, "invalid_request"));
    assert_eq!(plain("/tokenize", "{}"), code(400, "invalid_request"));
    assert_eq!(plain("/re_isq", "{}"), code(404, "not_found"));
    assert_eq!(plain("/health", ""), code(405, "method_not_allowed"));

    let log = engine.stop();
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_long_prompt_is_refused_and_the_longest_is_answered() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(
        &fixture::model_dir(root.path()),
        root.path(),
        &["--context-tokens", "64"],
    );
    let fill = |count: usize| "x".repeat(count);
    let count = |content: &str| {
        let body = json!({"messages": [{"role": "user", "content": content}]});
        post(&engine.socket, "/tokenize", body.to_string()).json()["count"]
            .as_u64()
            .unwrap() as usize
    };
    let room = 63 - count("");
    let reply = engine.chat(&ask(&fill(room), 10));
    assert_eq!(reply.frames().len(), 1, "one token fits");
    let reply = engine.chat(&ask(&fill(room + 1), 10));
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "context_length"),
        "{}",
        reply.body
    );
}

#[test]
fn a_caller_who_leaves_stops_the_computation() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&fixture::model_dir(root.path()), root.path(), &["--queue", "1"]);
    // Greedy nonsense: the random model repeats itself and never ends.
    let mut endless = open(
        &engine.socket,
        "POST",
        "/v1/chat/completions",
        ask("go on", 60_000).to_string().as_bytes(),
    );
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(endless.read_line(&mut line).unwrap() > 0);
    }
    assert!(line.contains("\"finish_reason\":null"), "{line}");
    // One waits, the next is turned away, and the one who waits is served when the first has gone.
    let socket = engine.socket.clone();
    let waiting = std::thread::spawn(move || post(&socket, "/v1/chat/completions", ask("next", 2).to_string()));
    std::thread::sleep(Duration::from_millis(300));
    let reply = engine.chat(&ask("one more", 2));
    assert_eq!((reply.status, reply.code().as_str()), (503, "busy"), "{}", reply.body);
    drop(endless);
    let start = Instant::now();
    let reply = waiting.join().unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn safetensors_answer_too() {
    let root = tempfile::tempdir().unwrap();
    let source = fixture::safetensors_dir(root.path());
    let dir = root.path().join("prepared");
    hanzo_engine::convert::prepare(&source, &dir, &mut |_| {}).unwrap();
    let engine = Process::start(&dir, root.path(), &[]);
    let reply = engine.chat(&ask("hello", 8));
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(!reply.frames().is_empty());
}

fn failure(model_dir: &Path, socket: &Path) -> (Option<i32>, String) {
    let output = command(model_dir, socket, &[]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_start_says_why() {
    let root = tempfile::tempdir().unwrap();
    let dir = fixture::model_dir(root.path());
    let socket = root.path().join("engine.sock");

    let (status, log) = failure(&root.path().join("absent"), &socket);
    assert_eq!(status, Some(1));
    assert!(log.starts_with("engine.model_dir: "), "{log}");

    std::fs::write(&socket, "somebody's file").unwrap();
    let (status, log) = failure(&dir, &socket);
    assert_eq!(status, Some(1));
    assert!(log.starts_with("engine.socket: "), "{log}");
    assert_eq!(std::fs::read(&socket).unwrap(), b"somebody's file");
    std::fs::remove_file(&socket).unwrap();

    // A panic inside the library: one line, no message of its own, status 70.
    std::fs::write(
        dir.join("tokenizer_config.json"),
        r#"{"eos_token":"<|no-such-token|>"}"#,
    )
    .unwrap();
    let (status, log) = failure(&dir, &socket);
    assert_eq!(status, Some(hanzo_engine::EXIT_PANIC), "{log}");
    assert!(
        log.contains("engine.panic: ") && !log.contains("no-such-token"),
        "{log}"
    );

    let file = std::fs::File::options()
        .write(true)
        .open(dir.join("model.gguf"))
        .unwrap();
    file.set_len(file.metadata().unwrap().len() - 4096).unwrap();
    let (status, log) = failure(&dir, &socket);
    assert_eq!(status, Some(1));
    assert!(log.contains("convert.truncated: "), "{log}");
}
