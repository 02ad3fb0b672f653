//! Behaviour of a running proxy with several guests, hostile clients, new files and new processes.

mod defences;
mod guests;
mod process;
mod set;
mod vsock;
