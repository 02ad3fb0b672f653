//! The built programs: production ones hold no simulator, the appliance on one machine does.
//!
//! Looks at the programs beside this test. One that is not built is named loudly and not judged: `cargo test` at the
//! root builds all of them, `cargo build --release -p …` the release ones.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hanzo_tests_tidy::tree::{root, text};

/// What stands in every binary that can mint simulated evidence: the domain string of the simulator's keys.
const MARKER: &str = "hanzo/simulated-tee/v1";

/// Where static programs are built.
const STATIC: &str = "x86_64-unknown-linux-gnu/release";

/// For any Linux.
#[test]
fn the_verifier_is_one_static_file() {
    assert_static_and_starting("hanzo-verify");
}

/// The first process of an image that has no libraries.
#[test]
fn the_guest_is_one_static_file() {
    assert_static_and_starting("hanzo-guest");
}

fn assert_static_and_starting(name: &str) {
    if let Some((path, bytes)) = built(STATIC, name) {
        assert!(
            !has_segment(&bytes, PT_INTERP),
            "{STATIC}/{name} asks for a dynamic linker: it is not static"
        );
        assert!(
            !needs_libraries(&bytes),
            "{STATIC}/{name} needs a shared library that nothing will load: it dies at its first instruction"
        );
        let started = Command::new(&path).arg("--version").output();
        let said = started.unwrap_or_else(|e| panic!("{STATIC}/{name} does not start: {e}"));
        assert!(said.status.success(), "{STATIC}/{name} --version: {}", said.status);
        assert!(String::from_utf8_lossy(&said.stdout).starts_with(name));
    }
    // The test's own program shows what a dynamic one looks like.
    let own = std::fs::read(std::env::current_exe().expect("this test's own path")).expect("this test's own program");
    assert!(has_segment(&own, PT_INTERP) && needs_libraries(&own));
}

const PT_DYNAMIC: usize = 2;
const PT_INTERP: usize = 3;

/// True if an ELF64 program has a segment of this type.
fn has_segment(elf: &[u8], kind: usize) -> bool {
    segments(elf).any(|at| number(elf, at, 4) == kind)
}

/// True if the dynamic section of an ELF64 program has a DT_NEEDED entry.
fn needs_libraries(elf: &[u8]) -> bool {
    const DT_NEEDED: usize = 1;
    segments(elf).filter(|at| number(elf, *at, 4) == PT_DYNAMIC).any(|at| {
        let (offset, bytes) = (number(elf, at + 0x08, 8), number(elf, at + 0x20, 8));
        (offset..offset + bytes)
            .step_by(16)
            .any(|entry| number(elf, entry, 8) == DT_NEEDED)
    })
}

/// Offsets of the program headers.
fn segments(elf: &[u8]) -> impl Iterator<Item = usize> {
    let (table, size, count) = (number(elf, 0x20, 8), number(elf, 0x36, 2), number(elf, 0x38, 2));
    (0..count).map(move |i| table + i * size)
}

fn number(elf: &[u8], at: usize, bytes: usize) -> usize {
    elf[at..at + bytes]
        .iter()
        .rev()
        .fold(0_usize, |n, b| n << 8 | usize::from(*b))
}

#[test]
fn production_programs_do_not_contain_the_simulator_and_the_appliance_does() {
    let source = text(&root().join("attestation/simulator/src/lib.rs"));
    assert!(
        source.contains(MARKER),
        "the simulator's domain string has changed: change it here"
    );
    for profile in ["debug", "release", STATIC] {
        for name in [
            "hanzo-guest",
            "hanzo-kbs",
            "hanzo-proxy",
            "hanzo-discover",
            "hanzo-egress",
            "hanzo-relay",
            "hanzo-verify",
            "hanzo-engine",
            "hanzo-engine-llama",
            "hanzo-engine-upstream",
            "hanzo-validator",
        ] {
            if let Some((_, bytes)) = built(profile, name) {
                assert!(!has_marker(&bytes), "{profile}/{name} contains the simulator");
            }
        }
        if let Some((_, bytes)) = built(profile, "hanzo") {
            assert!(
                has_marker(&bytes),
                "{profile}/hanzo has no {MARKER}: this test would not see a simulator elsewhere either"
            );
        }
    }
}

fn has_marker(bytes: &[u8]) -> bool {
    bytes.windows(MARKER.len()).any(|w| w == MARKER.as_bytes())
}

fn built(profile: &str, name: &str) -> Option<(PathBuf, Vec<u8>)> {
    let here = std::env::current_exe().expect("this test's own path");
    let target: PathBuf = here
        .ancestors()
        .nth(3)
        .map(Path::to_path_buf)
        .expect("target/PROFILE/deps/TEST");
    let path = target.join(profile).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some((path, bytes)),
        Err(_) => {
            let _ = writeln!(std::io::stderr(), "NOT BUILT, NOT JUDGED: {}", path.display());
            None
        }
    }
}
