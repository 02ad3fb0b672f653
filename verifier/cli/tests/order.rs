//! `hanzo-verify order`: a key for administrators, and orders that a guest's configuration lets count.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use hanzo_attestation::Digest384;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::Name;
use hanzo_verifier::order::{Action, SignedOrder};

const KEYSET: [u8; 48] = [0x5a; 48];

fn run(at: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
        .arg("order")
        .args(args)
        .current_dir(at)
        .output()
        .unwrap()
}

fn signer(at: &Path) -> PinnedSigner {
    let made = run(at, &["signer", "--operator", "example", "--out", "admin.key", "--json"]);
    assert!(made.status.success(), "{made:?}");
    let shown: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    serde_json::from_value(shown["admin_key"].clone()).unwrap()
}

#[test]
fn each_order_is_signed_for_one_guest_by_the_key_that_the_configuration_names() {
    let dir = tempfile::tempdir().unwrap();
    let pinned = signer(dir.path());
    let mode = std::fs::metadata(dir.path().join("admin.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let keyset = hex::encode(KEYSET);
    let common = ["--signer", "admin.key", "--keyset", &keyset, "--sequence", "7"];
    let acme = Name::new("acme").unwrap();
    let lower = [
        "lower-caller",
        "--id",
        "acme",
        "--requests-per-min",
        "10",
        "--tokens-per-min",
        "5000",
        "--concurrent",
        "1",
    ];
    let wanted = [
        (
            &["revoke-caller", "--id", "acme"][..],
            Action::RevokeCaller { id: acme.clone() },
        ),
        (
            &lower[..],
            Action::LowerCaller {
                concurrent_requests: 1,
                id: acme,
                requests_per_min: 10,
                tokens_per_min: 5000,
            },
        ),
        (
            &["unload-model", "--model", "smollm2"][..],
            Action::UnloadModel {
                model: Name::new("smollm2").unwrap(),
            },
        ),
        (
            &["put-out", "--model", "smollm2"][..],
            Action::PutOut {
                model: Name::new("smollm2").unwrap(),
                until: 0,
            },
        ),
        (
            &["load", "--model", "smollm2"][..],
            Action::Load {
                model: Name::new("smollm2").unwrap(),
            },
        ),
    ];
    for (n, (args, action)) in wanted.into_iter().enumerate() {
        let out = format!("order-{n}.json");
        let done = run(dir.path(), &[args, &common, &["--out", &out]].concat());
        assert!(done.status.success(), "{done:?}");
        let document = std::fs::read(dir.path().join(&out)).unwrap();
        let signed = SignedOrder::parse(&document).unwrap();
        let operator = Name::new("example").unwrap();
        let verified = signed
            .clone()
            .verify(std::slice::from_ref(&pinned), &operator, &Digest384(KEYSET))
            .unwrap();
        assert_eq!((&verified.order().action, verified.order().sequence), (&action, 7));
        let other = signed
            .verify(&[pinned.clone()], &operator, &Digest384([0; 48]))
            .unwrap_err();
        assert_eq!(other.code(), "order.keyset");
        // Never over what is there.
        let again = run(dir.path(), &[args, &common, &["--out", &out]].concat());
        assert_eq!(again.status.code(), Some(1));
        assert_eq!(std::fs::read(dir.path().join(&out)).unwrap(), document);
    }
}

#[test]
fn a_key_of_another_kind_or_that_others_may_read_and_a_mistyped_keyset_are_named() {
    let dir = tempfile::tempdir().unwrap();
    signer(dir.path());
    let tables = Command::new(env!("CARGO_BIN_EXE_hanzo-verify"))
        .args(["keys", "signer", "--operator", "example", "--out", "callers.key"])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(tables.success());
    let keyset = hex::encode(KEYSET);
    let refused = |key: &str, keyset: &str, code: i32, text: &str| {
        let args = [
            "revoke-caller",
            "--id",
            "acme",
            "--signer",
            key,
            "--keyset",
            keyset,
            "--out",
            "order.json",
        ];
        let done = run(dir.path(), &args);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{said}");
        assert!(!dir.path().join("order.json").exists());
    };
    refused("callers.key", &keyset, 10, "hanzo-verify order signer");
    refused("admin.key", &keyset[1..], 1, "96 lower-case hex digits");
    let readable = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(dir.path().join("admin.key"), readable).unwrap();
    refused("admin.key", &keyset, 1, "chmod 600");
}

#[test]
fn a_model_is_put_out_for_as_many_minutes_as_are_said_and_never_for_none() {
    let dir = tempfile::tempdir().unwrap();
    signer(dir.path());
    let keyset = hex::encode(KEYSET);
    let put_out = |minutes: &str| {
        let out = format!("{minutes}.json");
        let args = ["put-out", "--model", "m", "--signer", "admin.key", "--keyset", &keyset];
        let done = run(
            dir.path(),
            &[&args[..], &["--minutes", minutes, "--out", &out]].concat(),
        );
        (done.status.code(), std::fs::read(dir.path().join(out)).ok())
    };
    let (code, document) = put_out("30");
    assert_eq!(code, Some(0));
    let order = SignedOrder::parse(&document.unwrap()).unwrap().order;
    let Action::PutOut { until, .. } = order.action else {
        panic!("{order:?}")
    };
    // Signed within a second or two of reading the clock; the order says when.
    assert!((order.issued_at + 1740..=order.issued_at + 1800).contains(&until));
    for refused in ["0", "527041", "-1"] {
        assert_eq!(put_out(refused), (Some(1), None), "{refused}");
    }
}
