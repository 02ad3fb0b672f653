//! The whole path as a stranger walks it: `hanzo up`, a question, a receipt, the unmodified `openai` package, Ctrl-C.
//!
//! Needs Python with pip, npm and, at the first run, their registries for the model and the clients. Where there is none, the tests
//! say so loudly and check nothing.

#[path = "up/adapters.rs"]
mod adapters;
#[path = "up/clients.rs"]
mod clients;
#[path = "up/compat.rs"]
mod compat;
#[path = "../../enclave/engine-llama/tests/llama/encoder.rs"]
mod encoder;
#[allow(dead_code, reason = "a part is for the engine's own tests")]
#[path = "../../enclave/engine-llama/tests/llama/fixture.rs"]
mod fixture;
#[path = "up/http.rs"]
mod http;
#[path = "up/vectors.rs"]
mod vectors;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const HANZO: &str = env!("CARGO_BIN_EXE_hanzo");
const QUESTION: &str = "What is the capital of France?";

/// One appliance at a time: each has the engine's whole appetite for processors.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `hanzo-verify` as built beside `hanzo`.
fn hanzo_verify() -> PathBuf {
    let path = Path::new(HANZO).with_file_name("hanzo-verify");
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-p", "hanzo-verify", "--bin", "hanzo-verify"])
            .status();
        assert!(
            built.is_ok_and(|s| s.success()) && path.exists(),
            "{} is not built",
            path.display()
        );
    }
    path
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// True if the machine has neither the model nor a way to get it; says so.
fn no_model(text: &str) -> bool {
    let missing = text.contains("cannot fetch the default model");
    if missing {
        let _ = writeln!(
            std::io::stderr(),
            "\n*** MODEL MISSING: end-to-end tests NOT RUN ***\n{text}"
        );
    }
    missing
}

