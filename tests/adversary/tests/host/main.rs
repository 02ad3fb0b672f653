//! A host that attacks a client's way to its guest. Each attack is refused with its name, and no prompt leaves.

mod engine;
mod evidence;
mod freshness;
mod leaks;
mod page;
mod proofs;
mod rotation;
mod wire;
