//! Bad input gets OpenAI's error shape, and no receipt.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;

use crate::double::{Script, frame, honest};
use crate::fixture::{Guest, chat, json, limits, post};

async fn refused(guest: &Guest, request: Request<Body>) -> (u16, String, String) {
    let response = guest.send(request).await;
    let status = response.status().as_u16();
    let body = json(response).await;
    let error = body["error"].as_object().expect("an error object");
    assert!(!error["message"].as_str().unwrap().contains("CANARY"), "{body}");
    assert!(error["type"].is_string() && error.contains_key("param"));
    let part = |name: &str| error[name].as_str().unwrap_or("").to_owned();
    (status, part("code"), part("param"))
}

#[tokio::test]
async fn bad_requests() {
    let guest = Guest::new(honest());
    let with = |body: &str| post(body);
    let cases = [
        (with("CANARY not json"), 400, "invalid_json", ""),
        (with(r#"{"model":"smollm2"}"#), 400, "invalid_value", "messages"),
        (
            with(r#"{"model":"smollm2","messages":[]}"#),
            400,
            "invalid_value",
            "messages",
        ),
        (
            with(r#"{"model":"CANARY","messages":[{"role":"user","content":"x"}]}"#),
            404,
            "model_not_found",
            "model",
        ),
        (with(&chat(r#","n":9"#)), 400, "invalid_value", "n"),
        (with(&chat(r#","store":true"#)), 400, "unsupported_parameter", "store"),
        (
            with(&chat(r#","max_tokens":60"#)),
            400,
            "context_length_exceeded",
            "messages",
        ),
        (
            with(&chat(&format!(r#","user":"{}""#, "x".repeat(5000)))),
            413,
            "body_too_large",
            "",
        ),
        (
            Request::get("/nowhere").body(Body::empty()).unwrap(),
            404,
            "not_found",
            "",
        ),
        (
            Request::get("/v1/chat/completions").body(Body::empty()).unwrap(),
            405,
            "method_not_allowed",
            "",
        ),
        (
            Request::post("/v1/chat/completions")
                .body(Body::from(chat("")))
                .unwrap(),
            415,
            "unsupported_media_type",
            "",
        ),
        (
            Request::post("/v1/chat/completions")
                .header("content-type", "application/json")
                .header("hanzo-owner", "CANARY")
                .body(Body::from(chat("")))
                .unwrap(),
            400,
            "invalid_value",
            "hanzo-owner",
        ),
    ];
    for (request, status, code, param) in cases {
        assert_eq!(
            refused(&guest, request).await,
            (status, code.to_owned(), param.to_owned()),
            "{code}"
        );
    }
    assert!(guest.receipts().is_empty());
}

#[tokio::test]
async fn a_body_without_length_is_bounded_too() {
    let guest = Guest::new(honest());
    let pieces = futures_util::stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000])));
    let request = Request::post("/v1/chat/completions")
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from_stream(pieces))
        .unwrap();
    assert_eq!(refused(&guest, request).await.0, 413);
}

/// A server that closes while its client still writes makes the client's system drop the answer.
#[tokio::test]
async fn refused_bodies_are_read_to_their_end_so_that_the_answer_arrives() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let guest = Guest::new(honest());
    for (path, json, status) in [
        ("/v1/chat/completions", "application/json", 413),
        ("/v1/chat/completions", "text/plain", 415),
        ("/v1/nowhere", "application/json", 404),
        ("/v1/models", "application/json", 405),
    ] {
        let read = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = read.clone();
        let pieces = futures_util::stream::iter((0..50).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(vec![b' '; 1000])
        }));
        let request = Request::post(path)
            .header("content-type", json)
            .body(Body::from_stream(pieces))
            .unwrap();
        assert_eq!(refused(&guest, request).await.0, status, "{path}");
        assert_eq!(read.load(Ordering::Relaxed), 50, "{path}");
    }
}

#[tokio::test]
async fn engine_refusals_have_a_status_and_no_receipt() {
    for (status, body, expected) in [
        (
            400,
            r#"{"error":{"message":"CANARY","code":"context_length"}}"#,
            (400, "context_length_exceeded"),
        ),
        (
            400,
            r#"{"error":{"message":"CANARY","code":"template"}}"#,
            (400, "template_refused"),
        ),
        (
            503,
            r#"{"error":{"message":"CANARY","code":"loading"}}"#,
            (503, "engine_loading"),
        ),
        (
            503,
            r#"{"error":{"message":"CANARY","code":"busy"}}"#,
            (429, "rate_limit_exceeded"),
        ),
        (500, "CANARY", (502, "engine_failed")),
        (302, "{}", (502, "engine_failed")),
    ] {
        let guest = Guest::new(Script::Refuse(status, body));
        for stream in ["", r#","stream":true"#] {
            let (got, code, _) = refused(&guest, post(&chat(stream))).await;
            assert_eq!((got, code.as_str()), expected);
        }
        assert!(guest.receipts().is_empty());
    }
}

#[tokio::test]
async fn a_prompt_of_no_tokens_is_the_callers_and_a_wrong_count_the_engines() {
    for (said, expected) in [
        (r#"{"count":0,"tokens":[]}"#, (400, "template_refused")),
        (r#"{"count":1,"tokens":[]}"#, (502, "engine_protocol")),
        (r#"{"count":0,"tokens":[7]}"#, (502, "engine_protocol")),
    ] {
        let guest = Guest::new(Script::RefuseAll(200, said));
        let (status, code, _) = refused(&guest, post(&chat(""))).await;
        assert_eq!((status, code.as_str()), expected, "{said}");
        assert!(guest.receipts().is_empty());
    }
}

#[tokio::test]
async fn no_engine_is_503() {
    let guest = Guest::new(honest());
    std::fs::remove_file(&guest.engine.socket).unwrap();
    let (status, code, _) = refused(&guest, post(&chat(""))).await;
    assert_eq!((status, code.as_str()), (503, "engine_unavailable"));
    let (status, ..) = refused(&guest, Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn more_requests_than_configured_get_429_and_a_slow_answer_504() {
    let slow = Script::Raw(vec![frame("a"), frame("b")], Duration::from_secs(30));
    let limits = hanzo_attestation::config::Limits {
        concurrent_requests: 1,
        request_timeout_s: 1,
        ..limits()
    };
    let guest = Guest::with(slow, limits);
    let body = chat("");
    let (first, second) = tokio::join!(refused(&guest, post(&body)), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        refused(&guest, post(&body)).await
    });
    assert_eq!((second.0, second.1.as_str()), (429, "rate_limit_exceeded"));
    assert_eq!((first.0, first.1.as_str()), (504, "timeout"));
    let receipts = guest.receipts();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].receipt().outcome, hanzo_receipts::Outcome::Failed);
}
