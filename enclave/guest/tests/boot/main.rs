//! A guest boots against a broker and a simulated processor; then every single thing it depends on is changed, and it
//! must stop with the named reason.

mod account;
mod aci;
mod adapters;
mod broker;
mod callers;
mod client;
mod clock;
mod demand;
mod egress;
mod engine;
#[path = "../../../tdx-attest-rs/tests/machine/fake_kernel.rs"]
mod fake_kernel;
mod fence;
mod first;
mod foreign;
mod machine;
mod models;
mod oblivious;
mod orders;
mod outside;
mod padded;
mod real_broker;
mod refused;
mod relayed;
mod rotation;
mod sealed;
mod served;
mod world;
