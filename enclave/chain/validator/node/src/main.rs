//! `hanzo-validator`: a validator of the AI chain on a machine with a security processor.

use std::process::ExitCode;

/// Memory is zeroed when it is freed.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    hanzo_chain_node::program::run("hanzo-validator", hanzo_chain_node::machine::hardware)
}
