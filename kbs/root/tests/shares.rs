//! The root split among operators.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hanzo_root::{Cost, RootConfig, RootError, SecretSource, Share, Surroundings};
use hanzo_vault::Root;

const CHEAP: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};

fn config(dir: &Path, threshold: u8, names: &[&str]) -> RootConfig {
    RootConfig::Shamir {
        path: dir.join("set.json"),
        threshold,
        shares: names
            .iter()
            .map(|name| Share {
                path: dir.join(name),
                passphrase: None,
            })
            .collect(),
        cost: CHEAP,
    }
}

fn load(config: &RootConfig) -> Result<Root, RootError> {
    config.provider(&Surroundings::default()).load()
}

fn code<T>(outcome: Result<T, RootError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

fn without(dir: &Path, gone: &[&str], then: impl FnOnce()) {
    for name in gone {
        fs::rename(dir.join(name), dir.join(format!("{name}.away"))).unwrap();
    }
    then();
    for name in gone {
        fs::rename(dir.join(format!("{name}.away")), dir.join(name)).unwrap();
    }
}

#[test]
fn any_three_of_five_give_the_root_back_and_two_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c", "d", "e"];
    let config = config(dir.path(), 3, &names);
    let root = config.provider(&Surroundings::default()).create().unwrap();
    assert_eq!(load(&config).unwrap().expose(), root.expose());
    for first in 0..5 {
        for second in first + 1..5 {
            let gone = [names[first], names[second]];
            without(dir.path(), &gone, || {
                assert_eq!(load(&config).unwrap().expose(), root.expose());
                let third = names.iter().find(|n| !gone.contains(n)).unwrap();
                without(dir.path(), &[third], || {
                    assert_eq!(code(load(&config)), "root.shares.too_few");
                });
            });
        }
    }
    for name in names.iter().chain(&["set.json"]) {
        let path = dir.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(!fs::read_to_string(&path).unwrap().contains(&hex::encode(root.expose())));
    }
    assert_eq!(code(config.provider(&Surroundings::default()).create()), "root.exists");
}

#[test]
fn wrong_sets_duplicates_and_altered_shares_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"];
    let config = config(dir.path(), 2, &names);
    config.provider(&Surroundings::default()).create().unwrap();
    let other_dir = tempfile::tempdir().unwrap();
    let other = self::config(other_dir.path(), 2, &names);
    other.provider(&Surroundings::default()).create().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let own = fs::read_to_string(&b).unwrap();

    fs::write(&b, fs::read(other_dir.path().join("b")).unwrap()).unwrap();
    assert_eq!(code(load(&config)), "root.shares.set");
    fs::write(&b, fs::read(&a).unwrap()).unwrap();
    assert_eq!(code(load(&config)), "root.shares.duplicate");

    let share = member(&own, "share");
    let damaged = own.replace(&share, &flipped(&share));
    fs::write(&b, &damaged).unwrap();
    assert_eq!(code(load(&config)), "root.shares.checksum");
    fs::write(&b, own.replace("\"index\":2", "\"index\":3")).unwrap();
    assert_eq!(code(load(&config)), "root.shares.checksum");
    fs::write(&b, own.replace("root-share.v1", "root-share.v2")).unwrap();
    assert_eq!(code(load(&config)), "root.format");
    fs::write(&b, &own[..own.len() - 1]).unwrap();
    assert_eq!(code(load(&config)), "root.malformed");

    // Whoever makes the checksum fit again is found by the commitment, whether the share is needed or not.
    fs::write(&b, rechecked(&damaged)).unwrap();
    assert_eq!(code(load(&config)), "root.commitment");
    without(dir.path(), &["c"], || {
        assert_eq!(code(load(&config)), "root.commitment")
    });
    without(dir.path(), &["b"], || assert_eq!(code(load(&config)), "ok"));
    for (from, to) in [("\"threshold\":2", "\"threshold\":3"), ("\"total\":3", "\"total\":4")] {
        fs::write(&b, rechecked(&own.replace(from, to))).unwrap();
        assert_eq!(code(load(&config)), "root.shares.set", "{to}");
    }
    fs::write(&b, &own).unwrap();
    fs::set_permissions(&b, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(code(load(&config)), "root.mode");
    fs::set_permissions(&b, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(code(load(&config)), "ok");

    // A set file that asks for less, or for another root.
    let set = dir.path().join("set.json");
    let text = fs::read_to_string(&set).unwrap();
    fs::write(&set, text.replace("\"threshold\":2", "\"threshold\":1")).unwrap();
    assert_eq!(code(load(&config)), "root.shares.set");
    let commitment = member(&text, "commitment");
    fs::write(&set, text.replace(&commitment, &flipped(&commitment))).unwrap();
    assert_eq!(code(load(&config)), "root.commitment");
}

#[test]
fn thresholds_and_totals_have_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let create = |threshold, names: &[&str]| {
        code(
            config(dir.path(), threshold, names)
                .provider(&Surroundings::default())
                .create(),
        )
    };
    assert_eq!(create(1, &["a", "b"]), "root.range");
    assert_eq!(create(3, &["a", "b"]), "root.range");
    assert_eq!(create(2, &["a"]), "root.range");
    assert_eq!(create(2, &["a"; 33]), "root.range");
    assert_eq!(create(2, &["a", "b"]), "ok");
}

#[test]
fn a_share_under_a_passphrase_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        SecretSource::File(path)
    };
    let config = |of_b: Option<SecretSource>| RootConfig::Shamir {
        path: dir.path().join("set.json"),
        threshold: 2,
        shares: vec![
            Share {
                path: dir.path().join("a"),
                passphrase: None,
            },
            Share {
                path: dir.path().join("b"),
                passphrase: of_b,
            },
        ],
        cost: CHEAP,
    };
    let right = config(Some(secret("right", "operator b's words")));
    let root = right.provider(&Surroundings::default()).create().unwrap();
    assert_eq!(load(&right).unwrap().expose(), root.expose());
    assert_eq!(
        code(load(&config(Some(secret("wrong", "operator a's words"))))),
        "root.passphrase"
    );
    assert_eq!(code(load(&config(None))), "root.shape");
    let b: PathBuf = dir.path().join("b");
    let own = fs::read_to_string(&b).unwrap();
    assert!(own.contains("\"share\":null"));
    fs::write(&b, rechecked(&own.replace("\"index\":2", "\"index\":3"))).unwrap();
    assert_eq!(code(load(&right)), "root.passphrase");
}

fn member(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn flipped(hex: &str) -> String {
    let other = if hex.starts_with('0') { "1" } else { "0" };
    format!("{other}{}", &hex[1..])
}

/// The document with the checksum that it should have.
fn rechecked(text: &str) -> String {
    let checksum = member(text, "checksum");
    let empty = text.replace(&checksum, "");
    let digest = hanzo_attestation::Digest256::of(empty.as_bytes());
    text.replace(&checksum, &hex::encode(digest.0))
}
