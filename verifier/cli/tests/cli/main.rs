//! The binary from outside: exit codes, texts and JSON, each accepted case beside its nearest refused twins.

mod aci;
mod logs;
mod ratls;
mod receipts;
mod witness;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use hanzo_attestation::bundle::{Bundle, CpuEvidence};
use hanzo_attestation::freshness::{window_nonce, window_path};
use hanzo_attestation::keyset::{KemKey, Keyset, ServedModel, SignaturePair, SignerKeys, capability_digest};
use hanzo_attestation::statement::Statement;
use hanzo_attestation::{Digest256, Digest384, Nonce, UnixTime, jcs, name::Name};
use hanzo_client::receipts::{BundleRecord, ReceiptRecord};
use hanzo_log::{LogKey, Origin};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, SnpPolicy, SnpReference, TcbFloors};
use hanzo_pqc::Domain;
use hanzo_pqc::sign::{NoteSigningKeys, SignatureSuite, SigningKeys};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor, simulated_measurement};
use hanzo_verifier::receipt::*;
use serde_json::Value;

const CHALLENGE: Nonce = Nonce([0x5a; 32]);
const IMAGE: Digest384 = Digest384([0x11; 48]);
const REQUEST: &[u8] = b"the request";
const RESPONSE: &[u8] = b"the response";
const ID: &str = "07070707070707070707070707070707";

struct Files {
    dir: tempfile::TempDir,
    now: u64,
    policy: AppraisalPolicy,
    keyset: Keyset,
    bundle: Vec<u8>,
    ark: Vec<u8>,
}

fn keys() -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[1; 64]).unwrap()
}

fn log_keys() -> NoteSigningKeys {
    NoteSigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[3; 64]).unwrap()
}

/// The log that the guest's receipts stand in.
fn log_key() -> LogKey {
    LogKey::of(Origin::new("example/receipts").unwrap(), log_keys().verifying_keys())
}

