//! Behaviour of a running proxy with several guests, hostile clients, new files and new processes.

mod defences;
mod discovery;
mod guests;
mod names;
mod process;
mod set;
mod vsock;
