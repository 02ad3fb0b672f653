//! Whole images: the same everywhere, complete or not there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use hanzo_attestation::Digest256;
use hanzo_image::manifest::{FILE, Measured};
use hanzo_image::{Manifest, Recipe, build, cpio};
use hanzo_init::{InitPlan, Profile};

use crate::support::{Pantry, config, files_of, program, recipe};

fn initrd(files: &std::collections::BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    zstd::bulk::decompress(&files["initrd.cpio.zst"], 1 << 24).unwrap()
}

#[test]
fn an_image_holds_what_its_manifest_says() {
    let pantry = Pantry::new();
    let parts = pantry.parts(Profile::Core).unwrap();
    let out = pantry.path("out");
    let manifest = build(&parts, &recipe(Profile::Core), &out, &|_| ()).unwrap();
    assert_eq!(Manifest::read(&out).unwrap(), manifest);
    let files = files_of(&out);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        [
            "cmdline",
            "firmware.fd",
            "initrd.cpio.zst",
            "kernel",
            "manifest.json",
            "variables.fd"
        ]
    );
    for (name, bytes) in files.iter().filter(|(name, _)| *name != FILE) {
        assert_eq!(manifest.outputs[name], Measured::of(bytes), "{name}");
    }
    let archive = initrd(&files);
    assert_eq!(manifest.outputs["initrd.cpio"], Measured::of(&archive));
    let line = String::from_utf8(files["cmdline"].clone()).unwrap();
    let digest = Digest256::of(config().as_bytes());
    assert!(
        line.ends_with(&format!(" hanzo.profile=core hanzo.config={digest}")),
        "{line}"
    );
    assert!(
        line.contains("lockdown=confidentiality") && line.contains("module.sig_enforce=1"),
        "{line}"
    );

    let entries = cpio::read("initrd", &archive).unwrap();
    let bytes = |path: &str| entries.iter().find(|e| e.path == path).unwrap().bytes;
    assert_eq!(bytes("init"), program());
    assert_eq!(bytes("etc/hanzo/config.toml"), config().as_bytes());
    let plan = InitPlan::parse(bytes("etc/hanzo/init.toml")).unwrap();
    assert_eq!((plan.profile, plan.engine), (Profile::Core, false));
    assert_eq!(plan.modules, manifest.inputs.modules);
    // What SNP's driver asks for by name is there before it.
    let place = |name: &str| plan.modules.iter().position(|module| module == name).unwrap();
    assert!(place("crypto_null") < place("gcm") && place("gf128mul") < place("ghash-generic"));
    assert!(place("gcm").max(place("ghash-generic")) < place("sev-guest"));
    for module in &plan.modules {
        assert!(!bytes(&format!("lib/modules/{module}.ko")).is_empty());
    }
    assert!(entries.iter().all(|e| !e.path.contains("busybox")), "no shell in core");
    assert!(zstd::zstd_safe::version_string() == "1.5.7" && manifest.inputs.zstd.starts_with("zstd 1.5.7,"));
}

#[test]
fn the_debug_profile_is_another_image() {
    let pantry = Pantry::new();
    let make = |profile, name: &str| {
        let out = pantry.path(name);
        build(&pantry.parts(profile).unwrap(), &recipe(profile), &out, &|_| ()).unwrap();
        files_of(&out)
    };
    let (core, debug) = (make(Profile::Core, "core"), make(Profile::Debug, "debug"));
    for name in ["cmdline", "initrd.cpio.zst", "manifest.json"] {
        assert_ne!(core[name], debug[name], "{name}");
    }
    let archive = initrd(&debug);
    let entries = cpio::read("initrd", &archive).unwrap();
    assert!(entries.iter().any(|e| e.path == "bin/busybox"));
}

#[test]
fn names_outside_need_a_profile_of_their_own() {
    let reaching = |profile| {
        let entry = "[[egress]]\nname = \"kbs.example.org\"\nport = 443\nuse = \"kbs\"\nroots = [\"MAA=\"]\n";
        let text = format!("{}{entry}", config());
        let plain = recipe(profile);
        Recipe::new(profile, text, plain.listen, plain.kbs.unwrap(), plain.network)
    };
    assert_eq!(reaching(Profile::Core).unwrap_err().code(), "image.inputs");
    let mut connected = reaching(Profile::Connected).unwrap();
    connected.egress = Some("vsock:7000".into());
    let pantry = Pantry::new();
    let out = pantry.path("connected");
    let parts = pantry.parts(Profile::Connected).unwrap();
    let manifest = build(&parts, &connected, &out, &|_| ()).unwrap();
    assert_eq!(manifest.recipe().unwrap(), connected);
    let files = files_of(&out);
    let line = String::from_utf8(files["cmdline"].clone()).unwrap();
    assert!(line.contains(" hanzo.profile=connected "), "{line}");
    let archive = initrd(&files);
    let entries = cpio::read("initrd", &archive).unwrap();
    assert!(!entries.iter().any(|e| e.path == "bin/busybox"), "no shell");
    let plan = entries.iter().find(|e| e.path == "etc/hanzo/init.toml").unwrap();
    assert_eq!(
        InitPlan::parse(plan.bytes).unwrap().egress.as_deref(),
        Some("vsock:7000")
    );
}

