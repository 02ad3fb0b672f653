//! `hanzo-engine-upstream`; see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use hanzo_engine_upstream::{EngineArgs, main_with_args};

/// Prompts pass through buffers of HTTP and JSON; freed ones hold nothing.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    main_with_args(EngineArgs::parse())
}
