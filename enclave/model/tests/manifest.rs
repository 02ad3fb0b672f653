//! Manifests: one spelling, a quorum, and each member held against what is served.

use hanzo_attestation::config::EngineKind;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_model::{
    Format, ManifestError, ModelFacts, ModelManifest, Publication, SignedModel, Subject, VerifiedModel, WORKING_BYTES,
    sign,
};
use hanzo_policy::release::{ReleaseKey, ReleaseKeys};
use hanzo_pqc::sign::{SEED_LEN, SignatureSuite, SigningKeys};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn keys(seed: u8) -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[seed; SEED_LEN]).unwrap()
}

fn public(seed: u8) -> ReleaseKey {
    ReleaseKey::of(name(&format!("holder-{seed}")), keys(seed).verifying_keys()).unwrap()
}

fn set() -> ReleaseKeys {
    ReleaseKeys {
        keys: [1, 2, 3].map(public).to_vec(),
        threshold: 2,
    }
}

fn facts() -> ModelFacts {
    ModelFacts {
        format: Format::Gguf,
        architecture: "llama".into(),
        title: None,
        licence: None,
        context_tokens: Some(8192),
        layers: Some(30),
        vocabulary: Some(49_152),
        parameters: 134_515_008,
        tensors: 272,
        weights_bytes: 91_000_000,
        encodings: Vec::new(),
        bytes_per_token: Some(23_040),
        gguf_tokenizer_sha256: Some(Digest256([1; 32])),
        tokenizer_json_sha256: Some(Digest256([2; 32])),
        chat_template_sha256: Some(Digest256([3; 32])),
    }
}

fn publication() -> Publication {
    Publication {
        name: name("smollm2"),
        version: 1,
        licence: "Apache-2.0".into(),
        minimum_tier: 2,
        engine: None,
        context_tokens: None,
        life: (UnixTime(1_000), UnixTime(2_000)),
        weights_root: Digest256([4; 32]),
    }
}

fn manifest() -> ModelManifest {
    ModelManifest::draft(&facts(), publication()).unwrap()
}

fn signed(manifest: &ModelManifest, seeds: &[u8]) -> SignedModel {
    let signatures = seeds
        .iter()
        .map(|seed| sign(manifest, &keys(*seed), public(*seed).id()).unwrap())
        .collect();
    SignedModel::new(manifest.clone(), signatures)
}

fn verified() -> VerifiedModel {
    signed(&manifest(), &[1, 3]).verify(&set()).unwrap()
}

