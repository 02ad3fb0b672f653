//! The one-stage key schedule (draft-ietf-hpke-hpke-02 section 5.1) with ChaCha20-Poly1305 on top, for the published
//! entries whose AEAD the oracle is built without. Written from the draft, for these vectors alone.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde_json::Value;
use shake::digest::{ExtendableOutput, XofReader};

use super::load::hex_of;
use super::{entries, number};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

fn length_prefixed(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn labeled_derive<X: ExtendableOutput + Default>(
    suite: &[u8],
    ikm: &[u8],
    label: &[u8],
    context: &[u8],
    len: usize,
) -> Vec<u8> {
    let mut xof = X::default();
    let wanted = u16::try_from(len).unwrap().to_be_bytes();
    for part in [ikm, b"HPKE-v1", suite, &length_prefixed(label), &wanted, context] {
        xof.update(part);
    }
    let mut out = vec![0; len];
    xof.finalize_xof().read(&mut out);
    out
}

/// Checks schedule, messages (both ways, and the nearest refused twin) and exports; returns how many of the latter two.
pub(super) fn check<X: ExtendableOutput + Default>(test: &Value, hash_bytes: usize) -> (usize, usize) {
    let field = |name: &str| hex_of(test, name);
    assert_eq!(
        (number(test, "mode"), number(test, "aead_id")),
        (0, 3),
        "base mode, ChaCha20-Poly1305"
    );
    let suite = field("suite_id");
    let secrets = [length_prefixed(b""), length_prefixed(&field("shared_secret"))].concat();
    let context = [&[0][..], &length_prefixed(b""), &length_prefixed(&field("info"))].concat();
    let secret = labeled_derive::<X>(
        &suite,
        &secrets,
        b"secret",
        &context,
        KEY_BYTES + NONCE_BYTES + hash_bytes,
    );
    let (key, rest) = secret.split_at(KEY_BYTES);
    let (base_nonce, exporter_secret) = rest.split_at(NONCE_BYTES);
    assert_eq!(key, field("key"));
    assert_eq!(base_nonce, field("base_nonce"));
    assert_eq!(exporter_secret, field("exporter_secret"));

    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).unwrap());
    for message in entries(&test["encryptions"]) {
        let (nonce, aad, ct) = (hex_of(message, "nonce"), hex_of(message, "aad"), hex_of(message, "ct"));
        let nonce = || Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let mut data = hex_of(message, "pt");
        key.seal_in_place_append_tag(nonce(), Aad::from(&aad), &mut data)
            .unwrap();
        assert_eq!(data, ct);
        data[0] ^= 1;
        assert!(key.open_in_place(nonce(), Aad::from(&aad), &mut data).is_err());
        let mut data = ct;
        assert_eq!(
            key.open_in_place(nonce(), Aad::from(&aad), &mut data).unwrap(),
            hex_of(message, "pt")
        );
    }
    for export in entries(&test["exports"]) {
        let len = usize::from(number(export, "L"));
        let exported = labeled_derive::<X>(
            &suite,
            exporter_secret,
            b"sec",
            &hex_of(export, "exporter_context"),
            len,
        );
        assert_eq!(exported, hex_of(export, "exported_value"));
    }
    (entries(&test["encryptions"]).len(), entries(&test["exports"]).len())
}
