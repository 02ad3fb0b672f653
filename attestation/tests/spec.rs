//! The worked example of `SPEC.md`: its numbers are recomputed here, and its bundle is verified.
//!
//! `tests/vectors/` was written by this file: `HANZO_WRITE_VECTORS=1 cargo test -p hanzo-attestation --test spec`.

use std::path::{Path, PathBuf};

use hanzo_attestation::binding::{RcarRuntime, bind_keyset, bind_rcar};
use hanzo_attestation::bundle::SharedBundle;
use hanzo_attestation::bundle::{Bundle, CpuEvidence};
use hanzo_attestation::channel::proof_info;
use hanzo_attestation::config::Config;
use hanzo_attestation::freshness::{Window, window_nonce, window_path};
use hanzo_attestation::jcs;
use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignerKeys, capability_digest};
use hanzo_attestation::name::Name;
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{
    Anchors, Authentic, Binding, Claims, Collateral, Digest256, Digest384, Nonce, RawEvidence, Revocation, UnixTime,
};
use hanzo_simulated_tee::{LaunchSpec, SimulatedGuest, SimulatedProcessor, simulated_measurement};

/// 2025-09-01T00:00:00Z.
const ISSUED_AT: u64 = 1_756_684_800;
const NOW: UnixTime = UnixTime(ISSUED_AT + 60);
const POLICY: &str = "admit = \"anyone\"\n";
const IMAGE_DIGEST: Digest384 = Digest384([0x11; 48]);

fn config_text() -> String {
    format!(
        r#"version = 1
operator = "example"
image = "0.1.0"
required_tier = 2
keyset_lifetime_s = 3600
auth = "none"

[kbs]
grant_lifetime_s = 60

[kbs.signer]
suite = "ml-dsa-65"
ml_dsa = "{}"
ed25519 = "{}"

[store]
id = "receipts"
key_id = "hanzo/store/receipts"

[[models]]
name = "smollm2-135m"
weights_root = "{}"
key_id = "hanzo/dek/smollm2-135m"
context_tokens = 2048

[limits]
body_bytes_max = 1048576
concurrent_requests = 4
request_timeout_s = 300
"#,
        "d4".repeat(1952),
        "e5".repeat(32),
        "22".repeat(32)
    )
}

fn capabilities() -> Vec<Name> {
    ["chat-completions", "models", "receipts"]
        .map(|n| Name::new(n).unwrap())
        .to_vec()
}

fn challenges() -> [Nonce; 3] {
    [Nonce([1; 32]), Nonce([2; 32]), Nonce([3; 32])]
}

