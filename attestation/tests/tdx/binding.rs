//! A quote belongs to the statement of one keyset, or to one session: REPORTDATA is compared whole.

use hanzo_attestation::binding::{RcarRuntime, bind_keyset, bind_rcar};
use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Authentic, AuthenticDevices, Binding, Claims, Collateral};
use serde_json::{Value, json};

use crate::{NOW, PLATFORM, anchors, healthy, judge, td};

fn signed(report_data: &[u8; 64]) -> Authentic<Claims> {
    let evidence = PLATFORM.evidence(&td(), report_data, &healthy());
    judge(evidence, &anchors(), &Collateral::default(), NOW).unwrap()
}

/// The field with one bit changed: at both ends of the digest and of what follows it.
fn twins(report_data: [u8; 64]) -> impl Iterator<Item = [u8; 64]> {
    [0, 1, 31, 32, 47, 48, 49, 63].into_iter().map(move |at| {
        let mut twin = report_data;
        twin[at] ^= 1 << (at % 8);
        twin
    })
}

#[test]
fn a_quote_binds_to_the_statement_of_its_keyset() {
    let bundle = Bundle::parse(include_bytes!("../vectors/bundle.json")).unwrap();
    let digest = bundle.keyset.digest().unwrap();
    let statement = Statement::for_cpu(digest, bundle.nonce, Statement::no_devices());
    let report_data = statement.report_data().unwrap();
    let bind = |report_data: &[u8; 64]| bind_keyset(signed(report_data), AuthenticDevices::none(), &bundle, None, None);
    let bound = bind(&report_data).unwrap();
    assert!(matches!(bound.binding(), Binding::Keyset { keyset_digest, .. } if *keyset_digest == digest));
    for twin in twins(report_data) {
        assert_eq!(bind(&twin).unwrap_err().code(), "binding.report_data");
    }
}

fn runtime(tee_pubkey: &Value) -> RcarRuntime<'_> {
    RcarRuntime {
        additional_evidence: "",
        nonce: "bm9uY2U=",
        tee_pubkey,
    }
}

#[test]
fn a_quote_binds_to_the_nonce_and_key_of_its_session_and_has_no_tail() {
    let (key, other) = (json!({"kty": "EC"}), json!({"kty": "RSA"}));
    let mut report_data = [0; 64];
    report_data[..48].copy_from_slice(&runtime(&key).digest().unwrap().0);
    let bind = |report_data: &[u8; 64], key: &Value| {
        let bound = bind_rcar(signed(report_data), AuthenticDevices::none(), &runtime(key));
        bound.map_or_else(|e| e.code(), |_| "bound")
    };
    assert_eq!(bind(&report_data, &key), "bound");
    assert_eq!(bind(&report_data, &other), "binding.rcar_report_data");
    for twin in twins(report_data) {
        assert_eq!(bind(&twin, &key), "binding.rcar_report_data");
    }
}
