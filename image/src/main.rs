//! `hanzo-image`: see the library of the same name.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match hanzo_image::cli::Cli::try_parse() {
        Ok(cli) => hanzo_image::cli::run(cli),
        Err(e) => {
            // Clap's own code for usage errors is 2; ours is 1.
            let _ = e.print();
            ExitCode::from(u8::from(e.use_stderr()))
        }
    }
}
