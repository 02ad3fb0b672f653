//! Roots in files: key file, passphrase file, credential. Each kept root comes back; its nearest twin does not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hanzo_root::{Cost, RootConfig, RootError, SecretSource, Surroundings};
use hanzo_vault::Root;

const CHEAP: Cost = Cost {
    memory_kib: 19_456,
    passes: 2,
    lanes: 1,
};

fn code<T>(outcome: Result<T, RootError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

fn secret_file(dir: &Path, name: &str, text: &str) -> SecretSource {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    SecretSource::File(path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn load(config: &RootConfig) -> Result<Root, RootError> {
    config.provider(&Surroundings::default()).load()
}

#[test]
fn a_key_file_is_private_whole_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let config = RootConfig::KeyFile { path: path.clone() };
    let provider = config.provider(&Surroundings::default());
    assert_eq!(code(provider.load()), "root.missing");
    let root = provider.create().unwrap();
    assert_eq!(provider.load().unwrap().expose(), root.expose());
    assert_eq!((mode(&path), fs::read(&path).unwrap().len()), (0o600, 32));
    assert_eq!(code(provider.create()), "root.exists");
    assert_eq!(provider.load().unwrap().expose(), root.expose());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(code(provider.load()), "root.mode");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(code(provider.load()), "ok");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for bad in [vec![1; 31], vec![1; 33], vec![0; 32], vec![1; 65], vec![]] {
        fs::write(&path, bad).unwrap();
        assert_eq!(code(provider.load()), "root.shape");
    }
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    assert_eq!(code(load(&RootConfig::KeyFile { path: link })), "root.shape");
    assert_eq!(
        code(load(&RootConfig::KeyFile {
            path: dir.path().to_owned()
        })),
        "root.shape"
    );
}

#[test]
fn a_passphrase_opens_its_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.json");
    let config = |passphrase| RootConfig::PassphraseFile {
        path: path.clone(),
        passphrase,
        cost: CHEAP,
    };
    let right = config(secret_file(dir.path(), "right", "correct horse battery\n"));
    let short = config(secret_file(dir.path(), "short", "11 bytes ok"));
    assert_eq!(
        code(short.provider(&Surroundings::default()).create()),
        "root.passphrase.length"
    );
    let root = right.provider(&Surroundings::default()).create().unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(load(&right).unwrap().expose(), root.expose());
    assert_eq!(code(right.provider(&Surroundings::default()).create()), "root.exists");
    // One line end is not part of the passphrase; anything else is.
    assert_eq!(
        code(load(&config(secret_file(dir.path(), "bare", "correct horse battery")))),
        "ok"
    );
    for wrong in [
        "correct horse batterz",
        "correct horse battery ",
        "Correct horse battery",
    ] {
        assert_eq!(
            code(load(&config(secret_file(dir.path(), "wrong", wrong)))),
            "root.passphrase"
        );
    }
    assert_eq!(
        code(load(&config(secret_file(dir.path(), "empty", "\n")))),
        "root.source"
    );
    assert_eq!(
        code(load(&config(SecretSource::File(dir.path().join("none"))))),
        "root.missing"
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&hex::encode(root.expose())));
}

