//! Anthropic's messages.

use axum::body::Body;
use axum::http::Request;
use hanzo_receipts::{Endpoint, Outcome};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::double::{PROMPT_TOKENS, Script, frame, honest, raw, says};
use crate::fixture::{Guest, json as read, post_to, split, text};

fn ask(extra: &str) -> Request<Body> {
    let body =
        format!(r#"{{"model":"smollm2","max_tokens":9,"messages":[{{"role":"user","content":"CANARY"}}]{extra}}}"#);
    let mut request = post_to("/v1/messages", &body);
    let headers = request.headers_mut();
    headers.insert("x-api-key", "CANARY-KEY".parse().unwrap());
    headers.insert("anthropic-version", "2023-06-01".parse().unwrap());
    request
}

fn events(stream: &str) -> Vec<Value> {
    stream
        .split_terminator("\n\n")
        .map(|frame| {
            let (name, data) = frame.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), data["type"].as_str());
            data
        })
        .collect()
}

#[tokio::test]
async fn a_whole_message() {
    let guest = Guest::new(honest());
    let response = guest.send(ask(r#","system":"be kind","temperature":0"#)).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["request-id"].to_str().unwrap().starts_with("req-"));
    let body = read(response).await;
    assert_eq!(
        (&body["type"], &body["role"], &body["stop_reason"]),
        (&json!("message"), &json!("assistant"), &json!("end_turn"))
    );
    assert_eq!(body["content"], json!([{"type": "text", "text": "Paris."}]));
    assert_eq!(body["usage"], json!({"input_tokens": 5, "output_tokens": 3}));
    assert_eq!(guest.receipts()[0].receipt().work.unwrap().endpoint, Endpoint::Messages);
    let seen: Value = serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap();
    assert_eq!(
        (&seen["max_tokens"], &seen["messages"][0]["role"]),
        (&json!(9), &json!("system"))
    );
    assert!(!seen.to_string().contains("CANARY-KEY"));
}

#[tokio::test]
async fn a_stream_runs_from_message_start_to_message_stop_with_the_receipt_before_its_end() {
    let guest = Guest::new(honest());
    let stream = text(guest.send(ask(r#","stream":true"#)).await).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!(after, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    assert_eq!(receipt.receipt.outcome, Outcome::Complete);
    let events = events(committed);
    let names: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    let delta = "content_block_delta";
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            delta,
            delta,
            delta,
            "content_block_stop",
            "message_delta"
        ]
    );
    assert_eq!(
        events[0]["message"]["usage"],
        json!({"input_tokens": 5, "output_tokens": 0})
    );
    assert_eq!(
        events[6]["delta"],
        json!({"stop_reason": "end_turn", "stop_sequence": null})
    );
    assert_eq!(events[6]["usage"]["output_tokens"], 3);
    let verified = guest.receipts().pop().unwrap();
    verified
        .check_response(&receipt.salts.response, committed.as_bytes())
        .unwrap();
}

#[tokio::test]
async fn leaving_a_message_at_any_frame_never_counts_as_complete() {
    // Start, three pieces, the block's end, the delta: six frames before the receipt.
    for taken in 0..6 {
        let guest = Guest::new(honest());
        let mut body = guest.send(ask(r#","stream":true"#)).await.into_body();
        for _ in 0..taken {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let receipts = guest.receipts_when(1).await;
        assert_eq!(receipts[0].receipt().outcome, Outcome::Cut, "after {taken} frames");
    }
}

#[tokio::test]
async fn calls_are_blocks_of_their_own() {
    let tools = r#","tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
    let guest = Guest::new(says(
        &[
            "Well.",
            "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1}}</tool_call>",
        ],
        "stop",
    ));
    let body = read(guest.send(ask(tools)).await).await;
    assert_eq!(body["stop_reason"], "tool_use");
    assert_eq!(
        (&body["content"][1]["type"], &body["content"][1]["input"]),
        (&json!("tool_use"), &json!({"x": 1}))
    );
    let stream = text(guest.send(ask(&format!(r#"{tools},"stream":true"#))).await).await;
    let events = events(split(&stream).0);
    let json_delta = events
        .iter()
        .find(|e| e["delta"]["type"] == "input_json_delta")
        .unwrap();
    assert_eq!(
        (&json_delta["index"], &json_delta["delta"]["partial_json"]),
        (&json!(1), &json!("{\"x\":1}"))
    );
    let stops = events.iter().filter(|e| e["type"] == "content_block_stop").count();
    assert_eq!(stops, 2);
}

#[tokio::test]
async fn a_stop_text_is_named_where_the_engine_says_it() {
    let end = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\",\"stop_reason\":\"END\"}}],\"usage\":{{\"prompt_tokens\":{PROMPT_TOKENS},\"completion_tokens\":1}}}}\n\ndata: [DONE]\n\n"
    );
    let guest = Guest::new(raw(&[frame("a"), end]));
    let body = read(guest.send(ask(r#","stop_sequences":["X","END"]"#)).await).await;
    assert_eq!(
        (&body["stop_reason"], &body["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    let body = read(guest.send(ask(r#","stop_sequences":["X"]"#)).await).await;
    assert_eq!(
        (&body["stop_reason"], &body["stop_sequence"]),
        (&json!("end_turn"), &Value::Null)
    );
}

#[tokio::test]
async fn tokens_are_counted_without_a_receipt() {
    let guest = Guest::new(honest());
    let body = r#"{"model":"smollm2","messages":[{"role":"user","content":"Hi"}]}"#;
    let counted = guest.send(post_to("/v1/messages/count_tokens", body)).await;
    assert_eq!(read(counted).await, json!({"input_tokens": 5}));
    let sampling = body.replace("\"model\"", "\"max_tokens\":5,\"model\"");
    let refused = guest.send(post_to("/v1/messages/count_tokens", &sampling)).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(read(refused).await["error"]["param"], "max_tokens");
    assert!(guest.receipts().is_empty());
}

#[tokio::test]
async fn errors_are_in_anthropics_shape() {
    let guest = Guest::new(honest());
    let unknown = post_to(
        "/v1/messages",
        r#"{"model":"other","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}"#,
    );
    for (request, status, kind) in [
        (ask(r#","top_k":5"#), 400, "invalid_request_error"),
        (unknown, 404, "not_found_error"),
        (post_to("/v1/messages", "CANARY"), 400, "invalid_request_error"),
        (post_to("/v1/messages", &" ".repeat(5000)), 413, "request_too_large"),
    ] {
        let response = guest.send(request).await;
        assert_eq!(response.status(), status);
        let body = read(response).await;
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)));
        assert!(!body.to_string().contains("CANARY"), "{body}");
    }
    assert!(guest.receipts().is_empty());
    let guest = Guest::new(Script::Raw(vec![frame("a")], std::time::Duration::ZERO));
    let stream = text(guest.send(ask(r#","stream":true"#)).await).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!((receipt.receipt.outcome, after), (Outcome::Failed, ""));
    let events = events(committed);
    assert_eq!(events.last().unwrap()["error"]["type"], "api_error");
}
