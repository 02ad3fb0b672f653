//! Bills of materials: complete, the same each time, and of CycloneDX's own schema.

use std::process::Command;

use hanzo_attestation::Digest384;
use hanzo_image::kernel::{COMMITTED, Pins};
use hanzo_image::{Manifest, build, sbom};
use hanzo_init::Profile;
use serde_json::Value;

use crate::support::{Pantry, program, recipe};

const LOCK: &str = include_str!("../../../Cargo.lock");

fn of(profile: Profile, engine: bool) -> (sbom::Bill, Value) {
    let pantry = Pantry::new();
    let guest = pantry.program("hanzo-guest", &program());
    let engine = engine.then(|| pantry.program("hanzo-engine", &program()));
    let parts = pantry.parts_with(profile, &guest, engine.as_deref()).unwrap();
    let manifest = build(&parts, &recipe(profile), &pantry.path("out"), &|_| ()).unwrap();
    let bill = sbom::of_image(&manifest, LOCK, None).unwrap();
    let value = serde_json::from_slice(&bill.bytes).unwrap();
    (bill, value)
}

fn purls(bill: &Value) -> Vec<&str> {
    let components = bill["components"].as_array().unwrap();
    components.iter().filter_map(|c| c["purl"].as_str()).collect()
}

#[test]
fn everything_that_went_in_stands_there_with_its_digest() {
    let (bill, value) = of(Profile::Debug, true);
    assert_eq!(bill.sha384, Digest384::of(&bill.bytes));
    let components = value["components"].as_array().unwrap();
    assert_eq!(components.len(), bill.components);
    let names: Vec<_> = components.iter().map(|c| c["name"].as_str().unwrap()).collect();
    for expected in [
        "hanzo-guest",
        "hanzo-engine",
        "kernel",
        "initrd.cpio.zst",
        "firmware.fd",
        "aws-lc-rs",
        "mistralrs-core",
    ] {
        assert!(names.contains(&expected), "{expected}");
    }
    for component in components {
        let own = component["purl"]
            .as_str()
            .is_some_and(|p| p.starts_with("pkg:cargo/hanzo-") || p.starts_with("pkg:cargo/tdx-attest-rs"));
        assert!(own || component["hashes"][0]["alg"] == "SHA-256", "{component}");
    }
    let debian = |value: &Value| purls(value).iter().filter(|p| p.starts_with("pkg:deb/debian/")).count();
    assert_eq!(debian(&value), 3, "kernel, firmware and the shell of the debug profile");
    let (_, core) = of(Profile::Core, false);
    assert_eq!(debian(&core), 2);
    assert!(
        !purls(&core).iter().any(|p| p.starts_with("pkg:cargo/mistralrs-core@")),
        "no engine, no engine's crates"
    );
    assert!(purls(&core).iter().any(|p| p.starts_with("pkg:cargo/aws-lc-sys@")));
}

#[test]
fn our_own_kernel_stands_there_with_the_source_that_its_pins_name() {
    let pantry = Pantry::new();
    let parts = pantry.parts(Profile::Core).unwrap();
    let mut manifest = build(&parts, &recipe(Profile::Core), &pantry.path("out"), &|_| ()).unwrap();
    let pins = Pins::parse(COMMITTED).unwrap();
    manifest.inputs.packages.remove("kernel");
    manifest.inputs.own_kernel = Some(pins.kernel.clone());
    let source = "pkg:deb/debian/linux-source-6.12@6.12.107-1?distro=trixie";
    let bill = |manifest: &Manifest| -> Value {
        serde_json::from_slice(&sbom::of_image(manifest, LOCK, None).unwrap().bytes).unwrap()
    };
    let ours = bill(&manifest);
    assert!(purls(&ours).contains(&source));
    let needs = ours["dependencies"].as_array().unwrap().iter();
    let kernel = needs.clone().find(|d| d["ref"] == "file/kernel").unwrap();
    assert_eq!(kernel["dependsOn"], serde_json::json!([source]));
    // Another kernel is not said to be of this source.
    manifest.inputs.own_kernel.as_mut().unwrap().sha256.0[0] ^= 1;
    assert!(!purls(&bill(&manifest)).contains(&source));
}

#[test]
fn the_same_image_has_the_same_bill_and_another_one_another() {
    let ((one, value), (again, _)) = (of(Profile::Core, false), of(Profile::Core, false));
    assert_eq!(one.bytes, again.bytes);
    let (other, different) = of(Profile::Debug, false);
    assert_ne!(one.sha384, other.sha384);
    assert_ne!(value["serialNumber"], different["serialNumber"]);
    assert!(value["metadata"]["timestamp"].is_null());
}

#[test]
fn a_lock_file_that_says_too_little_is_refused() {
    let pantry = Pantry::new();
    let manifest = build(
        &pantry.parts(Profile::Core).unwrap(),
        &recipe(Profile::Core),
        &pantry.path("out"),
        &|_| (),
    )
    .unwrap();
    let refused = |lock: &str| sbom::of_image(&manifest, lock, None).unwrap_err().code();
    let bare = "version = 4\n[[package]]\nname = \"hanzo-guest\"\nversion = \"0.1.0\"\n";
    sbom::of_image(&manifest, bare, None).unwrap();
    assert_eq!(refused(&bare.replace("version = 4", "version = 3")), "image.lock");
    assert_eq!(refused(&bare.replace("hanzo-guest", "hanzo-gest")), "image.lock");
    assert_eq!(refused(&format!("{bare}dependencies = [\"serde\"]\n")), "image.lock");
    assert_eq!(
        refused(&format!("{bare}source = \"registry+https://x\"\n")),
        "image.lock"
    );
    assert_eq!(refused("nonsense"), "image.lock");
}

/// `HANZO_CYCLONEDX` names a folder with PyPI's `cyclonedx-python-lib[json-validation]`, which has the official schema.
#[test]
fn the_official_schema_accepts_it_and_refuses_a_changed_one() {
    let Some(packages) = std::env::var_os("HANZO_CYCLONEDX") else {
        eprintln!("NO CYCLONEDX SCHEMA (set HANZO_CYCLONEDX): bills were NOT VALIDATED");
        return;
    };
    let (bill, value) = of(Profile::Debug, true);
    let dir = tempfile::tempdir().unwrap();
    let valid = |bytes: &[u8]| {
        let path = dir.path().join("sbom.json");
        std::fs::write(&path, bytes).unwrap();
        let done = Command::new("python3")
            .env("PYTHONPATH", &packages)
            .arg("-c")
            .arg(
                "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                 e = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n\
                 print(str(e)[:2000] if e else '')\nsys.exit(3 if e else 0)",
            )
            .arg(&path)
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        match done.status.code() {
            Some(0) => Ok(()),
            Some(3) => Err(said),
            _ => panic!("the validator did not run: {said}"),
        }
    };
    valid(&bill.bytes).unwrap();
    let mut bad = value;
    bad["components"][0]["hashes"][0]["content"] = "xyz".into();
    valid(bad.to_string().as_bytes()).unwrap_err();
}