#[test]
fn an_altered_passphrase_file_is_refused_and_costs_no_unbounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.json");
    let config = RootConfig::PassphraseFile {
        path: path.clone(),
        passphrase: secret_file(dir.path(), "p", "correct horse battery"),
        cost: CHEAP,
    };
    config.provider(&Surroundings::default()).create().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let commitment = member(&text, "commitment");
    let ciphertext = member(&text, "ciphertext");
    for (from, to, expected) in [
        // Authenticated and within its bounds: another key comes out.
        ("\"memory_kib\":19456", "\"memory_kib\":19457", "root.passphrase"),
        ("\"passes\":2", "\"passes\":3", "root.passphrase"),
        ("\"lanes\":1", "\"lanes\":2", "root.passphrase"),
        // Out of bounds: refused before any memory is taken.
        ("\"memory_kib\":19456", "\"memory_kib\":4294967295", "root.range"),
        ("\"memory_kib\":19456", "\"memory_kib\":19455", "root.range"),
        ("\"passes\":2", "\"passes\":1", "root.range"),
        ("\"passes\":2", "\"passes\":17", "root.range"),
        ("\"lanes\":1", "\"lanes\":0", "root.range"),
        ("\"lanes\":1", "\"lanes\":17", "root.range"),
        ("aes-256-gcm", "aes-128-gcm", "root.format"),
        ("root-passphrase.v1", "root-passphrase.v2", "root.format"),
        (&commitment, &flipped(&commitment), "root.passphrase"),
        (&ciphertext, &flipped(&ciphertext), "root.passphrase"),
        (&ciphertext, &ciphertext[2..], "root.passphrase"),
        (&ciphertext, &ciphertext.to_uppercase(), "root.shape"),
        ("{\"commitment\"", "{ \"commitment\"", "root.malformed"),
        ("{\"commitment\"", "{\"also\":1,\"commitment\"", "root.malformed"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        assert_eq!(code(load(&config)), expected, "{from} -> {to}");
    }
    fs::write(&path, format!("{text}\n")).unwrap();
    assert_eq!(code(load(&config)), "root.malformed");
    fs::write(&path, text).unwrap();
    assert_eq!(code(load(&config)), "ok");
}

fn member(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("\"{name}\":\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Another first digit.
fn flipped(hex: &str) -> String {
    let other = if hex.starts_with('0') { "1" } else { "0" };
    format!("{other}{}", &hex[1..])
}

#[test]
fn the_default_cost_is_rfc_9106s_second_option() {
    let cost = Cost::default();
    assert_eq!((cost.memory_kib, cost.passes, cost.lanes), (65_536, 3, 4));
    let dir = tempfile::tempdir().unwrap();
    let start = std::time::Instant::now();
    let config = RootConfig::PassphraseFile {
        path: dir.path().join("root.json"),
        passphrase: secret_file(dir.path(), "p", "correct horse battery"),
        cost,
    };
    config.provider(&Surroundings::default()).create().unwrap();
    eprintln!(
        "Argon2id at the default cost, made and opened once: {:?}",
        start.elapsed()
    );
}

#[test]
fn a_credential_is_read_where_systemd_put_it() {
    let dir = tempfile::tempdir().unwrap();
    let name = hanzo_attestation::name::Name::new("kbs.root").unwrap();
    let config = RootConfig::Credential { name: name.clone() };
    let with = Surroundings {
        credentials_dir: Some(dir.path().to_owned()),
    };
    assert_eq!(code(config.provider(&Surroundings::default()).load()), "root.source");
    assert_eq!(code(config.provider(&with).load()), "root.missing");
    fs::write(dir.path().join("kbs.root"), [5; 32]).unwrap();
    assert_eq!(config.provider(&with).load().unwrap().expose(), &[5; 32]);
    assert_eq!(config.provider(&with).create().unwrap().expose(), &[5; 32]);
    assert_eq!(
        code(config.provider(&with).keep(&Root::generate().unwrap())),
        "root.read_only"
    );
    fs::write(dir.path().join("kbs.root"), [5; 31]).unwrap();
    assert_eq!(code(config.provider(&with).load()), "root.shape");

    // And as the source of a passphrase.
    fs::write(dir.path().join("kbs.root"), "correct horse battery").unwrap();
    let locked = RootConfig::PassphraseFile {
        path: dir.path().join("root.json"),
        passphrase: SecretSource::Credential(name),
        cost: CHEAP,
    };
    let root = locked.provider(&with).create().unwrap();
    assert_eq!(locked.provider(&with).load().unwrap().expose(), root.expose());
    assert_eq!(code(locked.provider(&Surroundings::default()).load()), "root.source");
}

#[test]
fn a_passphrase_can_come_over_a_descriptor() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let dir = tempfile::tempdir().unwrap();
    let config = |fd: u32| RootConfig::PassphraseFile {
        path: dir.path().join("root.json"),
        passphrase: SecretSource::Fd(fd),
        cost: CHEAP,
    };
    let pipe = |text: &str| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        reader
    };
    let reader = pipe("correct horse battery");
    let made = config(reader.as_raw_fd() as u32);
    assert_eq!(
        code(made.provider(&Surroundings::default()).keep(&Root::generate().unwrap())),
        "ok"
    );
    let reader = pipe("correct horse battery\n");
    assert_eq!(code(load(&config(reader.as_raw_fd() as u32))), "ok");
    let reader = pipe("another horse battery\n");
    assert_eq!(code(load(&config(reader.as_raw_fd() as u32))), "root.passphrase");
    let reader = pipe(&"x".repeat(1025));
    assert_eq!(code(load(&config(reader.as_raw_fd() as u32))), "root.source");
    assert_eq!(code(load(&config(999_999))), "root.source");
}

