//! `hanzo-validator-simulated`: a validator of the AI chain whose evidence is a simulator's. For development networks.

use std::process::ExitCode;

/// Memory is zeroed when it is freed.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    hanzo_chain_node::program::run("hanzo-validator-simulated", hanzo_chain_simulated::simulator)
}
