//! Whole verdicts, from bytes, on simulated evidence that goes through the very code that real evidence goes through.

mod accepted;
mod bundles;
mod composite;
mod fixture;
mod flips;
mod gpus;
#[path = "../../../policy/tests/support/line.rs"]
mod line;
mod machine;
mod readings;
mod release;
mod rules;
mod sessions;
mod tdisp;
mod tdx;
mod tpm;
