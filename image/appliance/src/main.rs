//! `hanzo`: the whole appliance on one machine.
//!
//! `hanzo up` re-executes itself once per role, so that key broker, guest, engine and host proxy are processes of their
//! own, and runs the verifying client itself. The processor is simulated, and everything says so.
#![forbid(unsafe_code)]

mod bench;
mod broker;
mod error;
mod model;
mod paths;
mod plan;
mod platform;
mod progress;
mod role;
mod supervise;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::role::RoleCommand;
use crate::up::UpArgs;

#[derive(Parser)]
#[command(
    name = "hanzo",
    version,
    about = "The enclave appliance on one machine: attested, post-quantum, encrypted inference",
    after_help = "Examples:\n  hanzo up\n  hanzo up --ask \"What is the capital of France?\"\n  \
                  hanzo up --model ./my-model.gguf --listen 127.0.0.1:9000\n  \
                  hanzo completions bash > /etc/bash_completion.d/hanzo\n\n\
                  Exit codes: 0 stopped or answered, 1 a part failed, 2 usage; a verdict that refuses: 10, 20, 30 or 40."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on loopback, on the simulated TEE, and serve an OpenAI endpoint
    Up(UpArgs),
    /// Measure the whole path against the same engine called in process
    Bench(BenchArgs),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// One part of the appliance; started by `hanzo up`
    #[command(subcommand, hide = true)]
    Role(RoleCommand),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => up::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "hanzo", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Command::Role(command) => role::run(command),
    }
}
