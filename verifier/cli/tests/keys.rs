//! `hanzo-verify keys`: a signer, keys shown once, a table that guests take.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hanzo_attestation::UnixTime;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::Name;
use hanzo_client::RequestSigner;
use hanzo_verifier::callers::{ApiKey, Caller, Credential, Isolation, Models, SignedTable, Table};
use serde_json::Value;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let made = desk.run(&["signer", "--operator", "example", "--out", "callers.key"]);
        assert!(made.status.success(), "{made:?}");
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
            .arg("keys")
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// With signer and table, as JSON.
    fn change(&self, args: &[&str]) -> Value {
        let files = ["--signer", "callers.key", "--table", "callers.json", "--json"];
        let done = self.run(&[args, &files].concat());
        assert!(done.status.success(), "{done:?}");
        serde_json::from_slice(&done.stdout).unwrap()
    }

    fn table(&self) -> Table {
        let signed = SignedTable::parse(&std::fs::read(self.at("callers.json")).unwrap()).unwrap();
        let now = UnixTime(signed.table.issued_at);
        signed
            .verify(&self.signer(), &Name::new("example").unwrap(), now)
            .unwrap()
            .table()
            .clone()
    }

    fn signer(&self) -> PinnedSigner {
        let shown = self.run(&["list", "--table", "callers.json", "--signer", "callers.key"]);
        assert!(shown.status.success(), "{shown:?}");
        // The key file says no public keys; a second signer from the same seed does.
        let file: Value = serde_json::from_slice(&std::fs::read(self.at("callers.key")).unwrap()).unwrap();
        let seed = hex::decode(file["seed"].as_str().unwrap()).unwrap();
        let suite = hanzo_pqc::SignatureSuite::MlDsa65Ed25519;
        let keys = hanzo_pqc::sign::SigningKeys::from_seed(suite, &seed.try_into().unwrap()).unwrap();
        PinnedSigner {
            suite: suite.name().into(),
            ml_dsa: keys.verifying_keys().ml_dsa_hex(),
            ed25519: keys.verifying_keys().ed25519_hex(),
        }
    }
}

