//! Release manifests: the good one, and beside it the nearest that is refused, by code.

#[path = "support/line.rs"]
mod line;

use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_policy::release::{LastSeen, ReleaseBundle, ReleaseError, ReleaseManifest, VerifiedRelease};
use hanzo_policy::{AppraisalPolicy, PrivacyTier, ReleasePolicy, SnpPolicy, SnpReference, TcbFloors};
use line::{Holder, Log, asked, bundle, holders, manifest, name, set, snp};

const NOW: u64 = 1_790_000_000;

struct World {
    holders: [Holder; 3],
    log: Log,
    asked: ReleasePolicy,
}

impl World {
    fn new() -> Self {
        let (holders, log) = (holders(["ada", "bob", "cyd"], 0x10), Log::new());
        let asked = asked(&holders, &log);
        Self { holders, log, asked }
    }

    fn version(n: u64) -> ReleaseManifest {
        manifest(n, snp(Digest384([9; 48]), Digest256([8; 32])), NOW - 100)
    }

    /// A release of two signatures, of version 3.
    fn good(&mut self) -> ReleaseBundle {
        self.of(Self::version(3), &[0, 2])
    }

    fn of(&mut self, manifest: ReleaseManifest, signers: &[usize]) -> ReleaseBundle {
        let signers = signers.iter().map(|i| &self.holders[*i]).collect();
        bundle(&mut self.log, vec![(manifest, signers)], NOW - 10)
    }

    fn verify(&self, bundle: &ReleaseBundle) -> Result<VerifiedRelease, ReleaseError> {
        // Through its own form, as any reader gets it.
        ReleaseBundle::parse(&bundle.canonical()?)?.verify(&self.asked)
    }

    fn code(&self, bundle: &ReleaseBundle) -> &'static str {
        self.verify(bundle).map_or_else(|e| e.code(), |_| "ok")
    }

    fn policy(&self) -> AppraisalPolicy {
        AppraisalPolicy::closed(PrivacyTier::CpuTee)
            .with_snp(SnpPolicy::any_chip(TcbFloors::default(), Vec::new()))
            .with_release(self.asked.clone())
    }
}

#[test]
fn two_of_three_keys_release_and_one_does_not() {
    let mut world = World::new();
    let good = world.good();
    let release = world.verify(&good).unwrap();
    assert_eq!(release.signers(), [name("ada"), name("cyd")]);
    assert_eq!((release.manifest().version, release.witnesses()), (3, 0));
    assert_eq!(release.digest(), release.manifest().digest().unwrap());

    let mut one = good.clone();
    one.release.signatures.truncate(1);
    assert_eq!(world.code(&one), "release.quorum");
    let mut none = good.clone();
    none.release.signatures.clear();
    assert_eq!(world.code(&none), "release.quorum");

    // One key twice, hedged: two different signatures that both verify.
    let mut twice = one.clone();
    twice
        .release
        .signatures
        .push(world.holders[0].sign(&good.release.manifest));
    assert_ne!(twice.release.signatures[0], twice.release.signatures[1]);
    assert_eq!(world.code(&twice), "release.signature.repeated");

    // A key that nobody pinned counts for nothing, and does no harm beside two that count.
    let stranger = Holder::new("ada", 0x77);
    let mut foreign = one.clone();
    foreign.release.signatures.push(stranger.sign(&good.release.manifest));
    let refused = world.verify(&foreign).unwrap_err();
    assert_eq!(refused.code(), "release.quorum");
    assert!(
        refused
            .to_string()
            .contains("got 1 (and 1 of keys that are not pinned)"),
        "{refused}"
    );
    let mut beside = good.clone();
    beside.release.signatures.push(stranger.sign(&good.release.manifest));
    assert_eq!(world.code(&beside), "ok");
    // Under a pinned key's id it is a signature that does not verify.
    let mut posing = good.clone();
    let mut forged = stranger.sign(&good.release.manifest);
    forged.key = world.holders[2].public.id();
    posing.release.signatures[1] = forged;
    assert_eq!(world.code(&posing), "release.signature.invalid");
}

#[test]
fn both_halves_of_every_signature_must_verify() {
    let mut world = World::new();
    let good = world.good();
    let other = world.holders[2].sign(&World::version(4));
    for (half, words) in [(0, "ML-DSA"), (1, "Ed25519")] {
        let mut bad = good.clone();
        let signature = &mut bad.release.signatures[1];
        match half {
            0 => signature.ml_dsa = other.ml_dsa.clone(),
            _ => signature.ed25519 = other.ed25519.clone(),
        }
        let refused = world.verify(&bad).unwrap_err();
        assert_eq!(refused.code(), "release.signature.invalid");
        assert!(
            refused.to_string().contains(words) && refused.to_string().contains("cyd"),
            "{refused}"
        );
    }
    // Two others that are good do not make up for a bad one.
    let mut third = world.of(World::version(5), &[0, 1, 2]);
    third.release.signatures[1].ed25519 = other.ed25519;
    assert_eq!(world.code(&third), "release.signature.invalid");
}

