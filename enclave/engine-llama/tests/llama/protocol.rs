//! What the protocol promises: frames, counts, seeds, stop strings, refusals, and silence about all of it.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::fixture;
use crate::http::post;
use crate::process::{Process, ask, with};

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
    let tokenized = engine.tokenize(&json!({"messages": request["messages"]})).json();
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
    let refused = |body| {
        let reply = engine.chat(&body);
        assert!(!reply.body.contains("canary"), "{}", reply.body);
        (reply.status, reply.code())
    };
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        refused(with(request.clone(), "stream", json!(false))),
        code(400, "stream_required")
    );
    assert_eq!(
        refused(with(request.clone(), "canary", json!(1))),
        code(400, "invalid_request")
    );
    assert_eq!(
        refused(with(request.clone(), "temperature", json!(3))),
        code(400, "invalid_parameter")
    );
    assert_eq!(
        refused(with(request.clone(), "max_tokens", json!(0))),
        code(400, "invalid_parameter")
    );
    assert_eq!(refused(ask(&"canary ".repeat(3000), 4)), code(413, "body_too_large"));
    let plain = |path: &str, body: &str| {
        let reply = post(&engine.socket, path, body);
        (reply.status, reply.code())
    };
    assert_eq!(plain("/v1/chat/completions", "canary {"), code(400, "invalid_request"));
    assert_eq!(plain("/slots", "{}"), code(404, "not_found"));
    assert_eq!(plain("/health", ""), code(405, "method_not_allowed"));
    assert_eq!(engine.chat(&request).body, reply.body, "and goes on as before");

    let log = engine.stop();
    assert!(!log.contains("canary") && log.contains("model loaded"), "{log}");
}

#[test]
fn several_answers_at_once_are_those_of_each_alone() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&fixture::model_dir(root.path()), root.path(), &["--streams", "6"]);
    let requests: Vec<_> = (0..6).map(|at| ask(&"word ".repeat(1 + at * 40), 20 + at)).collect();
    let alone: Vec<_> = requests.iter().map(|request| engine.chat(request).body).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(|| engine.chat(request).body))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    // A place that is used again holds nothing of whom it served before.
    let again: Vec<_> = requests.iter().rev().map(|request| engine.chat(request).body).collect();
    assert!(again.iter().eq(alone.iter().rev()));
}
