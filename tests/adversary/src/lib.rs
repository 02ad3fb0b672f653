//! A host that attacks: proxies that flip, cut, replay, divert and impersonate, and a whole appliance in one process to aim
//! them at. The tests are in `tests/`.
#![forbid(unsafe_code)]

pub mod appliance;
pub mod broker;
pub mod doorman;
pub mod engine;
pub mod impostor;
pub mod site;
pub mod wire;
