//! `hanzo-verify`: see the library of the same name.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    hanzo_verify::start_logging();
    match hanzo_verify::Cli::try_parse() {
        Ok(cli) => hanzo_verify::run(&cli),
        Err(e) => {
            // Clap's own code for usage errors is 2; ours is 1.
            let _ = e.print();
            ExitCode::from(u8::from(e.use_stderr()))
        }
    }
}
