//! `hanzo-verify`: verify an enclave before trusting it, and its answers after.
//!
//! The command line is a library too, so that `hanzo` can embed it: [`Cli`] and its parts are public, and [`run`] does
//! what they say. Every refusal has a stable code, a text that says what, expected and got, and what to do; exit codes
//! are 0 accepted, 1 usage or I/O, 10 malformed, 20 not authentic, 30 stale or unbound, 40 refused by policy.
//!
//! It never contains the simulator, a store or a key broker, and decides nothing itself: verdicts come from
//! `hanzo-verifier`, channels from `hanzo-client`.
#![forbid(unsafe_code)]

mod aci;
pub mod args;
pub mod chain;
mod connect;
mod error;
mod evidence;
mod explain;
mod html;
mod inspect;
pub mod keys;
mod log;
pub mod order;
mod output;
mod policy;
mod ratls;
mod receipt;
mod render;
mod staple;
mod status;
pub mod time;
mod tree;
mod trust;
mod usage;
mod verify;
mod write;

use std::process::ExitCode;

use clap::CommandFactory as _;

pub use args::{
    AciArgs, Cli, CollateralArgs, Command, ConnectArgs, EvidenceArgs, ExplainArgs, HeadArgs, InspectArgs, LogArgs,
    Period, PolicyArgs, PolicyCommand, RatlsArgs, ReceiptArgs, RootArgs, StapleArgs, StatusArgs, TrustArgs, UsageArgs,
    VerifyArgs,
};
pub use error::CliError;
pub use output::{Output, shown};
pub use render::verdict as render_verdict;

/// Does what the command line says and prints the outcome: text to stdout, or one JSON document; refusals of the text form
/// to stderr.
pub fn run(cli: &Cli) -> ExitCode {
    let outcome = match &cli.command {
        Command::Verify(args) => verify::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Ratls(args) => ratls::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Connect(args) => connect::run(args, cli.json),
        Command::Status(args) => status::run(args),
        Command::Receipt(args) => receipt::run(args),
        Command::Log(args) if args.receipts => log::receipts::run(args),
        Command::Log(args) => log::run(args, cli.json),
        Command::Keys(args) => keys::run(args),
        Command::Order(args) => order::run(args),
        Command::Usage(args) => usage::run(args),
        Command::Staple(args) => staple::run(args, cli.json),
        Command::Finality(args) => chain::finality(args),
        Command::Account(args) => chain::account(args),
        Command::ReceiptReward(args) => chain::receipt_reward(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "hanzo-verify", &mut script);
            Ok(Output::text(String::from_utf8_lossy(&script).into_owned()))
        }
        Command::Man { out } => manual(out.as_deref()),
    };
    output::print(outcome, cli.json)
}

/// The manual: one page to standard output, or one a command into a folder.
fn manual(out: Option<&std::path::Path>) -> Result<Output, CliError> {
    let io = |path: &std::path::Path, source| CliError::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    };
    let Some(folder) = out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|e| io("the manual".as_ref(), e))?;
        return Ok(Output::text(String::from_utf8_lossy(&page).into_owned()));
    };
    std::fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(|e| io(folder, e))?;
    Ok(Output::text(format!("manual pages written to {}\n", folder.display())))
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