#[test]
fn up_answers_a_question_and_its_receipt_verifies_offline() {
    let _turn = turn();
    let state = private_dir();
    let output = Command::new(HANZO)
        .args(["up", "--json", "--ask", QUESTION, "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    if no_model(&said(&output)) {
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
    assert!(answer["answer"].as_str().unwrap().contains("Paris"), "{answer}");
    assert_eq!(answer["verdict"]["tier"], 2, "{answer}");
    assert_eq!(answer["verdict"]["simulated"], true, "{answer}");
    let id = answer["receipt_id"].as_str().unwrap();

    let receipt = |id: &str| {
        let mut command = Command::new(hanzo_verify());
        command
            .args(["receipt", id, "--json", "--state"])
            .arg(state.path())
            .output()
            .unwrap()
    };
    let checked = receipt(id);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(
        said(&checked).contains("\"simulated\":true") || said(&checked).contains("\"simulated\": true"),
        "{}",
        said(&checked)
    );

    // The nearest refused twin: one digit of the saved receipt changed.
    let file = state.path().join("receipts").join(format!("{id}.json"));
    let text = fs::read_to_string(&file).unwrap();
    let at = text.find("prompt_tokens").expect("the saved receipt counts tokens");
    let digit = at + text[at..].find(|c: char| c.is_ascii_digit()).unwrap();
    let other = if text.as_bytes()[digit] == b'1' { "2" } else { "1" };
    let mut changed = text.clone();
    changed.replace_range(digit..=digit, other);
    fs::write(&file, changed).unwrap();
    let refused = receipt(id);
    assert_eq!(refused.status.code(), Some(20), "{}", said(&refused));
    assert!(said(&refused).contains("receipt.signature"), "{}", said(&refused));

    // A store made here is for the simulated appliance alone.
    let kbs = Path::new(HANZO).with_file_name("hanzo-kbs");
    if kbs.exists() {
        let config = state.path().join("up/run/kbs/kbs.toml");
        let refused = Command::new(kbs)
            .args(["serve", "--config"])
            .arg(config)
            .output()
            .unwrap();
        assert!(
            !refused.status.success() && said(&refused).contains("store.simulated"),
            "{}",
            said(&refused)
        );
    }
}

/// A folder that only this user can enter, whatever the umask.
fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .unwrap()
}

/// A running `hanzo up`.
struct Up {
    child: Child,
    state: tempfile::TempDir,
    greeting: serde_json::Value,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    fn start_with(more: &[&OsStr]) -> Option<Self> {
        let state = private_dir();
        let mut child = Command::new(HANZO)
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--state"])
            .arg(state.path())
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let Ok(greeting) = serde_json::from_str::<serde_json::Value>(&line) else {
            let mut rest = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
            let _ = child.wait();
            assert!(no_model(&rest), "{line}{rest}");
            return None;
        };
        assert!(greeting.get("error").is_none() || no_model(&line), "{line}");
        greeting.get("listening")?;
        Some(Self { child, state, greeting })
    }

    fn text(&self, key: &str) -> &str {
        self.greeting[key].as_str().unwrap()
    }
}

/// A running `hanzo-verify connect` to that appliance's proxy, with the policy that it wrote.
struct Connect {
    child: Child,
    base: String,
}

impl Drop for Connect {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Connect {
    fn start(up: &Up) -> Self {
        let files = up.state.path();
        let mut child = Command::new(hanzo_verify())
            .args(["connect", "--json", "--listen", "127.0.0.1:0", "--to", up.text("proxy")])
            .arg("--policy")
            .arg(files.join("up/policy.toml"))
            .arg("--simulator-root")
            .arg(files.join("up/simulator-ark.der"))
            .arg("--state")
            .arg(files.join("another-client"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let greeting: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(greeting["verdict"]["tier"], 2, "{greeting}");
        assert_eq!(greeting["verdict"]["simulated"], true, "{greeting}");
        let base = greeting["listening"].as_str().unwrap().to_owned();
        Self { child, base }
    }
}

/// What was asked and answered is gone from the memory of every process that handled it, in no file, and none may leave a core dump.
#[test]
fn what_was_asked_and_answered_stays_in_no_memory() {
    const CANARY: &str = "zebrafinch-41807";
    let _turn = turn();
    let Some(up) = Up::start() else { return };
    let connect = Connect::start(&up);
    let body = serde_json::json!({"model": up.text("model"), "temperature": 0, "max_tokens": 24,
        "messages": [{"role": "user", "content": format!("Repeat this word and nothing else: {CANARY}")}]})
    .to_string();
    let at = connect.base.trim_start_matches("http://").trim_end_matches("/v1");
    let ask = || {
        let mut stream = std::net::TcpStream::connect(at).unwrap();
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    for _ in 0..3 {
        ask();
    }
    drop(connect);
    // Neither in a file that the appliance keeps or logs, in no form that a careless program would give it.
    let wide: Vec<u8> = CANARY.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for form in [CANARY.as_bytes(), hex::encode(CANARY).as_bytes(), &wide] {
        let files = search(up.state.path(), form);
        assert!(files > 5, "only {files} files were looked at");
    }
    let handled: Vec<(u32, String)> = descendants(up.child.id())
        .into_iter()
        .map(|pid| {
            (
                pid,
                String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
                    .replace('\0', " "),
            )
        })
        .collect();
    // The engine's memory of keys and values, and the guest's connection, are given up a moment after the answer.
    std::thread::sleep(Duration::from_secs(2));
    let own = writable_memory(std::process::id()).unwrap();
    assert!(own.iter().any(|part| places(part, CANARY) > 0), "found where it is");
    let mut looked_at = 0;
    for (pid, line) in &handled {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size"));
        let soft = core.and_then(|l| l.split_whitespace().nth(4));
        assert_eq!(soft, Some("0"), "{line} may leave a core dump");
        let Some(parts) = writable_memory(*pid) else {
            let _ = writeln!(
                std::io::stderr(),
                "\n*** NOT ALLOWED TO READ THE MEMORY OF {line}: NOT LOOKED AT ***"
            );
            continue;
        };
        let found: usize = parts.iter().map(|part| places(part, CANARY)).sum();
        assert_eq!(found, 0, "{line} still holds it");
        looked_at += 1;
    }
    assert!(handled.len() >= 4 && (looked_at >= 4 || !rustix::process::geteuid().is_root()));
}

/// The private writable memory of a process; `None` where it cannot be read.
fn writable_memory(pid: u32) -> Option<Vec<Vec<u8>>> {
    use std::os::unix::fs::FileExt as _;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut parts = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            continue;
        };
        if !rights.starts_with("rw") || line.contains("[vvar]") {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            parts.push(bytes);
        }
    }
    (!parts.is_empty()).then_some(parts)
}

fn places(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).filter(|w| *w == text.as_bytes()).count()
}

#[test]
fn a_crashed_part_is_reported_by_name() {
    let _turn = turn();
    let Some(mut up) = Up::start() else { return };
    let proxy = descendants(up.child.id())
        .into_iter()
        .find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|b| *b == 0).any(|a| a == b"proxy")
        })
        .expect("a proxy runs");
    signal(proxy, rustix::process::Signal::KILL);
    let mut rest = String::new();
    up.child.stderr.as_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(up.child.wait().unwrap().code(), Some(1));
    assert!(rest.contains("proxy stopped: killed by signal 9"), "{rest}");
}

#[test]
fn bad_models_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let not_a_model = dir.path().join("notes.txt");
    fs::write(&not_a_model, "just some text, no model at all").unwrap();
    let truncated = dir.path().join("cut.gguf");
    fs::write(&truncated, b"GGUF\x03\0\0\0\x01\0\0\0").unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for path in [not_a_model, truncated, empty, dir.path().join("missing.gguf")] {
        let state = private_dir();
        let output = Command::new(HANZO)
            .args(["up", "--ask", "x", "--model"])
            .arg(&path)
            .arg("--cache")
            .arg(state.path())
            .arg("--state")
            .arg(state.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let text = said(&output);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(text.contains(name), "the message names the file: {text}");
    }
}

#[test]
fn a_port_in_use_is_named_before_anything_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let state = private_dir();
    let output = Command::new(HANZO)
        .args(["up", "--listen", &at, "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(at.split(':').nth(1).unwrap()),
        "{}",
        said(&output)
    );
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|s| s.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|r| r.split_whitespace().nth(1))
            .and_then(|p| p.parse().ok());
        if parent == Some(of) {
            found.push(pid);
            found.extend(descendants(pid));
        }
    }
    found
}

fn search(dir: &Path, needle: &[u8]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            files += search(&path, needle);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(
                !bytes.windows(needle.len()).any(|w| w == needle),
                "{} holds the canary",
                path.display()
            );
            files += 1;
        }
    }
    files
}
