//! Recorded answers, and a bundle around evidence.

use std::path::{Path, PathBuf};

use hanzo_attestation::bundle::{Base64, Bundle, CpuEvidence, SnpEvidence, TdxCollateral};
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
                base_root: None,
                chat_template_sha256: Digest256([1; 32]),
                counted_by: None,
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
            log: None,
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

/// Intel's collateral of June 2025 for FMSPC b0c06f000000.
pub fn tdx_collateral(vectors: &Path) -> TdxCollateral {
    let text = std::fs::read(vectors.join("tdx/collateral/tdx_quote_collateral.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    let bytes = |name: &str| Base64(hex::decode(text(name)).unwrap());
    TdxCollateral {
        pck_crl: bytes("pck_crl"),
        pck_crl_issuer_chain: text("pck_crl_issuer_chain"),
        qe_identity: text("qe_identity"),
        qe_identity_issuer_chain: text("qe_identity_issuer_chain"),
        qe_identity_signature: bytes("qe_identity_signature"),
        root_ca_crl: bytes("root_ca_crl"),
        tcb_info: text("tcb_info"),
        tcb_info_issuer_chain: text("tcb_info_issuer_chain"),
        tcb_info_signature: bytes("tcb_info_signature"),
    }
}
