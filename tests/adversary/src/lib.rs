//! A host that attacks: proxies that flip, cut, replay, divert and impersonate; a whole appliance in one process to aim them at,
//! and one of processes of their own ([`set`]) for the catalogue of attacks. The tests are in `tests/`; the catalogue is
//! `CATALOGUE.md`.
#![forbid(unsafe_code)]

pub mod appliance;
pub mod attack;
pub mod broker;
pub mod canary;
pub mod door;
pub mod doorman;
pub mod downgrade;
pub mod engine;
pub mod impostor;
pub mod outside;
pub mod relay;
pub mod results;
pub mod role;
pub mod scripted;
pub mod set;
pub mod site;
pub mod tap;
pub mod wire;
