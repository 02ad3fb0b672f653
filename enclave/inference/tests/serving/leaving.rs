//! Clients that go away: the engine is cancelled, and no receipt says `complete`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hanzo_attestation::config::Limits;
use hanzo_receipts::Outcome;
use http_body_util::BodyExt;

use crate::double::{PROMPT_TOKENS, Script, frame, honest, honest_text, last, says};
use crate::fixture::{Guest, chat, limits, post_to};

async fn cancelled(guest: &Guest) {
    for _ in 0..200 {
        if guest.engine.cancelled.load(Ordering::SeqCst) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the engine was not cancelled");
}

#[tokio::test]
async fn leaving_a_stream_cancels_the_engine_and_leaves_a_cut_receipt() {
    let guest = Guest::new(Script::Raw(vec![frame("a"); 20], Duration::from_millis(100)));
    let mut body = guest.ask(&chat(r#","stream":true"#)).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    cancelled(&guest).await;
    let receipts = guest.receipts_when(1).await;
    assert_eq!(receipts[0].receipt().outcome, Outcome::Cut);
    assert!(receipts[0].receipt().completion_tokens < 20);
}

/// Four frames wait for the connection, whatever the engine has said by then; the one that waits for room is nobody's.
#[tokio::test]
async fn a_token_that_was_not_handed_over_is_not_counted() {
    let guest = Guest::new(Script::Raw(vec![frame("a"); 20], Duration::ZERO));
    let mut body = guest.ask(&chat(r#","stream":true"#)).await.into_body();
    body.frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(body);
    let receipts = guest.receipts_when(1).await;
    assert_eq!(receipts[0].receipt().outcome, Outcome::Cut);
    let counted = receipts[0].receipt().completion_tokens;
    assert!(counted <= 4, "{counted} tokens in four frames");
}

#[tokio::test]
async fn leaving_at_any_frame_never_counts_as_complete() {
    // Opening, "Par", "is", ".", closing: five frames before the receipt.
    for taken in 0..5 {
        let guest = Guest::new(honest());
        let mut body = guest.ask(&chat(r#","stream":true"#)).await.into_body();
        for _ in 0..taken {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let receipts = guest.receipts_when(1).await;
        assert_eq!(receipts[0].receipt().outcome, Outcome::Cut, "after {taken} frames");
    }
}

/// Every dialect, several answers and calls: whichever frame is the last one that the client takes before the receipt's.
#[tokio::test]
async fn a_stream_of_any_kind_cut_at_any_frame_never_counts_as_complete() {
    let call = [
        "<tool_call>",
        "\n{\"name\": \"weather\", \"arguments\": {}}\n",
        "</tool_call>",
    ];
    let tool = r#"{"type":"function","function":{"name":"weather"}}"#;
    let kinds = [
        (
            "/v1/chat/completions",
            honest(),
            chat(r#","stream":true,"n":2,"stream_options":{"include_usage":true}"#),
        ),
        (
            "/v1/chat/completions",
            says(&call, "stop"),
            chat(&format!(r#","stream":true,"tools":[{tool}]"#)),
        ),
        (
            "/v1/completions",
            honest_text(),
            r#"{"model":"smollm2","prompt":["a","b"],"stream":true}"#.to_owned(),
        ),
        ("/v1/messages", honest(), chat(r#","stream":true,"max_tokens":9"#)),
        (
            "/v1/responses",
            honest(),
            r#"{"model":"smollm2","input":"Hi","stream":true}"#.to_owned(),
        ),
    ];
    for (path, script, body) in kinds {
        let mut frames = None;
        let mut taken = 0;
        // The first round takes all of it and counts.
        loop {
            let guest = Guest::new(script.clone());
            let response = guest.send(post_to(path, &body)).await;
            assert_eq!(response.status(), 200, "{path}");
            let mut stream = response.into_body();
            let Some(all) = frames else {
                let mut count = 0;
                while let Some(piece) = stream.frame().await {
                    count += 1;
                    let piece = piece.unwrap().into_data().unwrap();
                    if String::from_utf8_lossy(&piece).contains(": hanzo-receipt ") {
                        frames = Some(count - 1);
                    }
                }
                let whole = guest.receipts_when(1).await;
                assert_eq!(whole[0].receipt().outcome, Outcome::Complete, "{path}");
                continue;
            };
            if taken >= all {
                assert!(all >= 3, "{path}: {all} frames");
                break;
            }
            for _ in 0..taken {
                stream.frame().await.unwrap().unwrap();
            }
            drop(stream);
            let receipts = guest.receipts_when(1).await;
            assert_eq!(receipts.len(), 1, "{path}");
            assert_eq!(
                receipts[0].receipt().outcome,
                Outcome::Cut,
                "{path} after {taken} of {all} frames"
            );
            taken += 1;
        }
    }
}

#[tokio::test]
async fn leaving_before_a_whole_answer_cancels_too() {
    let slow = Script::Raw(
        vec![frame("a"), last("", "stop", PROMPT_TOKENS, 1)],
        Duration::from_secs(3),
    );
    let guest = Guest::new(slow);
    for stream in ["", r#","stream":true,"stop":"z""#] {
        let request = chat(stream);
        let left = tokio::time::timeout(Duration::from_millis(200), async {
            let response = guest.ask(&request).await;
            response.into_body().collect().await
        });
        assert!(left.await.is_err());
        cancelled(&guest).await;
        guest.engine.cancelled.store(0, Ordering::SeqCst);
    }
    let receipts = guest.receipts_when(2).await;
    assert!(receipts.iter().all(|r| r.receipt().outcome == Outcome::Cut));
}

#[tokio::test]
async fn an_answer_that_stops_without_its_end_never_looks_whole() {
    let limits = Limits {
        request_timeout_s: 1,
        ..limits()
    };
    let guest = Guest::with(Script::Raw(vec![frame("a"); 20], Duration::ZERO), limits);
    let mut body = guest.ask(&chat(r#","stream":true"#)).await.into_body();
    body.frame().await.unwrap().unwrap();
    // Nobody reads until the time for the answer and for its error frame is over.
    let receipts = guest.receipts_when(1).await;
    assert_eq!(receipts[0].receipt().outcome, Outcome::Failed);
    let mut rest = Vec::new();
    let ended = loop {
        match body.frame().await {
            Some(Ok(piece)) => rest.extend(piece.into_data().unwrap()),
            Some(Err(_)) => break "with an error",
            None => break "as if it were whole",
        }
    };
    let rest = String::from_utf8(rest).unwrap();
    assert!(!rest.contains("[DONE]") && !rest.contains("\"error\""), "{rest}");
    assert_eq!(ended, "with an error", "{rest}");
}
