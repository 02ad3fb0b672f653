//! Recorded answers, and a bundle around evidence.

use std::path::PathBuf;

use hanzo_attestation::bundle::{Bundle, CpuEvidence, SnpEvidence};
use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, Nonce};

/// The folder with recorded evidence beside the repository. Says so when it is not there.
pub fn folder() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors"));
    if path.is_dir() {
        return Some(path);
    }
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "RECORDED VECTORS ABSENT, NOT CHECKED: {}",
        path.display()
    );
    None
}

/// A well-formed bundle whose statement nothing here checks.
pub fn bundle(evidence: SnpEvidence) -> Bundle {
    let name = |n| Name::new(n).unwrap();
    Bundle {
        capabilities: vec![],
        collateral: Default::default(),
        config: "version = 1\n".into(),
        cpu: CpuEvidence::Snp(evidence),
        devices: vec![],
        freshness: None,
        keyset: Keyset {
            capability_digest: capability_digest(&[]).unwrap(),
            channel_key: KemKey {
                public_key: "aa".repeat(1216),
                suite: "x-wing".into(),
            },
            config_digest: Digest256::of(b"version = 1\n"),
            image: name("0.1.0"),
            issued_at: 1,
            models: vec![ServedModel {
                chat_template_sha256: Digest256([1; 32]),
                name: name("smollm2"),
                tokenizer_sha256: Digest256([2; 32]),
                weights_root: Digest256([3; 32]),
            }],
            not_after: 7200,
            ohttp_keys: vec![],
            policy_digest: Digest384::of(b""),
            receipt_keys: SignerKeys {
                ed25519: "bb".repeat(32),
                ml_dsa: "cc".repeat(1952),
                suite: "ml-dsa-65-ed25519".into(),
            },
            signer_keys: vec![],
            simulated: true,
            tier: 2,
            time: "host".into(),
            tls_spki_sha256: Digest256([4; 32]),
            version: 1,
        },
        nonce: Nonce([5; 32]),
        policy: String::new(),
        version: 1,
    }
}
