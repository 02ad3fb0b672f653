//! Whole verdicts, from bytes, on simulated evidence that goes through the very code that real evidence goes through.

mod accepted;
mod bundles;
mod fixture;
mod flips;
mod readings;
mod rules;
mod sessions;