#[test]
fn a_draft_says_what_the_files_say_and_one_that_cannot_is_refused() {
    let drafted = manifest();
    assert_eq!(drafted.engine, EngineKind::LlamaCpp);
    assert_eq!(drafted.tokenizer_sha256, Digest256([1; 32]));
    assert_eq!(drafted.memory_bytes, 91_000_000 + WORKING_BYTES);
    assert_eq!(drafted.memory_for(100), 91_000_000 + WORKING_BYTES + 2_304_000);
    let on_mistral = Publication {
        engine: Some(EngineKind::MistralRs),
        ..publication()
    };
    let other = ModelManifest::draft(&facts(), on_mistral).unwrap();
    assert_eq!(other.tokenizer_sha256, Digest256([2; 32]));
    assert_eq!(other.memory_bytes, 2 * 91_000_000 + WORKING_BYTES);
    type Change = fn(&mut ModelFacts);
    let unknown: [(&str, Change); 3] = [
        ("chat_template_sha256", |f| f.chat_template_sha256 = None),
        ("tokenizer_sha256", |f| f.gguf_tokenizer_sha256 = None),
        ("context_tokens", |f| f.context_tokens = None),
    ];
    for (member, change) in unknown {
        let mut facts = facts();
        change(&mut facts);
        match ModelManifest::draft(&facts, publication()).unwrap_err() {
            ManifestError::Unknown { field, .. } => assert_eq!(field, member),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn one_spelling_is_read_and_values_out_of_range_are_refused_by_name() {
    let bytes = manifest().canonical().unwrap();
    assert_eq!(ModelManifest::parse(&bytes).unwrap(), manifest());
    let text = String::from_utf8(bytes).unwrap();
    for (from, to, code) in [
        ("{\"arch", "{ \"arch", "model.manifest.not_canonical"),
        ("\"version\":1", "\"version\":1,\"x\":1", "model.manifest.malformed"),
        ("\"version\":1,", "", "model.manifest.malformed"),
        ("\"version\":1", "\"version\":0", "model.manifest.value"),
        ("hanzo.model.v1", "hanzo.model.v2", "model.manifest.value"),
        ("\"minimum_tier\":2", "\"minimum_tier\":5", "model.manifest.value"),
        (
            "\"context_tokens\":8192",
            "\"context_tokens\":63",
            "model.manifest.value",
        ),
        ("\"not_after\":2000", "\"not_after\":1000", "model.manifest.value"),
        ("Apache-2.0", "", "model.manifest.value"),
        ("Apache-2.0", "Apache\u{202e}", "model.manifest.value"),
        ("\"llama\"", "\"\"", "model.manifest.value"),
        ("llama.cpp", "vllm", "model.manifest.malformed"),
        ("\"gguf\"", "\"pickle\"", "model.manifest.malformed"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let error = ModelManifest::parse(changed.as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, 10), "{to}: {error}");
    }
    let long = vec![b' '; hanzo_model::MANIFEST_BYTES_MAX + 1];
    assert_eq!(
        ModelManifest::parse(&long).unwrap_err().code(),
        "model.manifest.too_large"
    );
}

#[test]
fn a_quorum_of_the_pinned_keys_makes_a_manifest_count_and_nothing_less() {
    let good = signed(&manifest(), &[1, 3]);
    let bytes = good.canonical().unwrap();
    let read = SignedModel::parse(&bytes).unwrap();
    assert_eq!(read, good);
    let signers: Vec<_> = read
        .verify(&set())
        .unwrap()
        .signers()
        .iter()
        .map(Name::to_string)
        .collect();
    assert_eq!(signers, ["holder-1", "holder-3"]);
    // As it stands on a disk.
    assert_eq!(SignedModel::parse(&[&bytes[..], &[0; 512]].concat()).unwrap(), good);
    assert_eq!(
        SignedModel::parse(&[&bytes[..], b"x"].concat()).unwrap_err().code(),
        "model.manifest.malformed"
    );

    for (seeds, code) in [
        (&[1][..], "model.manifest.quorum"),
        (&[1, 9], "model.manifest.quorum"),
        (&[1, 1], "model.manifest.signature.repeated"),
        (&[], "model.manifest.quorum"),
    ] {
        let error = signed(&manifest(), seeds).verify(&set()).unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (code, 20), "{seeds:?}");
    }
    let mut changed = signed(&manifest(), &[1, 3]);
    changed.manifest.minimum_tier = 0;
    let error = changed.verify(&set()).unwrap_err();
    assert_eq!(error.code(), "model.manifest.signature.invalid");
    // A release key's signature over the same bytes is another domain's.
    let foreign = keys(3)
        .sign(hanzo_pqc::Domain::ReleaseManifest, &manifest().canonical().unwrap())
        .unwrap();
    let mut mixed = signed(&manifest(), &[1, 3]);
    mixed.signatures[1].ml_dsa = foreign.ml_dsa_hex();
    mixed.signatures[1].ed25519 = foreign.ed25519_hex();
    assert_eq!(
        mixed.verify(&set()).unwrap_err().code(),
        "model.manifest.signature.invalid"
    );
}

#[test]
fn it_counts_from_its_first_to_its_last_second() {
    for (now, is_good) in [(939, false), (940, true), (1_000, true), (2_000, true), (2_001, false)] {
        let checked = verified().check_time(UnixTime(now));
        assert_eq!(checked.is_ok(), is_good, "{now}");
        if let Err(error) = checked {
            assert_eq!((error.code(), error.exit_code()), ("model.manifest.time", 30));
        }
    }
}

#[test]
fn each_member_is_held_against_what_is_served() {
    let (model, root) = (name("smollm2"), Digest256([4; 32]));
    let good = Subject {
        name: &model,
        weights_root: &root,
        base_root: None,
        context_tokens: 8192,
        tier: 2,
        engine: Some(EngineKind::LlamaCpp),
    };
    verified().check_subject(&good).unwrap();
    verified().check_subject(&Subject { engine: None, ..good }).unwrap();
    let (other, other_root) = (name("other"), Digest256([5; 32]));
    for (field, subject) in [
        ("name", Subject { name: &other, ..good }),
        (
            "weights_root",
            Subject {
                weights_root: &other_root,
                ..good
            },
        ),
        (
            "base_root",
            Subject {
                base_root: Some(&other_root),
                ..good
            },
        ),
        (
            "context_tokens",
            Subject {
                context_tokens: 8193,
                ..good
            },
        ),
        ("minimum_tier", Subject { tier: 1, ..good }),
        (
            "engine",
            Subject {
                engine: Some(EngineKind::MistralRs),
                ..good
            },
        ),
    ] {
        differs(verified().check_subject(&subject), field);
    }

    verified().check_facts(&facts()).unwrap();
    type Change = fn(&mut ModelFacts);
    let twins: [(&str, Change); 5] = [
        ("format", |f| f.format = Format::Safetensors),
        ("architecture", |f| f.architecture = "qwen2".into()),
        ("tokenizer_sha256", |f| {
            f.gguf_tokenizer_sha256 = f.tokenizer_json_sha256
        }),
        ("tokenizer_sha256", |f| f.gguf_tokenizer_sha256 = None),
        ("chat_template_sha256", |f| {
            f.chat_template_sha256 = Some(Digest256([9; 32]))
        }),
    ];
    for (field, change) in twins {
        let mut other = facts();
        change(&mut other);
        differs(verified().check_facts(&other), field);
    }

    let needed = verified().manifest().memory_for(2048);
    verified().check_memory(2048, needed).unwrap();
    let error = verified().check_memory(2048, needed - 1).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("model.memory", 40));
}

fn differs(checked: Result<(), ManifestError>, member: &str) {
    match checked.unwrap_err() {
        ManifestError::Differs { field, .. } => assert_eq!(field, member),
        other => panic!("{member}: {other}"),
    }
}
