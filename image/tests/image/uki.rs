//! Unified kernel images: the sections in their places, the same bytes as systemd's own tool, and what has no place in one.

use std::fs;
use std::path::Path;
use std::process::Command;

use hanzo_attestation::Digest256;
use hanzo_image::deb;
use hanzo_image::fetch::Source;
use hanzo_image::inputs::COMMITTED;
use hanzo_image::uki::{self, Contents};
use hanzo_image::{Inputs, build};
use hanzo_init::Profile;
use hanzo_measured_boot::Digests;
use hanzo_measured_boot::uki::Uki;

use crate::support::{Pantry, kernel_deb, kernel_files, pe, recipe, stub};

/// A kernel that is a PE file and says its release.
fn kernel() -> Vec<u8> {
    let mut bytes = pe(&[
        (".text", &[0x90; 700]),
        (".sbat", b"sbat,1,header\nlinux,1,its line\n\0"),
    ]);
    // 0x20E points to a place less 0x200: into its first section.
    bytes[0x20e..0x210].copy_from_slice(&0x240_u16.to_le_bytes());
    bytes[0x440..0x44c].copy_from_slice(b"6.0-test (a)");
    bytes
}

fn contents() -> Contents {
    Contents {
        kernel: kernel(),
        initrd: b"an archive".to_vec(),
        command_line: "console=ttyS0 quiet".into(),
        os_release: "ID=hanzo\nVERSION_ID=1\n".into(),
        uname: "6.0-test".into(),
    }
}

#[test]
fn the_parts_are_sections_behind_the_stub() {
    let file = contents().write(&stub()).unwrap();
    let uki = Uki::parse(&file).unwrap();
    let names: Vec<_> = uki
        .pe()
        .sections()
        .iter()
        .map(|s| String::from_utf8_lossy(s.name))
        .collect();
    assert_eq!(
        names,
        [".text", ".sbat", ".osrel", ".cmdline", ".uname", ".linux", ".initrd"]
    );
    assert_eq!(uki.section(".linux"), Some(&kernel()[..]));
    assert_eq!(uki.section(".initrd"), Some(&b"an archive"[..]));
    assert_eq!(uki.section(".cmdline"), Some(&b"console=ttyS0 quiet"[..]));
    let sbat = uki.section(".sbat").unwrap();
    let sbat = String::from_utf8_lossy(sbat);
    let lines: Vec<_> = sbat.trim_end_matches('\0').lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines[0].starts_with("sbat,1,SBAT Version,") && lines[3].starts_with("uki,1,"),
        "{sbat}"
    );
    assert_eq!(lines[1..3], ["stub,1,its line", "linux,1,its line"]);
    assert_eq!(contents().write(&stub()).unwrap(), file, "the same bytes again");
    // Of one byte more in the command line: another hash everywhere it counts.
    let mut other = contents();
    other.command_line += "1";
    let (before, after) = (
        uki::measured(&file).unwrap(),
        uki::measured(&other.write(&stub()).unwrap()).unwrap(),
    );
    assert_eq!(before.kernel, after.kernel);
    assert!(before.image != after.image && before.pcr11 != after.pcr11 && before.pcr9 != after.pcr9);
}

#[test]
fn an_image_becomes_one_file_once() {
    let mut files = kernel_files();
    files[0].1 = kernel();
    let pantry = Pantry::with_kernel(&kernel_deb(&files));
    build(
        &pantry.parts(Profile::Core).unwrap(),
        &recipe(Profile::Core),
        &pantry.path("out"),
        &|_| (),
    )
    .unwrap();
    let source = Source::Directory(pantry.dir.path().to_owned());
    let make = || {
        uki::make(
            &pantry.path("out"),
            &pantry.path("uki.efi"),
            &pantry.inputs,
            &source,
            &|_| (),
        )
    };
    let made = make().unwrap();
    let file = fs::read(pantry.path("uki.efi")).unwrap();
    let uki = Uki::parse(&file).unwrap();
    let line = recipe(Profile::Core).command_line().unwrap();
    assert_eq!(uki.section(".cmdline"), Some(line.as_bytes()));
    assert_eq!(uki.section(".uname"), Some(&b"6.0-test"[..]));
    let expected = uki.handover().unwrap();
    let options: Vec<u8> = line.bytes().chain([0]).flat_map(|b| [b, 0]).collect();
    assert_eq!(expected.load_options, Digests::of(&options));
    assert_eq!(made.measured, uki::measured(&file).unwrap());
    assert_eq!(make().unwrap_err().code(), "image.exists");
    fs::remove_file(pantry.path("uki.efi")).unwrap();
    fs::write(pantry.path("out/cmdline"), "another").unwrap();
    assert_eq!(make().unwrap_err().code(), "image.different");
    assert!(!pantry.path("uki.efi").exists());
}

