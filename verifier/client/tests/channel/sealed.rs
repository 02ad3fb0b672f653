//! The client of sealed messages: what it remembers, what it asks twice, and how long things look.

use std::sync::Arc;

use hanzo_attestation::Digest384;
use hanzo_client::receipts::ReceiptRecord;
use hanzo_client::{ChannelRequest, ClientError, Padding, ReceiptStatus, Relay, SealedClient, SealedConfig, StateDir};
use hanzo_policy::{PrivacyTier, SnpReference};

use crate::gateway::*;
use crate::guest::*;

fn question() -> ChannelRequest {
    ChannelRequest::post_json("/v1/chat/completions", chat(false).to_string().into())
}

#[tokio::test]
async fn receipts_of_sealed_answers_are_checked_and_kept_with_what_verifies_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state");
    let guest = Guest::boot(1);
    let gateway = Gateway::to(&guest).await;
    let client = SealedClient::new(SealedConfig {
        state_dir: Some(root.clone()),
        ..config(gateway.at)
    })
    .unwrap();
    let answer = client.chat_once(&chat(false)).await.unwrap();
    let ReceiptStatus::Verified { id, .. } = answer.receipt else {
        panic!("{:?}", answer.receipt)
    };
    assert_eq!((answer.content.as_str(), client.tally().verified), ("Paris", 1));
    let state = StateDir::open(&root).unwrap();
    let record = ReceiptRecord::parse(&state.load_receipt(&id.to_string()).unwrap()).unwrap();
    assert_eq!(record.checked, "verified");
    state
        .load_bundle(&record.disclosed.receipt.keyset_digest.to_string())
        .unwrap();
    // One owner per installation, whichever way is taken.
    let owner = state.owner().unwrap();
    let pinned = client.verdict().await.unwrap();
    let filed = owner
        .for_guest(&pinned.result().measurement(), &guest.keyset.config_digest, true)
        .unwrap();
    assert!(
        guest.heard().contains(&format!("{:?}", filed.as_bytes())),
        "{}",
        guest.heard()
    );

    for (knob, word) in [
        (ReceiptKnob::OtherResponse, "receipt.commitment.response"),
        (ReceiptKnob::None, "missing"),
    ] {
        let wrong = Knobs {
            receipts: knob,
            ..Knobs::default()
        };
        let gateway = Gateway::to(&Arc::new(Guest::with(1, 1, wrong))).await;
        let answer = sealed_client(gateway.at).chat_once(&chat(false)).await.unwrap();
        assert_eq!(answer.receipt.word(), word);
    }
}

#[tokio::test]
async fn a_session_stays_with_its_reference_over_sealed_messages_too() {
    const OTHER: Digest384 = Digest384([0x22; 48]);
    let guest = Guest::boot(1);
    let gateway = Gateway::to(&guest).await;
    let mut settings = config(gateway.at);
    let known = settings.context.policy.snp.as_mut().unwrap();
    let other = SnpReference {
        name: hanzo_attestation::name::Name::new("other").unwrap(),
        measurement: hanzo_simulated_tee::simulated_measurement(&OTHER, &guest.keyset.config_digest),
        config_digest: guest.keyset.config_digest,
    };
    known.references.push(other);
    let client = SealedClient::new(settings).unwrap();
    client.chat_once(&chat(false)).await.unwrap();
    let knobs = Knobs {
        image: Some(OTHER),
        ..Knobs::default()
    };
    *gateway.guest.lock().unwrap() = Arc::new(Guest::with(2, 2, knobs));
    // The first time the old key is tried, and nobody opens it; then the other guest is looked at, and refused.
    assert_eq!(client.chat_once(&chat(false)).await.unwrap_err().code(), "sealed.key");
    let e = client.chat_once(&chat(false)).await.unwrap_err();
    assert!(matches!(e, ClientError::ReferenceChanged { .. }), "{e}");
    assert!(!e.may_have_left());
}

