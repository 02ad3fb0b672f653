//! What callers are told of their usage, in every dialect, is what their receipts say and what the guest adds up.

use axum::body::Body;
use axum::http::Request;
use hanzo_receipts::{DisclosedReceipt, Outcome};
use hanzo_verifier::receipt::{ToldUsage, verify_disclosed};

use crate::double::{PROMPT_TOKENS, Script, frame, honest, honest_text, last};
use crate::fixture::{Guest, chat, post_to, text};

/// Counts in an answer's text, without a parser: the last number after each name.
fn told(answer: &str, names: [&str; 2]) -> u64 {
    let last = names.iter().filter_map(|name| {
        let (at, _) = answer.match_indices(&format!("\"{name}\":")).last()?;
        let digits: String = answer[at + name.len() + 3..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        digits.parse().ok()
    });
    last.max().unwrap_or(0)
}

async fn receipt(guest: &Guest, id: &str) -> (u64, u64) {
    let request = Request::get(format!("/v1/receipts/{id}")).header("hanzo-owner", "aa".repeat(32));
    let document = text(guest.send(request.body(Body::empty()).unwrap()).await).await;
    let (verified, _) = verify_disclosed(document.as_bytes(), guest.log.keyset()).unwrap();
    let r = verified.receipt();
    (r.prompt_tokens, r.completion_tokens)
}

#[tokio::test]
async fn usage_in_answers_of_every_kind_is_the_receipts_and_their_sum() {
    let plain = r#"{"model":"smollm2","prompt":["a","b"],"n":2"#;
    let input = r#"{"model":"smollm2","input":"Hi""#;
    let chats = [
        ("/v1/chat/completions", chat("")),
        ("/v1/chat/completions", chat(r#","n":3,"max_tokens":3"#)),
        (
            "/v1/chat/completions",
            chat(r#","stream":true,"stream_options":{"include_usage":true}"#),
        ),
        (
            "/v1/chat/completions",
            chat(r#","stream":true,"n":2,"stream_options":{"include_usage":true}"#),
        ),
        ("/v1/messages", chat(r#","max_tokens":9"#)),
        ("/v1/messages", chat(r#","max_tokens":9,"stream":true"#)),
        ("/v1/responses", format!("{input}}}")),
        ("/v1/responses", format!("{input},\"stream\":true}}")),
    ];
    let completions = [
        ("/v1/completions", format!("{plain}}}")),
        (
            "/v1/completions",
            format!("{plain},\"stream\":true,\"stream_options\":{{\"include_usage\":true}}}}"),
        ),
    ];
    for (guest, requests) in [
        (Guest::new(honest()), chats.to_vec()),
        (Guest::new(honest_text()), completions.to_vec()),
    ] {
        let mut sum = (0, 0);
        for (n, (path, body)) in requests.iter().enumerate() {
            let response = guest.send(post_to(path, body)).await;
            assert_eq!(response.status(), 200, "{path} {body}");
            let id = response.headers()["hanzo-receipt-id"].to_str().unwrap().to_owned();
            let answer = text(response).await;
            let committed = answer.split(": hanzo-receipt ").next().unwrap();
            let counts = (
                told(committed, ["prompt_tokens", "input_tokens"]),
                told(committed, ["completion_tokens", "output_tokens"]),
            );
            assert!(counts.0 > 0 && counts.1 > 0, "{path}: {committed}");
            let read = ToldUsage::of(committed.as_bytes());
            assert_eq!(
                read.prompt_tokens.zip(read.completion_tokens),
                Some(counts),
                "{path} {committed}"
            );
            guest.receipts_when(n + 1).await;
            assert_eq!(receipt(&guest, &id).await, counts, "{path} {body}");
            sum = (sum.0 + counts.0, sum.1 + counts.1);
        }
        let signed = guest.receipts();
        assert_eq!(signed.len(), requests.len());
        let added = signed.iter().fold((0, 0), |(p, c), r| {
            (p + r.receipt().prompt_tokens, c + r.receipt().completion_tokens)
        });
        assert_eq!(added, sum);
    }
}

/// An engine that counts wrongly is stopped before anybody is told: neither the answer nor the receipt has its number.
#[tokio::test]
async fn counts_that_an_engine_makes_up_are_neither_told_nor_signed() {
    for (prompt, completion) in [(PROMPT_TOKENS, 9), (PROMPT_TOKENS + 1, 2)] {
        let lying = Script::Raw(
            vec![frame("a"), frame("b"), last("", "stop", prompt, completion)],
            std::time::Duration::ZERO,
        );
        let guest = Guest::new(lying);
        let answer = text(
            guest
                .ask(&chat(r#","stream":true,"stream_options":{"include_usage":true}"#))
                .await,
        )
        .await;
        let (committed, frame) = answer.split_once(": hanzo-receipt ").unwrap();
        assert_eq!(ToldUsage::of(committed.as_bytes()), ToldUsage::default(), "{committed}");
        let receipt = DisclosedReceipt::from_bytes(frame.split("\n\n").next().unwrap().as_bytes()).unwrap();
        // Pieces that came, not what the engine says of them.
        assert_eq!(receipt.receipt.prompt_tokens, PROMPT_TOKENS as u64);
        assert!(
            receipt.receipt.completion_tokens <= 3,
            "{}",
            receipt.receipt.completion_tokens
        );
        assert_eq!(receipt.receipt.outcome, Outcome::Failed);
    }
}
