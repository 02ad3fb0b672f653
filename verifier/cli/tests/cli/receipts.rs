//! Receipts, checked offline.

use super::*;

#[test]
fn a_receipt_verifies_offline_by_id_and_by_file_and_its_twins_do_not() {
    let files = Files::new();
    let receipt = files.receipt();
    files.run(&format!("receipt {ID}")).is(1, &["state.missing"]);
    files.keep(&receipt);
    let opened = "--request request --response response";
    files
        .run(&format!("receipt {ID}"))
        .is(0, &["VERIFIED", "SIMULATED", "not opened", "temperature 0.7"]);
    files
        .run(&format!("receipt {ID} {opened}"))
        .is(0, &["request and response opened"]);
    files
        .run(&format!("receipt {ID} --response request"))
        .is(30, &["receipt.commitment.response"]);

    files.put("receipt.json", &receipt.to_bytes().unwrap());
    let by_file = format!("receipt receipt.json --bundle bundle.json {TRUST}");
    files
        .run(&format!("{by_file} {opened}"))
        .is(0, &["VERIFIED", "judged as of today"]);
    let signed = receipt.without_salts().to_bytes().unwrap();
    files.put("signed.json", &signed);
    files
        .run(&format!("receipt signed.json --bundle bundle.json {TRUST}"))
        .is(0, &["VERIFIED"]);
    files
        .run(&format!(
            "receipt signed.json --request request --bundle bundle.json {TRUST}"
        ))
        .is(1, &["salts"]);

    let text = String::from_utf8(signed).unwrap();
    let changed = text.replacen("\"prompt_tokens\":3", "\"prompt_tokens\":4", 1);
    assert_ne!(changed, text);
    files.put("signed.json", changed.as_bytes());
    files
        .run(&format!("receipt signed.json --bundle bundle.json {TRUST}"))
        .is(20, &["receipt.signature"]);
    files.put("signed.json", format!("{text}x").as_bytes());
    files
        .run(&format!("receipt signed.json --bundle bundle.json {TRUST}"))
        .is(10, &["receipt.malformed"]);
    files
        .run("receipt receipt.json --bundle bundle.json --policy policy.toml")
        .is(20, &["snp.chain.root"]);

    let mut policy = files.policy.clone();
    policy.snp.as_mut().unwrap().references.clear();
    files.put("none.toml", policy.to_toml().unwrap().as_bytes());
    files
        .run(&format!("receipt {ID} --policy none.toml"))
        .is(40, &["REFUSED"]);
}

/// What was changed is named: out of the receipt that was kept, out of the log, or by the keyset; and with one signature left, that
/// it is the other one.
#[test]
fn what_was_changed_in_a_receipt_is_named() {
    let files = Files::new();
    let genuine = files.receipt();
    let file = |change: &dyn Fn(&mut DisclosedReceipt)| {
        let mut changed = genuine.clone();
        change(&mut changed);
        files.put("changed.json", &changed.to_bytes().unwrap());
        files.run(&format!(
            "receipt changed.json --request request --response response --bundle bundle.json {TRUST}"
        ))
    };
    // Nothing else is at hand.
    file(&|_| {}).is(0, &["VERIFIED", "request and response opened"]);
    file(&|r| r.receipt.completion_tokens = 3).is(20, &["receipt.signature.both", "--log"]);
    file(&|r| r.receipt.weights_root.0[0] ^= 1).is(20, &["receipt.signature.both", "weights_root: the keyset says"]);
    assert!(!files.dir.path().join(".local/state").exists(), "looking makes nothing");
    files.keep(&genuine);
    for (said, change) in [
        (
            "prompt_tokens: signed 3, here 4",
            &(|r: &mut DisclosedReceipt| r.receipt.prompt_tokens = 4) as &dyn Fn(&mut DisclosedReceipt),
        ),
        ("completion_tokens: signed 2, here 1", &|r| {
            r.receipt.completion_tokens = 1
        }),
        ("weights_root: signed 0303", &|r| r.receipt.weights_root.0[0] ^= 1),
        ("seq: signed 0, here 1", &|r| r.receipt.seq = 1),
        ("prev: signed ", &|r| r.receipt.prev.0[47] ^= 1),
        ("outcome: signed complete, here cut", &|r| {
            r.receipt.outcome = Outcome::Cut
        }),
        ("request_commitment: signed ", &|r| {
            r.receipt.request_commitment.0[0] ^= 1
        }),
        ("response_commitment: signed ", &|r| {
            r.receipt.response_commitment.0[0] ^= 1
        }),
        ("sampling.seed: signed 7, here 8", &|r| {
            r.receipt.sampling.seed = Some(8)
        }),
    ] {
        file(change).is(
            20,
            &["receipt.signature.both", "that was kept here says otherwise", said],
        );
    }
    let grant = keys()
        .sign(Domain::Grant, &genuine.receipt.canonical().unwrap())
        .unwrap();
    file(&|r| r.signature.ed25519 = grant.ed25519_hex())
        .is(20, &["receipt.signature.ed25519", "the Ed25519 signature is another"]);
    file(&|r| r.signature.ml_dsa = grant.ml_dsa_hex())
        .is(20, &["receipt.signature.ml_dsa", "the ML-DSA signature is another"]);
    file(&|r| r.signature.ed25519.clear()).is(10, &["receipt.malformed", "signature.ed25519", "got none"]);
    file(&|r| r.signature.ml_dsa.clear()).is(10, &["receipt.malformed", "signature.ml_dsa", "got none"]);
    // Every byte of what was asked and answered.
    for (name, bytes) in [("request", REQUEST), ("response", RESPONSE)] {
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            files.put(name, &other);
            file(&|_| {}).is(30, &[&format!("receipt.commitment.{name}")]);
        }
        files.put(name, bytes);
    }
    // An answer that names other counts than the receipt, under good signatures.
    let answer: &[u8] = br#"{"usage":{"prompt_tokens":3,"completion_tokens":9}}"#;
    files.put("response", answer);
    let mut lying = genuine.clone();
    lying.receipt.response_commitment = commitment(&lying.salts.response, answer);
    let signature = keys()
        .sign(Domain::Receipt, &lying.receipt.canonical().unwrap())
        .unwrap();
    lying.signature.ed25519 = signature.ed25519_hex();
    lying.signature.ml_dsa = signature.ml_dsa_hex();
    file(&|r| *r = lying.clone()).is(
        30,
        &["receipt.usage", "completion_tokens: the answer says 9, the receipt 2"],
    );
}