fn hash_of(caller: &Caller) -> hanzo_attestation::Digest384 {
    match caller.credential {
        Credential::ApiKey(hash) => hash,
        Credential::Claim(_) | Credential::RequestKeys(_) => panic!("no key"),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_shown_once_and_the_table_holds_their_hashes_alone() {
    let desk = Desk::new();
    assert_eq!(mode(&desk.at("callers.key")), 0o600);
    let acme = desk.change(&[
        "new",
        "--id",
        "acme",
        "--models",
        "b,a",
        "--budget",
        "1000",
        "--tier-min",
        "3",
        "--isolation",
        "own",
    ]);
    let beta = desk.change(&["new", "--id", "beta", "--models", "smollm2", "--out", "beta.key"]);
    assert!(beta["key"].is_null());
    assert_eq!(mode(&desk.at("beta.key")), 0o600);
    let table = desk.table();
    assert_eq!((table.version, table.callers.len()), (2, 2));
    assert_eq!(table.not_after - table.issued_at, 30 * 86_400);
    let first = &table.callers[0];
    assert_eq!(
        (first.budget_tokens, first.tier_min, first.isolation),
        (Some(1000), 3, Isolation::Own)
    );
    let names = ["a", "b"].map(|n| Name::new(n).unwrap());
    assert_eq!(first.models, Models::Named(names.to_vec()));
    let key = acme["key"].as_str().unwrap();
    assert_eq!(ApiKey::parse(key.as_bytes()).unwrap().hash(), hash_of(first));
    let kept = std::fs::read(desk.at("beta.key")).unwrap();
    assert_eq!(
        ApiKey::parse(kept.trim_ascii_end()).unwrap().hash(),
        hash_of(&table.callers[1])
    );
    let text = std::fs::read_to_string(desk.at("callers.json")).unwrap();
    assert!(!text.contains(&key[3..67]) && !text.contains("hz_"));
    let list = desk.run(&["list", "--table", "callers.json"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("signatures not checked") && list.contains("acme") && !list.contains("hz_"));

    desk.change(&["revoke", "--id", "acme"]);
    let table = desk.table();
    assert_eq!(
        (table.version, table.callers.len(), table.callers[0].id.as_str()),
        (3, 1, "beta")
    );
    desk.change(&["renew", "--table-days", "1"]);
    let table = desk.table();
    assert_eq!((table.version, table.not_after - table.issued_at), (4, 86_400));
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_what_to_do() {
    let desk = Desk::new();
    desk.change(&["new", "--id", "acme", "--models", "any"]);
    let before = std::fs::read(desk.at("callers.json")).unwrap();
    let files = ["--signer", "callers.key", "--table", "callers.json"];
    let refused = |args: &[&str], code: i32, says: &str| {
        let done = desk.run(&[args, &files].concat());
        let text = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{text}");
        assert!(text.contains(says), "{text}");
        assert_eq!(std::fs::read(desk.at("callers.json")).unwrap(), before);
    };
    refused(
        &["new", "--id", "acme", "--models", "any", "--out", "a.key"],
        1,
        "revoke the old key first",
    );
    assert!(!desk.at("a.key").exists(), "a key that opens nothing is not kept");
    refused(&["new", "--id", "Acme", "--models", "any"], 1, "--id");
    refused(
        &["new", "--id", "b", "--models", "a", "--requests-per-min", "0"],
        10,
        "callers.requests_per_min",
    );
    refused(&["revoke", "--id", "beta"], 1, "keys list");
    std::fs::set_permissions(desk.at("callers.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    refused(&["renew"], 1, "chmod 600");
    let again = desk.run(&["signer", "--operator", "example", "--out", "callers.key"]);
    assert_eq!(again.status.code(), Some(1), "an existing key is never overwritten");
}

#[test]
fn an_identity_provider_is_pinned_and_its_callers_are_named_by_a_claim() {
    let desk = Desk::new();
    let jwks = |kid: &str| {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set =
            format!(r#"{{"keys": [{{"use": "sig", "kty": "OKP", "crv": "Ed25519", "kid": "{kid}", "x": "{x}"}}]}}"#);
        std::fs::write(desk.at("jwks.json"), set).unwrap();
    };
    let pin = [
        "issuer",
        "--issuer",
        "https://login.example",
        "--audience",
        "hanzo",
        "--jwks",
        "jwks.json",
    ];
    jwks("k1");
    desk.change(&pin);
    let made = desk.change(&[
        "new",
        "--id",
        "ana",
        "--models",
        "any",
        "--claim",
        "sub=u-1",
        "--issuer",
        "https://login.example",
    ]);
    assert!(made["key"].is_null());
    jwks("k2");
    desk.change(&pin);
    let table = desk.table();
    assert_eq!(
        (table.version, table.issuers.len(), table.issuers[0].keys.len()),
        (3, 1, 1)
    );
    assert_eq!(
        (table.issuers[0].keys[0].kid.as_str(), table.issuers[0].ttl_s_max),
        ("k2", 3600)
    );
    let Credential::Claim(claim) = &table.callers[0].credential else {
        panic!("no claim")
    };
    assert_eq!((claim.name.as_str(), claim.value.as_str()), ("sub", "u-1"));
    let list = desk.run(&["list", "--table", "callers.json"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("k2 (EdDSA)") && list.contains("by sub=u-1 of https://login.example"),
        "{list}"
    );

    let files = ["--signer", "callers.key", "--table", "callers.json"];
    let refused = |args: &[&str], code: i32, says: &str| {
        let before = std::fs::read(desk.at("callers.json")).unwrap();
        let done = desk.run(&[args, &files].concat());
        let text = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{text}");
        assert!(text.contains(says), "{text}");
        assert_eq!(std::fs::read(desk.at("callers.json")).unwrap(), before);
    };
    let remove = ["issuer", "--issuer", "https://login.example", "--remove"];
    refused(&remove, 10, "callers.credential.claim.issuer");
    refused(
        &["issuer", "--issuer", "https://other.example", "--remove"],
        1,
        "keys list",
    );
    let elsewhere = [
        "new",
        "--id",
        "bob",
        "--models",
        "any",
        "--claim",
        "sub=u-2",
        "--issuer",
        "https://other.example",
    ];
    refused(&elsewhere, 10, "an issuer of the table");
    std::fs::write(
        desk.at("jwks.json"),
        r#"{"keys": [{"kty": "oct", "kid": "k", "k": "AAAA"}]}"#,
    )
    .unwrap();
    refused(&pin, 10, "private");
    desk.change(&["revoke", "--id", "ana"]);
    desk.change(&remove);
    assert!(desk.table().issuers.is_empty());
}

#[test]
fn request_keys_are_drawn_by_the_caller_and_named_by_the_operator() {
    let desk = Desk::new();
    let drawn = desk.run(&["request-key", "--id", "acme", "--out", "acme.key"]);
    assert!(drawn.status.success(), "{drawn:?}");
    assert_eq!(mode(&desk.at("acme.key")), 0o600);
    std::fs::write(desk.at("acme.pub"), &drawn.stdout).unwrap();
    let new = ["new", "--id", "acme", "--models", "any", "--request-keys", "acme.pub"];
    assert!(desk.change(&new)["key"].is_null());
    let kept = std::fs::read(desk.at("acme.key")).unwrap();
    let signer = RequestSigner::from_file(&kept).unwrap();
    assert_eq!(signer.id().as_str(), "acme");
    assert_eq!(
        desk.table().callers[0].credential,
        Credential::RequestKeys(signer.keys())
    );
    let list = desk.run(&["list", "--table", "callers.json"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("by requests signed with Ed25519 and ML-DSA-65"), "{list}");
    let seed = &serde_json::from_slice::<Value>(&kept).unwrap()["ed25519"];
    let (public, seed) = (String::from_utf8(drawn.stdout).unwrap(), seed.as_str().unwrap());
    assert!(!public.contains(seed) && !std::fs::read_to_string(desk.at("callers.json")).unwrap().contains(seed));
    let again = desk.run(&["request-key", "--id", "acme", "--out", "acme.key"]);
    assert_eq!(again.status.code(), Some(1), "an existing key is never overwritten");
    // A secret file in place of the public one.
    let files = ["--signer", "callers.key", "--table", "callers.json"];
    let wrong = ["new", "--id", "beta", "--models", "any", "--request-keys", "acme.key"];
    let refused = desk.run(&[&wrong[..], &files].concat());
    assert_eq!(refused.status.code(), Some(10));
    assert!(!String::from_utf8(refused.stderr).unwrap().contains(seed));
}

#[test]
fn a_table_of_another_signer_is_not_signed_on() {
    let desk = Desk::new();
    desk.change(&["new", "--id", "acme", "--models", "any"]);
    let made = desk.run(&["signer", "--operator", "example", "--out", "other.key"]);
    assert!(made.status.success());
    let renewed = desk.run(&["renew", "--signer", "other.key", "--table", "callers.json"]);
    assert_eq!(renewed.status.code(), Some(20));
}