#[test]
fn another_key_under_another_domain_signs_nothing_here() {
    let mut world = World::new();
    let mut bad = world.good();
    let message = bad.release.manifest.canonical().unwrap();
    let signature = world.holders[2].keys.sign(hanzo_pqc::Domain::Grant, &message).unwrap();
    bad.release.signatures[1].ed25519 = signature.ed25519_hex();
    bad.release.signatures[1].ml_dsa = signature.ml_dsa_hex();
    assert_eq!(world.code(&bad), "release.signature.invalid");
}

#[test]
fn any_changed_member_breaks_the_signatures() {
    let mut world = World::new();
    let good = world.good();
    type Change = fn(&mut ReleaseManifest);
    let changes: [Change; 9] = [
        |m| m.version += 1,
        |m| m.not_after += 1,
        |m| m.issued_at -= 1,
        |m| m.minimum_previous_version = 1,
        |m| m.references.snp[0].measurement.0[0] ^= 1,
        |m| m.references.snp[0].config_digest.0[31] ^= 1,
        |m| m.sbom_sha384.0[7] ^= 1,
        |m| m.capabilities.truncate(1),
        |m| m.images[0].manifest_sha384.0[0] ^= 1,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad.release.manifest);
        assert_eq!(world.code(&bad), "release.signature.invalid", "change {n}");
    }
}

#[test]
fn a_flipped_byte_of_the_file_is_refused_wherever_it_is() {
    let mut world = World::new();
    let bytes = world.good().canonical().unwrap();
    let verify = |bytes: &[u8]| ReleaseBundle::parse(bytes).and_then(|b| b.verify(&world.asked));
    verify(&bytes).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 150) {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(verify(&bad).is_err(), "byte {at} of {}", bytes.len());
    }
}

#[test]
fn the_release_must_stand_in_the_pinned_log() {
    let mut world = World::new();
    let good = world.good();
    // The proof of another leaf.
    let mut bad = good.clone();
    bad.release.index = 2;
    bad.release.path = world.log.path(2);
    assert_eq!(world.code(&bad), "log.inclusion");
    let mut short = good.clone();
    short.release.path.pop();
    assert_eq!(world.code(&short), "log.inclusion");
    // The same release in another log, and under a key that is not the log's.
    let mut elsewhere = Log::of("releases.example/log2", 0xe0);
    let signers = vec![&world.holders[0], &world.holders[1]];
    let theirs = bundle(&mut elsewhere, vec![(World::version(3), signers.clone())], NOW);
    assert_eq!(world.code(&theirs), "log.checkpoint.origin");
    let mut posing = Log::of("releases.example/log", 0xe1);
    let forged = bundle(&mut posing, vec![(World::version(3), signers)], NOW);
    assert_eq!(world.code(&forged), "log.signature.missing");
    // A head without a time is none of a release log.
    let mut plain = good.clone();
    plain.checkpoint = good.checkpoint.replacen("time ", "tide ", 1);
    assert_eq!(world.code(&plain), "log.checkpoint.malformed");
    let mut redated = good.clone();
    redated.checkpoint = good
        .checkpoint
        .replacen(&format!("time {}", NOW - 10), &format!("time {NOW}"), 1);
    assert_ne!(redated, good);
    assert_eq!(world.code(&redated), "log.signature.invalid");
}

#[test]
fn time_is_judged_at_each_use() {
    let mut world = World::new();
    let bundle = world.good();
    let release = world.verify(&bundle).unwrap();
    let policy = world.policy();
    let at = |now: u64| {
        release
            .apply(&policy, UnixTime(now))
            .map_or_else(|e| e.code(), |_| "ok")
    };
    let head = NOW - 10;
    assert_eq!(at(NOW), "ok");
    assert_eq!(at(head + 86_400), "ok");
    assert_eq!(at(head + 86_401), "release.head.stale");
    assert_eq!(at(head - 60), "ok");
    assert_eq!(at(head - 61), "release.head.future");
    assert_eq!(at(NOW - 100 - 61), "release.not_yet");
    let mut short = World::version(4);
    short.not_after = NOW + 5;
    let bundle = world.of(short, &[0, 1]);
    let release = world.verify(&bundle).unwrap();
    let at = |now: u64| {
        release
            .apply(&policy, UnixTime(now))
            .map_or_else(|e| e.code(), |_| "ok")
    };
    assert_eq!((at(NOW + 5), at(NOW + 6)), ("ok", "release.expired"));
    assert_eq!(release.valid_until(), UnixTime(NOW + 5));
}

