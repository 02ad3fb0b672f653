//! An image made again: equal, or the first difference by name.

use std::fs;

use hanzo_image::assemble::Parts;
use hanzo_image::verify::verify;
use hanzo_image::{ImageError, build};
use hanzo_init::Profile;

use crate::support::{Pantry, files_of, program, recipe};

struct Made {
    pantry: Pantry,
    parts: Parts,
}

fn made() -> Made {
    let pantry = Pantry::new();
    let parts = pantry.parts(Profile::Core).unwrap();
    build(&parts, &recipe(Profile::Core), &pantry.path("out"), &|_| ()).unwrap();
    Made { pantry, parts }
}

impl Made {
    fn check(&self) -> Result<(), ImageError> {
        verify(&self.pantry.path("out"), &self.parts, &|_| ()).map(drop)
    }

    /// The difference that is told after `change` of one file.
    fn told(&self, name: &str, change: impl Fn(&mut Vec<u8>)) -> String {
        let path = self.pantry.path("out").join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        change(&mut bytes);
        assert_ne!(bytes, whole);
        fs::write(&path, bytes).unwrap();
        let error = self.check().unwrap_err();
        fs::write(&path, whole).unwrap();
        assert_eq!((error.code(), error.exit_code()), ("image.different", 20), "{error}");
        error.to_string()
    }

    fn told_of_archive(&self, change: impl Fn(&mut Vec<u8>)) -> String {
        self.told("initrd.cpio.zst", |bytes| {
            let mut archive = zstd::bulk::decompress(bytes, 1 << 24).unwrap();
            change(&mut archive);
            *bytes = zstd::bulk::compress(&archive, 1).unwrap();
        })
    }
}

#[test]
fn an_untouched_image_is_the_same_when_made_again() {
    made().check().unwrap();
}

#[test]
fn one_changed_byte_is_named_by_file_entry_and_offset() {
    let made = made();
    assert_eq!(
        made.told("kernel", |b| b[3] ^= 1),
        "kernel: offset 3: expected 61, got 60"
    );
    assert!(made.told("cmdline", |b| b.push(b' ')).starts_with("cmdline: expected "));
    assert_eq!(
        made.told("firmware.fd", |b| b[0] = 0),
        "firmware.fd: offset 0: expected 66, got 00"
    );
    let archive = zstd::bulk::decompress(&files_of(&made.pantry.path("out"))["initrd.cpio.zst"], 1 << 24).unwrap();
    let at = |text: &[u8]| archive.windows(text.len()).position(|w| w == text).unwrap();

    let operator = at(b"operator");
    let told = made.told_of_archive(|a| a[operator] = b'O');
    assert!(
        told.contains("entry etc/hanzo/config.toml, whose bytes begin at"),
        "{told}"
    );
    assert!(told.ends_with("offset 12: expected 6f, got 4f"), "{told}");

    let init = at(b"init\0") - 110;
    let told = made.told_of_archive(|a| a[init + 14 + 7] = b'F');
    assert!(
        told.contains("entry init, ") && told.contains("mode: expected 0o100755, got 0o100757"),
        "{told}"
    );
    let told = made.told_of_archive(|a| a[init + 46 + 7] = b'1');
    assert!(told.contains("time: expected 0o0, got 0o1"), "{told}");
    let told = made.told_of_archive(|a| a[init + 110] = b'I');
    assert!(told.contains("expected entry init, got Init"), "{told}");
    let told = made.told_of_archive(|a| a.push(0));
    assert!(told.contains("cannot be read"), "{told}");
    let told = made.told_of_archive(|_| ());
    assert!(told.contains("the archive inside is the same"), "{told}");
    assert!(made.told("initrd.cpio.zst", |b| b[0] ^= 1).contains("no zstd frame"));
    made.check().unwrap();
}

#[test]
fn a_missing_or_additional_file_is_named() {
    let made = made();
    let more = made.pantry.path("out").join("note.txt");
    fs::write(&more, b"").unwrap();
    let error = made.check().unwrap_err();
    assert_eq!(error.to_string(), "note.txt: is no file of an image");
    fs::remove_file(more).unwrap();
    let kernel = made.pantry.path("out").join("kernel");
    fs::remove_file(kernel).unwrap();
    assert_eq!(made.check().unwrap_err().code(), "image.io");
}

#[test]
fn a_manifest_that_is_no_manifest_is_refused_and_one_that_claims_another_is_named() {
    let made = made();
    let path = made.pantry.path("out").join("manifest.json");
    let whole = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("{", "{ "),
        ("hanzo.image.v1", "hanzo.image.v2"),
        ("\"format\"", "\"host\":1,\"format\""),
    ] {
        fs::write(&path, whole.replacen(from, to, 1)).unwrap();
        assert_eq!(made.check().unwrap_err().code(), "image.manifest", "{to}");
    }
    fs::write(&path, whole.replacen("level 22", "level 19", 1)).unwrap();
    let error = made.check().unwrap_err();
    assert!(error.to_string().starts_with("manifest.json: offset "), "{error}");
}

#[test]
fn another_guest_is_another_image() {
    let made = made();
    let mut other = program();
    other.push(0);
    let guest = made.pantry.program("other-guest", &other);
    let parts = made.pantry.parts_with(Profile::Core, &guest, None).unwrap();
    let error = verify(&made.pantry.path("out"), &parts, &|_| ()).unwrap_err();
    assert_eq!(error.code(), "image.different");
    assert!(
        error.to_string().contains("entry init, whose bytes begin at"),
        "{error}"
    );
}
