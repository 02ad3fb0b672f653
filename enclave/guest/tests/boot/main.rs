//! A guest boots against a broker and a simulated processor; then every single thing it depends on is changed, and it
//! must stop with the named reason.

mod broker;
mod client;
mod engine;
mod real_broker;
mod refused;
mod served;
mod world;
