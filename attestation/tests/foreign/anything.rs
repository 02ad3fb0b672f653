//! No bytes make a reader panic.

use hanzo_attestation::foreign::raw::configfs_tsm;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied, detect, devices_of_additional_evidence};
use proptest::prelude::*;

use crate::*;

fn supplied() -> Supplied {
    Supplied {
        vek: Some(vec![0x30]),
        device_certificates: Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_vec()),
        ..Supplied::default()
    }
}

fn all(bytes: &[u8]) {
    let _ = detect(bytes);
    for format in ForeignFormat::ALL {
        let _ = ForeignEvidence::read(format, bytes, &supplied());
    }
    let _ = configfs_tsm("sev_guest", bytes, Some(bytes), &supplied());
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = devices_of_additional_evidence(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        all(&bytes);
    }

    #[test]
    fn any_json_of_known_members(
        members in proptest::collection::vec(("[a-z_]{1,9}|quote|version|format|attestation|nonce", "[0-9a-f]{0,64}"), 0..6)
    ) {
        let object = members.into_iter().map(|(k, v)| (k, serde_json::Value::String(v)));
        all(serde_json::Value::Object(object.collect()).to_string().as_bytes());
    }

    #[test]
    fn any_message_pack_and_scale(head in prop_oneof![Just(0u8), Just(0x83)], rest in proptest::collection::vec(any::<u8>(), 0..512)) {
        all(&[&[head][..], &rest].concat());
    }
}

#[test]
fn published_documents_with_a_byte_changed_or_cut() {
    let Some(bytes) = vector("az-vtpm/tpm_evidence.json") else {
        return;
    };
    for at in (0..bytes.len()).step_by(37) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x11;
        all(&changed);
        all(&bytes[..at]);
    }
}