#[test]
fn the_table_names_its_kind_and_nothing_unknown() {
    let parse = |text: &str| {
        toml::from_str::<RootConfig>(text).map(|mut config| {
            config.rebase(Path::new("/base"));
            config
        })
    };
    assert_eq!(
        parse("kind = \"key-file\"\npath = \"root.key\"").unwrap(),
        RootConfig::KeyFile {
            path: PathBuf::from("/base/root.key")
        }
    );
    for (good, kind) in [
        (
            "kind = \"passphrase-file\"\npath = \"r\"\npassphrase = { prompt = \"Root passphrase\" }",
            "passphrase-file",
        ),
        (
            "kind = \"passphrase-file\"\npath = \"r\"\npassphrase = { fd = 3 }",
            "passphrase-file",
        ),
        ("kind = \"credential\"\nname = \"kbs.root\"", "credential"),
        (
            "kind = \"pkcs11\"\nmodule = \"/m.so\"\ntoken = \"t\"\nkey = \"k\"\npin = { credential = \"pin\" }\npath = \"r\"",
            "pkcs11",
        ),
        (
            "kind = \"tpm\"\ntcti = \"device:/dev/tpmrm0\"\npcrs = [0, 7]\npath = \"r\"",
            "tpm",
        ),
        (
            "kind = \"shamir\"\npath = \"r\"\nthreshold = 2\nshares = [{ path = \"a\" }, { path = \"b\", passphrase = { fd = 4 } }]",
            "shamir",
        ),
    ] {
        assert_eq!(parse(good).unwrap().kind(), kind);
        assert!(parse(&format!("{good}\nalso = 1")).is_err(), "{good}");
    }
    for bad in [
        "path = \"root.key\"",
        "kind = \"keyfile\"\npath = \"root.key\"",
        "kind = \"key-file\"",
        "kind = \"passphrase-file\"\npath = \"r\"\npassphrase = \"hunter2\"",
        "kind = \"passphrase-file\"\npath = \"r\"\npassphrase = { env = \"PASS\" }",
        "kind = \"credential\"\nname = \"../root\"",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

/// Whether the place is there can be told without the secret, and without anybody who has it.
#[test]
fn a_place_that_is_gone_or_open_to_others_is_known_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root");
    let reachable = |config: &RootConfig, surroundings: &Surroundings| code(config.provider(surroundings).reachable());
    let none = Surroundings::default();
    let file = RootConfig::KeyFile { path: path.clone() };
    assert_eq!(reachable(&file, &none), "root.missing");
    file.provider(&none).create().unwrap();
    assert_eq!(reachable(&file, &none), "ok");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(reachable(&file, &none), "root.mode");
    fs::remove_file(&path).unwrap();

    let sealed = |passphrase| RootConfig::PassphraseFile {
        path: path.clone(),
        passphrase,
        cost: CHEAP,
    };
    let asked = sealed(SecretSource::Prompt("nobody is there".into()));
    assert!(asked.prompts() && !file.prompts());
    assert_eq!(reachable(&asked, &none), "root.missing");
    let given = sealed(secret_file(dir.path(), "passphrase", "correct horse battery"));
    given.provider(&none).create().unwrap();
    assert_eq!(reachable(&asked, &none), "ok", "nobody was asked");

    let name = hanzo_attestation::name::Name::new("kbs-root").unwrap();
    let credential = RootConfig::Credential { name };
    let there = Surroundings {
        credentials_dir: Some(dir.path().to_owned()),
    };
    assert_eq!(reachable(&credential, &none), "root.source");
    assert_eq!(reachable(&credential, &there), "root.missing");
    fs::write(dir.path().join("kbs-root"), [7; 32]).unwrap();
    assert_eq!(reachable(&credential, &there), "ok");
}