#[test]
fn versions_only_go_up() {
    let mut world = World::new();
    let (two, three) = (world.of(World::version(2), &[0, 1]), world.good());
    let seen = world.verify(&three).unwrap().last_seen();
    let follows = |world: &World, bundle: &ReleaseBundle, seen: &LastSeen| {
        let release = world.verify(bundle).unwrap();
        release.may_follow(seen).map_or_else(|e| e.code(), |()| "ok")
    };
    assert_eq!(follows(&world, &three, &seen), "ok");
    assert_eq!(follows(&world, &two, &seen), "release.version.rolled_back");
    let mut other = World::version(3);
    other.not_after += 1;
    let forked = world.of(other, &[0, 1]);
    assert_eq!(follows(&world, &forked, &seen), "release.version.forked");
    let mut far = World::version(9);
    far.minimum_previous_version = 3;
    let bundle = world.of(far.clone(), &[0, 1]);
    assert_eq!(follows(&world, &bundle, &seen), "ok");
    far.minimum_previous_version = 4;
    let bundle = world.of(far, &[0, 1]);
    assert_eq!(follows(&world, &bundle, &seen), "release.version.gap");
    // The policy's own floor.
    world.asked.minimum_version = 3;
    assert_eq!(
        (world.code(&three), world.code(&two)),
        ("ok", "release.version.too_old")
    );
}

#[test]
fn new_keys_count_only_when_the_old_quorum_named_them() {
    let mut world = World::new();
    let new = holders(["dan", "eve", "fay"], 0x40);
    let mut handover = World::version(3);
    handover.next_keys = Some(set(&new, 2));
    let after = World::version(4);
    let [ada, bob, _] = &world.holders;
    let old = vec![ada, bob];
    let good = bundle(
        &mut world.log,
        vec![(handover.clone(), old.clone()), (after.clone(), vec![&new[0], &new[2]])],
        NOW,
    );
    let release = good.verify(&world.asked).unwrap();
    assert_eq!(release.signers(), [name("dan"), name("fay")]);
    let check = |bundle: &ReleaseBundle| bundle.verify(&world.asked).map_or_else(|e| e.code(), |_| "ok");
    // Nobody named them.
    let mut bare = good.clone();
    bare.rotations.clear();
    assert_eq!(check(&bare), "release.quorum");
    // They named themselves, or one of the old keys did.
    for signers in [vec![&new[0], &new[1]], vec![ada]] {
        let mut log = Log::new();
        let own = bundle(
            &mut log,
            vec![(handover.clone(), signers), (after.clone(), vec![&new[0], &new[1]])],
            NOW,
        );
        assert_eq!(check(&own), "release.quorum");
    }
    // After the handover the old keys sign nothing any more.
    let mut log = Log::new();
    let late = bundle(
        &mut log,
        vec![(handover.clone(), old.clone()), (after, old.clone())],
        NOW,
    );
    assert_eq!(check(&late), "release.quorum");
    // A handover to fewer than two, backwards, or one that hands nothing over.
    let mut lone = handover.clone();
    lone.next_keys = Some(set(&new, 1));
    let mut log = Log::new();
    let bad = bundle(
        &mut log,
        vec![(lone, old.clone()), (World::version(4), vec![&new[0]])],
        NOW,
    );
    assert_eq!(check(&bad), "release.value");
    let mut log = Log::new();
    let back = bundle(
        &mut log,
        vec![(handover, old.clone()), (World::version(3), vec![&new[0], &new[1]])],
        NOW,
    );
    assert_eq!(check(&back), "release.rotation");
    let mut log = Log::new();
    let idle = bundle(
        &mut log,
        vec![(World::version(2), old.clone()), (World::version(3), old)],
        NOW,
    );
    assert_eq!(check(&idle), "release.rotation");
}

#[test]
fn a_release_of_another_line_is_none_of_ours() {
    let mut world = World::new();
    let mut other = World::version(3);
    other.name = name("appliance-beta");
    let bundle = world.of(other, &[0, 1]);
    assert_eq!(world.code(&bundle), "release.name");
}

#[test]
fn capabilities_stay_within_the_bound() {
    let mut world = World::new();
    let bundle = world.good();
    let release = world.verify(&bundle).unwrap();
    let check = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|n| name(n)).collect();
        release.check_capabilities(&names).map_or_else(|e| e.code(), |()| "ok")
    };
    assert_eq!(check(&[]), "ok");
    assert_eq!(check(&["attest", "models"]), "ok");
    assert_eq!(check(&["attest", "models", "tools.shell"]), "release.capability");
    // A release that allows no name outside refuses a guest whose configuration lists one.
    assert_eq!(check(&["attest", "egress.kbs.example.org.443"]), "release.capability");
}

