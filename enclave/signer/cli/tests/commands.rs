//! The program as its users start it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hanzo-wallet"))
        .current_dir(folder)
        .args(args)
        .output()
        .unwrap()
}

fn good(folder: &Path, args: &[&str]) -> String {
    let out = run(folder, args);
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Exit code, and the code at the end of what is said.
fn bad(folder: &Path, args: &[&str]) -> (i32, String) {
    let out = run(folder, args);
    assert!(out.stdout.is_empty(), "{args:?}");
    let said = String::from_utf8(out.stderr).unwrap();
    let code = said
        .trim()
        .rsplit_once('[')
        .map(|(_, code)| code.trim_end_matches(']').to_owned());
    (out.status.code().unwrap(), code.unwrap_or_default())
}

const PASS: [&str; 2] = ["--passphrase-file", "pass"];

fn with_pass<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &PASS[..]].concat()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("pass", "correct horse battery staple\nnot this\n");
    write("other", "correct horse battery stapler\n");
    write("short", "short\n");
    write("message", "a message");
    write("another", "another message");
    folder
}

#[test]
fn a_wallet_is_made_shown_signs_and_comes_back_from_its_words() {
    let folder = folder();
    let at = folder.path();
    let made = good(at, &with_pass(&["new", "w"]));
    assert!(made.starts_with("address 0x") && made.contains("ML-DSA-65"));
    assert_eq!(good(at, &with_pass(&["show", "w"])), made);
    fs::write(at.join("pub"), good(at, &with_pass(&["show", "w", "--public-key"]))).unwrap();
    fs::write(at.join("sig"), good(at, &with_pass(&["sign", "w", "message"]))).unwrap();
    assert_eq!(
        good(at, &["verify", "pub", "message", "sig"]),
        format!("verified\n{made}")
    );
    fs::write(at.join("words"), good(at, &with_pass(&["words", "w"]))).unwrap();
    let restored = good(at, &with_pass(&["restore", "again", "--words-file", "words"]));
    assert_eq!(restored, made);

    let text = |code: &str| (20, code.to_owned());
    assert_eq!(bad(at, &["verify", "pub", "another", "sig"]), text("pqc.ml_dsa"));
    assert_eq!(
        bad(at, &["show", "w", "--passphrase-file", "other"]),
        text("wallet.open")
    );
    assert_eq!(
        bad(at, &["verify", "words", "message", "sig"]),
        (10, "wallet.text".into())
    );
    assert_eq!(
        bad(at, &["verify", "pub", "message", "message"]),
        (10, "wallet.text".into())
    );
    assert_eq!(bad(at, &with_pass(&["show", "message"])), (10, "wallet.file".into()));
    assert_eq!(bad(at, &with_pass(&["show", "pub"])), (10, "wallet.too_long".into()));
    assert_eq!(
        bad(at, &with_pass(&["restore", "third", "--words-file", "message"])),
        (10, "wallet.phrase".into())
    );
    // Nothing is written over, and what is refused writes nothing.
    let before = fs::read(at.join("w")).unwrap();
    assert_eq!(bad(at, &with_pass(&["new", "w"])), (1, "wallet.io".into()));
    assert_eq!(fs::read(at.join("w")).unwrap(), before);
    assert_eq!(
        bad(at, &["new", "third", "--passphrase-file", "short"]),
        (40, "wallet.passphrase".into())
    );
    assert_eq!(bad(at, &with_pass(&["show", "missing"])), (1, "wallet.io".into()));
    assert!(!at.join("third").exists());
}

#[test]
fn files_of_every_level_and_profile_open_and_only_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let at = folder.path();
    for (name, args) in [("a", &["--level", "44"][..]), ("b", &["--level", "87", "--fips"])] {
        let made = good(at, &[&with_pass(&["new", name])[..], args].concat());
        assert_eq!(good(at, &with_pass(&["show", name])), made);
        let mode = fs::metadata(at.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(bad(at, &with_pass(&["new", "c", "--level", "66"])).0, 1);
}

#[test]
fn a_history_is_checked_and_cut_to_the_smallest_that_protects() {
    let folder = folder();
    let at = folder.path();
    let file = |second: &str| {
        format!(
            r#"{{"metadata": {{"interchange_format_version": "5", "genesis_validators_root": "0x{}"}}, "data": [
                {{"pubkey": "0x{}", "signed_attestations": [], "signed_blocks": [
                    {{"slot": "7", "signing_root": "0x01"}}, {{"slot": "{second}", "signing_root": "0x02"}}]}}]}}"#,
            "04".repeat(32),
            "b8".repeat(48)
        )
    };
    fs::write(at.join("good.json"), file("8")).unwrap();
    fs::write(at.join("double.json"), file("7")).unwrap();
    fs::write(at.join("broken.json"), file("x")).unwrap();
    let told = good(at, &["history", "good.json"]);
    assert!(told.starts_with("consistent") && told.contains("2 blocks up to slot 8, 0 attestations up to target none"));
    assert_eq!(
        bad(at, &["history", "double.json"]),
        (40, "signer.history.double_block".into())
    );
    assert_eq!(
        bad(at, &["history", "broken.json"]),
        (10, "signer.interchange.member".into())
    );
    fs::write(at.join("least.json"), good(at, &["history", "good.json", "--minimal"])).unwrap();
    assert!(good(at, &["history", "least.json"]).contains("1 blocks up to slot 8"));
}

#[test]
fn help_has_examples() {
    let help = good(Path::new("."), &["--help"]);
    for verb in ["new", "show", "sign", "verify", "words", "restore", "history"] {
        assert!(help.contains(&format!("hanzo-wallet {verb}")), "{verb}");
    }
}
