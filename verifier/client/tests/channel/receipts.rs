//! Receipts: checked against what was sent and received, kept for later, and complained about when wrong.

use hanzo_client::receipts::{BundleRecord, ReceiptRecord};
use hanzo_client::{ReceiptStatus, StateDir};
use hanzo_verifier::receipt::verify_signed;
use hanzo_verifier::verify_bundle;

use crate::guest::*;

#[tokio::test]
async fn a_receipt_is_kept_with_all_that_verifies_it_offline_and_no_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state");
    let guest = Guest::boot(1);
    let network = Network::to(&guest).await;
    let (client, _) = client(network.at, Some(&root));
    let answer = client.chat_once(&chat(false)).await.unwrap();
    let ReceiptStatus::Verified { id, .. } = answer.receipt else {
        panic!("{:?}", answer.receipt)
    };
    drop((client, network));

    let state = StateDir::open(&root).unwrap();
    let record = ReceiptRecord::parse(&state.load_receipt(&id.to_string()).unwrap()).unwrap();
    assert_eq!(record.checked, "verified");
    let digest = record.disclosed.receipt.keyset_digest.to_string();
    let (bundle, how) = state.load_bundle(&digest).unwrap();
    let how = BundleRecord::parse(&how).unwrap();
    let result = verify_bundle(&bundle, &how.challenge, &how.context(), how.time()).unwrap();
    assert!(result.simulated());
    verify_signed(&record.disclosed.without_salts(), result.keyset().unwrap()).unwrap();

    let secret = std::fs::read_to_string(root.join("owner.secret")).unwrap();
    assert!(!guest.heard().contains(&secret), "the secret itself went to the guest");
    let owner = state.owner().unwrap();
    let filed = |simulated| {
        let derived = owner.for_guest(&result.measurement(), &guest.keyset.config_digest, simulated);
        guest.heard().contains(derived.unwrap().as_str())
    };
    assert!(filed(true), "the guest files receipts under what is derived for it");
    assert!(!filed(false), "a simulated guest learns what a real one is shown");
    let mut files = vec![root];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else {
            let text = std::fs::read(&path).unwrap();
            for canary in [PROMPT, "Paris"] {
                assert!(!text.windows(canary.len()).any(|w| w == canary.as_bytes()), "{path:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_receipt_over_other_bytes_or_by_other_keys_is_reported() {
    for (knob, expected) in [
        (ReceiptKnob::Honest, "verified"),
        (ReceiptKnob::OtherResponse, "receipt.commitment.response"),
        (ReceiptKnob::OtherRequest, "receipt.commitment.request"),
        (ReceiptKnob::OtherKeys, "receipt.signature.both"),
        (ReceiptKnob::None, "missing"),
    ] {
        let guest = Guest::with(
            1,
            1,
            Knobs {
                receipts: knob,
                ..Knobs::default()
            },
        )
        .into();
        let network = Network::to(&guest).await;
        let (client, _) = client(network.at, None);
        let answer = client.chat_once(&chat(false)).await.unwrap();
        assert_eq!(answer.receipt.word(), expected);
        let tally = client.tally();
        let counts = (tally.verified, tally.mismatched, tally.missing);
        match expected {
            "verified" => assert_eq!(counts, (1, 0, 0)),
            "missing" => assert_eq!(counts, (0, 0, 1)),
            code => {
                assert_eq!(counts, (0, 1, 0));
                assert!(tally.last_problem.unwrap().starts_with(code));
            }
        }
    }
}
