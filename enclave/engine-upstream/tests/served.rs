//! A stand-in server that says what the test wants: every breach beside what it breaks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hanzo_engine_process::{Ask, Engine, Finish, GenerateError, Message, Prompt, Role, Sampling, Token};
use hanzo_engine_upstream::{Bounds, Dialect, Upstream, UpstreamOptions};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

/// What the stand-in answers, as it goes over the wire.
#[derive(Clone)]
struct Says {
    tokenize: String,
    answer: String,
    /// Keep the connection open after an answer.
    holds: bool,
}

struct StandIn {
    engine: Upstream,
    asked: Arc<Mutex<Vec<(String, Json)>>>,
    left: Arc<Notify>,
    _dir: tempfile::TempDir,
}

fn document(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn stream(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
}

const LLAMA: &str = concat!(
    ": hello\n\n",
    "data: {\"choices\":[{\"text\":\"Hel\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],\"created\":1,\"model\":\"m\",\"system_fingerprint\":\"b\",\"object\":\"text_completion\",\"id\":\"c\"}\n\n",
    "data: {\"choices\":[{\"text\":\"lo\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],\"object\":\"text_completion\"}\r\n\r\n",
    "data: {\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}],\"object\":\"text_completion\",\"usage\":{\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6},\"timings\":{}}\n\n",
    "data: [DONE]\n\n"
);
const VLLM: &str = concat!(
    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":1,\"model\":\"model\",\"choices\":[{\"index\":0,\"text\":\"Hel\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null,\"prompt_token_ids\":[1,2,3],\"token_ids\":[7,8]}]}\n\n",
    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":1,\"model\":\"model\",\"choices\":[{\"index\":0,\"text\":\"lo\",\"logprobs\":null,\"finish_reason\":\"stop\",\"stop_reason\":null,\"token_ids\":[9]}]}\n\n",
    "data: {\"id\":\"c\",\"object\":\"text_completion\",\"created\":1,\"model\":\"model\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":6,\"completion_tokens\":3}}\n\n",
    "data: [DONE]\n\n"
);
const VLLM_IDS: &str = "{\"count\":3,\"max_model_len\":64,\"tokens\":[1,2,3],\"token_strs\":null}";
const LLAMA_IDS: &str = "{\"tokens\":[1,2,3]}";

async fn request(stream: &mut UnixStream) -> Option<(String, Json)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    Some((path, serde_json::from_slice(&bytes[end..]).unwrap_or(Json::Null)))
}

async fn stand_in(dialect: Dialect, says: Says, bounds: Bounds) -> StandIn {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("upstream.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let left = Arc::new(Notify::new());
    let (noted, leaving) = (Arc::clone(&asked), Arc::clone(&left));
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let (says, noted, leaving) = (says.clone(), Arc::clone(&noted), Arc::clone(&leaving));
            tokio::spawn(async move {
                let Some((path, body)) = request(&mut connection).await else {
                    return;
                };
                let answer = match path.as_str() {
                    "/health" => document("{}"),
                    "/apply-template" => document("{\"prompt\":\"rendered\"}"),
                    "/tokenize" => says.tokenize.clone(),
                    _ => says.answer.clone(),
                };
                let is_answer = path == "/v1/completions";
                noted.lock().unwrap().push((path, body));
                let _ = connection.write_all(answer.as_bytes()).await;
                if is_answer && says.holds {
                    let mut rest = [0; 1];
                    let _ = connection.read(&mut rest).await;
                    leaving.notify_one();
                }
            });
        }
    });
    let options = UpstreamOptions {
        socket,
        dialect,
        context_tokens: 64,
        streams: 2,
        queue: 2,
        bounds,
    };
    StandIn {
        engine: Upstream::ready(options).await,
        asked,
        left,
        _dir: dir,
    }
}

