//! Starting the program, and asking it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Reply, get, post};

pub struct Process {
    child: Child,
    pub socket: PathBuf,
}

impl Process {
    pub fn start(model_dir: &Path, root: &Path, extra: &[&str]) -> Self {
        let socket = root.join("engine.sock");
        let child = command(model_dir, &socket, extra).spawn().unwrap();
        let mut process = Self { child, socket };
        let deadline = Instant::now() + Duration::from_secs(60);
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

    pub fn tokenize(&self, body: &Value) -> Reply {
        post(&self.socket, "/tokenize", body.to_string())
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
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

pub fn command(model_dir: &Path, socket: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-engine-llama"));
    command
        .arg("serve")
        .arg("--model-dir")
        .arg(model_dir)
        .arg("--socket")
        .arg(socket)
        // Threads that wait for each other by spinning do badly among other tests.
        .args(["--threads", "1"])
        .args(extra)
        // As the guest starts engines.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn ask(content: &str, max_tokens: usize) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": max_tokens, "stream": true})
}

pub fn with(mut request: Value, key: &str, value: Value) -> Value {
    request[key] = value;
    request
}
