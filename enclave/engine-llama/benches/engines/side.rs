//! One engine process of ours, asked over the engine protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What one answer took.
pub struct Times {
    pub prompt_tokens: usize,
    pub tokens: usize,
    pub first_s: f64,
    pub decode_s: f64,
}

impl Times {
    pub fn first_ms(&self) -> f64 {
        self.first_s * 1e3
    }

    pub fn prefill_per_s(&self) -> f64 {
        self.prompt_tokens as f64 / self.first_s
    }

    pub fn decode_per_s(&self) -> f64 {
        self.tokens.saturating_sub(1) as f64 / self.decode_s
    }
}

/// `hanzo-engine` of this build, or a loud line.
pub fn mistral(beside: &Path) -> Option<PathBuf> {
    let found = std::env::var_os("HANZO_ENGINE")
        .map(PathBuf::from)
        .unwrap_or_else(|| beside.with_file_name("hanzo-engine"));
    if found.is_file() {
        return Some(found);
    }
    eprintln!(
        "SIDE MISSING: {}: mistral.rs NOT measured (cargo build -p hanzo-engine, or HANZO_ENGINE)",
        found.display()
    );
    None
}

/// The question of one of several at once.
pub fn question(at: usize) -> String {
    format!("Write a long letter about the number {at} and its friends.")
}

/// A running engine.
pub struct Served {
    child: Child,
    socket: PathBuf,
}

impl Served {
    pub fn start(program: &Path, model_dir: &Path, root: &Path, threads: usize, streams: usize) -> Self {
        let socket = root.join("bench.sock");
        let child = Command::new(program)
            .args(["serve", "--context-tokens", "1024"])
            .args(["--threads", &threads.to_string(), "--streams", &streams.to_string()])
            .arg("--model-dir")
            .arg(model_dir)
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { child, socket };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !served.is_ready() {
            assert!(Instant::now() < deadline, "{} is not ready", program.display());
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    fn is_ready(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok() && self.body("GET", "/health", &Value::Null)["status"] == "ready"
    }

    /// Ids of the prompt that a question makes.
    pub fn ids(&self, question: &str) -> Vec<u64> {
        let body = self.body(
            "POST",
            "/tokenize",
            &json!({"messages": [{"role": "user", "content": question}]}),
        );
        body["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_u64)
            .collect()
    }

    /// Greedy; the end token counts as any other, so the answer may be shorter.
    pub fn ask(&self, question: &str, tokens: usize) -> Times {
        let body = json!({
            "messages": [{"role": "user", "content": question}], "max_tokens": tokens, "stream": true,
        });
        let start = Instant::now();
        let mut reader = self.send("POST", "/v1/chat/completions", &body);
        let (mut line, mut first, mut frames, mut prompt_tokens) = (String::new(), None, 0, 0);
        while reader.read_line(&mut line).unwrap() > 0 {
            if let Some(data) = line.strip_prefix("data: ").filter(|data| !data.starts_with("[DONE]")) {
                first.get_or_insert_with(Instant::now);
                frames += 1;
                let frame: Value = serde_json::from_str(data).unwrap();
                assert!(frame["error"].is_null(), "{frame}");
                prompt_tokens = frame["usage"]["prompt_tokens"].as_u64().unwrap_or(0) as usize;
            }
            line.clear();
        }
        let first = first.expect("a frame");
        Times {
            prompt_tokens,
            tokens: frames,
            first_s: (first - start).as_secs_f64(),
            decode_s: first.elapsed().as_secs_f64(),
        }
    }

    /// Tokens a second of so many answers at once.
    pub fn at_once(&self, streams: usize, tokens: usize) -> f64 {
        let start = Instant::now();
        let all: usize = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..streams)
                .map(|at| scope.spawn(move || self.ask(&question(at), tokens).tokens))
                .collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).sum()
        });
        all as f64 / start.elapsed().as_secs_f64()
    }

    fn body(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut reader = self.send(method, path, body);
        let mut line = String::new();
        // Small answers have a length and come whole: the body is the last line.
        let mut last = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 0 {
            last = std::mem::take(&mut line);
        }
        serde_json::from_str(&last).unwrap_or(Value::Null)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> BufReader<UnixStream> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
