//! A store, keys and keysets for tests.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::Path;
use std::sync::Arc;

use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignerKeys};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384};
use hanzo_pqc::Dek;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_receipts::*;
use hanzo_store::EncryptedDb;

pub fn keys(byte: u8) -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[byte; 64]).unwrap()
}

pub fn keyset(keys: &SigningKeys) -> Keyset {
    let public = keys.verifying_keys();
    Keyset {
        capability_digest: Digest384([1; 48]),
        channel_key: KemKey {
            public_key: "00".into(),
            suite: "x-wing".into(),
        },
        config_digest: Digest256([2; 32]),
        image: Name::new("0.1.0").unwrap(),
        issued_at: 1_800_000_000,
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([3; 32]),
            counted_by: None,
            name: Name::new("smollm2").unwrap(),
            tokenizer_sha256: Digest256([4; 32]),
            weights_root: Digest256([5; 32]),
        }],
        not_after: 1_800_003_600,
        ohttp_keys: vec![],
        policy_digest: Digest384([6; 48]),
        receipt_keys: SignerKeys {
            ed25519: public.ed25519_hex(),
            ml_dsa: public.ml_dsa_hex(),
            suite: public.suite().name().into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([7; 32]),
        version: 1,
    }
}

pub fn store(dir: &Path) -> Arc<EncryptedDb> {
    let key = Dek::from_slice(&[9; 32]).unwrap();
    Arc::new(EncryptedDb::open(&dir.join("guest.db"), &key, SCHEMA).unwrap())
}

pub const ORIGIN: &str = "example/receipts";

/// The log of a store that nobody fences.
pub fn public(db: &Arc<EncryptedDb>) -> Arc<PublicLog> {
    fenced(db, Fence::None)
}

pub fn fenced(db: &Arc<EncryptedDb>, fence: Fence) -> Arc<PublicLog> {
    let origin = Origin::new(ORIGIN).unwrap();
    let suite = SignatureSuite::MlDsa65Ed25519;
    Arc::new(PublicLog::open(Arc::clone(db), origin, suite, &[77; LOG_SEED_LEN], fence).unwrap())
}

/// The receipts of one keyset in it.
pub fn under(public: &Arc<PublicLog>, byte: u8) -> ReceiptLog {
    let mut keyset = keyset(&keys(byte));
    keyset.log = Some(public.keys());
    ReceiptLog::open(Arc::clone(public), keys(byte), keyset).unwrap()
}

pub fn log(db: &Arc<EncryptedDb>, byte: u8) -> ReceiptLog {
    under(&public(db), byte)
}

pub fn fresh(n: u8) -> FreshBytes {
    FreshBytes {
        id: [n; 16],
        request_salt: [n.wrapping_add(100); 32],
        response_salt: [n.wrapping_add(50); 32],
    }
}

pub fn owner(byte: u8) -> Owner {
    Owner::from_hex(&format!("{byte:02x}").repeat(32)).unwrap()
}

pub fn one(log: &ReceiptLog, n: u8, who: Option<Owner>) -> Result<DisclosedReceipt, ReceiptLogError> {
    receipt(log, fresh(n), who)
}

pub fn receipt(log: &ReceiptLog, fresh: FreshBytes, who: Option<Owner>) -> Result<DisclosedReceipt, ReceiptLogError> {
    charged(log, fresh, who, None)
}

pub fn charged(
    log: &ReceiptLog,
    fresh: FreshBytes,
    who: Option<Owner>,
    account: Option<&str>,
) -> Result<DisclosedReceipt, ReceiptLogError> {
    let start = RequestStart {
        model: "smollm2",
        request: b"a request",
        owner: who,
        transport: hanzo_receipts::Transport::Tls,
    };
    let mut pending = log.begin(start, fresh).unwrap();
    pending.sent(b"an ");
    pending.sent(b"answer");
    log.finish(
        pending,
        Finished {
            outcome: Outcome::Complete,
            sampling: Sampling {
                max_tokens: 9,
                seed: None,
                temperature_micros: 0,
                top_p_micros: 1_000_000,
            },
            prompt_tokens: 3,
            completion_tokens: 2,
            time: 1_800_000_005,
            work: None,
            account: account.map(|name| Name::new(name).unwrap()),
        },
    )
}
