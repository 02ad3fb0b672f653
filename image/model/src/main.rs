//! `hanzo-model`: the commands of `hanzo model`, without engines.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use hanzo_model_tool::{ModelCommand, main_with};

#[derive(Parser)]
#[command(
    name = "hanzo-model",
    version,
    about = "Models for enclaves: inspect, seal, verify, manifests",
    after_help = "Examples:\n  hanzo-model inspect model.gguf\n  hanzo-model seal model/ --output model.pack --dek-file model.key\n  \
                  hanzo-model verify model.pack --dek-file model.key --weights-root HEX\n\n\
                  Exit codes: 0 done, 1 usage or I/O, 10 malformed, 20 not authentic, 30 stale, 40 refused."
)]
struct Cli {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: ModelCommand,
}

fn main() -> ExitCode {
    let Cli { json, command } = Cli::parse();
    main_with(command, json)
}