fn keyset() -> Keyset {
    Keyset {
        capability_digest: capability_digest(&capabilities()).unwrap(),
        channel_key: KemKey {
            public_key: "a1".repeat(1216),
            suite: "x-wing".into(),
        },
        config_digest: Digest256::of(config_text().as_bytes()),
        image: Name::new("0.1.0").unwrap(),
        issued_at: ISSUED_AT,
        models: vec![ServedModel {
            base_root: None,
            chat_template_sha256: Digest256([0x44; 32]),
            counted_by: None,
            name: Name::new("smollm2-135m").unwrap(),
            tokenizer_sha256: Digest256([0x33; 32]),
            weights_root: Digest256([0x22; 32]),
        }],
        not_after: ISSUED_AT + 3600,
        ohttp_keys: vec![],
        policy_digest: Digest384::of(POLICY.as_bytes()),
        receipt_keys: SignerKeys {
            ed25519: "c3".repeat(32),
            ml_dsa: "b2".repeat(1952),
            suite: "ml-dsa-65".into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: true,
        tier: 2,
        time: "host".into(),
        tls_spki_sha256: Digest256([0x55; 32]),
        version: 1,
    }
}

fn statement() -> Statement {
    Statement::for_cpu(
        keyset().digest().unwrap(),
        window_nonce(&challenges()),
        Statement::no_devices(),
    )
}

fn guest(processor: &SimulatedProcessor) -> SimulatedGuest {
    let config_digest = Digest256::of(config_text().as_bytes());
    processor
        .launch(LaunchSpec::new(IMAGE_DIGEST, config_digest))
        .with_crl(processor.crl_der(UnixTime(ISSUED_AT)))
}

fn fresh_bundle() -> Bundle {
    let processor = SimulatedProcessor::for_tests();
    let report_data = statement().report_data().unwrap();
    Bundle {
        collateral: Default::default(),
        capabilities: capabilities(),
        config: config_text(),
        cpu: CpuEvidence::Snp(guest(&processor).evidence(&report_data)),
        devices: vec![],
        freshness: window_path(&challenges(), 1),
        keyset: keyset(),
        nonce: window_nonce(&challenges()),
        policy: POLICY.into(),
        version: 1,
    }
}

fn vectors() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

/// The file of this name; written first if that was asked for.
fn vector(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = vectors().join(name);
    if std::env::var_os("HANZO_WRITE_VECTORS").is_some() {
        std::fs::write(&path, make()).unwrap();
    }
    std::fs::read(&path).unwrap()
}

fn stored_bundle() -> Bundle {
    Bundle::parse(&vector("bundle.json", || fresh_bundle().canonical().unwrap())).unwrap()
}

fn authentic(bundle: &Bundle) -> Authentic<Claims> {
    let ark = vector("simulator_ark.der", || {
        SimulatedProcessor::for_tests().ark_der().to_vec()
    });
    let anchors = Anchors::vendor().with_simulator_ark(ark);
    let parsed = RawEvidence::from(bundle.cpu.clone()).parse().unwrap();
    parsed.authenticate(&anchors, &Collateral::default(), NOW).unwrap()
}

#[test]
fn every_number_of_the_specification_is_what_the_code_computes() {
    let spec = include_str!("../SPEC.md");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let keyset = keyset();
    let nonce = window_nonce(&challenges());
    let path = window_path(&challenges(), 1).unwrap();
    let statement = statement();
    let tee_pubkey = serde_json::json!({"alg": "hanzo-hpke-x-wing", "kty": "AKP", "pub": "oaGh"});
    let rcar = RcarRuntime {
        additional_evidence: "",
        nonce: "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=",
        tee_pubkey: &tee_pubkey,
    };
    let info = proof_info(&[4; 32], &keyset.digest().unwrap());
    let values = [
        ("config_digest", keyset.config_digest.to_string()),
        (
            "capabilities",
            text(jcs::to_vec("capabilities", &capabilities()).unwrap()),
        ),
        ("capability_digest", keyset.capability_digest.to_string()),
        ("policy_digest", keyset.policy_digest.to_string()),
        ("keyset bytes", keyset.canonical().unwrap().len().to_string()),
        ("keyset_digest", keyset.digest().unwrap().to_string()),
        ("nonce", nonce.to_string()),
        ("path[0]", path.path[0].to_string()),
        ("path[1]", path.path[1].to_string()),
        ("no devices", Statement::no_devices().to_string()),
        ("statement", text(statement.canonical().unwrap())),
        ("REPORT_DATA", hex::encode(statement.report_data().unwrap())),
        (
            "measurement",
            simulated_measurement(&IMAGE_DIGEST, &keyset.config_digest).to_string(),
        ),
        ("channel info", text(info.clone())),
        ("channel info digest", Digest256::of(&info).to_string()),
        ("RCAR digest", rcar.digest().unwrap().to_string()),
    ];
    let missing: Vec<_> = values.into_iter().filter(|(_, value)| !spec.contains(value)).collect();
    assert!(missing.is_empty(), "SPEC.md lacks {missing:#?}");
}

#[test]
fn the_stored_example_is_the_one_that_is_described() {
    let stored = stored_bundle();
    let fresh = fresh_bundle();
    // Signatures are hedged: evidence alone may differ from what is made now.
    let stored_without_cpu = Bundle {
        cpu: fresh.cpu.clone(),
        ..stored.clone()
    };
    assert_eq!(stored_without_cpu, fresh);
    let config = vector("config.toml", || config_text().into_bytes());
    assert_eq!(config, config_text().into_bytes());
    Config::from_measured(&config, &stored.keyset.config_digest).unwrap();
}

#[test]
fn the_worked_example_binds_to_its_challenge_and_to_no_other() {
    let bundle = stored_bundle();
    let [first, second, _] = challenges();
    let authentic_now = || authentic(&bundle);
    assert!(authentic_now().is_simulated());
    assert!(matches!(authentic_now().revocation(), Revocation::Checked { .. }));
    let bound = bind_keyset(
        authentic_now(),
        hanzo_attestation::AuthenticDevices::none(),
        &bundle,
        Some(&second),
        Some(NOW),
    )
    .unwrap();
    let keyset_digest = keyset().digest().unwrap();
    assert_eq!(
        bound.binding(),
        &Binding::Keyset {
            keyset_digest,
            challenged: true
        }
    );

    let code = |bundle: &Bundle, challenge: Option<&Nonce>, now: u64| {
        bind_keyset(
            authentic_now(),
            hanzo_attestation::AuthenticDevices::none(),
            bundle,
            challenge,
            Some(UnixTime(now)),
        )
        .map_or_else(|e| e.code(), |_| "bound")
    };
    let changed = |edit: &dyn Fn(&mut Bundle)| {
        let mut changed = bundle.clone();
        edit(&mut changed);
        code(&changed, Some(&second), NOW.0)
    };
    assert_eq!(code(&bundle, Some(&second), NOW.0), "bound");
    // Somebody else's challenge of the same window; a challenge never asked; a bundle without path is not fresh.
    assert_eq!(code(&bundle, Some(&first), NOW.0), "freshness.foreign_challenge");
    assert_eq!(
        code(&bundle, Some(&Nonce([9; 32])), NOW.0),
        "freshness.foreign_challenge"
    );
    let mut unasked = bundle.clone();
    unasked.freshness = None;
    let bound = bind_keyset(
        authentic_now(),
        hanzo_attestation::AuthenticDevices::none(),
        &unasked,
        Some(&second),
        Some(NOW),
    )
    .unwrap();
    assert_eq!(
        bound.binding(),
        &Binding::Keyset {
            keyset_digest,
            challenged: false
        }
    );
    // A path that was rewritten for another challenge.
    assert_eq!(changed(&|b| b.freshness.as_mut().unwrap().index = 0), "freshness.path");
    assert_eq!(changed(&|b| b.nonce = Nonce([9; 32])), "binding.report_data");
    // Another keyset, config, policy, capability list, or life.
    assert_eq!(
        changed(&|b| b.keyset.tls_spki_sha256 = Digest256([0; 32])),
        "binding.report_data"
    );
    assert_eq!(changed(&|b| b.keyset.tier = 1), "binding.report_data");
    assert_eq!(changed(&|b| b.config.push('\n')), "bundle.config_digest");
    assert_eq!(changed(&|b| b.policy.push('\n')), "bundle.policy_digest");
    assert_eq!(changed(&|b| b.capabilities.truncate(2)), "bundle.capability_digest");
    assert_eq!(changed(&|b| b.capabilities.reverse()), "bundle.unsupported");
    assert_eq!(changed(&|b| b.version = 2), "bundle.unsupported");
    assert_eq!(changed(&|b| b.keyset.version = 2), "bundle.unsupported");
    assert_eq!(code(&bundle, Some(&second), ISSUED_AT + 3600), "bound");
    assert_eq!(code(&bundle, Some(&second), ISSUED_AT + 3601), "keyset.expired");
    assert_eq!(code(&bundle, Some(&second), ISSUED_AT - 61), "keyset.lifetime");
}

#[test]
fn a_session_binds_to_its_own_nonce_and_key_whole() {
    let processor = SimulatedProcessor::for_tests();
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    let key = serde_json::json!({"kty": "AKP", "alg": "hanzo-hpke-x-wing", "pub": "oaGh"});
    let swapped = serde_json::json!({"kty": "AKP", "alg": "hanzo-hpke-x-wing", "pub": "oaGi"});
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: "n",
        tee_pubkey: &key,
    };
    let bind = |report_data: [u8; 64], runtime: &RcarRuntime<'_>| {
        let evidence = guest(&processor).evidence(&report_data);
        let authentic = RawEvidence::Snp(evidence)
            .parse()
            .unwrap()
            .authenticate(&anchors, &Collateral::default(), NOW)
            .unwrap();
        bind_rcar(authentic, hanzo_attestation::AuthenticDevices::none(), runtime)
            .map_or_else(|e| e.code(), |_| "bound")
    };
    let good = runtime.report_data().unwrap();
    assert_eq!(bind(good, &runtime), "bound");
    assert_eq!(
        bind(good, &RcarRuntime { nonce: "m", ..runtime }),
        "binding.rcar_report_data"
    );
    assert_eq!(
        bind(
            good,
            &RcarRuntime {
                tee_pubkey: &swapped,
                ..runtime
            }
        ),
        "binding.rcar_report_data"
    );
    assert_eq!(
        bind(
            good,
            &RcarRuntime {
                additional_evidence: "{}",
                ..runtime
            }
        ),
        "binding.rcar_report_data"
    );
    let mut padded = good;
    padded[63] = 1;
    assert_eq!(
        bind(padded, &runtime),
        "binding.rcar_report_data",
        "the zeros count as well"
    );
}

