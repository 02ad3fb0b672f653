//! The context's end, the queue's end, a caller who leaves, and prompts made to hurt a tokenizer.

use std::io::BufRead;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture;
use crate::http::{open, post};
use crate::process::{Process, ask, command};

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
        engine.tokenize(&body).json()["count"].as_u64().unwrap() as usize
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
    let engine = Process::start(
        &fixture::model_dir(root.path()),
        root.path(),
        &["--streams", "1", "--queue", "1"],
    );
    // Greedy nonsense: the random model repeats itself and never ends.
    let mut endless = open(
        &engine.socket,
        "POST",
        "/v1/chat/completions",
        ask("go on", fixture::CONTEXT).to_string().as_bytes(),
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

const RUNS: [&str; 11] = [
    "a",
    " ",
    "\n",
    "1",
    "!",
    "€",
    "\u{301}",
    "\u{0}",
    "'s",
    "<|im_start|>",
    " \u{200b}",
];

#[test]
fn prompts_made_to_hurt_are_refused_or_answered_and_the_process_lives() {
    // Each kind of scanner that is accepted.
    for pre in [
        "smollm",
        "gpt-2",
        "llama-bpe",
        "qwen2",
        "qwen35",
        "command-r",
        "stablelm2",
        "glm4",
    ] {
        let root = tempfile::tempdir().unwrap();
        let spec = fixture::Spec::new().set("tokenizer.ggml.pre", fixture::text(pre));
        let mut engine = Process::start(&fixture::dir_of(root.path(), &spec), root.path(), &[]);
        // Long runs of one class are what regular expressions in C++ overflow their stack on.
        for run in RUNS {
            let reply = engine.chat(&ask(&run.repeat(150_000 / run.len()), 1));
            assert!(engine.runs(), "{pre} {run:?}");
            assert!(
                reply.status == 200 || (reply.status, reply.code().as_str()) == (400, "context_length"),
                "{pre} {run:?}: {}",
                reply.body
            );
        }
        assert_eq!(engine.chat(&ask("still there?", 2)).status, 200);
    }
}

#[test]
fn text_that_no_context_could_hold_is_refused_before_it_is_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(
        &fixture::model_dir(root.path()),
        root.path(),
        &["--context-tokens", "64"],
    );
    // The longest token has 13 bytes.
    let reply = engine.chat(&ask(&"<|im_start|>".repeat(70), 1));
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (400, "context_length"),
        "{}",
        reply.body
    );
    assert!(reply.body.contains("no text of more than 832"), "{}", reply.body);
    let reply = engine.chat(&ask(&"<|im_start|>".repeat(40), 1));
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[test]
fn a_context_longer_than_the_trained_one_is_refused_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let asked = (fixture::CONTEXT + 1).to_string();
    let socket = root.path().join("engine.sock");
    let dir = fixture::model_dir(root.path());
    let ended = command(&dir, &socket, &["--context-tokens", &asked]).output().unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{log}");
    assert!(log.lines().any(|line| line.starts_with("engine.load: ")), "{log}");
    assert!(log.contains("trained on 16384"), "{log}");
}
