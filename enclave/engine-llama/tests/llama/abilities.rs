//! What the engine does beside chats of text: log probabilities, raw prompts, schemas, tools, vectors; and what it refuses.

use serde_json::{Value, json};

use crate::fixture::{self, Spec, Value as Meta};
use crate::http::{Reply, post};
use crate::process::{Process, ask, with};

fn completion(engine: &Process, prompt: &Value, max_tokens: usize) -> Reply {
    let body = json!({"prompt": prompt, "max_tokens": max_tokens, "stream": true});
    post(&engine.socket, "/v1/completions", body.to_string())
}

fn refusal(reply: &Reply) -> (u16, String, Value) {
    (reply.status, reply.code(), reply.json()["error"]["param"].clone())
}

fn refused(status: u16, code: &str, param: &str) -> (u16, String, Value) {
    let param = if param.is_empty() { Value::Null } else { param.into() };
    (status, code.to_owned(), param)
}

#[test]
fn tokens_come_with_their_probabilities_and_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&fixture::model_dir(root.path()), root.path(), &[]);
    let request = ask("hello", 12);
    let plain = engine.chat(&request);
    let reply = engine.chat(&with(
        with(request.clone(), "logprobs", json!(true)),
        "top_logprobs",
        json!(3),
    ));
    assert_eq!(reply.text(), plain.text());
    let frames = reply.frames();
    for (at, frame) in frames.iter().enumerate() {
        let ended = at + 1 == frames.len() && frame["choices"][0]["finish_reason"] == "stop";
        let content = &frame["choices"][0]["logprobs"]["content"];
        if ended {
            assert!(content.is_null(), "an end token has none: {frame}");
            continue;
        }
        let [one] = content.as_array().unwrap().as_slice() else {
            panic!("{frame}")
        };
        let top = one["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy: the token is the likeliest.
        assert_eq!((&one["logprob"], &one["bytes"]), (&top[0]["logprob"], &top[0]["bytes"]));
        let probability = |one: &Value| one["logprob"].as_f64().unwrap().exp();
        assert!(top.windows(2).all(|two| probability(&two[0]) >= probability(&two[1])));
        assert!(top.iter().map(probability).sum::<f64>() < 1.0 + 1e-5);
    }
    let none = engine.chat(&with(request.clone(), "logprobs", json!(true)));
    let first = &none.frames()[0]["choices"][0]["logprobs"]["content"][0];
    assert_eq!(first["top_logprobs"], json!([]));
    for (logprobs, top) in [(json!(true), 21), (json!(false), 1)] {
        let reply = engine.chat(&with(
            with(request.clone(), "logprobs", logprobs),
            "top_logprobs",
            json!(top),
        ));
        assert_eq!(refusal(&reply), refused(400, "invalid_parameter", "top_logprobs"));
    }
}

#[test]
fn raw_prompts_are_answered_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&fixture::model_dir(root.path()), root.path(), &[]);
    // A chat's own ids as a raw prompt give the chat's answer.
    let request = ask("hello", 8);
    let tokenized = engine.tokenize(&json!({"messages": request["messages"]})).json();
    let reply = completion(&engine, &tokenized["tokens"], 8);
    let text: String = reply
        .frames()
        .iter()
        .map(|frame| frame["choices"][0]["text"].as_str().unwrap())
        .collect();
    assert_eq!(text, engine.chat(&request).text());
    assert!(
        reply
            .frames()
            .iter()
            .all(|frame| frame["choices"][0]["delta"].is_null())
    );
    // A text counts what `/tokenize` says.
    let counted = engine.tokenize(&json!({"text": "the heat"})).json();
    let reply = completion(&engine, &json!("the heat"), 2);
    assert_eq!(
        reply.frames().last().unwrap()["usage"]["prompt_tokens"],
        counted["count"]
    );
    let asked = completion(&engine, &counted["tokens"], 2);
    assert_eq!(asked.body, reply.body);

    assert_eq!(
        refusal(&completion(&engine, &json!([99_999]), 2)),
        refused(400, "unknown_token", "prompt")
    );
    assert_eq!(
        refusal(&completion(&engine, &json!([]), 2)),
        refused(400, "empty_prompt", "")
    );
    assert_eq!(
        refusal(&completion(&engine, &json!([-1]), 2)),
        refused(400, "invalid_request", "")
    );
    let body = json!({"input": ["a"]}).to_string();
    assert_eq!(
        refusal(&post(&engine.socket, "/v1/embeddings", body)),
        refused(400, "unsupported", "")
    );
}

