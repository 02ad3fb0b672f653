//! The attesters of this crate against machines made of files, sockets and a library built on the spot.

#[path = "../../../tdx-attest-rs/tests/machine/fake_kernel.rs"]
mod fake_kernel;

mod gpus;
mod probe;
mod processors;
mod scripted_tpm;
mod verified;
mod vtpm;

use hanzo_attestation::statement::{EvidenceRequest, Statement};
use hanzo_attestation::{Digest384, Nonce};

/// What a guest asks.
fn request() -> EvidenceRequest {
    Statement::for_cpu(Digest384([1; 48]), Nonce([2; 32]), Statement::no_devices())
        .request()
        .unwrap()
}

/// Past the harness's capture: what was not checked must be seen.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
