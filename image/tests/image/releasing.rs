//! Releases from an image's directory to a bundle that a reader accepts, by the commands that people run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use hanzo_image::{Manifest, build};
use hanzo_init::Profile;
use hanzo_log::LogKey;
use hanzo_policy::release::{ReleaseBundle, ReleaseKey, ReleaseManifest};
use hanzo_policy::{AppraisalPolicy, PrivacyTier, ReleasePolicy};

use crate::support::{Pantry, recipe};

struct Desk {
    pantry: Pantry,
}

impl Desk {
    /// An image, its bill, three holders and a log.
    fn new() -> Self {
        let pantry = Pantry::new();
        let parts = pantry.parts(Profile::Core).unwrap();
        build(&parts, &recipe(Profile::Core), &pantry.path("out"), &|_| ()).unwrap();
        fs::write(pantry.path("sbom.json"), b"{}").unwrap();
        let references = format!(
            "[[snp]]\nname = \"core-epyc\"\nmeasurement = \"{}\"\nconfig_digest = \"{}\"\n",
            "ab".repeat(48),
            "cd".repeat(32)
        );
        fs::write(pantry.path("references.toml"), references).unwrap();
        let desk = Self { pantry };
        for who in ["ada", "bob", "cyd"] {
            desk.good(&["release", "keygen", &format!("{who}.key"), "--name", who]);
        }
        desk.good(&["release", "keygen", "log.key", "--log", "releases.example/log"]);
        desk
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hanzo-image"));
        command
            .current_dir(self.pantry.dir.path())
            .args(words)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn good(&self, words: &[&str]) -> String {
        let done = self.run(words);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{words:?}: {said}");
        String::from_utf8(done.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, words: &[&str], code: &str, exit: i32) {
        let done = self.run(words);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.contains(&format!("[{code}]")), "{words:?}: {said}");
        assert_eq!(done.status.code(), Some(exit), "{said}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pantry.path(name)
    }

    fn draft(&self, version: &str, more: &[&str]) -> String {
        let mut words = vec!["release", "draft", "--line", "appliance", "--version", version];
        words.extend([
            "--image",
            "core=out",
            "--references",
            "references.toml",
            "--sbom",
            "sbom.json",
        ]);
        words.extend(["--capability", "receipts", "--capability", "chat.completions"]);
        words.extend(["--output", "manifest.json"]);
        words.extend(more);
        self.good(&words)
    }

    fn signed_by(&self, holders: &[&str]) {
        let mut words: Vec<String> = ["release", "assemble", "manifest.json", "--output", "signed.json"]
            .map(str::to_owned)
            .to_vec();
        for who in ["ada", "bob", "cyd"] {
            words.extend(["--public".to_owned(), format!("{who}.key.pub")]);
        }
        for who in holders {
            let (key, out) = (format!("{who}.key"), format!("{who}.sig"));
            self.good(&["release", "sign", "manifest.json", "--key", &key, "--output", &out]);
            words.extend(["--signature".to_owned(), out]);
        }
        self.good(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn append(&self, more: &[&str]) {
        let mut words = vec![
            "release",
            "append",
            "signed.json",
            "--log",
            "releases",
            "--log-key",
            "log.key",
        ];
        words.extend(["--output", "release.json"]);
        words.extend(more);
        self.good(&words);
    }

    fn bundle(&self) -> ReleaseBundle {
        ReleaseBundle::parse(&fs::read(self.path("release.json")).unwrap()).unwrap()
    }

    /// What a reader pins.
    fn policy(&self, minimum_version: u64) {
        let read = |name: &str| fs::read(self.path(name)).unwrap();
        let key = |who: &str| -> ReleaseKey { serde_json::from_slice(&read(&format!("{who}.key.pub"))).unwrap() };
        let policy = AppraisalPolicy::closed(PrivacyTier::CpuTee).with_release(ReleasePolicy {
            keys: ["ada", "bob", "cyd"].map(key).to_vec(),
            log: LogKey::from_document(&read("log.key.pub")).unwrap(),
            max_age_s: 3600,
            minimum_version,
            name: hanzo_attestation::name::Name::new("appliance").unwrap(),
            threshold: 2,
        });
        policy.check().unwrap();
        fs::write(self.path("policy.toml"), policy.to_toml().unwrap()).unwrap();
    }
}

const VERIFY: [&str; 5] = ["release", "verify", "release.json", "--policy", "policy.toml"];

#[test]
fn a_release_goes_from_image_to_bundle_and_is_accepted() {
    let desk = Desk::new();
    desk.draft("7", &[]);
    let manifest = ReleaseManifest::parse(&fs::read(desk.path("manifest.json")).unwrap()).unwrap();
    // The image's digests stand in it, each as its own manifest has it.
    let image = Manifest::read(&desk.path("out")).unwrap();
    assert_eq!(manifest.images.len(), 1);
    for (name, measured) in &image.outputs {
        let (_, file) = manifest.images[0]
            .files
            .iter()
            .find(|(n, _)| n.as_str() == name)
            .unwrap();
        assert_eq!(
            (file.bytes, file.sha256, file.sha384),
            (measured.bytes, measured.sha256, measured.sha384)
        );
    }
    desk.signed_by(&["ada", "cyd"]);
    desk.append(&[]);
    desk.policy(7);
    let said = desk.good(&VERIFY);
    assert!(said.starts_with("ACCEPTED: appliance version 7"), "{said}");
    assert!(
        said.contains("ada, cyd (2 of 3 must)") && said.contains("witnesses   0"),
        "{said}"
    );
    let said = desk.good(&["--json", "release", "verify", "release.json", "--policy", "policy.toml"]);
    let value: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&value["version"], &value["witnesses"]), (&7.into(), &0.into()));

    // The nearest twins, each by its code and exit code.
    let later = (hanzo_time() + 3700).to_string();
    desk.refused(&[&VERIFY[..], &["--at", &later]].concat(), "release.head.stale", 30);
    let expired = (hanzo_time() + 91 * 86_400).to_string();
    desk.refused(&[&VERIFY[..], &["--at", &expired]].concat(), "release.expired", 30);
    desk.policy(8);
    desk.refused(&VERIFY, "release.version.too_old", 40);
    desk.policy(7);
    let mut one = desk.bundle();
    one.release.signatures.pop();
    fs::write(desk.path("release.json"), one.canonical().unwrap()).unwrap();
    desk.refused(&VERIFY, "release.quorum", 20);
}

#[test]
fn too_few_or_repeated_signatures_are_put_together_by_nobody() {
    let desk = Desk::new();
    desk.draft("7", &[]);
    for who in ["ada", "bob"] {
        let (key, out) = (format!("{who}.key"), format!("{who}.sig"));
        desk.good(&["release", "sign", "manifest.json", "--key", &key, "--output", &out]);
    }
    let base = [
        "release",
        "assemble",
        "manifest.json",
        "--output",
        "signed.json",
        "--public",
        "ada.key.pub",
        "--public",
        "bob.key.pub",
        "--signature",
        "ada.sig",
    ];
    desk.refused(&base, "release.quorum", 20);
    desk.refused(
        &[&base[..], &["--signature", "ada.sig"]].concat(),
        "release.signature.repeated",
        20,
    );
    desk.good(&[&base[..], &["--signature", "bob.sig"]].concat());
    // A signature over another draft.
    desk.draft("8", &[]);
    desk.refused(
        &[&base[..], &["--signature", "bob.sig"]].concat(),
        "release.signature.invalid",
        20,
    );
    assert!(!desk.path("release.json").exists());
}

#[test]
fn secrets_are_for_their_owner_alone_and_are_never_replaced() {
    let desk = Desk::new();
    desk.draft("7", &[]);
    let key = desk.path("ada.key");
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&desk.path("ada.key.pub"))), (0o600, 0o644));
    desk.refused(&["release", "keygen", "ada.key", "--name", "ada"], "image.io", 1);
    let sign = [
        "release",
        "sign",
        "manifest.json",
        "--key",
        "ada.key",
        "--output",
        "ada.sig",
    ];
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    desk.refused(&sign, "release.key.exposed", 1);
    // The log's key signs no manifest.
    desk.refused(
        &["release", "sign", "manifest.json", "--key", "log.key", "--output", "x"],
        "release.file",
        10,
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let secret = fs::read_to_string(&key).unwrap();
    let seed = serde_json::from_str::<serde_json::Value>(&secret).unwrap()["seed"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = desk.good(&sign);
    assert!(!said.contains(&seed) && !fs::read_to_string(desk.path("ada.sig")).unwrap().contains(&seed));
}

#[test]
fn a_log_that_was_changed_is_not_continued_and_rotations_travel_along() {
    let desk = Desk::new();
    for who in ["dan", "eve"] {
        desk.good(&["release", "keygen", &format!("{who}.key"), "--name", who]);
    }
    desk.draft("7", &["--next-public", "dan.key.pub", "--next-public", "eve.key.pub"]);
    desk.signed_by(&["ada", "bob"]);
    desk.append(&[]);
    fs::copy(desk.path("release.json"), desk.path("seven.json")).unwrap();
    desk.draft("8", &["--minimum-previous-version", "7"]);
    for who in ["dan", "eve"] {
        let (key, out) = (format!("{who}.key"), format!("{who}.sig"));
        desk.good(&["release", "sign", "manifest.json", "--key", &key, "--output", &out]);
    }
    desk.good(&[
        "release",
        "assemble",
        "manifest.json",
        "--public",
        "dan.key.pub",
        "--public",
        "eve.key.pub",
        "--signature",
        "dan.sig",
        "--signature",
        "eve.sig",
        "--output",
        "signed.json",
    ]);
    desk.policy(1);
    // Without the bundle that hands over, nobody knows the new keys.
    desk.append(&[]);
    desk.refused(&VERIFY, "release.quorum", 20);
    desk.append(&["--after", "seven.json"]);
    assert!(desk.good(&VERIFY).contains("signed by   dan, eve"));
    assert_eq!(desk.bundle().rotations.len(), 1);
    // Another head over the same entries.
    let refresh = [
        "release",
        "refresh",
        "release.json",
        "--log",
        "releases",
        "--log-key",
        "log.key",
        "--output",
        "release.json",
    ];
    desk.good(&refresh);
    desk.good(&VERIFY);
    assert!(!desk.path("releases/lock").exists());

    let entries = desk.path("releases/tile/entries/000.p/2");
    let mut bytes = fs::read(&entries).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&entries, bytes).unwrap();
    desk.refused(&refresh, "release.log.broken", 20);
    fs::write(desk.path("releases/lock"), b"").unwrap();
    desk.refused(&refresh, "release.log.busy", 1);
}

#[test]
fn a_draft_names_only_files_that_are_what_the_image_says() {
    let desk = Desk::new();
    fs::write(desk.path("out/kernel"), b"another").unwrap();
    let words = [
        "release",
        "draft",
        "--line",
        "appliance",
        "--version",
        "7",
        "--image",
        "core=out",
        "--sbom",
        "sbom.json",
        "--output",
        "manifest.json",
    ];
    desk.refused(&words, "image.different", 20);
    assert!(!desk.path("manifest.json").exists());
}

fn hanzo_time() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