impl Files {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let processor = SimulatedProcessor::for_tests();
        let config = "version = 1\n";
        let spec = LaunchSpec::new(IMAGE, Digest256::of(config.as_bytes()));
        let public = keys().verifying_keys().clone();
        let name = |n| Name::new(n).unwrap();
        let keyset = Keyset {
            capability_digest: capability_digest(&[]).unwrap(),
            channel_key: KemKey {
                public_key: "aa".repeat(1216),
                suite: "x-wing".into(),
            },
            config_digest: spec.config_digest,
            image: name("0.1.0"),
            issued_at: now - 10,
            models: vec![ServedModel {
                base_root: None,
                chat_template_sha256: Digest256([1; 32]),
                counted_by: None,
                name: name("smollm2"),
                tokenizer_sha256: Digest256([2; 32]),
                weights_root: Digest256([3; 32]),
            }],
            not_after: now + 7200,
            ohttp_keys: vec![],
            policy_digest: Digest384::of(b""),
            receipt_keys: SignerKeys {
                ed25519: public.ed25519_hex(),
                ml_dsa: public.ml_dsa_hex(),
                suite: public.suite().name().into(),
            },
            log: Some(log_key().to_keyset()),
            signer_keys: vec![],
            simulated: true,
            tier: 2,
            time: "host".into(),
            tls_spki_sha256: Digest256([4; 32]),
            version: 1,
        };
        let nonce = window_nonce(&[CHALLENGE]);
        let statement = Statement::for_cpu(keyset.digest().unwrap(), nonce, Statement::no_devices());
        let tcb = spec.tcb;
        let guest = processor.launch(spec).with_crl(processor.crl_der(UnixTime(now)));
        let bundle = Bundle {
            collateral: Default::default(),
            capabilities: vec![],
            config: config.into(),
            cpu: CpuEvidence::Snp(guest.evidence(&statement.report_data().unwrap())),
            devices: vec![],
            freshness: window_path(&[CHALLENGE], 0),
            keyset: keyset.clone(),
            nonce,
            policy: String::new(),
            version: 1,
        };
        let floors = TcbFloors {
            genoa: Some(EpycTcb {
                bootloader: tcb.bootloader,
                tee: tcb.tee,
                snp: tcb.snp,
                microcode: tcb.microcode,
            }),
            ..TcbFloors::default()
        };
        let reference = SnpReference {
            name: name("healthy"),
            measurement: simulated_measurement(&IMAGE, &keyset.config_digest),
            config_digest: keyset.config_digest,
        };
        let policy =
            AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
            now,
            policy,
            keyset,
            bundle: bundle.canonical().unwrap(),
            ark: processor.ark_der().to_vec(),
        };
        files.put("bundle.json", &files.bundle);
        files.put("policy.toml", files.policy.to_toml().unwrap().as_bytes());
        files.put("ark.der", &files.ark);
        files.put("request", REQUEST);
        files.put("response", RESPONSE);
        files
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs the binary in the directory of the files; words are split at spaces.
    fn run(&self, line: &str) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env_remove("XDG_STATE_HOME")
            .env("HOME", self.dir.path())
            .output()
            .unwrap();
        Ran::of(output)
    }

    fn receipt(&self) -> DisclosedReceipt {
        let salts = Salts {
            request: Salt([8; 32]),
            response: Salt([9; 32]),
        };
        let digest = self.keyset.digest().unwrap();
        let model = &self.keyset.models[0];
        let receipt = Receipt {
            base_root: None,
            chat_template_sha256: model.chat_template_sha256,
            completion_tokens: 2,
            counted_by: None,
            id: ReceiptId::from_hex(ID).unwrap(),
            keyset_digest: digest,
            model: model.name.clone(),
            outcome: Outcome::Complete,
            prev: digest,
            prompt_tokens: 3,
            request_commitment: commitment(&salts.request, REQUEST),
            response_commitment: commitment(&salts.response, RESPONSE),
            sampling: Sampling {
                max_tokens: 64,
                seed: Some(7),
                temperature_micros: 700_000,
                top_p_micros: 1_000_000,
            },
            seq: 0,
            simulated: true,
            tier: 2,
            time: self.now,
            time_source: "host".into(),
            tokenizer_sha256: model.tokenizer_sha256,
            transport: TRANSPORT_TLS.into(),
            version: 1,
            weights_root: model.weights_root,
            work: None,
        };
        let signature = keys().sign(Domain::Receipt, &receipt.canonical().unwrap()).unwrap();
        let signature = SignaturePair {
            ed25519: signature.ed25519_hex(),
            ml_dsa: signature.ml_dsa_hex(),
        };
        SignedReceipt { receipt, signature }.disclose(salts)
    }

    /// What `connect` keeps.
    fn keep(&self, receipt: &DisclosedReceipt) {
        let record = ReceiptRecord {
            checked: "verified".into(),
            disclosed: receipt.clone(),
            saved_at: self.now,
            version: 1,
        };
        let how = BundleRecord {
            challenge: CHALLENGE,
            crls: vec![],
            policy: self.policy.clone(),
            release: None,
            simulator_arks: vec![hanzo_attestation::bundle::Base64(self.ark.clone())],
            verified_at: self.now,
            version: 1,
        };
        let digest = self.keyset.digest().unwrap();
        self.put(
            &format!(".local/state/hanzo/receipts/{}.json", receipt.receipt.id),
            &jcs::to_vec("record", &record).unwrap(),
        );
        self.put(&format!(".local/state/hanzo/bundles/{digest}.json"), &self.bundle);
        self.put(
            &format!(".local/state/hanzo/bundles/{digest}.meta.json"),
            &jcs::to_vec("how", &how).unwrap(),
        );
        for dir in ["", "receipts", "bundles"] {
            use std::os::unix::fs::PermissionsExt as _;
            let path = self.dir.path().join(".local/state/hanzo").join(dir);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn is(self, code: i32, words: &[&str]) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{all}");
        for word in words {
            assert!(all.contains(word), "{word} in {all}");
        }
        self
    }
}

const TRUST: &str = "--policy policy.toml --simulator-root ark.der";