#[test]
fn an_answer_is_kept_to_its_schema_or_the_schema_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&fixture::model_dir(root.path()), root.path(), &[]);
    let schema = json!({
        "type": "object",
        "properties": {
            "colour": {"enum": ["red", "green"]},
            "sure": {"type": "boolean"},
            "day": {"type": "string", "format": "date"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/digit"}, "minItems": 2, "maxItems": 3},
        },
        "required": ["colour", "sure", "day", "list"],
        "additionalProperties": false,
        "$defs": {"digit": {"type": "integer", "minimum": 0, "maximum": 9}},
    });
    let kept = |request: Value| {
        let reply = engine.chat(&request);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.frames().last().unwrap()["choices"][0]["finish_reason"], "stop");
        let document: Value = serde_json::from_str(&reply.text()).unwrap_or_else(|e| panic!("{e}: {}", reply.text()));
        let colour = document["colour"].as_str().unwrap();
        assert!(["red", "green"].contains(&colour), "{document}");
        assert!(document["sure"].is_boolean(), "{document}");
        assert_eq!(document["day"].as_str().unwrap().len(), 10, "{document}");
        let list = document["list"].as_array().unwrap();
        assert!((2..=3).contains(&list.len()), "{document}");
        assert!(list.iter().all(|n| n.as_u64().is_some_and(|n| n < 10)), "{document}");
        reply.body
    };
    let request = with(ask("hello", 600), "json_schema", schema.clone());
    let greedy = kept(request.clone());
    assert_eq!(kept(request.clone()), greedy);
    for seed in 0..4 {
        let seeded = with(request.clone(), "temperature", json!(1.5));
        kept(with(seeded, "seed", json!(seed)));
    }
    // Members that nobody named are not invented, however the model is drawn.
    let open = json!({"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]});
    for seed in 0..4 {
        let seeded = with(
            with(request.clone(), "json_schema", open.clone()),
            "temperature",
            json!(1.5),
        );
        let reply = engine.chat(&with(seeded, "seed", json!(seed)));
        let document: Value = serde_json::from_str(&reply.text()).unwrap_or_else(|e| panic!("{e}: {}", reply.text()));
        assert_eq!(document.as_object().unwrap().len(), 1, "{document}");
    }
    // Cut short, it says so.
    let short = engine.chat(&with(request.clone(), "max_tokens", json!(3)));
    assert_eq!(short.frames().last().unwrap()["choices"][0]["finish_reason"], "length");

    for schema in [
        json!({"type": "array", "uniqueItems": true}),
        json!({"enum": []}),
        json!({"type": "string", "pattern": "("}),
        json!({"$ref": "#/$defs/missing"}),
        json!({"type": "canary"}),
        json!(5),
    ] {
        let reply = engine.chat(&with(ask("hello", 8), "json_schema", schema.clone()));
        assert_eq!(
            refusal(&reply),
            refused(400, "invalid_schema", "json_schema"),
            "{schema}"
        );
        assert!(!reply.body.contains("canary"), "{}", reply.body);
    }
    let log = engine.stop();
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn tools_reach_a_template_that_knows_none() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&fixture::model_dir(root.path()), root.path(), &[]);
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
    let request = with(ask("hello", 4), "tools", json!([tool("weather")]));
    let counted = |body: Value| engine.tokenize(&body).json()["count"].as_u64().unwrap();
    let plain = counted(json!({"messages": request["messages"]}));
    let with_tools = counted(json!({"messages": request["messages"], "tools": request["tools"]}));
    assert!(with_tools > plain + 100, "{plain} {with_tools}");
    let reply = engine.chat(&request);
    assert_eq!(reply.frames().last().unwrap()["usage"]["prompt_tokens"], with_tools);
    // What was called and given back is part of the prompt.
    let history = json!([
        request["messages"][0],
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]);
    assert!(counted(json!({"messages": history})) > plain + 40);
    let many: Vec<Value> = (0..129).map(|at| tool(&format!("t{at}"))).collect();
    assert_eq!(
        refusal(&engine.chat(&with(ask("hello", 4), "tools", json!(many)))),
        refused(400, "invalid_request", "")
    );
    assert_eq!(
        refusal(&engine.tokenize(&json!({"text": "a", "tools": [tool("a")]}))),
        refused(400, "invalid_request", "")
    );
}

