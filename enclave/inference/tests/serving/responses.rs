//! OpenAI's responses.

use hanzo_receipts::{Endpoint, Outcome};
use serde_json::{Value, json};

use crate::double::{honest, raw, says};
use crate::fixture::{Guest, json as read, post_to, split, text};

fn ask(extra: &str) -> axum::http::Request<axum::body::Body> {
    post_to(
        "/v1/responses",
        &format!(r#"{{"model":"smollm2","input":"Hi"{extra}}}"#),
    )
}

/// Names and data; names repeat in the data, which is numbered from 0.
fn events(stream: &str) -> Vec<(String, Value)> {
    let events: Vec<(String, Value)> = stream
        .split_terminator("\n\n")
        .map(|frame| {
            let (name, data) = frame.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            (name.strip_prefix("event: ").unwrap().to_owned(), data)
        })
        .collect();
    for (n, (name, data)) in events.iter().enumerate() {
        assert_eq!(
            (data["type"].as_str(), data["sequence_number"].as_u64()),
            (Some(name.as_str()), Some(n as u64))
        );
    }
    events
}

#[tokio::test]
async fn a_whole_response_says_what_it_is_and_that_nothing_is_kept() {
    let guest = Guest::new(honest());
    let response = guest
        .send(ask(
            r#","instructions":"be kind","metadata":{"a":"b"},"temperature":0.5"#,
        ))
        .await;
    let id = response.headers()["hanzo-receipt-id"].to_str().unwrap().to_owned();
    let body = read(response).await;
    assert_eq!(
        (&body["object"], &body["status"], &body["store"]),
        (&json!("response"), &json!("completed"), &json!(false))
    );
    assert_eq!(body["id"], format!("resp_{id}"));
    assert_eq!(body["output"][0]["content"][0]["text"], "Paris.");
    assert_eq!(
        body["usage"],
        json!({
            "input_tokens": 5, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 8
        })
    );
    assert_eq!(
        (&body["metadata"], &body["instructions"]),
        (&json!({"a": "b"}), &json!("be kind"))
    );
    let seen: Value = serde_json::from_str(&guest.engine.seen.lock().unwrap()).unwrap();
    assert_eq!(seen["messages"][0], json!({"role": "system", "content": "be kind"}));
    assert_eq!(
        guest.receipts()[0].receipt().work.unwrap().endpoint,
        Endpoint::Responses
    );
    let get = axum::http::Request::get(format!("/v1/responses/resp_{id}"))
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(guest.send(get).await.status(), 404);
    // The nearest twin: to keep it.
    let kept = guest.send(ask(r#","store":true"#)).await;
    assert_eq!(kept.status(), 400);
    assert_eq!(read(kept).await["error"]["param"], "store");
}

#[tokio::test]
async fn events_build_up_what_the_last_one_shows_whole() {
    let guest = Guest::new(honest());
    let stream = text(guest.send(ask(r#","stream":true"#)).await).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!(
        (after, receipt.receipt.outcome),
        ("data: [DONE]\n\n", Outcome::Complete)
    );
    let events = events(committed);
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    let delta = "response.output_text.delta";
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            delta,
            delta,
            delta,
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    let last = &events[10].1["response"];
    assert_eq!(
        (&last["output"][0], &last["status"]),
        (&events[9].1["item"], &json!("completed"))
    );
    assert_eq!(last["output"][0]["content"][0]["text"], "Paris.");
    let verified = guest.receipts().pop().unwrap();
    verified
        .check_response(&receipt.salts.response, committed.as_bytes())
        .unwrap();

    let guest = Guest::new(says(&["Par"], "length"));
    let stream = text(guest.send(ask(r#","stream":true,"max_output_tokens":1"#)).await).await;
    let events = self::events(split(&stream).0);
    let (name, data) = events.last().unwrap();
    assert_eq!(name, "response.incomplete");
    assert_eq!(
        data["response"]["incomplete_details"],
        json!({"reason": "max_output_tokens"})
    );
}

#[tokio::test]
async fn calls_are_items_of_their_own() {
    let tools = r#","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]"#;
    let guest = Guest::new(says(
        &[
            "Well.",
            "<tool_call>{\"name\":\"f\",\"arguments\":{\"x\":1}}</tool_call>",
        ],
        "stop",
    ));
    let body = read(guest.send(ask(tools)).await).await;
    let kinds: Vec<_> = body["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["type"].clone())
        .collect();
    assert_eq!(kinds, ["message", "function_call"]);
    assert_eq!(body["output"][1]["arguments"], "{\"x\":1}");
    let stream = text(guest.send(ask(&format!(r#"{tools},"stream":true"#))).await).await;
    let events = events(split(&stream).0);
    let done = events
        .iter()
        .find(|(name, _)| name == "response.function_call_arguments.done")
        .unwrap();
    assert_eq!(done.1["arguments"], "{\"x\":1}");
    let last = &events.last().unwrap().1["response"]["output"];
    assert_eq!(
        (last[0]["content"][0]["text"].as_str(), last[1]["name"].as_str()),
        (Some("Well."), Some("f"))
    );
}

#[tokio::test]
async fn a_failed_stream_ends_with_an_error_event_and_no_completion() {
    let guest = Guest::new(raw(&[crate::double::frame("a")]));
    let stream = text(guest.send(ask(r#","stream":true"#)).await).await;
    let (committed, receipt, after) = split(&stream);
    assert_eq!((after, receipt.receipt.outcome), ("", Outcome::Failed));
    let events = events(committed);
    let (name, data) = events.last().unwrap();
    assert_eq!(
        (name.as_str(), &data["code"], &data["error"]["code"]),
        ("error", &json!("engine_failed"), &json!("engine_failed"))
    );
    assert!(events.iter().all(|(name, _)| name != "response.completed"));
}
