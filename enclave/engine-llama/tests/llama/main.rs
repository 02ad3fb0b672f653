//! The engine as its peers see it: a process and a socket; and the engine against llama.cpp as others ship it.

mod abilities;
mod adapter;
mod bounds;
mod encoder;
mod fixture;
#[path = "../../../engine/tests/engine/http.rs"]
mod http;
mod kernels;
mod node;
mod peer;
mod process;
mod protocol;
mod real_model;
mod unsound;
