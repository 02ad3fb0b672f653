//! The command line of both programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::error::NodeError;
use crate::machine::MakeMachine;
use crate::{node, observer};

const USAGE: u8 = 64;
const EXAMPLES: &str = "\
Examples:
  Start the validator of a folder that `hanzo chain init` made:
    hanzo-validator --dir net/0
  Look only whether its files are good:
    hanzo-validator --dir net/0 --check
  Follow the chain without a wallet and answer RPC (a node that does not vote; what a guest's image runs):
    hanzo-validator --dir observer --observe observer.toml --genesis net/0/genesis.bin
  More words on standard error:
    HANZO_LOG=debug hanzo-validator --dir net/0

Files of the folder: validator.toml (configuration), wallet.bin, registrar.bin and passphrase (0600), genesis.bin (awaited if missing;
candidate.json is written meanwhile), ledger.db and ledger.key, journal/, ready.json (where it listens). The consensus key is made at
each start and written nowhere.

Exit codes: 0 stopped by SIGTERM or SIGINT; 2 a file or setting is wrong; 3 it ran and cannot go on; 64 wrong arguments.";

/// A validator of the AI chain.
#[derive(Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Arguments {
    /// The validator's folder.
    #[arg(long)]
    dir: PathBuf,
    /// Check configuration, wallets and evidence, say so, and end.
    #[arg(long)]
    check: bool,
    /// Follow the nodes of this configuration and answer RPC, without wallet, links or votes.
    #[arg(long, value_name = "FILE", requires = "genesis")]
    observe: Option<PathBuf>,
    /// The genesis of the chain that is followed.
    #[arg(long, value_name = "FILE", requires = "observe")]
    genesis: Option<PathBuf>,
}

/// Runs a program called `name`, whose evidence `make` makes.
pub fn run(name: &'static str, make: MakeMachine) -> ExitCode {
    if let Err(error) = hanzo_device::process::harden_process() {
        eprintln!("{name}: {error}");
        return ExitCode::from(2);
    }
    let examples = EXAMPLES.replace("hanzo-validator ", &format!("{name} "));
    let command = Arguments::command().name(name).after_help(examples);
    let arguments = command
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let filter =
        EnvFilter::try_from_env("HANZO_LOG").unwrap_or_else(|_| EnvFilter::new("info,commonware_consensus=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let done = match (arguments.observe, arguments.genesis) {
        (Some(config), Some(genesis)) => {
            let dir = arguments.dir;
            observe(name, &observer::Files { config, genesis, dir }, arguments.check)
        }
        _ => Config::load(&arguments.dir).and_then(|config| match arguments.check {
            true => node::check(&config, make).map(|account| println!("{account}: its files are good")),
            false => node::run(config, make),
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {}: {error}", error.code());
            ExitCode::from(error.exit_code())
        }
    }
}

fn observe(name: &str, files: &observer::Files, check: bool) -> Result<(), NodeError> {
    if check {
        let (_, genesis) = files.load()?;
        println!("{}: its files are good", genesis.network());
        return Ok(());
    }
    observer::run(files, |at| {
        // What `hanzo-image run` waits for.
        eprintln!("{name}: serving RPC at {at}; it follows others and does not vote");
    })
}
