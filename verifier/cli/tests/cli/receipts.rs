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