#[test]
fn a_bundle_with_its_challenge_is_accepted_and_each_twin_has_its_exit_code() {
    let files = Files::new();
    let verify = format!("verify bundle.json {TRUST}");
    let good = format!("{verify} --challenge {CHALLENGE}");
    files.run(&good).is(
        0,
        &[
            "ACCEPTED: tier 2 (CpuTee)",
            "SIMULATED",
            "healthy",
            "smollm2",
            "own challenge",
        ],
    );
    files.run(&format!("{good} --at {}", files.now)).is(0, &["ACCEPTED"]);
    files.run(&verify).is(30, &["freshness.none", "->"]);
    let other = Nonce([1; 32]);
    files
        .run(&format!("{verify} --challenge {other}"))
        .is(30, &["freshness.foreign_challenge"]);
    files
        .run(&format!("{good} --at {}", files.now + 7201))
        .is(30, &["keyset.expired"]);
    files
        .run(&format!(
            "verify bundle.json --policy policy.toml --challenge {CHALLENGE}"
        ))
        .is(20, &["snp.chain.root"]);
    files.put("cut.json", &files.bundle[..100]);
    files
        .run(&format!("verify cut.json {TRUST} --challenge {CHALLENGE}"))
        .is(10, &["bundle.malformed"]);
    let mut policy = files.policy.clone();
    let snp = policy.snp.as_mut().unwrap();
    snp.tcb_floor.genoa.as_mut().unwrap().microcode += 1;
    snp.vmpl = vec![3];
    files.put("strict.toml", policy.to_toml().unwrap().as_bytes());
    files
        .run(&format!(
            "verify bundle.json --policy strict.toml --simulator-root ark.der --challenge {CHALLENGE}"
        ))
        .is(
            40,
            &[
                "REFUSED: tier 0",
                "asks for 2 (CpuTee)",
                "snp.tcb.below_floor",
                "snp.vmpl",
                "->",
            ],
        );
}

#[test]
fn json_says_the_same_in_one_document() {
    let files = Files::new();
    let good = files
        .run(&format!("--json verify bundle.json {TRUST} --challenge {CHALLENGE}"))
        .is(0, &[]);
    let document: Value = serde_json::from_str(&good.out).unwrap();
    assert_eq!(document["accepted"], true);
    assert_eq!(document["verdict"]["simulated"], true);
    assert_eq!(document["verdict"]["tier"], 2);
    let bad = files.run(&format!("verify bundle.json {TRUST} --json")).is(30, &[]);
    let document: Value = serde_json::from_str(&bad.out).unwrap();
    assert_eq!(document["error"]["code"], "freshness.none");
    assert_eq!(document["exit_code"], 30);
    assert!(bad.err.is_empty());
}

