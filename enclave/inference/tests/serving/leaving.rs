//! Clients that go away: the engine is cancelled, and no receipt says `complete`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hanzo_attestation::config::Limits;
use hanzo_receipts::Outcome;
use http_body_util::BodyExt;

use crate::double::{PROMPT_TOKENS, Script, frame, honest, last};
use crate::fixture::{Guest, chat, limits};

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
