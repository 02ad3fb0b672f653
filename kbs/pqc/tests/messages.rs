//! Message contexts: RFC 9180's own vectors through the public API, crate `hpke` in both directions, and the nearest
//! messages that must not open.

use ::hpke as oracle;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageKem, MessageKey, MessagePublicKey, setup_recipient, setup_sender};
use oracle::aead::{Aead, AesGcm128, AesGcm256};
use oracle::kdf::HkdfSha256;
use oracle::kem::{X25519HkdfSha256, XWing};
use oracle::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

#[path = "vectors/load.rs"]
mod load;
use load::{hex_of, json};

const INFO: &[u8] = b"message/bhttp request\0";

fn both_directions<K: Kem, A: Aead>(kem: MessageKem, gcm: Gcm) {
    let seed = [0x42; 32];
    let ours = MessageKey::from_seed(kem, &seed).unwrap();
    let theirs = K::PrivateKey::from_bytes(&seed).unwrap();
    let their_public = K::sk_to_pk(&theirs);
    assert_eq!(ours.public_key().as_bytes(), their_public.to_bytes().as_slice());

    let (enc, mut sender) = setup_sender(ours.public_key(), gcm, INFO).unwrap();
    assert_eq!(enc.len(), kem.enc_len());
    let parsed = K::EncappedKey::from_bytes(&enc).unwrap();
    let mut receiver = oracle::setup_receiver::<A, HkdfSha256, K>(&OpModeR::Base, &theirs, &parsed, INFO).unwrap();
    for (part, aad) in [(b"one".as_slice(), b"".as_slice()), (b"", b""), (b"three", b"final")] {
        let mut data = part.to_vec();
        sender.seal_in_place(aad, &mut data).unwrap();
        assert_eq!(receiver.open(&data, aad).unwrap(), part);
    }
    let mut exported = [0; 48];
    receiver.export(b"way back", &mut exported).unwrap();
    assert_eq!(sender.export(b"way back", 48).unwrap().as_slice(), exported);

    let (enc, mut sender) = oracle::setup_sender::<A, HkdfSha256, K>(&OpModeS::Base, &their_public, INFO).unwrap();
    let enc = enc.to_bytes();
    let parts: Vec<_> = ["one", "two"]
        .iter()
        .map(|p| sender.seal(p.as_bytes(), b"").unwrap())
        .collect();
    let open = |key: &MessageKey, info: &[u8], order: [usize; 2], aad: &[u8]| {
        let mut context = setup_recipient(key, gcm, &enc, info)?;
        order.into_iter().try_for_each(|i| {
            let mut data = parts[i].clone();
            context.open_in_place(aad, &mut data)
        })
    };
    open(&ours, INFO, [0, 1], b"").unwrap();
    let other = MessageKey::from_seed(kem, &[0x43; 32]).unwrap();
    for refused in [
        open(&ours, INFO, [1, 0], b""),
        open(&ours, INFO, [0, 0], b""),
        open(&ours, b"another info", [0, 1], b""),
        open(&ours, INFO, [0, 1], b"final"),
        open(&other, INFO, [0, 1], b""),
    ] {
        assert_eq!(refused.unwrap_err().code(), "pqc.open");
    }
}

#[test]
fn every_suite_is_the_oracles_and_opens_nothing_else() {
    both_directions::<XWing, AesGcm128>(MessageKem::Xwing, Gcm::Aes128);
    both_directions::<XWing, AesGcm256>(MessageKem::Xwing, Gcm::Aes256);
    both_directions::<X25519HkdfSha256, AesGcm128>(MessageKem::X25519, Gcm::Aes128);
    both_directions::<X25519HkdfSha256, AesGcm256>(MessageKem::X25519, Gcm::Aes256);
}

#[test]
fn rfc_9180_messages_and_exports() {
    let Some(file) = json("hpke/rfc9180-x25519-p256.json") else {
        return;
    };
    let number = |test: &serde_json::Value, name: &str| test[name].as_u64().unwrap();
    let mut seen = 0;
    for test in file.as_array().unwrap() {
        let ids = (number(test, "mode"), number(test, "kem_id"), number(test, "kdf_id"));
        let (0, 0x20, 1) = ids else { continue };
        let Some(gcm) = Gcm::from_id(number(test, "aead_id") as u16) else {
            continue;
        };
        let seed: [u8; 32] = hex_of(test, "skRm").try_into().unwrap();
        let key = MessageKey::from_seed(MessageKem::X25519, &seed).unwrap();
        assert_eq!(key.public_key().as_bytes(), hex_of(test, "pkRm"));
        let info = hex_of(test, "info");
        let mut context = setup_recipient(&key, gcm, &hex_of(test, "enc"), &info).unwrap();
        // In base mode the recipient's context seals as the sender's does.
        let mut sealing = setup_recipient(&key, gcm, &hex_of(test, "enc"), &info).unwrap();
        for message in test["encryptions"].as_array().unwrap() {
            let mut data = hex_of(message, "ct");
            context.open_in_place(&hex_of(message, "aad"), &mut data).unwrap();
            assert_eq!(data, hex_of(message, "pt"));
            sealing.seal_in_place(&hex_of(message, "aad"), &mut data).unwrap();
            assert_eq!(data, hex_of(message, "ct"));
        }
        for export in test["exports"].as_array().unwrap() {
            let exported = context
                .export(&hex_of(export, "exporter_context"), number(export, "L") as usize)
                .unwrap();
            assert_eq!(exported.as_slice(), hex_of(export, "exported_value"));
        }
        seen += 1;
    }
    assert_eq!(seen, 2, "AES-128-GCM and AES-256-GCM");
}

#[test]
fn malformed_keys_and_encapsulations_are_refused_by_name() {
    for kem in MessageKem::ALL {
        assert_eq!(
            (MessageKem::from_id(kem.id()), MessageKem::from_name(kem.name())),
            (Some(kem), Some(kem))
        );
        let key = MessageKey::from_seed(kem, &[1; 32]).unwrap();
        let public = key.public_key().clone();
        assert_eq!(MessagePublicKey::from_hex(kem, &public.to_hex()).unwrap(), public);
        let short = MessagePublicKey::from_bytes(kem, &public.as_bytes()[1..]).unwrap_err();
        assert_eq!(short.code(), "pqc.length");
        let mut low = public.as_bytes().to_vec();
        let at = low.len() - 32;
        low[at..].fill(0);
        assert_eq!(
            MessagePublicKey::from_bytes(kem, &low).unwrap_err().code(),
            "pqc.low_order"
        );

        let (mut enc, _) = setup_sender(&public, Gcm::Aes128, INFO).unwrap();
        let cut = setup_recipient(&key, Gcm::Aes128, &enc[1..], INFO).err().unwrap();
        assert_eq!(cut.code(), "pqc.length");
        let at = enc.len() - 32;
        enc[at..].fill(0);
        let zero = setup_recipient(&key, Gcm::Aes128, &enc, INFO).err().unwrap();
        assert_eq!(zero.code(), "pqc.low_order");
    }
    assert_eq!(MessageKem::from_id(0x0010), None, "P-256 is no suite of ours");
}