#[test]
fn usage_and_files_are_exit_1() {
    let files = Files::new();
    files.run("verify").is(1, &["--policy"]);
    files
        .run("verify nothing.json --policy policy.toml")
        .is(1, &["nothing.json", "cli.io"]);
    files
        .run(&format!("verify bundle.json {TRUST} --challenge 5A"))
        .is(1, &["--challenge", "64 lower-case hex"]);
    files
        .run(&format!("verify bundle.json {TRUST} --at noon"))
        .is(1, &["RFC 3339"]);
    files
        .run(&format!("verify http://guest:1 {TRUST}"))
        .is(1, &["https://host:port"]);
    files
        .run(&format!("verify https://127.0.0.1:1 {TRUST} --challenge {CHALLENGE}"))
        .is(1, &["fresh challenge"]);
    files
        .run(&format!("verify https://127.0.0.1:1 {TRUST}"))
        .is(1, &["endpoint.unreachable"]);
    files.put("bad.toml", b"version = 2\nsurprise = true\n");
    files
        .run("verify bundle.json --policy bad.toml")
        .is(1, &["policy.malformed", "bad.toml"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    files
        .run(&format!("connect --to 127.0.0.1:1 {TRUST} --listen 127.0.0.1:{port}"))
        .is(1, &["connect.port_in_use", &port.to_string()]);
    files.run("--help").is(0, &["Exit codes", "connect"]);
    files.run("completions bash").is(0, &["hanzo-verify"]);
}

#[test]
fn inspect_shows_every_field_and_trusts_none() {
    let files = Files::new();
    let digest = files.keyset.digest().unwrap().to_string();
    let measurement = files.policy.snp.as_ref().unwrap().references[0].measurement.to_string();
    files.run("inspect bundle.json").is(
        0,
        &[
            "NOT VERIFIED",
            &digest,
            &measurement,
            "challenge_leads_to_nonce",
            "reported_tcb",
            "version = 1",
        ],
    );
    let json = files.run("inspect bundle.json --json").is(0, &[]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["verified"], false);
    assert_eq!(document["evidence"]["report"]["measurement"], measurement);
    files.run("inspect policy.toml").is(10, &["evidence.unrecognised"]);
    files.run("inspect bundle.json --format cbor").is(1, &["--format"]);
    let bundle: Value = serde_json::from_slice(&files.bundle).unwrap();
    let report = base64::engine::general_purpose::STANDARD
        .decode(bundle["cpu"]["report"].as_str().unwrap())
        .unwrap();
    files.put("report.bin", &report);
    files
        .run("inspect report.bin")
        .is(0, &["snp-report", &measurement, "NOT VERIFIED"]);
}

#[test]
fn explain_shows_every_step_and_rule_and_exits_as_the_verdict_does() {
    let files = Files::new();
    let challenge = CHALLENGE.to_string();
    let healthy = files
        .run(&format!(
            "explain bundle.json {TRUST} --challenge {challenge} --html page.html"
        ))
        .is(
            0,
            &[
                "ACCEPTED",
                "MEASUREMENT",
                "ok   ",
                "rules of the policy",
                "SIMULATED",
                "page written",
            ],
        );
    assert!(!healthy.out.contains("FAIL"), "{}", healthy.out);
    let page = std::fs::read_to_string(files.dir.path().join("page.html")).unwrap();
    for part in [
        "Accepted",
        "default-src 'none'",
        "Chain of trust",
        "Rules of the policy",
        "SIMULATED",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("src="),
        "self-contained"
    );
    let json = files
        .run(&format!("--json explain bundle.json {TRUST} --challenge {challenge}"))
        .is(0, &[]);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    let rules = document["explanation"]["rules"].as_array().unwrap();
    assert!(
        rules.len() > 20 && rules.iter().all(|r| r["failures"].is_array()),
        "{rules:?}"
    );
    // As somebody else's bundle: apart from freshness.
    files
        .run(&format!("explain bundle.json {TRUST}"))
        .is(0, &["answers nobody's challenge"]);
    files
        .run("explain bundle.json --policy policy.toml --html page.html")
        .is(20, &["FAIL", "snp.chain.root", "--   bind"]);
    assert!(
        std::fs::read_to_string(files.dir.path().join("page.html"))
            .unwrap()
            .contains("Refused")
    );
    let other = "33".repeat(32);
    files
        .run(&format!("explain bundle.json {TRUST} --challenge {other}"))
        .is(30, &["freshness.foreign_challenge"]);
    let mut policy = files.policy.clone();
    policy.snp.as_mut().unwrap().references.clear();
    files.put("none.toml", policy.to_toml().unwrap().as_bytes());
    files
        .run(&format!(
            "explain bundle.json --policy none.toml --simulator-root ark.der --challenge {challenge} --html page.html"
        ))
        .is(40, &["FAIL", "snp.measurement"]);
    let page = std::fs::read_to_string(files.dir.path().join("page.html")).unwrap();
    assert!(
        page.contains("class=\"fail\"") && page.contains("class=\"pass\""),
        "red and green"
    );
}

#[test]
fn evidence_that_is_not_a_bundle_is_verified_by_its_own_rules() {
    let files = Files::new();
    let bundle: Value = serde_json::from_slice(&files.bundle).unwrap();
    let part = |name: &str| {
        base64::engine::general_purpose::STANDARD
            .decode(bundle["cpu"][name].as_str().unwrap())
            .unwrap()
    };
    let mut report = part("report");
    files.put("report.bin", &report);
    files.put("vek.der", &part("vek"));
    files.put("ask.der", &part("ask"));
    files.put("crl.der", &part("crl"));
    let given = "--vek vek.der --ask ask.der --crl crl.der";
    let data = hex::encode(&report[0x50..0x90]);
    files
        .run(&format!("verify report.bin {given} {TRUST} --report-data {data}"))
        .is(0, &["ACCEPTED", "snp-report", "SIMULATED"]);
    files
        .run(&format!("verify report.bin {given} {TRUST}"))
        .is(0, &["nothing that the caller drew"]);
    report[0x50] ^= 1;
    let other = hex::encode(&report[0x50..0x90]);
    report[0x50] ^= 1;
    files
        .run(&format!("verify report.bin {given} {TRUST} --report-data {other}"))
        .is(30, &["REFUSED"]);
    files
        .run(&format!("verify report.bin {TRUST}"))
        .is(10, &["VCEK or VLEK"]);
    report[0x90] ^= 1;
    files.put("report.bin", &report);
    files
        .run(&format!("verify report.bin {given} {TRUST}"))
        .is(20, &["snp.signature.invalid"]);
}

#[test]
fn policies_are_written_checked_and_compared() {
    let files = Files::new();
    for kind in ["snp", "tdx", "tpm", "snp-gpu", "all", "open"] {
        files
            .run(&format!("policy init --for {kind} --out {kind}.toml"))
            .is(0, &["written"]);
        files.run(&format!("policy check {kind}.toml")).is(0, &["well-formed"]);
    }
    files.run("policy init --for snp --out snp.toml").is(1, &["snp.toml"]);
    files.run("policy init --for sgx").is(1, &["--for"]);
    files.put("bad.toml", b"version = 1\n");
    files.run("policy check bad.toml").is(1, &["bad.toml"]);
    files
        .run("policy diff policy.toml policy.toml")
        .is(0, &["ask the same"]);
    let mut policy = files.policy.clone();
    policy.snp.as_mut().unwrap().references.clear();
    files.put("none.toml", policy.to_toml().unwrap().as_bytes());
    files.run("policy diff policy.toml none.toml").is(0, &["narrower"]);
    files.run("policy diff none.toml policy.toml").is(40, &["WIDER"]);
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let files = Files::new();
    files.run("man").is(0, &[".TH"]);
    files.run("man --out pages").is(0, &["pages"]);
    for page in [
        "hanzo-verify.1",
        "hanzo-verify-verify.1",
        "hanzo-verify-explain.1",
        "hanzo-verify-log.1",
        "hanzo-verify-policy-diff.1",
    ] {
        assert!(files.dir.path().join("pages").join(page).exists(), "{page}");
    }
}

#[test]
fn text_from_evidence_cannot_drive_the_terminal_nor_pass_for_ours() {
    let files = Files::new();
    let mut bundle: Value = serde_json::from_slice(&files.bundle).unwrap();
    let forged = "# \u{1b}[2J\u{9b}2J\u{202e}\nACCEPTED: tier 4, the policy asks for 2\n";
    bundle["config"] = Value::String(forged.into());
    files.put("forged.json", &jcs::to_vec("bundle", &bundle).unwrap());
    for line in ["inspect forged.json", "--json inspect forged.json"] {
        let ran = files.run(line).is(0, &["ACCEPTED"]);
        assert!(!ran.out.lines().any(|l| l.starts_with("ACCEPTED")), "{}", ran.out);
        for steering in ['\u{1b}', '\u{9b}', '\u{202e}'] {
            assert!(!ran.out.contains(steering), "{steering:?} in {}", ran.out);
        }
    }
}

#[test]
fn wrong_addresses_and_files_are_told_apart() {
    let files = Files::new();
    files.put("large", &vec![b' '; (2 << 20) + 1]);
    let trust = "--policy policy.toml --simulator-root ark.der";
    for (line, code, word) in [
        ("verify http://127.0.0.1:1", 1, "expected https://host:port"),
        ("verify https://127.0.0.1", 1, "endpoint.malformed"),
        ("verify 127.0.0.1:1", 1, "https:// before the address"),
        ("verify https://127.0.0.1:1", 1, "endpoint.unreachable"),
        ("verify .", 1, "cannot read ."),
        ("verify nothing.json", 1, "cannot read nothing.json"),
        ("verify large", 10, "bundle.too_large"),
        ("verify policy.toml", 10, "evidence.unrecognised"),
        ("connect --to 127.0.0.1:1 --listen 0.0.0.0:0", 1, "connect.exposed"),
    ] {
        files.run(&format!("{line} {trust}")).is(code, &[word]);
    }
    files
        .run("verify bundle.json --policy none.toml")
        .is(1, &["cannot read none.toml"]);
    files.run("verify bundle.json").is(1, &["--policy"]);
}
