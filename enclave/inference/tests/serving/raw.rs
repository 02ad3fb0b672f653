//! Completions without a template, and embeddings.

use hanzo_receipts::{Endpoint, Outcome, Work};
use serde_json::{Value, json};

use crate::double::{Script, frame, honest, honest_text, last, raw};
use crate::fixture::{Guest, chat, json as read, post_to, split, text};

fn completion(extra: &str) -> axum::http::Request<axum::body::Body> {
    post_to("/v1/completions", &format!(r#"{{"model":"smollm2"{extra}}}"#))
}

fn embed(extra: &str) -> axum::http::Request<axum::body::Body> {
    post_to("/v1/embeddings", &format!(r#"{{"model":"smollm2"{extra}}}"#))
}

#[tokio::test]
async fn prompts_are_completed_in_their_order() {
    let guest = Guest::new(honest_text());
    let response = guest
        .send(completion(r#","prompt":["a","b"],"n":2,"temperature":0"#))
        .await;
    assert_eq!(response.status(), 200);
    let body = read(response).await;
    assert_eq!(
        (&body["object"], body["choices"].as_array().unwrap().len()),
        (&json!("text_completion"), 4)
    );
    assert_eq!(
        (&body["choices"][3]["text"], &body["choices"][3]["index"]),
        (&json!("Paris."), &json!(3))
    );
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 10, "completion_tokens": 12, "total_tokens": 22})
    );
    let seen: Value = serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap();
    assert_eq!((&seen["prompt"], &seen["max_tokens"]), (&json!("b"), &json!(16)));
    assert!(seen.get("messages").is_none());
    let work = Work {
        answers: 4,
        endpoint: Endpoint::Completions,
    };
    assert_eq!(guest.receipts()[0].receipt().work, Some(work));

    let stream = text(
        guest
            .send(completion(
                r#","prompt":[1,2,3,4,5],"stream":true,"stream_options":{"include_usage":true}"#,
            ))
            .await,
    )
    .await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!(
        (after, receipt.receipt.outcome),
        ("data: [DONE]\n\n", Outcome::Complete)
    );
    assert!(
        committed.contains(r#""text":"Par""#) && committed.contains(r#""finish_reason":"stop""#),
        "{committed}"
    );
    assert!(committed.contains(r#""completion_tokens":3"#));
    let seen: Value = serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap();
    assert_eq!(seen["prompt"], json!([1, 2, 3, 4, 5]));
}

#[tokio::test]
async fn completions_that_cannot_be_are_refused_without_a_receipt() {
    let guest = Guest::new(honest_text());
    for (extra, code, param) in [
        (r#","prompt":"a","echo":true"#, "unsupported_parameter", "echo"),
        (r#","prompt":"","n":1"#, "invalid_value", "prompt"),
        (r#","prompt":"a","max_tokens":60"#, "context_length_exceeded", "prompt"),
    ] {
        let response = guest.send(completion(extra)).await;
        assert_eq!(response.status(), 400);
        let error = read(response).await["error"].clone();
        assert_eq!(
            (error["code"].as_str(), error["param"].as_str()),
            (Some(code), Some(param))
        );
    }
    assert!(guest.receipts().is_empty());
    let guest = Guest::new(Script::Refuse(404, r#"{"error":{"code":"not_found"}}"#));
    let response = guest.send(completion(r#","prompt":"a""#)).await;
    assert_eq!(response.status(), 400);
    assert_eq!(read(response).await["error"]["code"], "unsupported_by_model");
    assert!(guest.receipts().is_empty());
}

const VECTORS: &str = r#"{"data":[{"index":0,"embedding":[0.5,-1]},{"index":1,"embedding":[0,2]}],"usage":{"prompt_tokens":10},"secret":"CANARY"}"#;

#[tokio::test]
async fn embeddings_come_as_numbers_or_as_their_bytes() {
    let guest = Guest::new(Script::Json(VECTORS));
    let response = guest.send(embed(r#","input":["a","b"]"#)).await;
    assert_eq!(response.status(), 200);
    let id = response.headers()["hanzo-receipt-id"].to_str().unwrap().to_owned();
    let body = text(response).await;
    assert!(!body.contains("CANARY"));
    let said: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        said["data"][0],
        json!({"object": "embedding", "index": 0, "embedding": [0.5, -1.0]})
    );
    assert_eq!(said["usage"], json!({"prompt_tokens": 10, "total_tokens": 10}));
    let receipts = guest.receipts();
    let receipt = receipts[0].receipt();
    let work = Work {
        answers: 2,
        endpoint: Endpoint::Embeddings,
    };
    assert_eq!((receipt.work, receipt.id.to_string()), (Some(work), id));
    assert_eq!((receipt.outcome, receipt.completion_tokens), (Outcome::Complete, 0));
    let base64 = read(
        guest
            .send(embed(r#","input":["a","b"],"encoding_format":"base64""#))
            .await,
    )
    .await;
    assert_eq!(base64["data"][0]["embedding"], "AAAAPwAAgL8=");
}

#[tokio::test]
async fn a_model_without_embeddings_is_named_and_a_lying_one_stopped() {
    let guest = Guest::new(Script::Refuse(404, r#"{"error":{"code":"not_found"}}"#));
    let response = guest.send(embed(r#","input":"a""#)).await;
    assert_eq!(response.status(), 400);
    let error = read(response).await["error"].clone();
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("unsupported_by_model"), &json!("model"))
    );
    assert!(
        error["message"].as_str().unwrap().contains("smollm2 has no embeddings"),
        "{error}"
    );
    assert!(guest.receipts().is_empty());

    // Two vectors for one input.
    let guest = Guest::new(Script::Json(VECTORS));
    let response = guest.send(embed(r#","input":"a""#)).await;
    assert_eq!(response.status(), 502);
    assert_eq!(read(response).await["error"]["code"], "engine_protocol");
    assert_eq!(guest.receipts()[0].receipt().outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_chat_in_place_of_a_completion_is_a_breach_of_form_only_where_neither_is() {
    // Engines that answer completions in a chat's form are understood; a choice with both is not.
    let guest = Guest::new(honest());
    let response = guest.send(completion(r#","prompt":"a""#)).await;
    assert_eq!(response.status(), 200);
    let both = r#"data: {"choices":[{"index":0,"text":"a","delta":{"content":"b"}}]}"#;
    let guest = Guest::new(raw(&[format!("{both}\n\n")]));
    let response = guest.send(completion(r#","prompt":"a""#)).await;
    assert_eq!(read(response).await["error"]["code"], "engine_protocol");
}

#[tokio::test]
async fn a_prompt_is_tokenized_once_where_the_engine_takes_its_ids() {
    let script = Script::Reusing(vec![frame("Par"), frame("is"), last(".", "stop", 5, 3)]);
    let asked = |guest: &Guest| -> Vec<Value> {
        let asked = guest.engine.asked.lock().unwrap();
        let bodies = asked.iter().filter(|body| !body.starts_with("/tokenize"));
        bodies.map(|body| serde_json::from_str(body).unwrap()).collect()
    };
    let counted = |guest: &Guest| {
        let asked = guest.engine.asked.lock().unwrap();
        asked.iter().filter(|body| body.starts_with("/tokenize")).count()
    };
    // Three answers to one chat: counted once, and the engine reads neither messages nor template again.
    let guest = Guest::new(script.clone());
    assert_eq!(guest.ask(&chat(r#","n":3,"temperature":0"#)).await.status(), 200);
    assert_eq!((counted(&guest), asked(&guest).len()), (1, 3));
    for body in asked(&guest) {
        assert_eq!(body["prompt"], json!([1, 2, 3, 4, 5]));
        assert!(body.get("messages").is_none());
    }
    assert_eq!(guest.receipts()[0].receipt().prompt_tokens, 5);
    // Texts alike.
    let guest = Guest::new(script.clone());
    assert_eq!(guest.send(completion(r#","prompt":"a""#)).await.status(), 200);
    assert_eq!(asked(&guest)[0]["prompt"], json!([1, 2, 3, 4, 5]));
    // With tools the answer is read otherwise, whatever the engine says of its ids; and an engine that says nothing gets the chat.
    let tools = r#","tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}]"#;
    for (script, extra) in [(script, tools), (honest(), "")] {
        let guest = Guest::new(script);
        assert_eq!(guest.ask(&chat(extra)).await.status(), 200);
        let body = &asked(&guest)[0];
        assert!(body["messages"].is_array() && body.get("prompt").is_none(), "{body}");
    }
}
