//! The catalogue: an active host between processes, class by class. What came of it lies in the target directory as
//! `tmp/attacks.json`. `HANZO_ATTACK=word` runs those whose names hold the word.

mod cuts;
mod document;
mod edge;
mod egress;
mod ehbp;
mod evidence;
mod handshake;
mod keys;
mod proofs;
mod receipts;
mod relays;
mod roles;
mod sealed;
mod wire;

/// Where results go.
fn results() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
}
