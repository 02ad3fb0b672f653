//! `hanzo-verify`: verify an enclave before trusting it, and its answers after.
//!
//! The command line is a library too, so that `hanzo` can embed it: [`Cli`] and its parts are public, and [`run`] does
//! what they say. Every refusal has a stable code, a text that says what, expected and got, and what to do; exit codes
//! are 0 accepted, 1 usage or I/O, 10 malformed, 20 not authentic, 30 stale or unbound, 40 refused by policy.
//!
//! It never contains the simulator, a store or a key broker, and decides nothing itself: verdicts come from
//! `hanzo-verifier`, channels from `hanzo-client`.
#![forbid(unsafe_code)]

pub mod args;
mod connect;
mod error;
mod explain;
mod output;
mod receipt;
mod render;
mod staple;
pub mod time;
mod trust;
mod verify;

use std::process::ExitCode;

use clap::CommandFactory as _;

pub use args::{Cli, Command, ConnectArgs, ExplainArgs, ReceiptArgs, StapleArgs, TrustArgs, VerifyArgs};
pub use error::CliError;
pub use output::{Output, shown};
pub use render::verdict as render_verdict;

/// Does what the command line says and prints the outcome: text to stdout, or one JSON document; refusals of the text form
/// to stderr.
pub fn run(cli: &Cli) -> ExitCode {
    let outcome = match &cli.command {
        Command::Verify(args) => verify::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Connect(args) => connect::run(args, cli.json),
        Command::Receipt(args) => receipt::run(args),
        Command::Staple(args) => staple::run(args, cli.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "hanzo-verify", &mut script);
            Ok(Output::text(String::from_utf8_lossy(&script).into_owned()))
        }
    };
    output::print(outcome, cli.json)
}

/// Logs to stderr; `HANZO_LOG` (for example `info`) says how much.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HANZO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .try_init();
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Io {
            action: "start",
            path: "the async runtime".into(),
            source,
        })
}