#[tokio::test]
async fn a_forged_key_problem_makes_no_guest_answer_a_question_twice() {
    let first = Guest::boot(1);
    let gateway = Gateway::to(&first).await;
    let client = sealed_client(gateway.at);
    client.verdict().await.unwrap();
    // The path hands the question over, hides the answer, and meanwhile the keyset is followed by another.
    *gateway.path.lock().unwrap() = Path::ForgesKeyProblem;
    let second = Guest::boot(2);
    *gateway.next.lock().unwrap() = Some(second.clone());
    let e = client.send(question()).await.err().unwrap();
    assert_eq!((e.code(), e.may_have_left()), ("sealed.key", true));
    *gateway.path.lock().unwrap() = Path::Honest;
    assert_eq!(first.heard().matches(PROMPT).count(), 1);
    assert_eq!(
        second.heard().matches(PROMPT).count(),
        0,
        "nothing was asked behind the caller's back"
    );
    // The caller asks again, and the new key is taken: of the verified keyset.
    client.chat_once(&chat(false)).await.unwrap();
    assert_eq!(second.heard().matches(PROMPT).count(), 1);
    assert_eq!(gateway.count("GET /.well-known/ohttp-gateway"), 0);

    // Whoever says that it may be asked twice is answered in one call.
    let third = Guest::boot(3);
    *gateway.guest.lock().unwrap() = third.clone();
    let answer = client.send(question().repeatable()).await.unwrap();
    assert!(answer.status().is_success());
    assert_eq!(
        (
            second.heard().matches(PROMPT).count(),
            third.heard().matches(PROMPT).count()
        ),
        (1, 1)
    );
    // A lie about the same keyset is believed by neither.
    *gateway.path.lock().unwrap() = Path::ForgesKeyProblem;
    let e = client.send(question().repeatable()).await.err().unwrap();
    assert_eq!(e.code(), "sealed.key");
    assert_eq!(third.heard().matches(PROMPT).count(), 2, "sealed once, not twice");
}

#[tokio::test]
async fn a_guest_that_started_again_is_noticed_before_a_question_is_sealed_to_its_old_key() {
    let first = Guest::boot(1);
    let gateway = Gateway::to(&first).await;
    let mut settings = config(gateway.at);
    settings.limits.sealed_key_trusted_for = std::time::Duration::ZERO;
    let client = SealedClient::new(settings).unwrap();
    client.chat_once(&chat(false)).await.unwrap();
    let second = Guest::boot(2);
    *gateway.guest.lock().unwrap() = second.clone();
    let answer = client.chat_once(&chat(false)).await.unwrap();
    assert_eq!((answer.content.as_str(), answer.receipt.word()), ("Paris", "verified"));
    let questions = |guest: &Guest| guest.heard().matches(PROMPT).count();
    assert_eq!((questions(&first), questions(&second)), (1, 1), "each question once");

    // A path that lies about what goes first gets no question; one that lies about the question itself hears it once.
    *gateway.path.lock().unwrap() = Path::ForgesKeyProblem;
    let e = client.send(question()).await.err().unwrap();
    assert_eq!((e.code(), questions(&second)), ("sealed.key", 1));
    let trusting = sealed_client(gateway.at);
    trusting.verdict().await.unwrap();
    *gateway.next.lock().unwrap() = Some(Guest::boot(3));
    let e = trusting.send(question()).await.err().unwrap();
    assert_eq!((e.code(), questions(&second)), ("sealed.key", 2));
}

#[tokio::test]
async fn a_request_goes_to_no_guest_below_its_own_tier_whichever_way() {
    let guest = Guest::boot(1);
    let gateway = Gateway::to(&guest).await;
    let network = Network::to(&guest).await;
    let (channel, _) = client(network.at, None);
    let sealed = sealed_client(gateway.at);
    for tier in PrivacyTier::ALL {
        let enough = tier <= PrivacyTier::CpuTee;
        let got = [
            channel.send(question().with_minimum_tier(tier)).await.map(drop),
            sealed.send(question().with_minimum_tier(tier)).await.map(drop),
        ];
        for got in got {
            let code = got.map_err(|e| (e.code(), e.exit_code(), e.may_have_left()));
            assert_eq!(
                code,
                if enough {
                    Ok(())
                } else {
                    Err(("request.tier", 40, false))
                },
                "{tier}"
            );
        }
    }
    assert_eq!(guest.heard().matches(PROMPT).count(), 6, "tiers 0 to 2, either way");
}

