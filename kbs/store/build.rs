//! Points a static link (`-C target-feature=+crt-static`) at the archive of OpenSSL's libcrypto.
//!
//! SQLCipher's build asks for `dylib=crypto`. In a static link the linker then still takes the first file of that name,
//! which is the shared one: the program gets a dynamic dependency but no dynamic linker, and dies at its first
//! instruction. A directory with nothing but the archive, searched first, is the answer. Ordinary builds are untouched.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const ARCHIVE: &str = "libcrypto.a";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=HANZO_LIBCRYPTO_A");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        return;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo gives build scripts OUT_DIR"));
    let archive = archive();
    let copy = out.join(ARCHIVE);
    if let Err(error) = fs::copy(&archive, &copy) {
        panic!("copying {} to {}: {error}", archive.display(), copy.display());
    }
    println!("cargo:rerun-if-changed={}", archive.display());
    println!("cargo:rustc-link-search=native={}", out.display());
}

/// The one named, else the one that the C compiler would link.
fn archive() -> PathBuf {
    if let Some(named) = env::var_os("HANZO_LIBCRYPTO_A") {
        return PathBuf::from(named);
    }
    let asked = Command::new("cc").arg(format!("-print-file-name={ARCHIVE}")).output();
    let found = asked
        .ok()
        .and_then(|o| String::from_utf8(o.stdout).ok())
        .unwrap_or_default();
    let found = Path::new(found.trim());
    // An unknown file is answered with its bare name.
    assert!(
        found.is_absolute(),
        "a static build needs {ARCHIVE}, which the C compiler does not find: install libssl-dev, or name the archive \
         in HANZO_LIBCRYPTO_A"
    );
    found.to_path_buf()
}