/// A model that says how its states become one vector.
pub fn pooled(root: &std::path::Path, pooling: u32) -> std::path::PathBuf {
    fixture::dir_of(root, &Spec::new().set("llama.pooling_type", Meta::Number(pooling)))
}

#[test]
fn a_model_of_embeddings_makes_vectors_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let engine = Process::start(&pooled(root.path(), 1), root.path(), &["--context-tokens", "256"]);
    let embed = |input: Value| post(&engine.socket, "/v1/embeddings", json!({"input": input}).to_string());
    let vectors = |input: Value| {
        let reply = embed(input);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let said = reply.json();
        let data = said["data"].as_array().unwrap();
        assert!(data.iter().enumerate().all(|(at, one)| one["index"] == at));
        let numbers = |one: &Value| -> Vec<f64> {
            one["embedding"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_f64().unwrap())
                .collect()
        };
        let vectors: Vec<Vec<f64>> = data.iter().map(numbers).collect();
        for vector in &vectors {
            let length: f64 = vector.iter().map(|n| n * n).sum();
            assert!((length - 1.0).abs() < 1e-4, "{length}");
        }
        (vectors, said["usage"]["prompt_tokens"].as_u64().unwrap())
    };
    let (three, count) = vectors(json!(["hello", "the heat of the day", "hello"]));
    assert_eq!(three[0], three[2]);
    assert_ne!(three[0], three[1]);
    let ids = |text: &str| engine.tokenize(&json!({"text": text})).json();
    assert_eq!(
        count,
        2 * ids("hello")["count"].as_u64().unwrap() + ids("the heat of the day")["count"].as_u64().unwrap()
    );
    // Ids and text, alone or among others: the same vector.
    assert_eq!(vectors(json!([ids("the heat of the day")["tokens"]])).0[0], three[1]);

    assert_eq!(refusal(&embed(json!([]))), refused(400, "invalid_request", ""));
    assert_eq!(refusal(&embed(json!([""]))), refused(400, "empty_prompt", ""));
    assert_eq!(
        refusal(&embed(json!([[99_999]]))),
        refused(400, "unknown_token", "prompt")
    );
    assert_eq!(
        refusal(&embed(json!(["a", "x".repeat(300)]))),
        refused(400, "context_length", "")
    );
    assert_eq!(vectors(json!(["x".repeat(256)])).1, 256);
    assert_eq!(refusal(&engine.chat(&ask("hello", 4))), refused(400, "unsupported", ""));
    let counted = engine.tokenize(&json!({"messages": [{"role": "user", "content": "hello"}]}));
    assert_eq!(refusal(&counted), refused(400, "unsupported", ""));
    assert_eq!(
        refusal(&completion(&engine, &json!("a"), 4)),
        refused(400, "unsupported", "")
    );
}