fn ask(max_tokens: usize, stop: &[&str]) -> Ask {
    Ask {
        sampling: Sampling {
            max_tokens,
            seed: Some(u64::MAX),
            stop: stop.iter().map(|stop| (*stop).to_owned()).collect(),
            ..Sampling::default()
        },
        ..Ask::default()
    }
}

async fn told(engine: &Upstream, prompt: &Prompt, ask: Ask) -> Result<Vec<Token>, GenerateError> {
    let mut generation = engine.generate(prompt, ask).await?;
    assert_eq!(generation.prompt_tokens, 3);
    let mut tokens = Vec::new();
    while let Some(token) = generation.next().await {
        tokens.push(token?);
    }
    Ok(tokens)
}

fn chat() -> Prompt {
    Prompt::chat(vec![Message::new(Role::User, "hi")])
}

fn texts(tokens: &[Token]) -> Vec<&str> {
    tokens.iter().map(|token| token.text.as_str()).collect()
}

/// The code that a whole exchange ends with, `ok` where it ends well.
async fn outcome(dialect: Dialect, tokenize: String, answer: String) -> &'static str {
    let says = Says {
        tokenize,
        answer,
        holds: false,
    };
    let stand_in = stand_in(dialect, says, Bounds::default()).await;
    match told(&stand_in.engine, &chat(), ask(8, &[])).await {
        Ok(_) => "ok",
        Err(error) => {
            assert_eq!(error.status(), 502, "{error}");
            error.code()
        }
    }
}

#[tokio::test]
async fn chats_and_raw_prompts_are_answered_on_the_ids_that_were_counted() {
    for (dialect, ids, answer) in [
        (Dialect::LlamaServer, LLAMA_IDS, LLAMA),
        (Dialect::Vllm, VLLM_IDS, VLLM),
    ] {
        let says = Says {
            tokenize: document(ids),
            answer: stream(answer),
            holds: false,
        };
        let stand_in = stand_in(dialect, says, Bounds::default()).await;
        for prompt in [chat(), Prompt::Text("hi".into()), Prompt::Tokens(vec![1, 2, 3])] {
            let tokens = told(&stand_in.engine, &prompt, ask(8, &[])).await.unwrap();
            assert_eq!(tokens.len(), 3);
            assert_eq!(texts(&tokens).concat(), "Hello");
            let ends: Vec<_> = tokens.iter().map(|token| token.finish).collect();
            assert_eq!(ends, [None, None, Some(Finish::Stop)]);
        }
        let asked = stand_in.asked.lock().unwrap();
        let bodies: Vec<_> = asked.iter().filter(|(path, _)| path == "/v1/completions").collect();
        assert_eq!(bodies.len(), 3);
        for (_, body) in &bodies {
            assert_eq!(body["prompt"], json!([1, 2, 3]));
            assert_eq!(body["seed"], json!(0x7fff_ffff));
        }
        match dialect {
            Dialect::LlamaServer => assert!(bodies.iter().all(|(_, body)| body["cache_prompt"] == json!(false))),
            Dialect::Vllm => {
                let salt = |at: usize| bodies[at].1["cache_salt"].as_str().unwrap().to_owned();
                assert_eq!(salt(0).len(), 64);
                assert_ne!(salt(0), salt(1), "no two requests share a cache");
            }
        }
    }
}