#[test]
fn a_stub_or_kernel_of_another_kind_is_refused() {
    let of = |stub: &[u8]| {
        let error = contents().write(stub).unwrap_err();
        assert_eq!(error.code(), "image.malformed");
        error.to_string()
    };
    assert!(of(b"no stub").contains("expected a PE image"));
    assert!(of(&pe(&[(".text", b"the stub")])).contains("expected a section .sbat, got none"));
    let crowded: Vec<_> = (0..13)
        .map(|_| (".text", &b"x"[..]))
        .chain([(".sbat", &b"sbat,1,h\n\0"[..])])
        .collect();
    let said = of(&pe(&crowded));
    assert!(said.contains("room for another section header"), "{said}");
    let full = [b"sbat,1,h\n".as_slice(), &[b'l'; 500]].concat();
    let said = of(&pe(&[(".text", b"x"), (".sbat", &full)]));
    assert!(said.contains("room for the merged section .sbat"), "{said}");
    let mut symbols = stub();
    symbols[0x80 + 12] = 1;
    assert!(of(&symbols).contains("expected no symbol table"));
    let mut alignment = stub();
    alignment[0x80 + 24 + 37] = 3;
    assert!(of(&alignment).contains("FileAlignment"));
    let mut plain = contents();
    plain.kernel = b"MZ a kernel".to_vec();
    let error = plain.write(&stub()).unwrap_err();
    assert!(error.to_string().starts_with("kernel: "), "{error}");
}

/// Debian's package of the tool that the image is compared with, of the stub's version.
const UKIFY: &str = "systemd-ukify_257.13-1~deb13u1_all.deb";
const UKIFY_SHA256: &str = "78e1f7921f39d07512d848244b8b3e320e93e77d0b5778c211809e9f3b8b8284";

/// Byte for byte what `ukify` of the same version makes of the same parts.
#[test]
fn systemds_own_tool_makes_the_same_file() {
    let not_compared = |why: &str| eprintln!("UKIFY WAS NOT COMPARED WITH: {why}");
    let Some(packages) = std::env::var_os("HANZO_IMAGE_PACKAGES") else {
        return not_compared("HANZO_IMAGE_PACKAGES names no directory with the pinned stub");
    };
    let Ok(package) = fs::read(Path::new(&packages).join(UKIFY)) else {
        return not_compared(&format!("no {UKIFY} among the packages"));
    };
    assert_eq!(Digest256::of(&package).to_string(), UKIFY_SHA256);
    let mut files = deb::files(UKIFY, &package, |path| path == "usr/bin/ukify").unwrap();
    let inputs = Inputs::parse(COMMITTED).unwrap();
    let stub = match uki::stub(&Source::Directory(packages.into()), &inputs.stub) {
        Err(error) if error.code() == "image.package.missing" => return not_compared(&error.to_string()),
        stub => stub.unwrap(),
    };
    let contents = contents();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let put = |name: &str, bytes: &[u8]| fs::write(at(name), bytes).unwrap();
    put("ukify", &files.remove("usr/bin/ukify").unwrap());
    put("stub", &stub);
    put("linux", &contents.kernel);
    put("initrd", &contents.initrd);
    put("os-release", contents.os_release.as_bytes());
    let option = |name: &str, file: &str| format!("--{name}={}", at(file).display());
    // Debian's own Python, which has Debian's python3-pefile.
    let done = Command::new("/usr/bin/python3")
        .arg(at("ukify"))
        .args(["build", &format!("--cmdline={}", contents.command_line)])
        .arg(format!("--uname={}", contents.uname))
        .arg(format!("--os-release=@{}", at("os-release").display()))
        .args([
            option("stub", "stub"),
            option("linux", "linux"),
            option("initrd", "initrd"),
        ])
        .arg(option("output", "out.efi"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    if said.contains("No module named 'pefile'") {
        return not_compared("python3-pefile is missing");
    }
    assert!(done.status.success(), "{said}");
    let (ours, theirs) = (contents.write(&stub).unwrap(), fs::read(at("out.efi")).unwrap());
    let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!((ours.len(), differs), (theirs.len(), None));
}
