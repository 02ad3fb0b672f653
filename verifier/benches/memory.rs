//! How much memory one verification takes at its peak, beyond the bytes that came in.
//!
//! `cargo bench -p hanzo-verifier --bench memory`. The allocator counts bytes asked for; what it rounds up to, and the
//! stack, are not in it. The goal is 16 MiB for every kind, for the longest bundle too, and for input that is refused.

#[allow(dead_code, reason = "the other bench uses the rest")]
#[path = "corpus/evidence.rs"]
mod evidence;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/fixture.rs"]
mod fixture;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/machine.rs"]
mod machine;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/tdx.rs"]
mod tdx;
#[allow(dead_code, unused_imports, reason = "the verdict tests use the rest")]
#[path = "../tests/verdict/tpm.rs"]
mod tpm;

use hanzo_attestation::bundle::BUNDLE_BYTES_MAX;
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_verifier::verify_bundle;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// DESIGN: 16 MiB a verification.
const GOAL: usize = 16 << 20;

fn main() {
    println!(
        "peak heap of one verification beyond the input, KiB (goal {} KiB)",
        GOAL >> 10
    );
    let mut cases = evidence::simulated();
    cases.extend(evidence::real());
    let mut worst = 0;
    for case in &cases {
        // Once before: what is set up on first use is not of one verification.
        (case.verify)();
        worst = worst.max(row(case.name, case.bytes, &*case.verify));
    }
    let guest = evidence::longest();
    worst = worst.max(row("longest bundle, accepted", guest.bytes.len(), &|| {
        drop(guest.verify())
    }));
    for (name, bytes) in hostile(&guest.bytes) {
        let refused = || {
            let outcome = verify_bundle(&bytes, &fixture::CHALLENGE, &guest.context, fixture::NOW);
            assert!(outcome.is_err(), "{name}");
        };
        worst = worst.max(row(name, bytes.len(), &refused));
    }
    let list = format!("[{}{{}}]", "{\"\":0},".repeat(BUNDLE_BYTES_MAX / 7 - 1)).into_bytes();
    let refused = || {
        let outcome = ForeignEvidence::read(ForeignFormat::NvidiaSdk, &list, &Supplied::default());
        assert!(outcome.is_err());
    };
    worst = worst.max(row("hostile: a foreign list of small objects", list.len(), &refused));
    assert!(worst <= GOAL, "over the goal: {worst} bytes");
}

fn row(name: &str, bytes: usize, verify: &dyn Fn()) -> usize {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    verify();
    let peak = HEAP.peak_usage().saturating_sub(before);
    println!(
        "  {name:<40} {bytes:>8} bytes  peak {:>8.1} KiB  {:>5.1} % of the goal",
        peak as f64 / 1024.0,
        100.0 * peak as f64 / GOAL as f64
    );
    peak
}

/// Documents of the largest size that are made to grow while they are read.
fn hostile(longest: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let full = |head: &str, item: &str, tail: &str| {
        let room = BUNDLE_BYTES_MAX - head.len() - tail.len();
        let mut out = head.to_owned();
        out.push_str(&item.repeat(room / item.len()));
        out.truncate(out.len() - 1);
        out.push_str(tail);
        out.into_bytes()
    };
    let rest = r#"],"config":"","cpu":{},"version":1}"#;
    let mut changed = longest.to_vec();
    if let Some(last) = changed.len().checked_sub(2) {
        changed[last] = b'2';
    }
    vec![
        (
            "hostile: many short capabilities",
            full(r#"{"capabilities":["#, "\"a\",", rest),
        ),
        (
            "hostile: many empty devices",
            full(r#"{"capabilities":[],"devices":["#, "{},", "]}"),
        ),
        (
            "hostile: many small devices",
            full(
                r#"{"capabilities":[],"devices":["#,
                r#"{"arch":"","certificates":"","kind":"","report":""},"#,
                "]}",
            ),
        ),
        ("hostile: deep arrays", full("", "[", "")),
        (
            "hostile: many RIMs",
            full(r#"{"collateral":{"ocsp":[],"rims":["#, "\"\",", "]}}"),
        ),
        ("hostile: longest bundle, another version", changed),
    ]
}
