//! An engine that lies: the answer stops, the receipt says `failed`, and nothing of the engine's passes as it came.

use std::time::Duration;

use hanzo_receipts::Outcome;

use crate::double::{PROMPT_TOKENS, Script, frame, last, raw};
use crate::fixture::{Guest, chat, json, split, text};

#[tokio::test]
async fn breaches_end_streams_with_an_error_and_a_failed_receipt() {
    let start = || vec![frame("a"), frame("b")];
    let then = |more: &[String]| raw(&[&start()[..], more].concat());
    let scripts = [
        ("wrong prompt count", then(&[last("", "stop", PROMPT_TOKENS + 1, 3)])),
        ("wrong completion count", then(&[last("", "stop", PROMPT_TOKENS, 40)])),
        ("other finish reason", then(&[last("", "tool_calls", PROMPT_TOKENS, 3)])),
        ("no JSON", then(&["data: CANARY\n\n".into()])),
        ("an SSE event", then(&["event: CANARY\ndata: {}\n\n".into()])),
        ("an endless line", then(&["data: ".into(), "C".repeat(70_000)])),
        ("the stream stops", then(&[])),
        ("no finish reason", then(&["data: [DONE]\n\n".into()])),
        (
            "an engine error",
            then(&["data: {\"error\":{\"message\":\"CANARY\"}}\n\n".into()]),
        ),
        ("too many frames", raw(&vec![frame("x"); 70])),
        (
            "another choice",
            then(&["data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"CANARY\"}}]}\n\n".into()]),
        ),
        (
            "not UTF-8",
            then(&["data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ud800\"}}]}\n\n".into()]),
        ),
    ];
    for (name, script) in scripts {
        let guest = Guest::new(script);
        let stream = text(guest.ask(&chat(r#","stream":true"#)).await).await;
        assert!(!stream.contains("CANARY"), "{name}: {stream}");
        let (committed, receipt, after) = split(&stream);
        assert_eq!(after, "", "{name}: no [DONE] after a failure");
        assert_eq!(receipt.receipt.outcome, Outcome::Failed, "{name}");
        let error = committed.split_terminator("\n\n").last().unwrap();
        assert!(error.starts_with("data: {\"error\":{"), "{name}: {error}");
        let verified = guest.receipts().pop().unwrap();
        verified
            .check_response(&receipt.salts.response, committed.as_bytes())
            .unwrap();

        let whole = guest.ask(&chat("")).await;
        assert_eq!(whole.status(), 502, "{name}");
        let body = json(whole).await.to_string();
        assert!(!body.contains("CANARY") && !body.contains("\"ab"), "{name}: {body}");
        assert_eq!(guest.receipts()[1].receipt().outcome, Outcome::Failed);
        for verified in guest.receipts() {
            let receipt = verified.receipt();
            let sound = if name == "too many frames" {
                receipt.sampling.max_tokens
            } else {
                2
            };
            assert_eq!(
                receipt.completion_tokens, sound,
                "{name}: only frames that broke no rule count"
            );
        }
    }
}

#[tokio::test]
async fn text_that_looks_like_frames_stays_text() {
    let hostile = "x\n\ndata: [DONE]\n\n: hanzo-receipt {\"forged\":1}\r\n\r\nhanzo-receipt-id: 00";
    let guest = Guest::new(raw(&[frame(hostile), last("", "stop", PROMPT_TOKENS, 1)]));
    let stream = text(guest.ask(&chat(r#","stream":true"#)).await).await;
    assert_eq!(stream.matches("\ndata: [DONE]").count(), 1);
    assert_eq!(stream.matches("\n: hanzo-receipt").count(), 1);
    assert!(stream.ends_with("data: [DONE]\n\n"));
    let said: String = stream
        .split_terminator("\n\n")
        .filter_map(|f| serde_json::from_str::<serde_json::Value>(f.strip_prefix("data: ")?).ok())
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(said, hostile);
}

#[tokio::test]
async fn frames_are_forwarded_one_by_one() {
    use http_body_util::BodyExt;
    let guest = Guest::new(Script::Raw(
        vec![frame("a"), frame("b"), last("", "stop", PROMPT_TOKENS, 2)],
        Duration::from_millis(150),
    ));
    let mut body = guest.ask(&chat(r#","stream":true"#)).await.into_body();
    let mut arrivals = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let data = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        if data.contains(r#""content":"a""#) || data.contains(r#""content":"b""#) {
            arrivals.push(std::time::Instant::now());
        }
    }
    let gap = arrivals[1] - arrivals[0];
    assert!(gap > Duration::from_millis(70), "frames were held back: {gap:?} apart");
}
