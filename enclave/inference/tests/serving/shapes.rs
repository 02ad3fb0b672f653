//! What OpenAI's clients see.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::double::honest;
use crate::fixture::{Guest, NOW, chat, json, split, text};

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_whole_answer_is_a_chat_completion() {
    let guest = Guest::new(honest());
    let response = guest.ask(&chat(r#","temperature":0,"stop":"x""#)).await;
    assert_eq!(response.status(), 200);
    let id = response.headers()["hanzo-receipt-id"].to_str().unwrap().to_owned();
    assert!(response.headers()["x-request-id"].to_str().unwrap().starts_with("req-"));
    let body = json(response).await;
    assert_eq!(body["id"], format!("chatcmpl-{id}"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["created"], NOW);
    assert_eq!(body["choices"][0]["message"]["content"], "Paris.");
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["total_tokens"], 8);
    assert!(body["system_fingerprint"].as_str().unwrap().starts_with("fp_"));
    let seen: Value = serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap();
    assert_eq!(seen["max_tokens"], 59, "the rest of the context");
    assert_eq!(seen["temperature"], 0.0);
    assert_eq!(seen["stop"], serde_json::json!(["x"]));
    assert!(seen.get("seed").is_none(), "greedy needs none");
}

#[tokio::test]
async fn a_stream_is_chunks_then_the_receipt_then_done() {
    let guest = Guest::new(honest());
    let response = guest
        .ask(&chat(
            r#","stream":true,"stream_options":{"include_usage":true},"seed":7,"max_tokens":9"#,
        ))
        .await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let stream = text(response).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!(after, "data: [DONE]\n\n");
    let chunks: Vec<Value> = committed
        .split_terminator("\n\n")
        .map(|f| serde_json::from_str(f.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let said: String = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, "Paris.");
    let n = chunks.len();
    assert_eq!(chunks[n - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[n - 1]["choices"], serde_json::json!([]));
    assert_eq!(chunks[n - 1]["usage"]["completion_tokens"], 3);
    assert!(chunks[..n - 1].iter().all(|c| c["usage"].is_null()));
    assert!(
        chunks
            .iter()
            .all(|c| c["object"] == "chat.completion.chunk" && c["id"] == chunks[0]["id"])
    );
    assert_eq!(receipt.receipt.sampling.seed, Some(7));
    assert_eq!(receipt.receipt.sampling.max_tokens, 9);
    assert_eq!(guest.receipts().len(), 1);
}

#[tokio::test]
async fn a_seed_is_drawn_and_named_when_sampling_without_one() {
    let guest = Guest::new(honest());
    guest.ask(&chat("")).await;
    let drawn = guest.receipts()[0].receipt().sampling.seed.unwrap();
    let seen: Value = serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap();
    assert_eq!(seen["seed"], drawn);
}

#[tokio::test]
async fn models_health_and_metrics() {
    let guest = Guest::new(honest());
    let list = json(guest.send(get("/v1/models")).await).await;
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "smollm2");
    let one = json(guest.send(get("/v1/models/smollm2")).await).await;
    assert_eq!(one, list["data"][0]);
    let none = guest.send(get("/v1/models/other")).await;
    assert_eq!(none.status(), 404);
    assert_eq!(json(none).await["error"]["code"], "model_not_found");
    assert_eq!(json(guest.send(get("/health")).await).await["status"], "ready");
    guest.ask(&chat("")).await;
    let metrics = text(guest.send(get("/metrics")).await).await;
    assert!(
        metrics.contains("hanzo_requests_total{outcome=\"complete\"} 0\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("smollm2") && !metrics.contains("CANARY"), "{metrics}");
}