#[test]
fn an_engine_is_put_in_and_told_to_init() {
    let pantry = Pantry::new();
    let guest = pantry.program("guest", &program());
    let parts = pantry.parts_with(Profile::Core, &guest, Some(&guest)).unwrap();
    let out = pantry.path("out");
    let manifest = build(&parts, &recipe(Profile::Core), &out, &|_| ()).unwrap();
    assert_eq!(manifest.inputs.engine, Some(Measured::of(&program())));
    let archive = initrd(&files_of(&out));
    let entries = cpio::read("initrd", &archive).unwrap();
    let plan = entries.iter().find(|e| e.path == "etc/hanzo/init.toml").unwrap();
    assert!(InitPlan::parse(plan.bytes).unwrap().engine);
    assert!(entries.iter().any(|e| e.path == "usr/bin/hanzo-engine"));
}

#[test]
fn an_image_is_never_put_over_something() {
    let pantry = Pantry::new();
    let parts = pantry.parts(Profile::Core).unwrap();
    let out = pantry.path("out");
    fs::create_dir(&out).unwrap();
    let code = |place: &std::path::Path| {
        build(&parts, &recipe(Profile::Core), place, &|_| ())
            .unwrap_err()
            .code()
    };
    assert_eq!(code(&out), "image.exists");
    assert_eq!(code(&pantry.path("no/such/place")), "image.io");
}

#[test]
fn a_build_that_fails_leaves_nothing_behind() {
    // The kernel package lacks a module, which is noticed after the output directory was begun.
    let files: Vec<_> = crate::support::kernel_files()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("/watchdog.ko.xz"))
        .collect();
    let pantry = Pantry::with_kernel(&crate::support::kernel_deb(&files));
    let parts = pantry.parts(Profile::Core).unwrap();
    let place = tempfile::tempdir().unwrap();
    let outcome = build(&parts, &recipe(Profile::Core), &place.path().join("out"), &|_| ());
    assert_eq!(outcome.unwrap_err().code(), "image.module.missing");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_full_disk_is_told_as_such() {
    let full = std::io::Error::from_raw_os_error(28);
    let error = hanzo_image::ImageError::io("out/kernel".as_ref())(full);
    assert_eq!(error.code(), "image.no_space");
}

/// The program itself, from another directory, with another umask, time zone, locale, user variables and processors.
#[test]
fn path_umask_time_zone_locale_and_processors_change_no_byte() {
    let pantry = Pantry::new();
    pantry.program("hanzo-guest", &program());
    fs::write(pantry.path("config.toml"), config()).unwrap();
    fs::write(pantry.path("inputs.toml"), toml::to_string(&pantry.inputs).unwrap()).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let deep = elsewhere.path().join("another/and/longer/path");
    fs::create_dir_all(&deep).unwrap();
    for entry in files_of(pantry.dir.path()) {
        fs::write(deep.join(entry.0), entry.1).unwrap();
    }
    let make = |dir: &std::path::Path, before: &str| {
        let command = format!(
            "{before} {} --quiet build out --config config.toml --guest ./hanzo-guest --packages . --inputs inputs.toml",
            env!("CARGO_BIN_EXE_hanzo-image")
        );
        let done = Command::new("sh")
            .args(["-c", &command])
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        files_of(&dir.join("out"))
    };
    let first = make(pantry.dir.path(), "umask 022; TZ=UTC LC_ALL=C");
    let second = make(
        &deep,
        "umask 077; unset SOURCE_DATE_EPOCH; USER=somebody HOME=/nonexistent TZ=Asia/Tokyo LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 taskset 1",
    );
    assert_eq!(first, second);
    let mode = |name: &str| fs::metadata(deep.join("out").join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("kernel")), (0o755, 0o644));
}