#[test]
fn a_policy_with_a_release_names_no_image_itself_and_gets_the_releases() {
    let mut world = World::new();
    let bundle = world.good();
    let release = world.verify(&bundle).unwrap();
    let policy = world.policy();
    policy.check().unwrap();
    assert_eq!(policy.version, 3);
    let in_force = release.apply(&policy, UnixTime(NOW)).unwrap();
    in_force.check().unwrap();
    assert_eq!(
        in_force.snp.as_ref().unwrap().references,
        release.manifest().references.snp
    );
    assert!(in_force.tpm.is_none() && in_force.release.is_none());
    // Under another policy's table it counts for nothing.
    let mut other = policy.clone();
    other.release.as_mut().unwrap().max_age_s += 1;
    assert_eq!(
        release.apply(&other, UnixTime(NOW)).unwrap_err().code(),
        "release.missing"
    );
    let without = AppraisalPolicy::closed(PrivacyTier::CpuTee);
    assert_eq!(
        release.apply(&without, UnixTime(NOW)).unwrap_err().code(),
        "release.missing"
    );

    let toml = policy.to_toml().unwrap();
    assert_eq!(AppraisalPolicy::from_toml(toml.as_bytes()).unwrap(), policy);
    let refused = |toml: &str, says: &str| {
        let e = AppraisalPolicy::from_toml(toml.as_bytes()).unwrap_err();
        assert_eq!(e.code(), "policy.value");
        assert!(e.to_string().contains(says), "{e}");
    };
    refused(
        &toml.replacen("version = 3", "version = 2", 1),
        "3 with a table [release]",
    );
    refused(
        &toml.replacen("threshold = 2", "threshold = 1", 1),
        "threshold: expected 2",
    );
    refused(
        &toml.replacen("threshold = 2", "threshold = 4", 1),
        "threshold: expected 2",
    );
    refused(
        &toml.replacen("minimum_version = 1", "minimum_version = 0", 1),
        "minimum_version",
    );
    let plain = AppraisalPolicy::closed(PrivacyTier::CpuTee).to_toml().unwrap();
    let bare = AppraisalPolicy::from_toml(plain.replacen("version = 2", "version = 3", 1).as_bytes());
    assert_eq!(bare.unwrap_err().code(), "policy.version");
    let mut both = policy.clone();
    both.snp.as_mut().unwrap().references = vec![SnpReference {
        name: name("mine"),
        measurement: Digest384([1; 48]),
        config_digest: Digest256([1; 32]),
    }];
    assert_eq!(both.check().unwrap_err().code(), "policy.value");
    // Whoever holds one half under two names is not two.
    let mut halves = policy.clone();
    let keys = &mut halves.release.as_mut().unwrap().keys;
    keys[1].ed25519 = keys[0].ed25519.clone();
    assert!(halves.check().unwrap_err().to_string().contains("each public key once"));
}

#[test]
fn manifests_and_bundles_have_one_spelling() {
    let mut world = World::new();
    let bundle = world.good();
    let text = String::from_utf8(bundle.canonical().unwrap()).unwrap();
    let manifest = String::from_utf8(bundle.release.manifest.canonical().unwrap()).unwrap();
    assert!(
        text.contains(&manifest),
        "the bundle holds the very bytes that were signed"
    );
    assert_eq!(
        ReleaseManifest::parse(manifest.as_bytes()).unwrap(),
        bundle.release.manifest
    );
    let code = |text: &str| ReleaseManifest::parse(text.as_bytes()).map_or_else(|e| e.code(), |_| "ok");
    for (from, to, expected) in [
        ("{\"capabilities\"", "{\"a\":1,\"capabilities\"", "release.malformed"),
        ("\"version\":3", "\"version\":3,\"version\":3", "release.malformed"),
        ("\"next_keys\":null,", "", "release.malformed"),
        ("{\"capabilities\"", "{ \"capabilities\"", "release.not_canonical"),
        ("\"version\":3}", "\"version\":3}x", "release.malformed"),
        ("hanzo.release.v1", "hanzo.release.v2", "release.value"),
        ("\"version\":3", "\"version\":0", "release.value"),
        (
            "\"minimum_previous_version\":0",
            "\"minimum_previous_version\":3",
            "release.value",
        ),
        (
            "\"attest\",\"chat.completions\"",
            "\"chat.completions\",\"attest\"",
            "release.value",
        ),
        ("\"attest\",", "\"attest\",\"attest\",", "release.value"),
    ] {
        assert!(manifest.contains(from), "{from}");
        assert_eq!(code(&manifest.replacen(from, to, 1)), expected, "{to}");
    }
    let long = format!("{manifest}{}", " ".repeat(512 * 1024));
    assert_eq!(code(&long), "release.too_large");
    assert_eq!(
        ReleaseBundle::parse(text.replacen("bundle.v1", "bundle.v2", 1).as_bytes())
            .unwrap_err()
            .code(),
        "release.value"
    );
}