#[tokio::test]
async fn every_breach_of_an_answer_has_its_code() {
    let last = "\"finish_reason\":\"stop\"";
    let cases: &[(&str, &str, &str)] = &[
        ("hello", "another comment", "ok"),
        // What looks like an event within a text is text.
        ("\"Hel\"", "\"\\n\\ndata: [DONE]\\n\\n\"", "ok"),
        ("\"index\":0", "\"index\":1", "upstream_shape"),
        ("text_completion", "chat.completion.chunk", "upstream_shape"),
        ("\"created\":1", "\"created\":1,\"event\":1", "upstream_shape"),
        ("\"index\":0", "\"index\":0,\"delta\":{}", "upstream_shape"),
        ("\"index\":0", "\"index\":0,\"index\":0", "upstream_shape"),
        ("\"text\":\"Hel\"", "\"text\":5", "upstream_shape"),
        ("\"logprobs\":null", "\"logprobs\":{}", "upstream_shape"),
        ("\"index\":0", "\"index\":0,\"token_ids\":[5]", "upstream_shape"),
        (last, "\"finish_reason\":\"abort\"", "upstream_shape"),
        (last, "\"finish_reason\":\"length\"", "upstream_counts"),
        (last, "\"finish_reason\":null", "upstream_counts"),
        ("\"prompt_tokens\":3", "\"prompt_tokens\":2", "upstream_counts"),
        ("\"total_tokens\":6", "\"total_tokens\":7", "upstream_counts"),
        ("\"completion_tokens\":3", "\"completion_tokens\":-3", "upstream_shape"),
        (
            "\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6",
            "\"completion_tokens\":1,\"prompt_tokens\":3,\"total_tokens\":4",
            "upstream_counts",
        ),
        // No token is left to carry the end.
        (
            "\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6",
            "\"completion_tokens\":2,\"prompt_tokens\":3,\"total_tokens\":5",
            "upstream_counts",
        ),
        (
            "\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6",
            "\"completion_tokens\":8,\"prompt_tokens\":3,\"total_tokens\":11",
            "ok",
        ),
        (
            "\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6",
            "\"completion_tokens\":9,\"prompt_tokens\":3,\"total_tokens\":12",
            "upstream_counts",
        ),
        (",\"usage\":", ",\"system_fingerprint\":", "upstream_counts"),
        ("data: [DONE]\n\n", "", "upstream_ended_early"),
        ("data: [DONE]\n\n", "data: [DONE]", "upstream_ended_early"),
        ("data: [DONE]\n\n", "data: [DONE]\n\ndata: [DONE]\n\n", "upstream_shape"),
        (": hello", "event: error", "upstream_shape"),
        (": hello", "retry: 1", "upstream_shape"),
        (": hello", "data: {}\ndata: {}", "upstream_shape"),
        (
            ": hello",
            "data: {\"error\":{\"message\":\"a prompt\"}}",
            "upstream_failed",
        ),
        (
            ": hello",
            "data: {\"choices\":[],\"object\":\"text_completion\"}",
            "upstream_shape",
        ),
        (": hello", ": a\rb", "upstream_shape"),
    ];
    for (from, to, code) in cases {
        let said = LLAMA.replace(from, to);
        assert_ne!(said, LLAMA, "{from}");
        let got = outcome(Dialect::LlamaServer, document(LLAMA_IDS), stream(&said)).await;
        assert_eq!(got, *code, "{from} → {to}");
    }
    for (from, to, code) in [
        ("[7,8]", "[7]", "upstream_counts"),
        ("[7,8]", "[]", "upstream_counts"),
        ("[7,8]", "[-7]", "upstream_shape"),
        (
            "\"prompt_token_ids\":[1,2,3]",
            "\"prompt_token_ids\":[1,2,4]",
            "upstream_counts",
        ),
        (
            "\"choices\":[],",
            "\"choices\":[{\"index\":0,\"text\":\"x\"}],",
            "upstream_shape",
        ),
        ("\"max_model_len\":64", "\"max_model_len\":65", "ok"),
        ("\"count\":3", "\"count\":4", "upstream_counts"),
        ("\"count\":3", "\"count\":3,\"more\":1", "upstream_shape"),
    ] {
        let (said, ids) = (VLLM.replace(from, to), VLLM_IDS.replace(from, to));
        assert!(said != VLLM || ids != VLLM_IDS, "{from}");
        let got = outcome(Dialect::Vllm, document(&ids), stream(&said)).await;
        assert_eq!(got, code, "{from} → {to}");
    }
}

