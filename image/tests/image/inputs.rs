//! Pinned inputs: the committed list, and packages that are not the pinned ones.

use std::fs;

use hanzo_image::fetch::{Source, package};
use hanzo_image::inputs::{COMMITTED, Inputs};
use hanzo_init::Profile;

use crate::support::{Pantry, deb, dynamic_program, kernel_deb, kernel_files, program};

#[test]
fn the_committed_list_is_read_and_each_neighbour_is_refused() {
    let inputs = Inputs::parse(COMMITTED).unwrap();
    assert!(inputs.kernel.file_name().starts_with("linux-image-6.12."));
    for (from, to) in [
        ("version = 1", "version = 2"),
        ("package = \"ovmf\"", "package = \"--ovmf\""),
        ("package = \"ovmf\"", "package = \"ovmf other\""),
        ("suite = \"trixie\"", "suite = \"trixie main\\ndeb x\""),
        ("pool/main/e/edk2", "pool/../e/edk2"),
        ("pool/main/e/edk2", "/pool/main/e/edk2"),
        ("bytes = 5779964", "bytes = 0"),
        ("bytes = 5779964", "bytes = 536870913"),
        ("sha256 = \"78e0", "sha256 = \"78E0"),
        ("[firmware]", "[firmware]\nother = 1"),
        ("[shell]", "[shells]"),
    ] {
        let text = COMMITTED.replacen(from, to, 1);
        assert_ne!(text, COMMITTED, "{from}");
        assert_eq!(Inputs::parse(&text).unwrap_err().code(), "image.inputs", "{to}");
    }
}

#[test]
fn only_the_pinned_bytes_are_opened() {
    let pantry = Pantry::new();
    let pinned = &pantry.inputs.kernel;
    let source = Source::Directory(pantry.dir.path().to_owned());
    assert!(package(&source, pinned).is_ok());

    let path = pantry.path(pinned.file_name());
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(package(&source, pinned).unwrap_err().code(), "image.package.digest");
    bytes[last] ^= 1;
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(package(&source, pinned).unwrap_err().code(), "image.package.digest");
    fs::remove_file(&path).unwrap();
    let error = package(&source, pinned).unwrap_err();
    assert_eq!(error.code(), "image.package.missing");
    assert!(error.to_string().contains(&pinned.sha256.to_string()), "{error}");
}

#[test]
fn a_kept_package_is_checked_again() {
    let pantry = Pantry::new();
    let pinned = &pantry.inputs.kernel;
    // Nothing listens there: only what is kept can be used.
    let source = Source::Archive {
        kept: pantry.dir.path().to_owned(),
        mirror: "http://127.0.0.1:9/debian".into(),
    };
    assert!(package(&source, pinned).is_ok());
    fs::write(pantry.path(pinned.file_name()), b"other").unwrap();
    assert_eq!(package(&source, pinned).unwrap_err().code(), "image.package.digest");
}

#[test]
fn a_package_without_what_an_image_needs_is_refused() {
    let files = kernel_files();
    let without = |part: &str| {
        files
            .iter()
            .filter(|(p, _)| !p.contains(part))
            .cloned()
            .collect::<Vec<_>>()
    };
    let no_kernel = Pantry::with_kernel(&kernel_deb(&without("vmlinuz")));
    assert_eq!(
        no_kernel.parts(Profile::Core).unwrap_err().code(),
        "image.package.incomplete"
    );

    let mut pantry = Pantry::new();
    let other = deb(&[("usr/share/OVMF/OVMF_CODE_4M.fd", b"firmware")]);
    fs::write(pantry.path(pantry.inputs.firmware.file_name()), &other).unwrap();
    pantry.inputs.firmware.sha256 = hanzo_attestation::Digest256::of(&other);
    pantry.inputs.firmware.bytes = other.len() as u64;
    assert_eq!(
        pantry.parts(Profile::Core).unwrap_err().code(),
        "image.package.incomplete"
    );
}

#[test]
fn programs_of_an_image_are_static() {
    let pantry = Pantry::new();
    let guest = pantry.program("guest", &program());
    let engine = pantry.program("engine", &program());
    assert!(pantry.parts_with(Profile::Core, &guest, Some(&engine)).is_ok());
    let dynamic = pantry.program("dynamic", &dynamic_program());
    let code = |guest, engine| pantry.parts_with(Profile::Core, guest, engine).unwrap_err().code();
    assert_eq!(code(&dynamic, None), "image.program");
    assert_eq!(code(&guest, Some(&dynamic)), "image.program");
    let script = pantry.program("script", b"#!/bin/sh\n");
    assert_eq!(code(&script, None), "image.malformed");
    assert_eq!(code(&pantry.path("absent"), None), "image.io");
}
