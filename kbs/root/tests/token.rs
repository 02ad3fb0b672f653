//! The root under a key of a PKCS #11 token: SoftHSM, which Debian packages as softhsm2. One test: a module is
//! initialised once per process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use hanzo_root::{RootConfig, RootError, SecretSource, Surroundings};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const INNER: &str = "HANZO_ROOT_TOKEN_TEST";

fn code<T>(outcome: Result<T, RootError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(e) => e.code(),
    }
}

/// SoftHSM finds its configuration by the environment, which this process must not change: the test runs again as a child.
#[test]
fn a_token_wraps_the_root_and_opens_it_again() {
    if !Path::new(MODULE).exists() {
        eprintln!("NOT TESTED: {MODULE} is absent: install softhsm2 to test roots under a PKCS #11 token");
        return;
    }
    if let Some(dir) = std::env::var_os(INNER) {
        return with_token(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = dir.path().join("softhsm2.conf");
    fs::write(
        &conf,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        ),
    )
    .unwrap();
    for label in ["kbs", "other"] {
        let made = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--so-pin",
                "12345678",
                "--pin",
                "87654321",
            ])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let inner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_token_wraps_the_root_and_opens_it_again", "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .env(INNER, dir.path())
        .output()
        .unwrap();
    assert!(
        inner.status.success(),
        "{}{}",
        String::from_utf8_lossy(&inner.stdout),
        String::from_utf8_lossy(&inner.stderr)
    );
}

struct Case {
    dir: PathBuf,
    module: &'static str,
    token: &'static str,
    key: &'static str,
    pin: &'static str,
}

impl Case {
    fn config(&self) -> RootConfig {
        let pin = self.dir.join("pin");
        fs::write(&pin, self.pin).unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        RootConfig::Pkcs11 {
            module: self.module.into(),
            token: self.token.into(),
            key: self.key.into(),
            pin: SecretSource::File(pin),
            path: self.dir.join("root.json"),
        }
    }

    fn load(&self) -> &'static str {
        code(self.config().provider(&Surroundings::default()).load())
    }
}

fn with_token(dir: &Path) {
    let case = |token, key, pin| Case {
        dir: dir.to_owned(),
        module: MODULE,
        token,
        key,
        pin,
    };
    let right = case("kbs", "kbs-root", "87654321\n");
    assert_eq!(right.load(), "root.missing");
    let provider = right.config().provider(&Surroundings::default());
    let root = provider.create().unwrap();
    assert_eq!(provider.load().unwrap().expose(), root.expose());
    assert_eq!(code(provider.create()), "root.exists");
    let reachable = |case: &Case| code(case.config().provider(&Surroundings::default()).reachable());
    assert_eq!(reachable(&right), "ok");
    // No PIN is read: a token of another name is all that is missed.
    assert_eq!(reachable(&case("kbs", "kbs-root", "00000000")), "ok");
    assert_eq!(reachable(&case("none", "kbs-root", "87654321")), "root.pkcs11");
    let blob = dir.join("root.json");
    assert_eq!(fs::metadata(&blob).unwrap().permissions().mode() & 0o7777, 0o600);

    // Wrong PINs. A module keeps the login for the process, so the session that proves it must be the first.
    assert_eq!(
        case("other", "kbs-root", "00000000").load(),
        "root.pkcs11.open",
        "another token than the blob names"
    );
    assert_eq!(
        case("kbs", "kbs-other", "87654321").load(),
        "root.pkcs11.open",
        "another key than the blob names"
    );
    let text = fs::read_to_string(&blob).unwrap();
    fs::write(&blob, text.replace("\"token\":\"kbs\"", "\"token\":\"none\"")).unwrap();
    assert_eq!(
        case("none", "kbs-root", "87654321").load(),
        "root.pkcs11",
        "no such token"
    );
    fs::write(&blob, text.replace("\"token\":\"kbs\"", "\"token\":\"other\"")).unwrap();
    assert_eq!(case("other", "kbs-root", "00000000").load(), "root.pkcs11.pin");
    assert_eq!(
        case("other", "kbs-root", "87654321").load(),
        "root.pkcs11.key",
        "it has no key"
    );
    fs::write(&blob, text.replace("\"key\":\"kbs-root\"", "\"key\":\"none\"")).unwrap();
    assert_eq!(case("kbs", "none", "87654321").load(), "root.pkcs11.key");

    // An altered blob, and one under the key of the same label in another token.
    for member in ["ciphertext", "iv", "commitment"] {
        let value = text
            .split_once(&format!("\"{member}\":\""))
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap();
        let other = if value.starts_with('0') { "1" } else { "0" };
        fs::write(&blob, text.replace(value, &format!("{other}{}", &value[1..]))).unwrap();
        assert_eq!(right.load(), "root.pkcs11.open", "{member}");
    }
    fs::write(&blob, text.replace("root-pkcs11.v1", "root-pkcs11.v2")).unwrap();
    assert_eq!(right.load(), "root.format");
    fs::write(&blob, &text).unwrap();
    let relative = Case {
        module: "libsofthsm2.so",
        ..case("kbs", "kbs-root", "87654321")
    };
    assert_eq!(relative.load(), "root.shape");
    let absent = Case {
        module: "/nonexistent/module.so",
        ..case("kbs", "kbs-root", "87654321")
    };
    assert_eq!(absent.load(), "root.pkcs11");
    assert_eq!(right.load(), "ok");

    // A key of the same label that could leave the token is no key for a root.
    fs::rename(&blob, dir.join("root.kept")).unwrap();
    let made = Command::new("pkcs11-tool")
        .args([
            "--module",
            MODULE,
            "--token-label",
            "other",
            "--login",
            "--pin",
            "87654321",
        ])
        .args(["--keygen", "--key-type", "AES:32", "--label", "loose", "--extractable"])
        .output();
    match made {
        Ok(made) if made.status.success() => {
            let loose = case("other", "loose", "87654321").config();
            assert_eq!(
                code(loose.provider(&Surroundings::default()).create()),
                "root.pkcs11.key"
            );
        }
        _ => eprintln!("NOT TESTED: pkcs11-tool is absent: install opensc to test extractable keys"),
    }
}
