//! `hanzo-kbs`: the key broker.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Err(e) = hanzo_kbs::harden_process() {
        eprintln!("hanzo-kbs: {e} [{}]", e.code());
        return ExitCode::FAILURE;
    }
    cli::run()
}
