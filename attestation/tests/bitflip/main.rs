//! Bit flips: of every accepted piece of evidence, each bit of each part is turned around, one at a time. The result is
//! refused, or the bit lies in a region that is listed here with its reason and nothing more is claimed than before.
//!
//! A region that is listed and not needed fails too. So does, everywhere, a flip that is accepted and claims anything else.
//!
//! `cargo test` flips a part of the bits, always the same: one of every byte of the heads, some of every listed region and
//! a few hundred spread over the rest. All of them: `HANZO_BITFLIP=all cargo test -p hanzo-attestation --test bitflip --
//! --test-threads 2`, which takes about an hour of two cores and tells on standard error where it is.

mod boot_log;
mod harness;
#[path = "../eventlog/manifest.rs"]
mod manifest;
mod nvidia;
mod rim;
mod seen;
mod snp;
mod tdx;
mod tpm;
#[path = "../tdx/vectors.rs"]
#[allow(dead_code, reason = "tests/tdx reads more of it")]
mod vectors;

use hanzo_attestation::UnixTime;
use hanzo_attestation::bundle::Base64;
use serde_json::Value;

/// 2025-09-01T00:00:00Z: most public evidence is alive then.
const NOW: UnixTime = UnixTime(1_756_684_800);
/// 2026-07-01T00:00:00Z: the clock of most vectors.
const CLOCK: UnixTime = UnixTime(1_782_864_000);

fn base64(text: &str) -> Vec<u8> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    serde_json::from_value::<Base64>(Value::String(compact)).unwrap().0
}

/// The DER of the PEM blocks of one kind.
fn pem(text: &[u8], label: &str) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(text).unwrap();
    let begin = format!("-----BEGIN {label}-----");
    let bodies = text.split(&begin).skip(1);
    bodies.map(|b| base64(b.split("-----END").next().unwrap())).collect()
}