#[test]
fn a_bundle_in_any_other_spelling_is_refused() {
    let bytes = stored_bundle().canonical().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    for bad in [
        text.replacen(',', ", ", 1),
        format!("{text}\n"),
        format!("{{\"version\":1,{}", &text[1..]),
        text.replacen("\"version\":1}", "\"version\":1,\"x\":0}", 1),
        text.replacen("\"devices\":[]", "\"devices\":[],\"devices\":[]", 1),
        text.replacen("\"kind\":\"snp\"", "\"kind\":\"sgx\"", 1),
        text.replacen("0202", "0G02", 1),
        text[..text.len() - 1].to_owned(),
        format!("{text}{}", " ".repeat(1 << 20)),
    ] {
        assert_ne!(bad, text);
        assert!(Bundle::parse(bad.as_bytes()).is_err(), "{}", &bad[..40]);
    }
}

#[test]
fn every_test_that_the_history_of_attacks_names_exists() {
    let history = include_str!("../src/attacks.rs");
    let mut sources = String::new();
    read_sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")), &mut sources);
    // Names of tests are the only quoted words with three underscores or more.
    let named: Vec<_> = history
        .split('`')
        .filter(|w| w.matches('_').count() >= 3 && !w.contains(' '))
        .collect();
    assert!(named.len() > 60, "{named:?}");
    for name in named {
        assert!(
            sources.contains(&format!("fn {name}(")),
            "attacks.rs names {name}, which is no test"
        );
    }
}

/// Every Rust file below a folder, `target` left out.
fn read_sources(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            read_sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            *out += &std::fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn the_shared_pieces_of_a_window_are_each_callers_bundle() {
    let window = Window::new(challenges().to_vec()).unwrap();
    let mut bundle = stored_bundle();
    // Texts that look like the place of the cut do not move it.
    bundle.policy = r#"{"devices":[],"freshness":null,"keyset":{}}"#.into();
    bundle.config = format!("{}\n# ,\"freshness\":null,\"keyset\":", bundle.config);
    let (head, tail) = SharedBundle::of(&bundle).unwrap().into_pieces();
    for index in 0..window.size() {
        let path = window.path(index).unwrap();
        let own = SharedBundle::own_piece(&path).unwrap();
        bundle.freshness = Some(path);
        assert_eq!([&head[..], &own, &tail].concat(), bundle.canonical().unwrap());
    }
    bundle.freshness = None;
    assert_eq!([&head[..], b"null", &tail].concat(), bundle.canonical().unwrap());
}
