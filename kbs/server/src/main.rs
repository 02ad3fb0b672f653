//! `hanzo-kbs`: the key broker.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(e) = hanzo_kbs::harden_process() {
        eprintln!("hanzo-kbs: {e} [{}]", e.code());
        return ExitCode::FAILURE;
    }
    cli::run()
}
