//! The built programs: production ones hold no simulator, the appliance on one machine does.
//!
//! Looks at the programs beside this test. One that is not built is named loudly and not judged: `cargo test` at the
//! root builds all of them, `cargo build --release -p …` the release ones.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_tests_tidy::tree::{root, text};

/// What stands in every binary that can mint simulated evidence: the domain string of the simulator's keys.
const MARKER: &str = "hanzo/simulated-tee/v1";

/// Where the static verifier is built.
const STATIC: &str = "x86_64-unknown-linux-gnu/release";

#[test]
fn the_verifier_is_one_static_file() {
    if let Some(bytes) = built(STATIC, "hanzo-verify") {
        assert!(
            !asks_for_an_interpreter(&bytes),
            "{STATIC}/hanzo-verify asks for a dynamic linker: it is not static"
        );
    }
    // The test's own program shows what a dynamic one looks like.
    let own = std::fs::read(std::env::current_exe().expect("this test's own path")).expect("this test's own program");
    assert!(asks_for_an_interpreter(&own));
}

/// True if an ELF64 program has a PT_INTERP segment.
fn asks_for_an_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes]
            .iter()
            .rev()
            .fold(0_usize, |n, b| n << 8 | usize::from(*b))
    };
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    (0..count).any(|i| number(table + i * size, 4) == PT_INTERP as usize)
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
            "hanzo-verify",
            "hanzo-engine",
        ] {
            if let Some(bytes) = built(profile, name) {
                assert!(!has_marker(&bytes), "{profile}/{name} contains the simulator");
            }
        }
        if let Some(bytes) = built(profile, "hanzo") {
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

fn built(profile: &str, name: &str) -> Option<Vec<u8>> {
    let here = std::env::current_exe().expect("this test's own path");
    let target: PathBuf = here
        .ancestors()
        .nth(3)
        .map(Path::to_path_buf)
        .expect("target/PROFILE/deps/TEST");
    let path = target.join(profile).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            let _ = writeln!(std::io::stderr(), "NOT BUILT, NOT JUDGED: {}", path.display());
            None
        }
    }
}
