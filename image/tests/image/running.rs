//! `run` and `predict` before anything boots: tools that are missing or too old, and images that were changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hanzo_image::build;
use hanzo_init::Profile;

use crate::support::{Pantry, recipe};

/// Exit code and standard error, with nothing but `tools` on PATH.
fn run(tools: &Path, image: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_hanzo-image"))
        .args(arguments)
        .arg(image)
        .env_clear()
        .env("PATH", tools)
        .current_dir(tools)
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn tool(dir: &Path, name: &str, says: &str) {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn missing_and_old_tools_are_named_with_what_to_do() {
    let pantry = Pantry::new();
    let image = pantry.path("out");
    build(
        &pantry.parts(Profile::Core).unwrap(),
        &recipe(Profile::Core),
        &image,
        &|_| (),
    )
    .unwrap();
    let tools = tempfile::tempdir().unwrap();
    for arguments in [&["run"][..], &["predict", "--output", "prediction.json"]] {
        let (code, said) = run(tools.path(), &image, arguments);
        assert_eq!(code, Some(1));
        assert!(
            said.contains("qemu-system-x86_64") && said.contains("bookworm-backports"),
            "{said}"
        );
        assert!(said.contains("[image.tool]"), "{said}");
    }
    tool(tools.path(), "qemu-system-x86_64", "QEMU emulator version 7.2.22");
    let (_, said) = run(tools.path(), &image, &["run"]);
    assert!(
        said.contains("expected version 10 or newer, got \"QEMU emulator version 7.2.22\""),
        "{said}"
    );
    tool(tools.path(), "qemu-system-x86_64", "QEMU emulator version 10.0.2");
    let (_, said) = run(tools.path(), &image, &["run"]);
    assert!(said.contains("swtpm: ") && said.contains("[image.tool]"), "{said}");
}

#[test]
fn a_changed_image_does_not_boot() {
    let pantry = Pantry::new();
    let image = pantry.path("out");
    build(
        &pantry.parts(Profile::Core).unwrap(),
        &recipe(Profile::Core),
        &image,
        &|_| (),
    )
    .unwrap();
    let tools = tempfile::tempdir().unwrap();
    tool(tools.path(), "qemu-system-x86_64", "QEMU emulator version 10.0.2");
    tool(tools.path(), "swtpm", "0.7.1");
    tool(tools.path(), "swtpm_setup", "{}");
    for name in ["kernel", "initrd.cpio.zst", "cmdline", "firmware.fd", "variables.fd"] {
        let path = image.join(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[0] ^= 1;
        fs::write(&path, changed).unwrap();
        let (code, said) = run(tools.path(), &image, &["run"]);
        assert_eq!(code, Some(20));
        assert!(
            said.contains(&format!("{name}: is not what the manifest says")),
            "{said}"
        );
        fs::write(&path, whole).unwrap();
    }
    let (code, said) = run(tools.path(), &image, &["run", "--prediction", "/nonexistent"]);
    assert_eq!((code, said.contains("[image.io]")), (Some(1), true), "{said}");
    fs::write(tools.path().join("other.json"), "{}").unwrap();
    let (code, said) = run(tools.path(), &image, &["run", "--prediction", "other.json"]);
    assert_eq!((code, said.contains("[image.prediction]")), (Some(20), true), "{said}");
}
