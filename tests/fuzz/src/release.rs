//! What a reader of a line of releases takes from whoever hands it over: `release.json`, and the manifest in it.

#[path = "../../../policy/tests/support/line.rs"]
mod line;

use std::sync::LazyLock;

use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_policy::release::{ReleaseBundle, ReleaseManifest};
use hanzo_policy::{AppraisalPolicy, PrivacyTier, ReleasePolicy, SnpPolicy, TcbFloors};
use line::{Holder, Log, asked, bundle, holders, manifest, set, snp};

const NOW: UnixTime = UnixTime(1_790_000_000);

/// Holders of keys, with a second set that a rotation may name.
fn people() -> ([Holder; 3], [Holder; 3]) {
    (
        holders(["ada", "bob", "cyd"], 0x10),
        holders(["dan", "eve", "fay"], 0x20),
    )
}

/// What the reader pins: the keys and the log of the seeds, so that a mutated one gets past its signatures' names.
static ASKED: LazyLock<ReleasePolicy> = LazyLock::new(|| asked(&people().0, &Log::new()));

/// A release, and a manifest alone. What is read has one spelling; what verifies is the quorum's, in force or not.
pub fn release(data: &[u8]) {
    if let Ok(manifest) = ReleaseManifest::parse(data) {
        assert_eq!(manifest.canonical().ok().as_deref(), Some(data), "one spelling");
    }
    let Ok(bundle) = ReleaseBundle::parse(data) else {
        return;
    };
    assert_eq!(bundle.canonical().ok().as_deref(), Some(data), "one spelling");
    let Ok(release) = bundle.verify(&ASKED) else { return };
    assert!(release.signers().len() >= 2, "a quorum");
    let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee)
        .with_snp(SnpPolicy::any_chip(TcbFloors::default(), Vec::new()))
        .with_release(ASKED.clone());
    if let Ok(in_force) = release.apply(&policy, NOW) {
        assert!(release.valid_until() >= NOW);
        in_force.check().expect("a policy that a release made is in its ranges");
    }
}

/// A release, one after a rotation, and a manifest that nobody signed.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let (first, second) = people();
    let version = |n| manifest(n, snp(Digest384([9; 48]), Digest256([8; 32])), NOW.0 - 100);
    let mut log = Log::new();
    let plain = bundle(&mut log, vec![(version(3), vec![&first[0], &first[2]])], NOW.0 - 10);
    let mut handing_over = version(4);
    handing_over.next_keys = Some(set(&second, 2));
    let rotated = vec![
        (handing_over, vec![&first[0], &first[1]]),
        (version(5), vec![&second[1], &second[2]]),
    ];
    let rotated = bundle(&mut log, rotated, NOW.0 - 10);
    let json = |made: hanzo_policy::release::ReleaseBundle| made.canonical().expect("JSON");
    vec![
        ("release", "plain", json(plain)),
        ("release", "rotated", json(rotated)),
        ("release", "manifest", version(6).canonical().expect("JSON")),
    ]
}