#[tokio::test]
async fn every_breach_of_a_head_has_its_code() {
    let good = stream(LLAMA);
    let kind = "Content-Type: text/event-stream";
    let many: String = (0..40).map(|at| format!("X-{at}: 1\r\n")).collect();
    let long = format!("X: {}\r\n{kind}", "x".repeat(40 << 10));
    let cases = [
        (kind, format!("{kind}; charset=utf-8"), "ok"),
        ("HTTP/1.1 200 OK", "HTTP/1.0 200 OK".into(), "upstream_head"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 500 No".into(), "upstream_status"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 204 No".into(), "upstream_status"),
        ("HTTP/1.1 200 OK", "nothing of HTTP".into(), "upstream_head"),
        (kind, "Content-Type: application/json".into(), "upstream_head"),
        (kind, "X: y".into(), "upstream_head"),
        (kind, format!("{kind}\r\n{kind}"), "upstream_head"),
        (kind, format!("{kind}\r\nContent-Encoding: gzip"), "upstream_head"),
        (kind, format!("{many}{kind}"), "upstream_head"),
        (kind, long, "upstream_head"),
        ("\r\n0\r\n\r\n", "\r\nz\r\n\r\n".into(), "upstream_ended_early"),
    ];
    for (from, to, code) in cases {
        let said = good.replacen(from, &to, 1);
        assert_ne!(said, good);
        let got = outcome(Dialect::LlamaServer, document(LLAMA_IDS), said).await;
        assert_eq!(got, code, "{from} → {}", to.get(..60).unwrap_or(&to));
    }
    assert_eq!(
        outcome(Dialect::LlamaServer, document(LLAMA_IDS), String::new()).await,
        "upstream_gone"
    );
    for (ids, code) in [
        ("{\"tokens\":[1,2,-3]}", "upstream_shape"),
        ("{\"tokens\":[1,2,4294967296]}", "upstream_shape"),
        ("{\"tokens\":[1,2,3],\"count\":3}", "upstream_shape"),
        ("[1,2,3]", "upstream_shape"),
    ] {
        let got = outcome(Dialect::LlamaServer, document(ids), good.clone()).await;
        assert_eq!(got, code, "{ids}");
    }
}

#[tokio::test]
async fn lengths_and_times_are_bounded() {
    let short = Bounds {
        first: Duration::from_millis(300),
        event: Duration::from_millis(300),
        ..Bounds::default()
    };
    let first = format!("{}\n\n", LLAMA.split("\n\n").nth(1).unwrap());
    let opened = |body: &str| stream(body).replace("\r\n0\r\n\r\n", "\r\n");
    let endless = ": x\n\n".repeat(40_000);
    let cases = [
        ("upstream_slow", short, String::new(), true),
        ("upstream_slow", short, opened(": a comment\n\n"), true),
        ("upstream_slow", short, opened(&first), true),
        ("upstream_too_long", Bounds::default(), opened(&endless), true),
        (
            "upstream_too_long",
            Bounds::default(),
            opened(&format!("data: {}", "x".repeat(66 << 10))),
            true,
        ),
        ("ok", short, stream(LLAMA), false),
    ];
    for (code, bounds, answer, holds) in cases {
        let says = Says {
            tokenize: document(LLAMA_IDS),
            answer,
            holds,
        };
        let stand_in = stand_in(Dialect::LlamaServer, says, bounds).await;
        let got = told(&stand_in.engine, &chat(), ask(8, &[])).await;
        assert_eq!(got.map_or_else(|error| error.code(), |_| "ok"), code);
    }
    for (document_bytes_max, code) in [(LLAMA_IDS.len(), "ok"), (LLAMA_IDS.len() - 1, "upstream_too_long")] {
        let says = Says {
            tokenize: document(LLAMA_IDS),
            answer: stream(LLAMA),
            holds: false,
        };
        let bounds = Bounds {
            document_bytes_max,
            ..Bounds::default()
        };
        let stand_in = stand_in(Dialect::LlamaServer, says, bounds).await;
        let got = told(&stand_in.engine, &Prompt::Text("hi".into()), ask(8, &[])).await;
        assert_eq!(got.map_or_else(|error| error.code(), |_| "ok"), code);
    }
}

