//! A quote belongs to a nonce and a key, or to another session: qualifying data are compared whole.

use hanzo_attestation::binding::{RcarRuntime, bind_keyset, bind_rcar};
use hanzo_attestation::bundle::Bundle;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{AuthenticDevices, Binding};
use hanzo_simulated_tee::SimulatedTpm;
use serde_json::{Value, json};

use crate::{VTPM, judge, pin, snp_guest};

fn runtime(key: &Value) -> RcarRuntime<'_> {
    RcarRuntime {
        additional_evidence: "",
        nonce: "bm9uY2U=",
        tee_pubkey: key,
    }
}

/// What an RCAR session makes of a quote over these data.
fn rcar(data: &[u8], key: &Value) -> &'static str {
    let simulated = SimulatedTpm::for_tests();
    let authentic = judge(simulated.evidence(data), &pin(&simulated.ak_public())).unwrap();
    let bound = bind_rcar(authentic, AuthenticDevices::none(), &runtime(key));
    bound.map_or_else(|e| e.code(), |_| "bound")
}

#[test]
fn qualifying_data_of_a_session_are_its_digest_bare_or_padded_and_nothing_else() {
    let key = json!({"kty": "EC"});
    let digest = runtime(&key).digest().unwrap().0.to_vec();
    let refused = "binding.rcar_qualifying_data";
    assert_eq!(rcar(&digest, &key), "bound");
    assert_eq!(rcar(&digest, &json!({"kty": "RSA"})), refused, "another session's key");
    assert_eq!(rcar(&digest[..47], &key), refused, "a prefix");
    assert_eq!(rcar(&digest[..32], &key), refused);
    assert_eq!(rcar(&[], &key), refused);
    let tail = |tail: &[u8]| rcar(&[&digest, tail].concat(), &key);
    assert_eq!(tail(&[0]), refused, "longer");
    assert_eq!(
        tail(&[0; 16]),
        "bound",
        "CoCo's attesters of a plain TPM pad it as REPORT_DATA is"
    );
    assert_eq!(tail(&[0; 15]), refused, "one byte less");
    assert_eq!(tail(&[&[0; 15][..], &[1]].concat()), refused, "a tail that is not zero");
    let mut changed = digest.clone();
    changed[47] ^= 1;
    assert_eq!(rcar(&changed, &key), refused);
}

#[test]
fn a_paravisors_guest_is_bound_by_its_vtpm_and_not_by_its_report_data() {
    let key = json!({"kty": "EC"});
    let (guest, anchors) = snp_guest();
    let digest = runtime(&key).digest().unwrap().0;
    let authentic = judge(VTPM.az_snp(&guest, &digest), &anchors).unwrap();
    let bound = bind_rcar(authentic, AuthenticDevices::none(), &runtime(&key)).unwrap();
    assert!(bound.is_simulated());
    // The digest in user data alone, which the paravisor took from the guest at another time.
    let mut stale = VTPM.az_snp(&guest, &digest);
    stale.quote = VTPM.quote(&[0], b"challenge");
    let authentic = judge(stale, &anchors).unwrap();
    let verdict = bind_rcar(authentic, AuthenticDevices::none(), &runtime(&key));
    assert_eq!(verdict.unwrap_err().code(), "binding.rcar_qualifying_data");
}

#[test]
fn a_quote_binds_to_the_statement_of_its_keyset() {
    let bundle = Bundle::parse(include_bytes!("../vectors/bundle.json")).unwrap();
    let simulated = SimulatedTpm::for_tests();
    let digest = bundle.keyset.digest().unwrap();
    let statement = Statement::for_cpu(digest, bundle.nonce, Statement::no_devices());
    let data = statement.digest256().unwrap().0;
    let bind = |data: &[u8]| {
        let authentic = judge(simulated.evidence(data), &pin(&simulated.ak_public())).unwrap();
        bind_keyset(authentic, AuthenticDevices::none(), &bundle, None, None)
    };
    let bound = bind(&data).unwrap();
    assert!(matches!(bound.binding(), Binding::Keyset { keyset_digest, .. } if *keyset_digest == digest));
    for other in [
        &data[..31],
        &[&data[..], &[0]].concat(),
        &statement.report_data().unwrap(),
    ] {
        assert_eq!(bind(other).unwrap_err().code(), "binding.qualifying_data");
    }
}
