//! `hanzo-kbs policy test`, `diff` and `keys`: every exit code, and nothing written.

#[path = "support/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hanzo_attestation::Digest384;
use hanzo_attestation::name::KeyId;
use hanzo_kbs::admin;
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_vault::KeyPolicy;
use harness::{Broker, CONFIG, Guest, block_on, policy};
use serde_json::Value;

const KEY: &str = "hanzo/dek/m";

struct Desk {
    broker: Broker,
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            broker: Broker::simulated(),
            dir: tempfile::tempdir().unwrap(),
        };
        desk.file("root.der", SimulatedProcessor::for_tests().ark_der());
        desk.policy("policy.json", &policy());
        desk
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn policy(&self, name: &str, policy: &KeyPolicy) -> PathBuf {
        self.file(name, &policy.canonical().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hanzo-kbs"))
            .current_dir(self.dir.path())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Exit code and codes of the findings.
    fn test(&self, evidence: &[u8], more: &[&str]) -> (i32, Vec<String>) {
        let evidence = self.file("evidence", evidence);
        let mut arguments = vec!["policy", "test", "--json", "--key", KEY, "--evidence", text(&evidence)];
        arguments.extend(["--simulator-root", "root.der"]);
        arguments.extend(more);
        let output = self.run(&arguments);
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let code = output.status.code().unwrap();
        assert_eq!(said["exit_code"], code);
        assert_eq!(said["would_release"], code == 0);
        let findings = said["findings"].as_array().unwrap();
        let codes = findings
            .iter()
            .map(|f| f["code"].as_str().unwrap().to_owned())
            .collect();
        (code, codes)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_rehearsal_has_the_exit_codes_of_hanzo_verify_and_lists_every_rule() {
    let desk = Desk::new();
    let guest = Guest::new().challenged(desk.broker.address);
    let by_file = ["--policy", "policy.json"];
    assert_eq!(desk.test(&guest.attest, &by_file), (0, vec![]));

    // 40: all rules that say no, not the first.
    let mut bad = policy();
    bad.allow_simulated = false;
    bad.not_after = 5;
    bad.wrap = vec![hanzo_vault::Wrap::Akp];
    bad.minimum_image_version = 7;
    desk.policy("policy.json", &bad);
    let findings = [
        "kbs.simulated",
        "kbs.key.expired",
        "kbs.image.unversioned",
        "kbs.wrap.not_allowed",
    ];
    assert_eq!(
        desk.test(&guest.attest, &by_file),
        (40, findings.map(str::to_owned).to_vec())
    );
    // With --now the end has not come.
    let (_, codes) = desk.test(&guest.attest, &["--policy", "policy.json", "--now", "4"]);
    assert!(!codes.contains(&"kbs.key.expired".to_owned()), "{codes:?}");
    desk.policy("policy.json", &policy());

    let other = Guest::launched(LaunchSpec::new(Digest384([1; 48]), CONFIG)).challenged(desk.broker.address);
    assert_eq!(desk.test(&other.attest, &by_file), (40, vec!["snp.measurement".into()]));

    // 30: the evidence commits to another key.
    let second = Guest::new().challenged(desk.broker.address);
    let (mut body, theirs): (Value, Value) = (
        serde_json::from_slice(&guest.attest).unwrap(),
        serde_json::from_slice(&second.attest).unwrap(),
    );
    body["runtime-data"]["tee-pubkey"] = theirs["runtime-data"]["tee-pubkey"].clone();
    let (code, codes) = desk.test(body.to_string().as_bytes(), &by_file);
    assert_eq!((code, codes[0].as_str()), (30, "binding.rcar_report_data"));

    // 20: a root that nobody named. 10: not evidence.
    let foreign = desk.file("evidence", &guest.attest);
    let output = desk.run(&[
        "policy",
        "test",
        "--policy",
        "policy.json",
        "--key",
        KEY,
        "--evidence",
        text(&foreign),
    ]);
    assert_eq!(output.status.code(), Some(20), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("would NOT be released"));
    for garbage in [&b"{}"[..], b"nothing", b"{\"runtime-data\":{},\"tee-evidence\":{}}"] {
        assert_eq!(
            desk.test(garbage, &by_file).0,
            10,
            "{}",
            String::from_utf8_lossy(garbage)
        );
    }
    // 1: what cannot be read is no verdict.
    let output = desk.run(&[
        "policy",
        "test",
        "--policy",
        "none.json",
        "--key",
        KEY,
        "--evidence",
        text(&foreign),
    ]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_rehearsal_of_a_stored_key_has_its_counts_and_releases_nothing() {
    let mut desk = Desk::new();
    let mut one = policy();
    one.max_uses = 1;
    desk.broker.put(KEY, 1, &one).unwrap();
    let address = desk.broker.address.to_string();
    let (identity, admin) = (
        desk.broker.made.identity_path.clone(),
        desk.broker.made.admin_key_path.clone(),
    );
    let at = [
        "--broker",
        &address,
        "--identity",
        text(&identity),
        "--admin-key",
        text(&admin),
    ];
    let guest = Guest::new().attested(desk.broker.address);
    for _ in 0..3 {
        assert_eq!(desk.test(&guest.attest, &at), (0, vec![]), "it uses nothing up");
    }
    assert_eq!(guest.ask(desk.broker.address, KEY).status, 200);
    assert_eq!(desk.test(&guest.attest, &at), (40, vec!["kbs.key.used_up".into()]));

    let listed = desk.run(&[&["keys", "list"], &at[..]].concat());
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("KEY "), "{listed}");
    assert!(listed.contains("1 of 1") && listed.contains("live"), "{listed}");
    assert!(listed.contains("four_eyes = false"), "{listed}");
    let shown = desk.run(&[&["policy", "get", "--key", KEY], &at[..]].concat());
    assert_eq!(KeyPolicy::parse(shown.stdout.trim_ascii_end()).unwrap(), one);
    let grants = desk.broker.audit().iter().filter(|l| l["action"] == "grant").count();
    assert_eq!(grants, 1);
}

#[test]
fn a_rehearsal_asks_the_tenants_policy_as_well() {
    let desk = Desk::new();
    desk.broker.put(KEY, 1, &policy()).unwrap();
    let address = desk.broker.address.to_string();
    let (identity, admin_key) = (
        desk.broker.made.identity_path.clone(),
        desk.broker.made.admin_key_path.clone(),
    );
    let at = [
        "--broker",
        &address,
        "--identity",
        text(&identity),
        "--admin-key",
        text(&admin_key),
    ];
    let guest = Guest::new().challenged(desk.broker.address);
    assert_eq!(desk.test(&guest.attest, &at), (0, vec![]));
    // By the broker's word: what its tenant put over all its keys is asked, with its reference values.
    let module = "package policy\nimport rego.v1\ndefault allow := false\nallow if \"1\" in data.reference.svn\n";
    let admin = hanzo_kbs::load_admin_key(&admin_key).unwrap();
    let set = |name: &str, body: &str| {
        let document = KeyId::new(&format!("hanzo/coco/{name}")).unwrap();
        let (at, identity) = (desk.broker.address, &desk.broker.made.identity);
        block_on(admin::set_document(at, identity, &admin, &document, 1, body)).unwrap()
    };
    set("resource-policy", module);
    let no = (40, vec!["kbs.tenant_policy".to_owned()]);
    assert_eq!(desk.test(&guest.attest, &at), no);
    set("reference-values", r#"{"svn":["1"]}"#);
    assert_eq!(desk.test(&guest.attest, &at), (0, vec![]));
    // By files: before it is put.
    desk.file("tenant.rego", module.as_bytes());
    desk.file("reference.json", br#"{"svn": ["1"]}"#);
    let by_file = ["--policy", "policy.json", "--tenant-policy", "tenant.rego"];
    assert_eq!(desk.test(&guest.attest, &by_file), no);
    let with_values = [&by_file[..], &["--reference-values", "reference.json"]].concat();
    assert_eq!(desk.test(&guest.attest, &with_values), (0, vec![]));
}

#[test]
fn a_difference_says_what_widens() {
    let desk = Desk::new();
    let mut wide = policy();
    wide.max_uses += 1;
    desk.policy("wide.json", &wide);
    let diff = |from: &str, to: &str| {
        let output = desk.run(&["policy", "diff", "--from", from, "--to", to]);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = diff("policy.json", "wide.json");
    assert_eq!(code, 40);
    assert!(said.contains("wider") && said.contains("max_uses"), "{said}");
    assert_eq!(diff("wide.json", "policy.json").0, 0);
    assert_eq!(diff("wide.json", "wide.json").0, 0);
    let mut other = policy();
    other.allow_simulated = false;
    desk.policy("other.json", &other);
    let (code, said) = diff("policy.json", "other.json");
    assert_eq!(code, 40, "narrower, and still refused");
    assert!(said.contains("[key_policy.allow_simulated]"), "{said}");
}