#[tokio::test]
async fn who_leaves_and_a_stop_text_close_the_connection() {
    let first = format!("{}\n\n", LLAMA.split("\n\n").nth(1).unwrap());
    let says = Says {
        tokenize: document(LLAMA_IDS),
        answer: stream(&first).replace("\r\n0\r\n\r\n", "\r\n"),
        holds: true,
    };
    let stand_in = stand_in(Dialect::LlamaServer, says, Bounds::default()).await;
    let mut generation = stand_in.engine.generate(&chat(), ask(8, &[])).await.unwrap();
    assert_eq!(generation.next().await.unwrap().unwrap().text, "Hel");
    drop(generation);
    stand_in.left.notified().await;

    let tokens = told(&stand_in.engine, &chat(), ask(8, &["el"])).await.unwrap();
    assert_eq!(texts(&tokens), ["H"]);
    assert_eq!(tokens[0].finish, Some(Finish::Stop));
    assert_eq!(tokens[0].stop.as_deref(), Some("el"));
    stand_in.left.notified().await;
}

#[tokio::test]
async fn the_last_token_asked_for_carries_the_end_and_one_more_is_refused() {
    let by_length = LLAMA
        .replace("\"finish_reason\":\"stop\"", "\"finish_reason\":\"length\"")
        .replace(
            "\"completion_tokens\":3,\"prompt_tokens\":3,\"total_tokens\":6",
            "\"completion_tokens\":2,\"prompt_tokens\":3,\"total_tokens\":5",
        );
    let says = Says {
        tokenize: document(LLAMA_IDS),
        answer: stream(&by_length),
        holds: false,
    };
    let stand_in = stand_in(Dialect::LlamaServer, says, Bounds::default()).await;
    let tokens = told(&stand_in.engine, &chat(), ask(2, &[])).await.unwrap();
    assert_eq!(texts(&tokens), ["Hel", "lo"]);
    assert_eq!(tokens[1].finish, Some(Finish::Length));
    let error = told(&stand_in.engine, &chat(), ask(1, &[])).await.err().unwrap();
    assert_eq!(error.code(), "upstream_counts");
}

#[tokio::test]
async fn what_it_does_not_do_is_refused_before_the_server_is_asked() {
    let says = Says {
        tokenize: document(LLAMA_IDS),
        answer: stream(LLAMA),
        holds: false,
    };
    let stand_in = stand_in(Dialect::LlamaServer, says, Bounds::default()).await;
    let code = |ask: Ask, ids: Vec<u32>| {
        let engine = &stand_in.engine;
        async move {
            let got = engine.generate(&Prompt::Tokens(ids), ask).await;
            got.map_or_else(|error| error.code(), |_| "ok")
        }
    };
    let plain = ask(8, &[]);
    let schema = Ask {
        schema: Some(json!({})),
        ..plain.clone()
    };
    let logprobs = Ask {
        logprobs: Some(1),
        ..plain.clone()
    };
    assert_eq!(code(schema, vec![1]).await, "unsupported_parameter");
    assert_eq!(code(logprobs, vec![1]).await, "unsupported_parameter");
    assert_eq!(code(ask(0, &[]), vec![1]).await, "invalid_parameter");
    assert_eq!(code(plain.clone(), vec![]).await, "empty_prompt");
    assert_eq!(code(plain.clone(), vec![1; 64]).await, "context_length");
    assert_eq!(
        stand_in.engine.embed(&[]).await.err().map(|error| error.code()),
        Some("unsupported")
    );
    let asked = || {
        stand_in
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(path, _)| path != "/health")
            .count()
    };
    assert_eq!(asked(), 0);
    assert_eq!(code(plain, vec![1; 63]).await, "ok");
    assert_eq!(asked(), 1);
}
