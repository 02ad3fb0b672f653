//! A line of releases with its keys and its log, made from fixed seeds.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_log::{Checkpoint, DatedCheckpoint, LogVerifier, Origin, SignedDatedCheckpoint, tree};
use hanzo_policy::release::{
    BUNDLE_TYPE, MANIFEST_TYPE, ReferenceMatrix, ReleaseBundle, ReleaseEntry, ReleaseKey, ReleaseKeys, ReleaseManifest,
    ReleaseSignature, ReleasedFile, ReleasedImage,
};
use hanzo_policy::{ReleasePolicy, SnpReference, TpmReference};
use hanzo_pqc::sign::{NoteSigningKeys, SigningKeys};
use hanzo_pqc::{Domain, SignatureSuite};

pub const SUITE: SignatureSuite = SignatureSuite::MlDsa65Ed25519;

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A holder of a release key.
pub struct Holder {
    pub keys: SigningKeys,
    pub public: ReleaseKey,
}

impl Holder {
    pub fn new(who: &str, seed: u8) -> Self {
        let keys = SigningKeys::from_seed(SUITE, &[seed; 64]).unwrap();
        let public = ReleaseKey::of(name(who), keys.verifying_keys()).unwrap();
        Self { keys, public }
    }

    pub fn sign(&self, manifest: &ReleaseManifest) -> ReleaseSignature {
        let message = manifest.canonical().unwrap();
        let signature = self.keys.sign(Domain::ReleaseManifest, &message).unwrap();
        ReleaseSignature {
            ed25519: signature.ed25519_hex(),
            key: self.public.id(),
            ml_dsa: signature.ml_dsa_hex(),
        }
    }
}

pub fn holders(names: [&str; 3], seed: u8) -> [Holder; 3] {
    let [a, b, c] = names;
    [Holder::new(a, seed), Holder::new(b, seed + 1), Holder::new(c, seed + 2)]
}

pub fn set(holders: &[Holder], threshold: u8) -> ReleaseKeys {
    ReleaseKeys {
        keys: holders.iter().map(|h| h.public.clone()).collect(),
        threshold,
    }
}

/// A manifest that nobody signed yet.
pub fn manifest(version: u64, references: ReferenceMatrix, issued_at: u64) -> ReleaseManifest {
    let file = ReleasedFile {
        bytes: 7,
        sha256: Digest256([1; 32]),
        sha384: Digest384([2; 48]),
    };
    ReleaseManifest {
        capabilities: ["attest", "chat.completions", "embeddings", "models", "receipts"]
            .map(name)
            .to_vec(),
        images: vec![ReleasedImage {
            files: BTreeMap::from([(name("kernel"), file)]),
            manifest_sha384: Digest384([3; 48]),
            name: name("core"),
        }],
        issued_at,
        minimum_previous_version: 0,
        name: name("appliance"),
        next_keys: None,
        not_after: issued_at + 30 * 86_400,
        references,
        sbom_sha384: Digest384([4; 48]),
        shapes: BTreeMap::new(),
        kind: MANIFEST_TYPE.to_owned(),
        version,
    }
}

pub fn snp(measurement: Digest384, config_digest: Digest256) -> ReferenceMatrix {
    ReferenceMatrix {
        snp: vec![SnpReference {
            name: name("core-epyc"),
            measurement,
            config_digest,
        }],
        ..ReferenceMatrix::default()
    }
}

pub fn tpm(reference: TpmReference) -> ReferenceMatrix {
    ReferenceMatrix {
        tpm: vec![reference],
        ..ReferenceMatrix::default()
    }
}

/// The log of the line.
pub struct Log {
    keys: NoteSigningKeys,
    pub verifier: LogVerifier,
    leaves: Vec<Digest256>,
}

impl Log {
    pub fn new() -> Self {
        Self::of("releases.example/log", 0xe0)
    }

    pub fn of(origin: &str, seed: u8) -> Self {
        let keys = NoteSigningKeys::from_seed(SUITE, &[seed; 64]).unwrap();
        let verifier = LogVerifier::new(Origin::new(origin).unwrap(), keys.verifying_keys().clone());
        // Others' releases stand before ours.
        let leaves = (0..5).map(|n| tree::leaf_hash(&[&[n]])).collect();
        Self { keys, verifier, leaves }
    }

    pub fn append(&mut self, manifest: &ReleaseManifest) -> u64 {
        self.leaves.push(tree::leaf_hash(&[&manifest.log_entry().unwrap()]));
        self.leaves.len() as u64 - 1
    }

    pub fn path(&self, index: u64) -> Vec<Digest256> {
        tree::inclusion_path(&self.leaves, index as usize).unwrap()
    }

    pub fn head(&self, time: u64) -> String {
        let dated = DatedCheckpoint {
            checkpoint: Checkpoint {
                origin: self.verifier.origin().clone(),
                size: self.leaves.len() as u64,
                root: tree::root(&self.leaves),
            },
            time: UnixTime(time),
        };
        let signature = self.keys.sign_note(&dated.text()).unwrap();
        SignedDatedCheckpoint::assemble(dated, &self.verifier, &signature)
            .unwrap()
            .to_text()
    }
}

/// What a reader of this line pins.
pub fn asked(holders: &[Holder], log: &Log) -> ReleasePolicy {
    ReleasePolicy {
        keys: holders.iter().map(|h| h.public.clone()).collect(),
        log: log.verifier.key(),
        max_age_s: 86_400,
        minimum_version: 1,
        name: name("appliance"),
        threshold: 2,
    }
}

pub fn entry(manifest: ReleaseManifest, signers: &[&Holder], index: u64) -> ReleaseEntry {
    ReleaseEntry {
        index,
        path: Vec::new(),
        signatures: signers.iter().map(|h| h.sign(&manifest)).collect(),
        manifest,
    }
}

/// Puts all into the log and proves each under one head.
pub fn bundle(log: &mut Log, entries: Vec<(ReleaseManifest, Vec<&Holder>)>, time: u64) -> ReleaseBundle {
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(manifest, signers)| {
            let index = log.append(&manifest);
            entry(manifest, &signers, index)
        })
        .collect();
    for entry in &mut entries {
        entry.path = log.path(entry.index);
    }
    let release = entries.pop().unwrap();
    ReleaseBundle {
        checkpoint: log.head(time),
        release,
        rotations: entries,
        kind: BUNDLE_TYPE.to_owned(),
    }
}