#[tokio::test]
async fn a_relay_behind_a_proxy_carries_messages_and_the_evidence_goes_its_own_way() {
    let guest = Guest::boot(1);
    let (gateway, relay) = (Gateway::to(&guest).await, Gateway::to(&guest).await);
    let (proxy, asked) = tunnel().await;
    let client = SealedClient::new(SealedConfig {
        proxy: Some(proxy.into()),
        relay: Some(Relay {
            url: format!("http://{}/relay/for/guest", relay.at).parse().unwrap(),
            proxy: Some(proxy.into()),
        }),
        ..config(gateway.at)
    })
    .unwrap();
    let answer = client.chat_once(&chat(false)).await.unwrap();
    assert_eq!((answer.content.as_str(), answer.receipt.word()), ("Paris", "verified"));
    assert_eq!((gateway.count("GET"), gateway.count("POST")), (1, 0));
    assert_eq!(
        (relay.count("POST /relay/for/guest"), relay.count("GET")),
        (2, 0),
        "the question and its receipt"
    );
    let to: Vec<String> = asked.lock().unwrap().clone();
    assert_eq!(to, [gateway.at.to_string(), relay.at.to_string(), relay.at.to_string()]);

    // A relay that carries evidence too is all that a client needs to reach.
    let client = SealedClient::new(SealedConfig {
        relay: Some(Relay {
            url: format!("http://{}/relay", relay.at).parse().unwrap(),
            proxy: None,
        }),
        ..config(relay.at)
    })
    .unwrap();
    assert_eq!(client.chat_once(&chat(false)).await.unwrap().content, "Paris");
    assert_eq!(
        (relay.count("GET"), gateway.count("GET"), gateway.count("POST")),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn sealed_requests_have_few_lengths_and_a_guest_that_does_not_pad_is_told() {
    // Header, enc, the length of the last part, its tag.
    const AROUND: usize = 7 + 1120 + 1 + 16;
    let guest = Guest::boot(1);
    for padding in Padding::ALL {
        let gateway = Gateway::to(&guest).await;
        let client = SealedClient::new(SealedConfig {
            padding,
            ..config(gateway.at)
        })
        .unwrap();
        for words in [1, 2, 3, 50, 333, 700] {
            let text = format!(r#"{{"messages":[{{"content":"{}"}}]}}"#, "a".repeat(words));
            let request = ChannelRequest::post_json("/v1/chat/completions", text.into());
            client.send(request).await.unwrap();
        }
        let asked = gateway.asked.lock().unwrap();
        let mut lengths: Vec<usize> = asked
            .iter()
            .filter(|(line, _)| line.starts_with("POST"))
            .map(|(_, n)| n - AROUND)
            .collect();
        lengths.dedup();
        match padding {
            Padding::Off => assert_eq!(lengths.len(), 6, "{lengths:?}"),
            _ => {
                assert!(lengths.len() <= 3, "{padding}: {lengths:?}");
                assert!(
                    lengths.iter().all(|n| padding.padded(*n) == *n),
                    "{padding}: {lengths:?}"
                );
            }
        }
    }
    let deaf = Knobs {
        ignores_padding: true,
        ..Knobs::default()
    };
    let gateway = Gateway::to(&Arc::new(Guest::with(1, 1, deaf))).await;
    let client = SealedClient::new(SealedConfig {
        padding: Padding::Blocks,
        ..config(gateway.at)
    })
    .unwrap();
    assert_eq!(
        client.send(question()).await.err().unwrap().code(),
        "padding.not_followed"
    );
}
